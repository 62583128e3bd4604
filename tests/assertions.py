"""One assertion for results, and one table of how far results may be from what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tolerance:
    """The greatest allowed difference from the wanted number `w`: `rtol |w| + atol + scaled max |w| + units ulp(w)`."""

    rtol: float = 0.0
    atol: float = 0.0
    scaled: float = 0.0  # of the greatest finite number of the wanted array, or of `floor`
    floor: float = 0.0
    units: float = 0.0  # in the last place, in the precision of the result

    def of(self, want: np.ndarray, dtype: str) -> Any:
        size = np.abs(want)
        greatest = size[np.isfinite(size)].max(initial=self.floor)
        allowed = self.rtol * size + self.atol + self.scaled * greatest
        if self.units:
            allowed = allowed + self.units * np.spacing(size.astype(dtype)).astype(float)
        return allowed


EXACT = Tolerance()

#: By quantity and by the dtype of the result; integers that are no rounded sums are exact.
#: The number of a quantity is what its arithmetic was measured to need, with a digit to spare at most.
TOLERANCES: dict[str, dict[str, Tolerance]] = {
    # Comparisons, copies and choices of pixels, and fits whose steps both backends round alike.
    "exact": {},
    # Boxes are summed in float64 and rounded once; the deviation of boxes without noise is 0, or a rounding of it.
    "background": {"float64": Tolerance(1e-11), "float32": Tolerance(1e-6)},
    "noise": {"float64": Tolerance(1e-11, 1e-12), "float32": Tolerance(1e-6, 1e-12)},
    # The same on many frames, whose nearly empty boxes are rounded as numbers of the size of the greatest.
    "background of stacks": {"float64": Tolerance(scaled=1e-11), "float32": Tolerance(scaled=1e-6)},
    # Differences of Gaussians cancel: what is left is rounded as the image was.
    "blobs": {"float64": Tolerance(1e-12, 1e-11), "float32": Tolerance(1e-5, 1e-4)},
    # Sums of products, in an order of each backend's own. Backward, of as many products as there are pixels.
    "convolution": {"float64": Tolerance(1e-9, 1e-10)},
    "convolution gradients": {"float64": Tolerance(1e-8, scaled=1e-9)},
    "filter banks": {"float64": Tolerance(1e-11, 1e-11, 1e-11), "float32": Tolerance(2e-5, 2e-5, 2e-5)},
    # Exponentials of each backend's own; gradients are sums over a map, which cancel.
    "gaussian": {
        "float64": Tolerance(1e-10, scaled=1e-10, floor=1e-3),
        "float32": Tolerance(2e-5, scaled=2e-5, floor=1e-3),
    },
    "spatial": {"float64": Tolerance(2e-11, scaled=2e-11), "float32": Tolerance(3e-5, scaled=3e-5)},
    "soft_argmax": {"float64": Tolerance(1e-11, 1e-12), "float32": Tolerance(2e-5, 2e-5)},
    "soft_argmax gradients": {
        "float64": Tolerance(1e-11, 1e-12, 1e-12),
        "float32": Tolerance(2e-5, 2e-5, 2e-5),
    },
    # A position is right to 1e-5 pixels in float32, which is a promise of the documentation, and to 4 units in the
    # last place, since far from the origin its digits end there.
    "position": {"float64": Tolerance(atol=1e-10, units=4), "float32": Tolerance(atol=1e-5, units=4)},
    # Sums over windows of pixels near 1; in single and half precision, integers and their sums are rounded as well.
    "windows": {"float64": Tolerance(1e-9, 1e-8), "float32": Tolerance(3e-4, 3e-3), "float16": Tolerance(1e-3, 1e-2)},
    # Both backends keep these sums in float64, and round once.
    "windows on both": {"float64": Tolerance(1e-10, 1e-9), "float32": Tolerance(1e-5, 1e-4)},
    # Centroids are quotients of sums over windows.
    "centroid": {"float64": Tolerance(1e-10, 1e-10)},
    "quad_interp gradients": {"float64": Tolerance(1e-12, scaled=1e-12), "float32": Tolerance(2e-5, scaled=2e-5)},
    # On a GPU fused products and its own exponentials; half precision has three digits.
    "hardware": {
        "float64": Tolerance(1e-10, 1e-10),
        "float16": Tolerance(1e-2, 1e-2),
        "bfloat16": Tolerance(1e-2, 1e-2),
    },
}


def dtype_name(x: Any) -> str:
    """The name of the dtype of an array, or of a dtype, of any library and byte order."""
    if isinstance(x, type):  # as np.float32, which has an attribute of that name
        return np.dtype(x).name
    name = str(getattr(x, "dtype", x)).removeprefix("torch.")
    return name if name == "bfloat16" else np.dtype(name).newbyteorder("=").name


def on_host(x: Any) -> np.ndarray:
    """Copy an array of any library to NumPy, bfloat16 as float32."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        return (x.float() if dtype_name(x) == "bfloat16" else x).resolve_conj().numpy()
    return np.asarray(x.get() if hasattr(x, "get") else x)


def assert_library(got: Any, source: Any) -> None:
    """Assert that a result is an array of the library and on the device of its source."""
    assert type(got) is type(source)
    if hasattr(source, "device"):
        assert got.device == source.device


def assert_same(
    got: Any,
    want: Any,
    quantity: str = "exact",
    *,
    dtype: Any = None,
    source: Any = None,
    precision: Any = None,
    within: Any = None,
) -> None:
    """Assert that a result is what is wanted: of the same library, device, dtype and shape, then in its values.

    Results of several arrays are compared one by one. NaN and infinity are wanted where they are, and nowhere else.
    `dtype` and `source`, an array, stand for those of `want` where that is a definition in float64. `precision` is the
    dtype that was computed in, where it is not that of the result. `within` is the greatest allowed difference, of
    each number or of all, where it depends on more than a quantity and its dtype.
    """
    if isinstance(want, tuple):
        assert isinstance(got, tuple)
        for g, w in zip(got, want, strict=True):
            assert_same(g, w, quantity, dtype=dtype, source=source, precision=precision, within=within)
        return
    if want is None:
        assert got is None
        return
    got, want, source = (np.asarray(x) if isinstance(x, np.generic) else x for x in (got, want, source))
    assert_library(got, want if source is None else source)
    assert dtype_name(got) == dtype_name(want if dtype is None else dtype)
    assert tuple(got.shape) == tuple(want.shape)
    values, wanted = on_host(got), on_host(want)
    allowances = TOLERANCES[quantity]
    precision = dtype_name(got if precision is None else precision)
    integral = values.dtype.kind in "biu"
    if within is None and (not allowances or integral):
        np.testing.assert_array_equal(values, wanted)
        return
    values, wanted = values.astype(float), wanted.astype(float)
    for special in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(special(values), special(wanted), err_msg=special.__name__)
    finite = np.isfinite(wanted)
    if within is None:
        within = allowances[precision].of(wanted, precision)
    allowed = np.broadcast_to(np.asarray(within, float), wanted.shape)[finite]
    off = np.abs(values[finite] - wanted[finite])
    if (off > allowed).any():
        worst = int(np.argmax(off - allowed))
        place = tuple(int(i) for i in np.argwhere(finite)[worst])
        raise AssertionError(
            f"{(off > allowed).sum()} of {wanted.size} numbers differ by more than allowed for {quantity!r}; "
            f"at {place} got {values[place]!r}, want {wanted[place]!r}, which differ by {off[worst]:.3g}, "
            f"allowed {allowed[worst]:.3g}"
        )
