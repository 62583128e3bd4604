"""Arbitrary functions of sliding windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.home import Home, home_of
from npsubpix._arrays.library import Array, HostArray, as_array, without_booleans, without_half
from npsubpix._arrays.options import (
    check_bool,
    check_choice,
    check_count,
    check_dtype,
    check_fill,
    check_memory,
    check_per_axis,
)
from npsubpix._definitions.borders import BORDERS
from npsubpix._dispatch.call import call
from npsubpix.windows.reduce import REDUCTIONS, check_footprint, lengths_of_windows, reduce_image

__all__ = ["window_map"]

_REAL = "bool", "int", "uint", "float", "bfloat"  # how names of dtypes of real numbers begin


def window_map(
    func: Callable[..., Any] | str,
    /,
    *images: Array,
    args: tuple[Any, ...] = (),
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
        Function of one window per image, each an array with the dimensions of the images, and of `args`. It returns a
        number, or a tuple of `n_outputs` numbers. Numba compiles it into the loop over the pixels, once per function,
        dtypes and window size. It may be a NumPy function that Numba implements, such as ``np.nanmedian``. It may use
        numbers and small arrays of the enclosing scope, and defaults of its parameters: for other values of these it
        is compiled again. It must not write to windows. Integers keep the dtype of the image, so negative differences
        of unsigned integers wrap; division by 0 gives inf or NaN.

        Alternatively, the name of a reduction of a single image: "sum", "mean", "var", "std", "min", "max", "range",
        "median", "percentile" or "centroid", computed as by `window_sum` and related functions.
    *images : one to four arrays of shape (W,), (H, W) or (D, H, W)
        Images of equal shape, of any integer or float dtype: NumPy, CuPy or torch, or JAX arrays on the host. A
        reduction by name takes one image.
    args : tuple, optional
        Numbers, and arrays of numbers, that the function takes after the windows. Other values of the same types do
        not compile it again. An array of the shape of the window, such as weights, needs a `border` other than
        "shrink", with which windows at the border are smaller.
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
        (N, w), (N, h, w) or (N, d, h, w), and `args`, and returns an array of N numbers, or a tuple of such arrays.
        With "shrink", clipped windows come in separate batches, since all windows of a batch have the same shape.
    max_memory : int or str, default "256 MB"
        Maximum size of a batch in bytes. A batch holds at least one row of windows.
    footprint : array of bool with the dimensions of the images, optional
        Pixels of the window that count, in place of `size`, as for `window_sum`. A function receives these pixels in
        an array of one dimension, as in ``scipy.ndimage.generic_filter``; with "shrink", only those in the image, of
        which there may be none. For a function, the footprint must be on the host.
    weights : array, optional
        For a reduction by name, as for `window_sum`.
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

    A function that Numba compiled before, and that `func` calls, keeps the values with which it was compiled. If the
    result depends on anything else that may change, such as a list, the function is compiled anew for each call.
    Compiled loops are kept on the disk, for functions that take nothing from elsewhere but numbers, text, tuples,
    arrays, and functions of ``math`` and NumPy.

    On a GPU, numba.cuda compiles the function. It supports loops over pixels but no functions of arrays, and raises no
    exceptions. Numbers in `args` and defaults are passed to it. With `vectorized`, batches are CuPy arrays there.

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

    Pass a number to the function, and map a function of NumPy:

    >>> window_map(lambda u, most: (u < most).sum(), a, size=3, args=(100,))[0]
    array([3, 4, 3, 1, 0, 0])
    >>> window_map(np.nanpercentile, a, size=3, args=(25,))[0]
    array([ 65.  ,  70.25,  82.  , 123.75, 123.75, 132.  ])

    Return two results at once, and call a function with batches:

    >>> low, high = window_map(lambda u: (u.min(), u.max()), a, size=3, n_outputs=2)
    >>> low[0], high[0]
    (array([ 56,  56,  56,  77, 105, 105]), array([179, 184, 210, 210, 230, 230]))
    >>> window_map(lambda u: np.median(u, axis=(1, 2)), a, size=3, vectorized=True)[1]
    array([131.5, 166. , 118. , 141. , 141. , 142.5])
    """
    if isinstance(func, str):
        if args != ():
            raise ValueError(f"args must be left out for a reduction by name, got {args!r}")
        return _by_name(func, images, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask, q)
    if not callable(func):
        raise TypeError(
            f"func must be a function, or the name of one, and comes before the images, got {type(func).__name__}"
        )
    if weights is not None or q is not None:
        raise ValueError("weights and q are for reductions by name: pass them to func by args=(…,)")
    if nan_policy != "propagate" or mask is not None:
        raise ValueError("nan_policy and mask are for reductions by name: func can skip pixels itself, such as NaN")
    chosen = check_dtype(dtype)
    xs = _checked_images([without_booleans(as_array(x, "images")) for x in images])
    axes = xs[0].ndim
    check_choice(border, "border", BORDERS)
    counted = None if footprint is None else _checked_footprint(footprint, axes)
    is_vectorized = check_bool(vectorized, "vectorized")
    options: dict[str, Any] = {
        "func": func,
        "size": lengths_of_windows(size, counted, None, axes),
        "border": str(border),
        "cval": check_fill(cval, "cval"),
        "stride": check_per_axis(stride, axes, "stride", 1),
        "n_outputs": check_count(n_outputs, "n_outputs", 1),
        "dtype": chosen,
        "args": _checked_args(args, xs[0], is_vectorized),
        "footprint": counted,
    }
    xs = xs if chosen is None else [without_half(x) for x in xs]
    memory = check_memory(max_memory)
    if is_vectorized:
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
    if len(shapes) > 1 or xs[0].ndim not in (1, 2, 3):
        found = ", ".join(str(tuple(x.shape)) for x in xs)
        hint = ": pass size=… and args=…" if () in shapes else ""
        raise ValueError(f"images must have one shape, (W,), (H, W) or (D, H, W), got {found}{hint}")
    return xs


def _checked_footprint(footprint: Any, axes: int) -> HostArray:
    array = check_footprint(footprint, axes)
    if home_of(array).on_gpu:
        raise TypeError("footprint must be on the host for a function, got an array on a GPU")
    counted = np.asarray(array)
    if not counted.any():
        raise ValueError("footprint must have a pixel that counts")
    return counted


def _checked_args(args: Any, image: Array, vectorized: bool) -> tuple[Any, ...]:
    """Require a tuple; for a function that is compiled, of numbers and arrays, which are adopted."""
    if not isinstance(args, (tuple, list)):
        raise TypeError(f"args must be a tuple, got {type(args).__name__}: write args=(value,) for a single value")
    if vectorized:
        return tuple(args)
    return tuple(_argument(value, f"args[{k}]", home_of(image)) for k, value in enumerate(args))


def _argument(value: Any, name: str, home: Home) -> Any:
    if isinstance(value, (bool, float, np.bool_, np.floating, np.integer)):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} must be an integer of 64 bits, got {value}")
        return value
    dtype = getattr(value, "dtype", None)
    if not str(getattr(dtype, "name", dtype)).removeprefix("torch.").startswith(_REAL):
        what = type(value).__name__ if dtype is None else f"an array of {dtype}"
        raise TypeError(
            f"{name} must be a number or an array of numbers, got {what}; func may take anything else "
            "that Numba compiles from the enclosing scope"
        )
    home.require_beside(value, name, "images[0]", on_host=True)
    with home.working():
        return home.adopt(value, name)
