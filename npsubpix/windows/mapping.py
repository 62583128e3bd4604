"""Arbitrary functions of sliding windows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, as_array, without_booleans, without_half
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_dtype, check_fill, check_per_axis
from npsubpix._definitions.borders import BORDERS
from npsubpix._dispatch.call import call
from npsubpix.windows.reduce import REDUCTIONS, reduce_image

__all__ = ["window_map"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def window_map(
    func: Callable[..., Any] | str,
    /,
    *images: Array,
    size: int | tuple[int, ...] | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
    n_outputs: int = 1,
    vectorized: bool = False,
    max_memory: int | str = "256 MB",
    footprint: Array | None = None,
    weights: Array | None = None,
    q: float | None = None,
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array | tuple[Array, ...]:
    """Apply a function to a sliding window of one or several images.

    Parameters
    ----------
    func : callable or str
        Function of one window per image, each an array with the dimensions of the images. It returns a number, or a
        tuple of `n_outputs` numbers. Numba compiles it into the loop over the pixels, once per function, dtypes and
        window size. It may use numbers and small arrays of the enclosing scope, whose values are fixed when it is
        compiled, and must not write to windows. Integers keep the dtype of the image, so negative differences of
        unsigned integers wrap; division by 0 gives inf or NaN.

        Alternatively, the name of a reduction of a single image: "sum", "mean", "var", "std", "min", "max", "range",
        "median", "percentile" or "centroid", computed as by `window_sum` and related functions.
    *images : one to four arrays of shape (H, W) or (D, H, W)
        Images of equal shape, of any integer or float dtype: NumPy, CuPy or torch, or JAX arrays on the host. A
        reduction by name takes one image, which may also have one dimension.
    size : int or tuple of ints
        Length of the window in pixels, for all axes or per axis. A window of k pixels starts k // 2 pixels before its
        pixel, as in ``scipy.ndimage``.
    border : str, default "shrink"
        "shrink": windows are clipped to the image. Otherwise the border extension, as for `correlate`, with which the
        images are padded first.
    cval : float, default 0.0
        Value outside of the image for "constant".
    stride : int or tuple of ints, default 1
        Step between windows in pixels, for all axes or per axis.
    dtype : dtype, optional
        Dtype of the results. By default, the dtype that the function returns.
    n_outputs : int, default 1
        Number of values that the function returns.
    vectorized : bool, default False
        If True, the function is called with batches of windows instead of being compiled. It takes arrays of shape
        (N, h, w) or (N, d, h, w), and returns an array of N numbers, or a tuple of such arrays. With "shrink", clipped
        windows come in separate batches, since all windows of a batch have the same shape.
    max_memory : int or str, default "256 MB"
        Maximum size of a batch in bytes. A batch holds at least one row of windows.
    footprint, weights : array, optional
        For a reduction by name, in place of `size`, as for `window_sum`.
    q : float, optional
        Percentile from 0 to 100, for "percentile".
    nan_policy : {"propagate", "omit"}, default "propagate"
        Treatment of NaN, for a reduction by name, as for `window_sum`.
    mask : array of bool of the shape of the image, optional
        True for pixels that do not count, for a reduction by name, as for `window_sum`.

    Returns
    -------
    array or tuple of arrays
        Results. The shape is that of the images divided by the stride, rounded up. A tuple if `n_outputs` is greater
        than one.

    Raises
    ------
    TypeError
        If Numba cannot compile the function, with the offending line, or an argument is of the wrong type.
    ValueError
        If the function returns a different number of values, images differ in shape, or an option is out of range.
    Exception
        An exception of the function, for the first window that raises it.

    See Also
    --------
    window_sum, window_median : Reductions with faster algorithms.
    correlate : Weighted sums of windows.

    Notes
    -----
    For windows of up to 128 pixels that are not clipped, the size is a constant of the compiled loop. Array
    expressions and sums of them become single loops without temporary arrays. NumPy functions behave as Numba
    implements them: ``np.median``, for example, does not propagate NaN.

    On a GPU, numba.cuda compiles the function. It supports loops over pixels but no functions of arrays, and raises no
    exceptions. With `vectorized`, batches are CuPy arrays there.

    Examples
    --------
    Sum the difference of squares over windows of two images, clipped at the border:

    >>> import numpy as np
    >>> from npsubpix import window_map
    >>> a = np.array([[179,  97,  77, 118, 144, 105],
    ...               [ 68,  56, 184, 210, 141, 230],
    ...               [178, 166, 218,  47, 106, 172],
    ...               [ 38, 183,  50, 185,  48,  87],
    ...               [ 60, 200, 228, 232,   6, 190],
    ...               [253,  75, 231, 166, 117, 134]])
    >>> b = np.array([[116,  95,  94, 220,  80, 223],
    ...               [135,   9, 166,  78,   5, 129],
    ...               [102, 167, 120,  81, 141,  29],
    ...               [ 83, 117,  81, 129, 255,  48],
    ...               [130, 231, 165,   7, 187, 169],
    ...               [ 44, 137,  16,  50, 229, 202]])
    >>> print(window_map(lambda u, v: (u**2 - v**2).sum(), a, b, size=3, dtype=float))
    [[   8423.   11816.   10372.   41125.   35287.   31747.]
     [  29370.   65887.   38811.   61252.   51033.   51845.]
     [  24756.   60119.  109133.   35101.   70005.   18757.]
     [   8641.   62463.  126935.   14530.    2255.  -64752.]
     [  36623.  110426.  163513.   33812.  -50035. -146450.]
     [  22268.  100132.  130190.   83010.  -10163.  -88994.]]

    Return two results at once, and call a function with batches:

    >>> low, high = window_map(lambda u: (u.min(), u.max()), a, size=3, n_outputs=2)
    >>> low[0], high[0]
    (array([ 56,  56,  56,  77, 105, 105]), array([179, 184, 210, 210, 230, 230]))
    >>> window_map(lambda u: np.median(u, axis=(1, 2)), a, size=3, vectorized=True)[1]
    array([131.5, 166. , 118. , 141. , 141. , 142.5])
    """
    if isinstance(func, str):
        return _by_name(func, images, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask, q)
    if footprint is not None or weights is not None or q is not None:
        raise ValueError("footprint, weights and q are for reductions by name: func can choose and weigh pixels itself")
    if nan_policy != "propagate" or mask is not None:
        raise ValueError("nan_policy and mask are for reductions by name: func can skip pixels itself, such as NaN")
    chosen = check_dtype(dtype)
    xs = _checked_images([without_booleans(as_array(x, "images")) for x in images])
    if not callable(func):
        raise TypeError(f"func must be a function, or the name of one, got {func!r}")
    axes = xs[0].ndim
    check_choice(border, "border", BORDERS)
    options: dict[str, Any] = {
        "func": func,
        "size": check_per_axis(size, axes, "size", 1),
        "border": str(border),
        "cval": check_fill(cval, "cval"),
        "stride": check_per_axis(stride, axes, "stride", 1),
        "n_outputs": check_count(n_outputs, "n_outputs", 1),
        "dtype": chosen,
    }
    xs = xs if chosen is None else [without_half(x) for x in xs]
    memory = _bytes(max_memory)
    if check_bool(vectorized, "vectorized"):
        arrays = call("map_batches", *xs, max_memory=memory, **options)
    else:
        arrays = call("map_windows", *xs, **options)
    return arrays if n_outputs > 1 else arrays[0]


def _by_name(
    name: str, images: tuple[Any, ...], size: Any, footprint: Any, weights: Any, border: Any, cval: Any, stride: Any,
    dtype: Any, nan_policy: Any, mask: Any, q: Any,
) -> Array:  # fmt: skip
    if name not in REDUCTIONS:
        raise ValueError(f"func must be a function or one of {', '.join(REDUCTIONS)}, got {name!r}")
    if len(images) != 1:
        raise TypeError(f"images must be one array for a reduction by name, got {len(images)}: pass size=… by name")
    if (q is not None) != (name == "percentile"):
        raise ValueError(f"q must be given for percentile, and only for it, got {q!r} for {name}")
    return reduce_image(
        images[0], name, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask,
        50.0 if q is None else q, "images",
    )  # fmt: skip


def _checked_images(xs: list[Any]) -> list[Any]:
    if not 1 <= len(xs) <= 4:
        raise TypeError(f"images must be one to four arrays, got {len(xs)}")
    home = home_of(xs[0])
    for x in xs[1:]:
        home.require_one_library(x, "images")
    shapes = {tuple(x.shape) for x in xs}
    if len(shapes) > 1 or xs[0].ndim not in (2, 3):
        found = ", ".join(str(tuple(x.shape)) for x in xs)
        hint = ": pass size=…" if () in shapes else ""
        raise ValueError(f"images must have one shape, (H, W) or (D, H, W), got {found}{hint}")
    if 0 in xs[0].shape:
        raise ValueError(f"images must have at least one pixel along each axis, got shape {tuple(xs[0].shape)}")
    return xs


def _bytes(value: Any) -> int:
    if not isinstance(value, str):
        return check_count(value, "max_memory", 1)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", value.lower())
    if found is None:
        raise ValueError(f'max_memory must be a number of bytes, or such as "256 MB", got {value!r}')
    return check_count(int(float(found[1]) * _UNITS[found[2]]), "max_memory", 1)
