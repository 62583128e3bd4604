"""The calls that kornia is a witness for: one list, for the recordings, the live comparison and npsubpix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DTYPES = ("float32", "float64", "float16", "bfloat16")

#: Amplitudes and temperatures. In float32 the quotient of the last two would hold no digit of the position.
EXTREMES = [
    *[(dtype, a, t) for dtype in ("float32", "float64") for a, t in ((1e5, 1e3), (1e-6, 1e3), (1e3, 1.0), (1.0, 1e-3))],
    ("float64", 1e5, 1.0),
    ("float64", 1e5, 1e-3),
]


@dataclass(frozen=True)
class Case:
    """A call of an operator, or of a class that is made with `options` and called with arrays and `more`.

    `differs` names what npsubpix does otherwise on purpose, as docs/coming_from_kornia.md says.
    """

    name: str
    operator: str
    arrays: tuple[np.ndarray, ...]  # float64 values that `dtype` holds exactly
    options: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float64"
    differs: str = ""

    def digest(self) -> str:
        """Return a hash of the arrays: recordings are of no use to others."""
        return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in self.arrays)).hexdigest()[:16]


def integers(seed: int, shape: tuple[int, ...], bound: int) -> np.ndarray:
    """Integers below a bound from raw bits, which are the same in all releases of NumPy."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return (raw >> np.uint64(11)).astype(np.int64).reshape(shape) % bound


def maps(
    seed: int, shape: tuple[int, ...], amplitude: float = 1.0, smooth: int = 0, levels: int = 1 << 16
) -> np.ndarray:
    """Random maps between -amplitude and amplitude, smoothed by binomial windows; few levels make ties."""
    x = integers(seed, shape, levels)
    for axis in range(2, len(shape)) if smooth else ():
        for _ in range(smooth):
            x = np.roll(x, 1, axis) + 2 * x + np.roll(x, -1, axis)  # exact: these are integers
    peak = max(levels - 1, 1) * 4 ** (smooth * (len(shape) - 2))
    return amplitude * (2 * x / peak - 1)


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """Round to what a dtype holds."""
    if dtype == "bfloat16":  # to nearest, ties to even, in the upper half of the bits of float32
        bits = x.astype(np.float32).view(np.uint32)
        bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return bits.view(np.float32).astype(np.float64)
    return x.astype(dtype).astype(np.float64)


def unrefined(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a quadratic operator returns where it refines nothing: the grid, as (scale, x, y), and the input."""
    d, i, j = np.indices(x.shape[2:], x.dtype)
    return np.broadcast_to(np.stack([d, j, i]), (*x.shape[:2], 3, *x.shape[2:])), x


def nms_cases() -> Iterator[tuple[Any, ...]]:
    for operator, shapes, windows in (
        (
            "nms2d",
            [(2, 3, 9, 11), (1, 2, 1, 13), (1, 1, 6, 5)],
            [(3, 3), (5, 5), (7, 7), (1, 1), (2, 2), (4, 3), (1, 5), (9, 2)],
        ),
        (
            "nms3d",
            [(2, 2, 5, 7, 9), (1, 1, 3, 6, 4), (1, 1, 1, 7, 7)],
            [(3, 3, 3), (1, 1, 1), (1, 3, 3), (5, 3, 3), (2, 2, 2), (3, 4, 5)],
        ),
    ):
        for shape in shapes:
            for window in windows:
                for mask_only in (False, True):
                    yield operator, (maps(1, shape),), {"kernel_size": window, "mask_only": mask_only}, "float32"
        for dtype in DTYPES:
            yield operator, (maps(2, shapes[0], 1e3, levels=9),), {"kernel_size": windows[0]}, dtype  # with ties
            yield operator, (maps(3, shapes[0], 1e-6),), {"kernel_size": windows[-1]}, dtype
    for dtype in DTYPES:
        yield "nms3d_minmax", (maps(4, (2, 2, 5, 7, 9)),), {}, dtype
        yield "nms3d_minmax", (maps(5, (1, 2, 4, 6, 5), levels=7),), {}, dtype
    bad = maps(6, (1, 2, 9, 12))
    bad[0, 0, [2, 5], [3, 7]], bad[0, 1, 4, [4, 5]], bad[0, 1, 6, 9] = np.nan, np.inf, -np.inf
    for window in ((3, 3), (2, 5)):
        yield "nms2d", (bad,), {"kernel_size": window}, "float32"


def spatial_cases() -> Iterator[tuple[Any, ...]]:
    shape = (2, 3, 6, 9)
    for operator in ("spatial_softmax2d", "spatial_soft_argmax2d"):
        for dtype in DTYPES:
            for amplitude, temperature in ((1.0, None), (8.0, 1.0), (1e-6, 1e-6), (1e3, 1e2)):
                x = maps(11, shape, min(amplitude, 1e3) if dtype == "float16" else amplitude)
                yield operator, (x,), {"temperature": temperature}, dtype
        for dtype, amplitude, temperature in EXTREMES:
            yield operator, (maps(12, shape, amplitude),), {"temperature": temperature}, dtype
        for other in ((1, 1, 1, 9), (1, 2, 7, 1), (1, 1, 1, 1), (3, 1, 12, 5)):
            yield operator, (maps(13, other, 4.0),), {"temperature": 0.5}, "float32"
    for dtype in DTYPES:
        for normalized in (True, False):
            options = {"normalized_coordinates": normalized}
            yield "spatial_soft_argmax2d", (maps(14, shape, 3.0),), options, dtype
            yield "spatial_expectation2d", (integers(15, shape, 64) / 2.0**10,), options, dtype
    for other in ((1, 1, 1, 9), (1, 2, 7, 1)):
        yield "spatial_expectation2d", (integers(16, other, 64) / 2.0**9,), {}, "float32"
    yield "spatial_expectation2d", (maps(17, shape, 1e5),), {"normalized_coordinates": False}, "float64"


def window_cases() -> Iterator[tuple[Any, ...]]:
    for operator, shape, others, windows, strides in (
        (
            "conv_soft_argmax2d",
            (2, 2, 6, 9),
            [(1, 1, 1, 9), (1, 2, 7, 1), (1, 1, 1, 1), (2, 1, 5, 12)],
            [((5, 5), (2, 2)), ((2, 2), (1, 1)), ((2, 2), (0, 0)), ((4, 3), (2, 1)), ((1, 1), (0, 0)), ((1, 5), (0, 2)),
             ((3, 3), (0, 1)), ((5, 3), (1, 0))],
            [(2, 2), (3, 1), (1, 4)],
        ),
        (
            "conv_soft_argmax3d",
            (1, 2, 3, 5, 6),
            [(1, 1, 1, 5, 6), (2, 1, 3, 1, 5), (1, 1, 1, 1, 1), (1, 1, 4, 6, 1)],
            [((3, 3, 3), (0, 1, 1)), ((2, 2, 2), (1, 1, 1)), ((1, 3, 3), (0, 0, 1)), ((3, 5, 4), (1, 2, 2)),
             ((1, 1, 1), (0, 0, 0)), ((3, 1, 5), (1, 0, 2))],
            [(1, 2, 2), (2, 1, 3), (3, 3, 1)],
        ),
    ):  # fmt: skip
        both = {"output_value": True}
        for dtype in DTYPES:
            for amplitude, temperature in ((3.0, 1.0), (1e-6, 1e-6), (1e3, 300.0)):
                yield operator, (maps(21, shape, amplitude),), {"temperature": temperature, **both}, dtype
        for dtype, amplitude, temperature in EXTREMES:
            yield operator, (maps(22, shape, amplitude),), {"temperature": temperature, **both}, dtype
        for other in others:
            yield operator, (maps(23, other, 4.0),), both, "float32"
        for k, (window, padding) in enumerate(windows):
            options = {"kernel_size": window, "padding": padding, "normalized_coordinates": k % 2 == 0, **both}
            yield operator, (maps(24, shape, 2.0),), options, ("float32", "float64")[k % 3 == 2]
        for stride in strides:
            for padding in (0, 1):
                options = {"stride": stride, "padding": (padding,) * (len(shape) - 2), **both}
                yield operator, (maps(25, shape, 2.0),), options, "float32"
        yield operator, (maps(26, shape),), {"eps": 0.1, **both}, "float32"
        yield operator, (maps(27, shape),), {"output_value": False, "normalized_coordinates": True}, "float32"
        yield operator, (maps(27, shape),), {"output_value": False, "normalized_coordinates": False}, "float32"
        bad = maps(28, shape)
        bad.reshape(-1)[[3, 70]] = np.nan
        yield operator, (bad,), both, "float32"
    # kornia's conv_soft_argmax3d cannot take integers here.
    yield "conv_soft_argmax2d", (maps(29, (2, 1, 6, 9)),), {"stride": 2, "padding": 1, "output_value": True}, "float32"


def quad_cases() -> Iterator[tuple[Any, ...]]:
    shape = (2, 2, 6, 16, 19)
    none = {"strict_maxima_bonus": 0.0}
    for operator, far, own in (
        ("iterative_quad_interp3d", {}, [{"max_candidates": n} for n in (0, 1, 5)]),
        ("conv_quad_interp3d", {"dilation_radius": 4}, [{"dilation_radius": n} for n in (0, 3)]),
    ):
        for smooth in (0, 1, 2):
            for dtype in ("float32", "float64"):
                yield operator, (maps(31 + smooth, shape, 1.0, smooth),), none | far, dtype
        for amplitude in (1e-6, 1e-3, 1e2, 1e5):
            for dtype in ("float32", "float64"):
                yield operator, (maps(41, shape, amplitude, 1),), none, dtype
        for dtype in ("float16", "bfloat16"):
            yield operator, (integers(42, shape, 16),), none | far, dtype  # derivatives are exact in these
        for options in (
            *[{"n_iters": n, "max_subpixel_shift": 0.3} for n in (0, 1, 2, 3, 10)],
            *[{"max_subpixel_shift": s} for s in (0.5, 0.9, 2.0)],
            {"allow_scale_steps": False},
            *own,
        ):
            yield operator, (maps(43, shape),), none | far | options, "float64"
        for other in ((1, 1, 2, 9, 9), (1, 1, 5, 1, 9), (1, 1, 3, 3, 3), (0, 1, 3, 4, 4), (3, 1, 3, 8, 5)):
            yield operator, (maps(44, other, 1.0, 1),), none, "float32"
        mask = np.zeros(shape, bool)
        mask[..., 1:-1, 1:-1, 1:-1] = integers(45, (2, 2, 4, 14, 17), 8) == 0
        yield operator, (maps(46, shape, 1.0, 1),), none | far | {"precomputed_nms_mask": mask}, "float64"


def gaussian_cases() -> Iterator[tuple[Any, ...]]:
    def render(mean: Any, std: Any, size: tuple[int, int], normalized: bool) -> tuple[Any, ...]:
        arrays = tuple(np.array(a, np.float64) for a in (mean, std))
        return "render_gaussian2d", arrays, {"size": size, "normalized_coordinates": normalized}

    many = integers(51, (2, 3, 2), 64) / 32 - 1
    for dtype in DTYPES:
        yield *render(many, np.full((2, 3, 2), 0.25), (7, 11), True), dtype
        yield *render(4 * many + 4, [1.5, 0.75], (9, 8), False), dtype
    for dtype in ("float32", "float64"):
        yield *render([0.125, -0.5], [[0.5, 0.25], [2.0, 0.0625]], (6, 10), True), dtype
        yield *render([1e3, -50.0], [2.0, 3.0], (6, 10), False), dtype  # far outside
        yield *render([3.0, 2.0], [1e-3, 1e3], (6, 10), False), dtype
        yield *render([[0.5, 0.0]], [[0.25, 0.25]], (1, 9), True), dtype
        yield *render([[0.0, 4.0]], [[1.0, 1.0]], (9, 1), False), dtype


def class_cases() -> Iterator[tuple[Any, ...]]:
    heat, volume = maps(61, (2, 2, 6, 9), 3.0), maps(62, (1, 2, 4, 6, 7), 2.0)
    pyramid = maps(63, (1, 2, 5, 9, 12), 1.0, 1)
    none = {"strict_maxima_bonus": 0.0}
    yield "SpatialSoftArgmax2d", (heat,), {"temperature": 0.5, "normalized_coordinates": False}, "float64"
    yield "SpatialSoftArgmax2d", (heat,), {}, "float32"
    yield "ConvSoftArgmax2d", (heat,), {"kernel_size": (5, 3), "stride": (2, 1), "temperature": 0.5}, "float64"
    yield "ConvSoftArgmax2d", (heat,), {}, "float32"
    yield "ConvSoftArgmax3d", (volume,), {"kernel_size": (2, 3, 4), "output_value": False}, "float64"
    yield "ConvSoftArgmax3d", (volume,), {}, "float32"
    yield "ConvQuadInterp3d", (pyramid,), none | {"n_iters": 3, "dilation_radius": 5}, "float64"
    yield "IterativeQuadInterp3d", (pyramid,), none | {"max_subpixel_shift": 0.5, "max_candidates": 4}, "float64"
    for mode in ("auto", "patch", "conv"):
        yield "AdaptiveQuadInterp3d", (pyramid,), none | {"mode": mode, "max_candidates": 4}, "float32"
    yield "NonMaximaSuppression2d", (heat,), {"kernel_size": (5, 2)}, "float32"
    yield "NonMaximaSuppression3d", (volume,), {"kernel_size": (3, 3, 3)}, "float32", {"mask_only": True}


def different_cases() -> Iterator[tuple[Any, ...]]:
    """Calls of which npsubpix makes something else on purpose."""
    temperature = np.array([[0.5, 1.0, 4.0], [2.0, 0.25, 8.0]])
    heat, volume = maps(71, (2, 3, 6, 9), 3.0), maps(72, (2, 3, 3, 4, 5), 3.0)
    for operator in ("spatial_softmax2d", "spatial_soft_argmax2d", "conv_soft_argmax2d", "conv_soft_argmax3d"):
        x = volume if operator.endswith("3d") else heat
        more = {"output_value": True} if operator.startswith("conv") else {}
        for shape in ((3,), (2, 3), (2, 1)):
            given = temperature[: shape[0] if len(shape) == 2 else 1, : shape[-1]].reshape(shape)
            yield operator, (x,), {"temperature": given, **more}, "float64", {}, "temperature"
        for value in (np.inf, -np.inf):
            x = x.copy()
            x.reshape(6, -1)[:, 16] = value  # one an image
            yield operator, (x,), more, "float64", {}, "infinity"
    shape, none = (1, 2, 5, 12, 14), {"strict_maxima_bonus": 0.0}
    options = none | {"max_subpixel_shift": 0.3}
    yield "conv_quad_interp3d", (maps(73, (2, 2, 6, 16, 19)),), options, "float64", {}, "dilation_radius"
    for operator in ("iterative_quad_interp3d", "conv_quad_interp3d"):
        marked = none | {"precomputed_nms_mask": np.ones(shape, bool)}
        if operator.startswith("conv"):
            marked["dilation_radius"] = 5
        yield operator, (maps(74, shape, 1.0, 1),), marked, "float64", {}, "border"


def bonus_cases() -> Iterator[tuple[Any, ...]]:
    """Calls of 0.8.3, the last release that gave a bonus: inputs for which its results are what its page says.

    The page multiplies the value of a window around a strict maximum by 1 + bonus, the code by
    1 + bonus * the maximum: here all maxima are 1. And the code leaves out levels unless depth
    is padded and its stride is 1.
    """
    volume = np.full((2, 2, 5, 8, 10), 0.25)
    for b, c, d, i, j in ((0, 0, 1, 2, 3), (0, 0, 3, 5, 7), (0, 1, 2, 4, 4), (1, 0, 3, 2, 6), (1, 1, 1, 6, 2)):
        hill = volume[b, c, d - 1 : d + 2, i - 1 : i + 2, j - 1 : j + 2]
        hill += maps(d, hill.shape, 0.25) + 0.25
        volume[b, c, d, i, j] = 1.0
    for dtype in ("float32", "float64"):
        for bonus in (10.0, 0.5):
            for stride in ((1, 1, 1), (1, 2, 2)):
                options = {"stride": stride, "eps": 0.0, "strict_maxima_bonus": bonus, "temperature": 0.5}
                yield "conv_soft_argmax3d", (volume,), options, dtype
    # Far from each other, so that all maxima converge, at which both releases agree.
    z, y, x = np.indices((7, 24, 26))
    hills = sum(
        np.exp(-((z - d) ** 2 / 4 + (y - i) ** 2 / 6 + (x - j) ** 2 / 5) / 2)
        for d, i, j in ((2.2, 5.3, 6.1), (4.4, 15.6, 7.8), (3.3, 9.9, 19.2), (4.0, 18.2, 20.7))
    )
    hills = np.round(hills[None, None] * 2**20) / 2**20  # not to depend on how exp rounds
    for operator in ("iterative_quad_interp3d", "conv_quad_interp3d"):
        for dtype in ("float32", "float64"):
            yield operator, (hills,), {}, dtype
            yield operator, (hills,), {"strict_maxima_bonus": 2.5, "max_subpixel_shift": 0.45}, dtype


def _numbered(*groups: Any) -> tuple[Case, ...]:
    cases = []
    for group in groups:
        for number, (operator, arrays, options, dtype, *rest) in enumerate(group()):
            name = f"{group.__name__.removesuffix('_cases')}-{number}-{operator}-{dtype}"
            arrays = tuple(rounded(a, dtype) for a in arrays)
            cases.append(Case(name, operator, arrays, options, rest[0] if rest else {}, dtype, "".join(rest[1:])))
    return tuple(cases)


#: By release of kornia.
CASES = {
    "0.9.0": _numbered(
        nms_cases, spatial_cases, window_cases, quad_cases, gaussian_cases, class_cases, different_cases
    ),
    "0.8.3": _numbered(bonus_cases),
}
