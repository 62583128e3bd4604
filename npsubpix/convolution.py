"""Convolution and correlation of images with kernels of weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt

from npsubpix._arrays.checks import check_channel_axis, check_image, check_reals, check_reals_beside
from npsubpix._arrays.library import Array, as_array, outer_product, without_booleans, without_half
from npsubpix._arrays.options import FARTHEST, check_choice, check_dtype, check_fill, check_per_axis
from npsubpix._definitions.borders import BORDERS
from npsubpix._definitions.convolution import PRODUCT
from npsubpix._dispatch.call import call

__all__ = ["choose_conv_method", "convolve", "convolve_separable", "correlate"]

_MODES = ("same", "valid", "full")
_POLICIES = ("propagate", "omit")
_METHODS = ("auto", "direct", "separable", "fft")


def correlate(
    image: Array,
    kernel: Array,
    /,
    *,
    mode: str = "same",
    border: str = "reflect",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    origin: int | tuple[int, ...] = 0,
    channel_axis: int | None = None,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    method: str = "auto",
) -> Array:
    r"""Correlate an image with a kernel: the weighted sum of the pixels of each window.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, with an optional channel axis
        Image, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    kernel : array with the dimensions of the image, without channels
        Weights. Each channel is correlated with the same kernel.
    mode : {"same", "valid", "full"}, default "same"
        Windows of the result. "same": one window centred on each pixel. "valid": only windows that lie inside the
        image; there may be none. "full": all windows that overlap with the image, none without pixels.
    border : str, default "reflect"
        Border extension, as in ``scipy.ndimage``: "reflect" (d c b a | a b c d | d c b a), "mirror"
        (d c b | a b c d | c b a), "nearest" (a a a a | a b c d | d d d d), "wrap" (a b c d | a b c d | a b c d) or
        "constant" (`cval`). With "shrink", windows are clipped to the image; see Notes.
    cval : float, default 0.0
        Value outside of the image for "constant".
    stride : int or tuple of ints, default 1
        Step between windows in pixels, for all axes or per axis.
    dilation : int or tuple of ints, default 1
        Distance between the pixels of a window, for all axes or per axis.
    origin : int or tuple of ints, default 0
        Shift of the windows of mode "same" to smaller indices, in pixels, for all axes or per axis. The centre of a
        kernel of k weights is the weight of index k // 2, as in ``scipy.ndimage``.
    channel_axis : int, optional
        Channel axis of the image.
    dtype : dtype, optional
        Dtype of the result. By default, that of the image. Integers are rounded to the nearest and saturate exactly at
        the limits of the dtype, also of 64 bits; they never wrap.
    nan_policy : {"propagate", "omit"}, default "propagate"
        Treatment of NaN. "propagate": a window that contains NaN gives NaN. "omit": NaN does not count; see Notes.
    method : {"auto", "direct", "separable", "fft"}, default "auto"
        Algorithm. "separable" requires a kernel that is the product of a line along the last axis and of its other
        axes; "auto" selects the fastest method that applies, see `choose_conv_method`.

    Returns
    -------
    array
        Correlation. In mode "same", its shape is that of the image divided by the stride, rounded up.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the kernel is empty or differs from the image in dimensions, an option is out of range, or the method is
        "separable" for a kernel that is not a product.

    See Also
    --------
    convolve : Correlation with the flipped kernel.
    convolve_separable : Convolution with one kernel per axis.

    Notes
    -----
    With "shrink" and "omit", a pixel that does not count is taken for the mean of those that do, weighted by the
    magnitudes of their weights: the result is

    .. math:: \sum_{k \in V} w_k x_k + m \sum_{k \notin V} w_k, \quad
       m = \sum_{k \in V} |w_k| x_k \Big/ \sum_{k \in V} |w_k|,

    where V are the pixels of the window that lie in the image and are not NaN. The response to a constant image is
    therefore the same everywhere, the constant times the sum of all weights, for any kernel: a smoothing or sharpening
    kernel keeps it, a derivative is 0. For weights of one sign, this is the sum over V normalized by the remaining
    weight, :math:`\sum_{k \in V} w_k x_k \sum_k w_k / \sum_{k \in V} w_k`. If no pixel with a weight other than 0
    counts, the result is NaN, or 0 for integers.

    Images of 8 bits are summed in float32 where that is exact for integer weights, and where the result has the
    digits of float32 or fewer. Other integers are summed in float64, and floats in their own precision. An FFT is
    computed in float64, with errors of about 1e-16 of the greatest pixel in all results, and spreads pixels that are
    not finite; "auto" selects it only where neither shows. On a GPU, all integers are summed in float64, and the
    weights are not inspected before the kernel is launched: "auto" is "direct" there, and "separable" gives NaN for a
    kernel that is not the product of one line per axis.

    Differentiable with respect to image and kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import correlate
    >>> correlate(np.array([[1.0, 2, 4], [8, 16, 32]]), [[1, 0, -1]], border="constant")
    array([[ -2.,  -3.,   2.],
           [-16., -24.,  16.]])
    >>> correlate(np.array([250, 251, 255], np.uint8), [1, 1, 1])
    array([255, 255, 255], dtype=uint8)
    >>> correlate(np.array([1.0, 2.0, np.nan, 4.0]), [0.25, 0.5, 0.25], border="shrink", nan_policy="omit").round(3)
    array([1.333, 1.667, 3.   , 4.   ])
    """
    check_choice(method, "method", _METHODS)
    return _filter(
        image,
        kernel,
        flip=False,
        mode=mode,
        border=border,
        cval=cval,
        stride=stride,
        dilation=dilation,
        origin=origin,
        channel_axis=channel_axis,
        dtype=dtype,
        nan_policy=nan_policy,
        method=method,
    )


def convolve(
    image: Array,
    kernel: Array,
    /,
    *,
    mode: str = "same",
    border: str = "reflect",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    origin: int | tuple[int, ...] = 0,
    channel_axis: int | None = None,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    method: str = "auto",
) -> Array:
    """Convolve an image with a kernel: correlate it with the flipped kernel.

    Parameters
    ----------
    image, kernel, mode, border, cval, stride, dilation, origin, channel_axis, dtype, nan_policy, method
        As for `correlate`, but a positive `origin` shifts windows to larger indices, as in ``scipy.ndimage``.

    Returns
    -------
    array
        Convolution, of the shape and dtype that `correlate` returns.

    Raises
    ------
    TypeError, ValueError
        As for `correlate`.

    See Also
    --------
    correlate : The same without the flip; its notes apply here too.

    Examples
    --------
    The response to a single pixel is the kernel:

    >>> import numpy as np
    >>> from npsubpix import convolve
    >>> convolve(np.array([0.0, 0, 1, 0, 0]), [1.0, 2, 3])
    array([0., 1., 2., 3., 0.])
    """
    check_choice(method, "method", _METHODS)
    return _filter(
        image,
        kernel,
        flip=True,
        mode=mode,
        border=border,
        cval=cval,
        stride=stride,
        dilation=dilation,
        origin=origin,
        channel_axis=channel_axis,
        dtype=dtype,
        nan_policy=nan_policy,
        method=method,
    )


def convolve_separable(
    image: Array,
    kernels: Sequence[Array],
    /,
    *,
    mode: str = "same",
    border: str = "reflect",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    origin: int | tuple[int, ...] = 0,
    channel_axis: int | None = None,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
) -> Array:
    """Convolve an image along each axis with a kernel of that axis.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, with an optional channel axis
        Image.
    kernels : sequence of arrays of shape (K,)
        One kernel per axis, in the order of the axes. For an image (y, x), the first is applied along columns, the
        second along rows.
    mode, border, cval, stride, dilation, origin, channel_axis, dtype, nan_policy
        As for `convolve`.

    Returns
    -------
    array
        Convolution with the outer product of the kernels. Integer results are rounded once, not between the passes.

    Raises
    ------
    TypeError, ValueError
        As for `convolve`, and if the number of kernels is not that of the axes.

    See Also
    --------
    convolve : Convolution with any kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import convolve_separable
    >>> image = np.zeros((3, 5), np.uint8)
    >>> image[1, 2] = 200
    >>> convolve_separable(image, ([0.25, 0.5, 0.25], [0.5, 0, -0.5]))
    array([[ 0, 25,  0,  0,  0],
           [ 0, 50,  0,  0,  0],
           [ 0, 25,  0,  0,  0]], dtype=uint8)
    """
    x = as_array(image, "image")
    if isinstance(kernels, str) or not isinstance(kernels, Iterable):
        raise TypeError(f"kernels must be a sequence of arrays, one per axis, got {kernels!r}")
    lines = [without_half(check_reals_beside(k, "kernels", x)) for k in kernels]
    axis = check_channel_axis(channel_axis, x)
    axes = x.ndim - (axis is not None)
    if len(lines) != axes or any(k.ndim != 1 for k in lines):
        shapes = [tuple(k.shape) for k in lines]
        raise ValueError(f"kernels must hold {axes} arrays of shape (K,), one per axis, got shapes {shapes}")
    return _filter(
        x,
        outer_product(lines),
        flip=True,
        mode=mode,
        border=border,
        cval=cval,
        stride=stride,
        dilation=dilation,
        origin=origin,
        channel_axis=channel_axis,
        dtype=dtype,
        nan_policy=nan_policy,
        method=PRODUCT,
    )


def choose_conv_method(kernel: Array, *, stride: int | tuple[int, ...] = 1) -> str:
    """Return the method that `correlate` and `convolve` select for a kernel with ``method="auto"``.

    Parameters
    ----------
    kernel : array of 1 to 3 dimensions
        Weights.
    stride : int or tuple of ints, default 1
        As for `correlate`.

    Returns
    -------
    {"direct", "separable", "fft"}
        "separable" for a kernel of rank one: the product of its line along the last axis and of its other axes, both
        through the largest weight, to within four units of rounding of that weight. "fft", which is
        ``scipy.signal.oaconvolve``, for other large kernels without a stride; with these, `correlate` takes "direct"
        unless the result is the same to within its rounding: for sums of integers with integer weights, and in float32
        for positive pixels and weights, if the greatest pixel is at most 100,000 times the least, and without "shrink"
        or "omit". "direct" for all others.

    Raises
    ------
    TypeError, ValueError
        As for `correlate`.

    See Also
    --------
    correlate : Correlation by any of the methods.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import choose_conv_method
    >>> choose_conv_method(np.ones((3, 3))), choose_conv_method([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    ('separable', 'direct')
    """
    weights = check_reals(without_booleans(as_array(kernel, "kernel"), "float64"), "kernel")
    _check_kernel(weights)
    return str(call("choose_conv_method", weights, stride=check_per_axis(stride, weights.ndim, "stride", 1)))


def _check_kernel(weights: Array) -> None:
    if not 1 <= weights.ndim <= 3:
        raise ValueError(f"kernel must have 1 to 3 dimensions, got shape {tuple(weights.shape)}")
    if 0 in weights.shape:
        raise ValueError(f"kernel must have at least one weight along each axis, got shape {tuple(weights.shape)}")


def _filter(
    image: Any, kernel: Any, *, flip: bool, mode: Any, border: Any, cval: Any, stride: Any, dilation: Any, origin: Any,
    channel_axis: Any, dtype: Any, nan_policy: Any, method: Any,
) -> Array:  # fmt: skip
    """Check the arguments of a convolution or correlation, and run it."""
    x = without_booleans(as_array(image, "image"), "float32" if dtype is None else "uint8")
    weights = check_reals_beside(kernel, "kernel", x)
    _check_kernel(weights)
    axis = check_channel_axis(channel_axis, x)
    axes = check_image(x, axis)
    if weights.ndim != axes:
        hint = ": pass channel_axis for colours or frames" if weights.ndim == axes - 1 and axis is None else ""
        raise ValueError(
            f"kernel must have {axes} dimensions, as the image has, got shape {tuple(weights.shape)}{hint}"
        )
    check_choice(mode, "mode", _MODES)
    check_choice(border, "border", BORDERS)
    check_choice(nan_policy, "nan_policy", _POLICIES)
    chosen = check_dtype(dtype)
    if chosen is not None and chosen.name == "float16":
        raise TypeError("dtype must be that of integers, float32 or float64, got float16")
    return call(
        "correlate",
        x if chosen is None else without_half(x),
        weights,
        flip=flip,
        mode=str(mode),
        border=str(border),
        cval=check_fill(cval, "cval"),
        stride=check_per_axis(stride, axes, "stride", 1),
        dilation=check_per_axis(dilation, axes, "dilation", 1, FARTHEST),
        origin=_origins(origin, tuple(weights.shape), flip),
        channel_axis=axis,
        omit=nan_policy == "omit",
        method=str(method),
        dtype="" if chosen is None else chosen.name,
    )[0]


def _origins(origin: Any, shape: tuple[int, ...], flip: bool) -> tuple[int, ...]:
    """Check the origin, and return that of the correlation with the kernel, flipped or not."""
    origins = []
    for number, n in zip(check_per_axis(origin, len(shape), "origin", -(2**31)), shape, strict=True):
        if not -(n // 2) <= number <= (n - 1) // 2:
            ends = f"{-(n // 2)} to {(n - 1) // 2}"
            raise ValueError(f"origin must be from {ends} for a kernel of {n} weights, got {number}")
        origins.append(-number - (n % 2 == 0) if flip else number)
    return tuple(origins)
