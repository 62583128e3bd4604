"""Standard errors of refined positions: derivatives by differences, scatter, rows without errors, and tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

import npsubpix
from benchmarks.refinement_errors import METHODS as CASES
from benchmarks.refinement_errors import measure
from npsubpix import Camera, PeakFlags

METHODS = ("quadratic", "parabola", "least_squares", "log_quadratic", "centroid", "phasor", "radial")
WITH_RADIUS = METHODS[3:]

Refine: TypeAlias = Callable[..., npsubpix.Peaks]


def spot(rng: np.random.Generator, shape: tuple[int, ...], centre: tuple[float, ...]) -> np.ndarray:
    light = npsubpix.render_spots([centre], shape, std=1.3, amplitude=10.0 ** len(shape) * 10, integrate=True)
    return 10 + light + rng.normal(0, 1, shape)


def by_differences(
    refine: Refine, image: np.ndarray, start: np.ndarray, error: np.ndarray, reach: int, **options: object
) -> np.ndarray:
    """Standard errors from the positions in images that differ in a pixel: those of pixels up to `reach` away."""
    ranges = [range(max(c - reach, 0), min(c + reach + 1, n)) for c, n in zip(start, image.shape, strict=True)]
    pixels = np.array(list(itertools.product(*ranges)))
    images = np.repeat(image[None], 2 * len(pixels), axis=0)
    step = 1e-2
    for k, pixel in enumerate(pixels):
        images[(2 * k, *pixel)] += step
        images[(2 * k + 1, *pixel)] -= step
    starts, frames = np.repeat(start[None], len(images), axis=0), np.arange(len(images))
    coords = np.asarray(refine(images, starts, frame=frames, frame_axis=0, **options).coords)
    slopes = (coords[::2] - coords[1::2]) / (2 * step)
    return np.sqrt((slopes**2 * error[tuple(pixels.T)][:, None] ** 2).sum(axis=0))


def check(
    image: np.ndarray, start: tuple[int, ...], rng: np.random.Generator, reach: int = 6,
    refine: Refine = npsubpix.refine_peaks, **options: object,
) -> None:  # fmt: skip
    """Axes that are not refined have no error; 3e-3 of the others is what iterations leave."""
    error, place = rng.uniform(0.5, 2, image.shape), np.array(start)
    found = refine(image, place[None], error=error, **options)
    assert found.ok.all(), found.flag_names()
    fixed = (PeakFlags.FIXED_Z, PeakFlags.FIXED_Y, PeakFlags.FIXED_X)[-image.ndim :]
    still = np.array([bool(found.flags[0] & flag) for flag in fixed])
    wanted = by_differences(refine, image, place, error, reach, **options)
    assert np.isnan(found.coords_std[0, still]).all()
    np.testing.assert_allclose(found.coords_std[0, ~still], wanted[~still], rtol=3e-3)


def test_quadratic_and_fit(rng):
    """The derivative of the method; and what a fit says of itself, without being told the noise."""
    image = spot(rng, (15, 16), (7.2, 8.4))
    check(image, (7, 8), rng, reach=2)
    found = npsubpix.refine_peaks(image, [[7, 8], [0, 0]], method="fit")
    fits = npsubpix.fit_spots(image, [[7, 8]], box=7)
    np.testing.assert_allclose(found.coords_std[0], fits.coords_std[0], rtol=1e-6)
    assert np.isnan(found.coords_std[1]).all()
    assert npsubpix.refine_peaks(image, [[7, 8]]).coords_std is None
    assert npsubpix.refine_peaks(image, [[7, 8]], method=None, error=1.0).coords_std is None


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_derivatives(rng, method, ndim):
    """Inside, from another pixel than the nearest, at the border of an axis, and next to it."""
    wide = {"radius": (3.0, 2.0, 4.0)[-ndim:]} if method in WITH_RADIUS else {}
    shape, centre = (13, 14, 15)[-ndim:], (6.2, 6.7, 7.9)[-ndim:]
    image = spot(rng, shape, centre)
    near = tuple(round(c) for c in centre)
    check(image, near, rng, method=method, **wide)
    check(image, (near[0] - 1, *near[1:]), rng, method=method, max_shift=3, **wide)
    if method == "phasor":
        return
    for first in (0.2, 1.1):
        centre = (first, *centre[1:])
        image = spot(rng, shape, centre)
        check(image, tuple(round(c) for c in centre), rng, method=method)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_derivatives_of_saddles_and_of_corners_of_windows(rng):
    y, x = np.mgrid[:16, :17]
    image = 100 * np.tanh((y - 7.7) / 1.5) * np.tanh((x - 8.4 + 0.2 * (y - 8)) / 1.5) + rng.normal(0, 1, y.shape)
    check(image, (8, 8), rng, method="saddle", reach=3)
    check(image, (8, 8), rng, refine=npsubpix.refine_corners, sigma=(1.5, 0.0))
    check(image, (8, 8), rng, refine=npsubpix.refine_corners, sigma=1.0)
    counts = np.rint(image + 200)
    found = npsubpix.refine_corners(counts, [[8, 8]], camera=Camera(50, 0.5, 4), sigma=1.0)
    wanted = npsubpix.refine_corners(counts, [[8, 8]], error=((counts - 50) / 0.5 + 4) ** 0.5, sigma=1.0)
    np.testing.assert_allclose(found.coords_std, wanted.coords_std, rtol=1e-9)
    # Two axes of which the border cuts the window; and pixels that are in the window and around that of the start
    check(spot(rng, (15, 16), (1.2, 14.4)), (1, 14), rng, method="centroid")
    check(spot(rng, (15, 16), (7.3, 8.9)), (6, 10), rng, method="log_quadratic", radius=2, max_shift=3)
    check(spot(rng, (15, 16), (7.3, 8.9)), (7, 10), rng, method="centroid", radius=2, max_shift=3)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "centroid", "radial"])
def test_periodic_images(rng, method):
    """The errors of the image in which the spot is in the middle, with the noise of its pixels."""
    image, error = spot(rng, (15, 16), (7.2, 8.4)), rng.uniform(0.5, 2, (15, 16))
    shift = -7, -8
    inside = npsubpix.refine_peaks(image, [[7, 8]], method=method, error=error)
    found = npsubpix.refine_peaks(
        np.roll(image, shift, (0, 1)), [[0, 0]], method=method, error=np.roll(error, shift, (0, 1)), mode="wrap"
    )
    np.testing.assert_allclose(found.coords_std, inside.coords_std, rtol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("mode", [None, "wrap"])
def test_maps_of_noise_of_any_dtype(rng, dtype, mode):
    """The same numbers give the same errors, which are proportional to them; one of them is not known."""
    image = spot(rng, (15, 17), (7.2, 8.4))
    errors = rng.integers(1, 9, image.shape).astype(np.float64)
    errors[0, 0] = -1
    starts = [[7, 8], [1, 1]]
    found = npsubpix.refine_peaks(image, starts, error=errors.astype(dtype), mode=mode, max_shift=9)
    want = npsubpix.refine_peaks(image, starts, error=errors.astype(np.float64).tolist(), mode=mode, max_shift=9)
    np.testing.assert_array_equal(found.coords_std, want.coords_std)
    one, two = (npsubpix.refine_peaks(image, [[7, 8]], error=e).coords_std for e in (errors, 2 * errors))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-12)
    assert np.isfinite(one).all()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_noise_of_a_camera(rng):
    """Electrons and read noise, of a stack with maps; an EM gain doubles the variance of electrons."""
    light = np.stack([spot(rng, (15, 16), (7.2, 8.4)) for _ in range(2)])
    offset, factor = rng.uniform(90, 110, (15, 16)), rng.uniform(0.4, 0.6, (15, 16))
    read, stack = rng.uniform(0, 9, (15, 16)), np.rint(light / 0.5 + 100).astype(np.uint16)
    stack[0, 7, 6] = 50  # below the offset: no electrons
    options = {"frame": [0, 1], "frame_axis": 0, "method": "centroid"}
    for gain in (1, 30):
        camera = Camera(offset, factor, read, gain)
        electrons = ((stack - offset) * factor / gain).clip(0)
        variance = (2 if gain > 1 else 1) * electrons * (gain / factor) ** 2 + read
        found = npsubpix.refine_peaks(stack, [[7, 8]] * 2, camera=camera, **options)
        wanted = npsubpix.refine_peaks(stack, [[7, 8]] * 2, error=variance**0.5, **options)
        np.testing.assert_allclose(found.coords_std, wanted.coords_std, rtol=1e-9)
        assert not np.isnan(found.coords_std).any()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "centroid", "phasor"])
def test_rows_without_errors(rng, method):
    """Those that were not refined, and those of a pixel whose noise is not known. No noise is no error."""
    centres = np.array([[10, 10], [10, 30], [10, 50], [30, 10], [30, 30], [30, 50]])
    image = 10 + npsubpix.render_spots(centres + 0.2, (41, 61), std=1.3, amplitude=1000.0)
    error, mask = np.ones(image.shape), np.zeros(image.shape, bool)
    mask[10, 11] = True
    for pixel, value in zip([(10, 31), (10, 51), (30, 11), (30, 31)], [np.nan, -1.0, np.inf, 0.0], strict=True):
        error[pixel] = value
    starts = [*centres.tolist(), [-5, 3], [np.nan, 3]]
    found = npsubpix.refine_peaks(image, starts, method=method, error=error, mask=mask)
    assert np.isnan(np.asarray(found.coords_std)).all(axis=1).tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert (found.coords_std[4] < found.coords_std[5]).all()
    assert found.ok.tolist() == [False, *[True] * 5, False, False]
    silent = npsubpix.refine_peaks(image, [[30, 50]], method=method, error=np.zeros(image.shape))
    assert silent.coords_std.tolist() == [[0.0, 0.0]]


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_found_peaks(rng):
    """Errors are those of `refine_peaks`; `sigma` is the noise unless it is that of a filtered image."""
    centres = rng.uniform(6, 90, (20, 2))
    image = 10 + npsubpix.render_spots(centres, (96, 96), std=1.3, amplitude=400.0) + rng.normal(0, 1, (96, 96))
    found = npsubpix.find_peaks(image, threshold_abs=8, background=10, sigma=1.0, num_peaks=15)
    again = npsubpix.refine_peaks(image, found.indices, error=1.0)
    np.testing.assert_allclose(found.coords_std, again.coords_std, rtol=1e-9)
    known = npsubpix.local_background(image)
    by_map = npsubpix.find_peaks(image, background=known, threshold_abs=8)
    again = npsubpix.refine_peaks(image, by_map.indices, error=known.noise)
    np.testing.assert_allclose(by_map.coords_std, again.coords_std, rtol=1e-9)
    other = npsubpix.find_peaks(image, threshold_abs=8, background=10, sigma=1.0, error=2.0, num_peaks=15)
    np.testing.assert_allclose(other.coords_std, 2 * found.coords_std, rtol=1e-9)
    filtered = {"detect": "gaussian", "detect_sigma": 1.3, "threshold_abs": 8}
    assert npsubpix.find_peaks(image, **filtered, sigma=1.0).coords_std is None
    assert npsubpix.find_peaks(image, **filtered, camera=Camera()).coords_std is not None
    assert npsubpix.find_peaks(image, threshold_abs=20).coords_std is None
    assert npsubpix.find_peaks(image, threshold_abs=20, background=10).coords_std is None
    assert npsubpix.find_peaks(image, threshold_abs=1e9, error=1.0).coords_std.shape == (0, 2)
    stack = np.stack([image, image.T], axis=-1)
    frames = npsubpix.find_peaks(stack, threshold_abs=8, background=10, sigma=1.0, num_peaks=15, frame_axis=-1)
    np.testing.assert_allclose(frames.coords_std[:15], found.coords_std, rtol=1e-9)
    np.testing.assert_allclose(np.sort(frames.coords_std[15:, 0]), np.sort(found.coords_std[:, 1]), rtol=1e-6)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("plateau", ["refine", "first", "centroid"])
def test_plateaus(rng, plateau):
    """A plateau that is set to its centre has no error; a pair of equal pixels that is refined has one."""
    image = npsubpix.render_spots([[10.0, 10.5], [10.0, 30.2]], (21, 41), std=1.3, amplitude=100.0)
    image[9:12, 29:32] = image.max() + 1  # nine equal pixels
    found = npsubpix.find_peaks(image, threshold_abs=5, plateau=plateau, error=1.0)
    assert len(found) == 2
    refined = ~np.isnan(np.asarray(found.coords_std)).any(axis=1)
    assert refined.tolist() == [False, plateau != "centroid"]


def test_tables(tmp_path):
    """Selections, conversions, files, and the assessment of a table know the errors."""
    peaks = npsubpix.Peaks(
        np.array([[1.5, 2.5], [3.5, 4.5]]), np.array([9.0, 8.0]), np.array([[1, 2], [3, 4]]), np.zeros(2, np.int32),
        coords_std=np.array([[0.1, 0.2], [0.3, np.nan]]),
    )  # fmt: skip
    assert peaks[1:].coords_std[0, 0] == 0.3
    assert next(iter(peaks)).coords_std.tolist() == [[0.1, 0.2]]
    columns = list(peaks.to_dict())
    assert columns[:5] == ["y", "x", "y_std", "x_std", "value"]
    assert peaks.to_structured()["x_std"].tolist()[0] == 0.2
    assert repr(peaks).splitlines()[1].split() == ["y", "x", "y_std", "x_std", "value", "flags"]
    path = tmp_path / "peaks.csv"
    peaks.save(path, origin="corner")
    assert path.read_text().splitlines()[1].startswith("2.0,3.0,0.1,0.2,9.0")
    assert json.loads((tmp_path / "peaks.csv.json").read_text())["units"] == "pixel (y, x)"
    from npsubpix.cli.positions import read_positions

    np.testing.assert_array_equal(read_positions(path).coords_std, peaks.coords_std)
    joined = npsubpix.Peaks.concatenate([peaks, peaks[:1]])
    assert joined.coords_std[:, 0].tolist() == [0.1, 0.3, 0.1]
    assert peaks.to_trackpy()["ep"].tolist()[0] == pytest.approx(0.025**0.5)
    np.testing.assert_array_equal(npsubpix.assess(peaks, peaks.coords + 0.1, 1.0).errors_std, peaks.coords_std)


def test_wrong_arguments():
    image = np.zeros((9, 9))
    for call in (lambda **o: npsubpix.refine_peaks(image, [[4, 4]], **o), lambda **o: npsubpix.find_peaks(image, **o)):
        with pytest.raises(ValueError, match="error and camera exclude each other"):
            call(error=1.0, camera=Camera())
        with pytest.raises(TypeError, match="camera must be a Camera or None, got 3"):
            call(camera=3)
        with pytest.raises(ValueError, match="error must be positive, got -1"):
            call(error=-1)
        with pytest.raises(ValueError, match=r"error must be a number or have the shape of the image, \(9, 9\)"):
            call(error=np.ones((3, 3)))
        with pytest.raises(ValueError, match="offset must be a number or have the shape of the image"):
            call(camera=Camera(offset=np.ones((3, 3))))


@pytest.mark.exhaustive
@pytest.mark.parametrize("find", [False, True])
@pytest.mark.parametrize("photons", [False, True])
@pytest.mark.parametrize("method", list(CASES))
def test_an_error_bar_is_the_scatter(method, photons, find):
    """Of known pixels, and of those that the noise chose; up to 0.05 pixels, and up to 0.1 for windows."""
    windows = method in ("centroid", "phasor", "radial", "fit")
    least = (800.0 if windows else 30_000.0) if photons else (200.0 if windows else 2000.0)
    for flux in (least, 5 * least):
        found = measure(method, flux, photons=photons, find=find)
        assert found.kept > 0.99
        assert found.std < (0.1 if windows else 0.05)
        assert found.ratio == pytest.approx(1, abs=0.05)


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", METHODS)
def test_an_error_bar_is_the_scatter_in_volumes(rng, method):
    options = {"radius": (3.0, 4.0, 4.0)} if method in WITH_RADIUS else {}
    centre = np.array([8.2, 8.4, 8.3])
    clean = npsubpix.render_spots(centre[None], (17,) * 3, std=1.3, amplitude=3000.0, integrate=True)
    frames = np.repeat(clean[None], 2000, axis=0) + rng.normal(0, 1, (2000, *clean.shape))
    peaks = npsubpix.refine_peaks(
        frames, np.full((2000, 3), 8), frame=np.arange(2000), frame_axis=0, error=1.0, method=method, **options
    )
    assert peaks.ok.all()
    errors = peaks.coords - peaks.coords.mean(axis=0)
    np.testing.assert_allclose((errors / peaks.coords_std).std(axis=0), 1, atol=0.05)
