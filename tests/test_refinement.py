"""Refinement of given positions: definition, accuracy against the Cramér–Rao bound, flags, bad positions."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags
from tests.assertions import assert_library
from tests.reference import refinement as reference

METHODS = ["quadratic", "parabola", "centroid", None]


def spots(centres: np.ndarray, sigma: float, side: int = 15) -> np.ndarray:
    """A stack of Gaussian spots of height 1, an image each, around the middle of the image."""
    grid = np.arange(side) - side // 2
    along = [np.exp(-0.5 * ((grid - c[:, None]) / sigma) ** 2) for c in centres.T]
    return along[0][:, :, None] * along[1][:, None, :]


def refined(stack: np.ndarray, method: str | None, **options: object) -> npsubpix.Peaks:
    middle = stack.shape[1] // 2
    start = np.full((len(stack), 2), middle)
    return npsubpix.refine_peaks(stack, start, method=method, frame=np.arange(len(stack)), frame_axis=0, **options)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("limit", [0.7, 1.5, 4.0])
def test_quadratic_definition(rng, ndim, limit):
    """Every pixel inside a noisy image goes where the slow definition says, or stays for the reason it gives."""
    image = rng.standard_normal((11, 12) if ndim == 2 else (6, 7, 8))
    starts = np.argwhere(np.ones(image.shape, bool))
    starts = starts[((starts > 0) & (starts < np.array(image.shape) - 1)).all(axis=1)]
    peaks = npsubpix.refine_peaks(image, starts, max_shift=limit)
    for start, place, value, ok in zip(starts, peaks.coords, peaks.values, peaks.ok, strict=True):
        want = reference.quadratic(image, tuple(start), limit=np.inf)
        if want is None or np.abs(want[0] - start).max() > limit:
            assert not ok
            np.testing.assert_array_equal(place, start)
            assert value == image[tuple(start)]
        else:
            assert ok
            np.testing.assert_allclose(place, want[0], atol=1e-8)
            np.testing.assert_allclose(value, want[1], atol=1e-8)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("ndim", [2, 3])
def test_parabola_and_centroid_definition(rng, ndim):
    """Noisy spots, at pixels next to their centres, with a radius of each axis."""
    centres = rng.uniform(-0.6, 0.6, (12, ndim)) + (6, 8, 7)[:ndim]
    grid = np.indices((13, 17, 15)[:ndim])
    radius = (3.0, 4.5, 2.5)[:ndim]
    for centre in centres:
        u = (grid - centre.reshape((-1,) + (1,) * ndim)) / 1.4
        image = 40 * np.exp(-0.5 * (u**2).sum(0)) + rng.normal(10, 0.3, grid.shape[1:])
        pixel = tuple(np.rint(centre).astype(int).tolist())
        found = npsubpix.refine_peaks(image, [pixel], method="parabola")
        position, value = reference.parabola(image, pixel)
        if np.abs(position - pixel).max() < 0.6:  # or it goes on from another pixel
            np.testing.assert_allclose(found.coords[0], position, atol=1e-9)
            assert found.values[0] == pytest.approx(value, abs=1e-9)
        found = npsubpix.refine_peaks(image, [pixel], method="centroid", radius=radius, n_iters=20)
        assert found.ok.all()
        np.testing.assert_allclose(found.coords[0], reference.centroid(image, pixel, radius, 20), atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("ndim", [2, 3])
def test_parabola_is_exact_on_a_separable_quadratic(ndim):
    shape = (9,) * ndim
    centre = np.array([4.3, 3.6, 4.1][:ndim])
    image = 7 - ((np.indices(shape) - centre.reshape((-1,) + (1,) * ndim)) ** 2 * 0.1).sum(0)
    peaks = npsubpix.refine_peaks(image, [[4] * ndim], method="parabola")
    np.testing.assert_allclose(peaks.coords[0], centre, atol=1e-12)
    assert peaks.values[0] == pytest.approx(7, abs=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola", "centroid"])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_constant_offset_does_not_pull(rng, method, offset):
    stack = 100 * spots(rng.uniform(-0.5, 0.5, (40, 2)), 1.2)
    base = refined(stack, method, radius=4)
    assert base.ok.all()
    np.testing.assert_allclose(refined(stack + offset, method, radius=4).coords, base.coords, atol=2e-4)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("method", "bound"), [("quadratic", 0.1), ("parabola", 0.07), ("centroid", 2e-3)])
@pytest.mark.parametrize("sigma", [1.0, 1.3, 2.0])
def test_bias_over_the_phase(method, bound, sigma):
    """Without noise the error over the sub-pixel phase stays below a known bound, in pixels."""
    phase = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 11)] * 2), -1).reshape(-1, 2)
    peaks = refined(spots(phase, sigma), method, radius=3 * sigma)
    assert peaks.ok.all()
    assert np.abs(peaks.coords - 7 - phase).max() < bound


@pytest.mark.usefixtures("backend")
def test_centroid_reaches_the_bound_of_its_noise(rng):
    """With a window that fits the spot the error is within 25 % of the Cramér–Rao bound, in white noise."""
    sigma, noise = 1.3, 0.03
    phase = rng.uniform(-0.5, 0.5, (3000, 2))
    stack = spots(phase, sigma) + noise * rng.standard_normal((3000, 15, 15))
    peaks = refined(stack, "centroid", radius=3 * sigma)
    error = (peaks.coords - 7 - phase)[np.asarray(peaks.ok)]
    assert len(error) > 2990
    slope = spots(phase[:1], sigma) * (np.arange(15)[:, None] - 7 - phase[0, 0]) / sigma**2
    bound = noise / np.sqrt((slope**2).sum())
    assert error.std(0).max() < 1.25 * bound
    assert error.std(0).min() > 0.95 * bound


@pytest.mark.usefixtures("backend")
def test_centroid_of_a_volume_with_flat_voxels(rng):
    """Each axis has its own radius."""
    centre = np.array([4.2, 10.4, 9.7])
    grid = np.indices((9, 20, 20)) - centre[:, None, None, None]
    volume = np.exp(-0.5 * ((grid / np.array([1.0, 2.0, 2.0])[:, None, None, None]) ** 2).sum(0)) + 5
    peaks = npsubpix.refine_peaks(volume, [[4, 10, 10]], method="centroid", radius=(3, 6, 6), n_iters=20)
    assert peaks.ok.all()
    np.testing.assert_allclose(peaks.coords[0], centre, atol=5e-3)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola", "centroid"])
def test_minima_are_refined_like_maxima(rng, method):
    stack = 100 * spots(rng.uniform(-0.5, 0.5, (20, 2)), 1.5) + rng.standard_normal((20, 15, 15))
    up, down = refined(stack, method), refined(500 - stack, method)
    np.testing.assert_allclose(down.coords, up.coords, atol=1e-9)
    np.testing.assert_array_equal(down.flags, up.flags)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
def test_bad_positions_are_flagged_and_the_rest_goes_on(method, rng):
    image = spots(np.array([[0.2, -0.3]]), 1.5)[0]
    given = np.array([[7, 7], [np.nan, 3], [3, np.inf], [-4, 5], [5, 99], [1e300, 5], [7.4, 6.6]])
    peaks = npsubpix.refine_peaks(image, given, method=method)
    flags = [PeakFlags(int(f)) for f in peaks.flags]
    assert flags[0] == flags[6] == 0
    np.testing.assert_array_equal(peaks.coords[6], peaks.coords[0])
    for row in (1, 2):
        assert flags[row] == PeakFlags.NONFINITE
        assert np.isnan(peaks.coords[row]).all()
        assert (peaks.indices[row] == -1).all()
        assert np.isnan(peaks.values[row])
    for row in (3, 4, 5):
        assert flags[row] == PeakFlags.AT_BORDER
        np.testing.assert_array_equal(peaks.coords[row], given[row])
        assert np.isnan(peaks.values[row])
    np.testing.assert_array_equal(np.asarray(peaks.ok), [f == 0 for f in flags])


def flag_of(image: np.ndarray, start: tuple[int, ...], method: str = "quadratic", **options: object) -> PeakFlags:
    peaks = npsubpix.refine_peaks(image, [start], method=method, **options)
    flag = PeakFlags(int(peaks.flags[0]))
    if not peaks.ok[0]:
        np.testing.assert_array_equal(peaks.coords[0], start)
        assert peaks.values[0] == image[start] or np.isnan(image[start])
    return flag


@pytest.mark.usefixtures("backend")
def test_every_flag():
    y, x = np.indices((15, 15)) - 7.0
    bowl = 10 - 0.1 * ((y - 0.2) ** 2 + (x - 0.3) ** 2)
    assert flag_of(bowl, (7, 7)) == 0
    assert flag_of(bowl, (7, 8)) == PeakFlags.MOVED
    assert flag_of(bowl, (0, 0)) == PeakFlags.AT_BORDER
    assert flag_of(bowl[:, 4:], (7, 0), max_shift=9) == PeakFlags.FIXED_X
    assert flag_of(bowl, (7, 3)) == PeakFlags.TOO_FAR
    assert flag_of(bowl, (7, 3), max_shift=9, n_iters=2) == PeakFlags.NOT_CONVERGED
    assert flag_of(bowl, (7, 3), max_shift=9) == PeakFlags.MOVED
    assert flag_of(y * y - x * x, (7, 7)) == PeakFlags.SADDLE
    assert flag_of(y * y - x * x, (7, 7), "parabola") == PeakFlags.SADDLE
    for method in ("quadratic", "parabola", "centroid"):
        assert flag_of(np.full((15, 15), 3.0), (7, 7), method) == PeakFlags.SINGULAR
        holed = bowl.copy()
        holed[7, 8] = np.nan
        assert flag_of(holed, (7, 7), method) == PeakFlags.NONFINITE
    assert flag_of(bowl, (0, 14), "centroid") == PeakFlags.AT_BORDER
    ridge = 10 - (y - x) ** 2
    assert flag_of(ridge, (7, 7)) == PeakFlags.SINGULAR
    assert flag_of(bowl, (7, 7), mask=x == 1) == PeakFlags.MASKED
    assert flag_of(bowl, (7, 7), mask=x == 2) == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola"])
def test_mask_counts_where_refinement_went(method):
    """A masked pixel that only the fit one pixel on needs is seen too."""
    y, x = np.indices((15, 15)) - 7.0
    image = 10 - 0.1 * (y**2 + (x - 0.9) ** 2)
    assert flag_of(image, (7, 7), method, mask=x == 2) == PeakFlags.MASKED | PeakFlags.MOVED
    assert flag_of(image, (7, 7), method, mask=x == 3) == PeakFlags.MOVED


@pytest.mark.usefixtures("backend")
def test_overflow_is_flagged():
    """Sums that overflow give no position, and nothing is read out of bounds."""
    image = np.zeros((103, 103))
    image[11, 51] = image[91, 51] = 1.7e308
    assert flag_of(image, (51, 51), "centroid", radius=50.0) == PeakFlags.NONFINITE
    huge = np.array([[1e307, -1.5e308, 1.5e308], [-1.5e308, 0, 1e308], [-1.5e308, 1.5e308, -1.5e308]])
    assert flag_of(huge, (1, 1), "quadratic") == PeakFlags.NONFINITE
    assert flag_of(huge, (1, 1), "parabola") in (PeakFlags.NONFINITE, PeakFlags.SINGULAR)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola"])
def test_two_pixels_that_lead_to_each_other(rng, method):
    """A walk back and forth ends at once, however many iterations are allowed."""
    image = rng.standard_normal((60, 60))
    starts = np.argwhere(np.ones(image.shape, bool))
    many = npsubpix.refine_peaks(image, starts, method=method, n_iters=10**9, max_shift=50)
    some = npsubpix.refine_peaks(image, starts, method=method, n_iters=3000, max_shift=50)
    np.testing.assert_array_equal(many.flags, some.flags)
    assert (many.flags == PeakFlags.NOT_CONVERGED).any()


@pytest.mark.usefixtures("backend")
def test_mask_counts_in_the_ring_of_the_centroid():
    image = spots(np.array([[0.1, 0.2]]), 1.2)[0]
    x = np.indices(image.shape)[1] - 7
    assert flag_of(image, (7, 7), "centroid", mask=x == 4) == PeakFlags.MASKED
    assert flag_of(image, (7, 7), "centroid", mask=x == 5) == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float32"])
def test_dtypes_and_libraries(dtype, wrap, rng):
    stack = (200 * spots(rng.uniform(-0.5, 0.5, (5, 2)), 1.4)).astype(dtype)
    want = refined(stack.astype(float), "quadratic")
    source = wrap(stack)
    start = np.full((5, 2), 7)
    got = npsubpix.refine_peaks(source, start, frame=np.arange(5), frame_axis=0)
    for column in ("coords", "values", "indices", "flags", "frame"):
        assert_library(getattr(got, column), source)
        np.testing.assert_array_equal(np.asarray(getattr(got, column)), getattr(want, column))
    assert np.asarray(got.coords).dtype == np.float64


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("level", [0.1, 1 / 3, 7.0, 1e8 + 0.3, -1e-20])
def test_a_flat_image_has_no_centroid(level):
    """Nor has what rounding leaves of the mean around a window, which is not the level of all sums."""
    for shape in ((9, 33), (9, 9, 11)):
        point = [[4.0] * len(shape)]
        flags = npsubpix.refine_peaks(np.full(shape, level), point, method="centroid").flags
        assert flags.tolist() == [PeakFlags.SINGULAR]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(9, 8), (4, 9, 8)])
@pytest.mark.parametrize("dtype", ["uint16", "int64", "float32"])
def test_pixels_that_are_not_refined(rng, shape, dtype):
    """They keep their positions and values, and are flagged at masked pixels and outside the image."""
    stack = rng.integers(0, 2**15, (3, *shape)).astype(dtype)
    mask = rng.random(shape) < 0.3
    frame, axes = rng.integers(0, 3, 60), len(shape)
    starts = rng.integers(0, shape, (60, axes))
    starts[:4, -1], starts[4:8, 0] = -2, shape[0]
    peaks = npsubpix.refine_peaks(stack, starts, method=None, mask=mask, frame=frame, frame_axis=0)
    np.testing.assert_array_equal(peaks.coords, starts)
    outside = np.arange(60) < 8
    assert np.isnan(peaks.values[outside]).all()
    np.testing.assert_array_equal(peaks.flags[outside], PeakFlags.AT_BORDER)
    place = tuple(starts[~outside].T)
    np.testing.assert_array_equal(peaks.values[~outside], stack[(frame[~outside], *place)])
    np.testing.assert_array_equal(peaks.flags[~outside], np.where(mask[place], PeakFlags.MASKED, 0))
    nothing = npsubpix.refine_peaks(stack[:, :0], starts[:8], method=None, frame=frame[:8], frame_axis=0)
    assert np.isnan(nothing.values).all()


def test_same_bits_for_any_number_of_threads(rng, threads):
    """By each method, in planes and volumes."""
    image, volume = rng.standard_normal((60, 70)), rng.standard_normal((7, 20, 30))

    def refined() -> list[np.ndarray]:
        out = []
        for x in (image, volume):
            starts = np.argwhere(x > 0)
            for method in METHODS:
                peaks = npsubpix.refine_peaks(x, starts, method=method)
                out += [peaks.coords, peaks.values, peaks.indices, peaks.flags]
        return out

    assert threads(refined) >= {
        f"refine_{name}" for name in ("quadratic2d", "quadratic3d", "parabola2d", "parabola3d", "centroid")
    }


@pytest.mark.usefixtures("backend")
def test_no_positions():
    peaks = npsubpix.refine_peaks(np.zeros((5, 5)), [])
    assert len(peaks) == 0
    assert peaks.coords.shape == (0, 2)


@pytest.mark.usefixtures("backend")
def test_wrong_arguments():
    image = np.zeros((9, 9))
    for coords, options, error, words in [
        ([[1, 2, 3]], {}, ValueError, r"coords must have shape \(N, 2\)"),
        ([1, 2], {}, ValueError, r"coords must have shape \(N, 2\)"),
        ([["a", "b"]], {}, TypeError, "coords must hold integers or floats of up to 64 bits, got dtype <U1"),
        (
            [[1, 2]],
            {"method": "gaussian"},
            ValueError,
            "method must be one of 'quadratic', 'parabola', 'least_squares', .*, 'fit', None",
        ),
        ([[1, 2]], {"n_iters": 0}, ValueError, "n_iters must be at least 1"),
        ([[1, 2]], {"max_shift": np.nan}, ValueError, "max_shift must be positive"),
        ([[1, 2]], {"radius": (1, 2, 3)}, ValueError, "radius must be one number or 2 of them"),
        ([[1, 2]], {"radius": 1e9}, ValueError, "radius must be between 1 and 1000"),
        ([[1, 2]], {"frame": [0]}, ValueError, "frame is given, so frame_axis must say"),
        ([[1, 2]], {"mask": image > 0, "frame_axis": None, "max_shift": -1}, ValueError, "max_shift must be positive"),
    ]:
        with pytest.raises(error, match=words):
            npsubpix.refine_peaks(image, coords, **options)
    stack = np.zeros((4, 9, 9))
    for frame, error, words in [
        (None, ValueError, "frame must give the image of each position"),
        ([4], ValueError, "frame must be between 0 and 3, got 4 to 4"),
        ([-1], ValueError, "frame must be between 0 and 3"),
        ([0, 1], ValueError, r"frame must have shape \(1,\)"),
        ([0.5], TypeError, "frame must hold integers"),
    ]:
        with pytest.raises(error, match=words):
            npsubpix.refine_peaks(stack, [[1, 2]], frame=frame, frame_axis=0)
