"""Photometry of spots: definitions, flags, stacks, libraries, standard errors against scatter."""

from __future__ import annotations

import math

import numpy as np
import pytest

import npsubpix
from npsubpix import MeasurementFlags
from tests.assertions import assert_library, on_host
from tests.peak_tables import table
from tests.reference import photometry as reference

POSITIONS = np.array([[11.3, 13.8], [20.0, 20.5], [3.4, 30.2], [29.9, 2.1], [15.7, 33.05]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """Spots of several brightnesses on noise, one beside another, with a pixel that is not a number."""
    spots = npsubpix.render_spots(
        [*POSITIONS, [14.0, 19.0]], (36, 40), std=[[1.2, 1.9]], amplitude=np.linspace(200, 900, 6), integrate=True
    )
    x = spots + rng.normal(20, 3, spots.shape)
    x[20, 22] = np.nan
    return x


def slope_of(
    spots: npsubpix.Measurements, image: np.ndarray, radius: float, annulus: tuple[float, float], **known
) -> float:
    """Variance of a pixel per signal, from the residuals of all spots."""
    good = np.isfinite(image)
    if known.get("mask") is not None:
        good &= ~known["mask"]
    found = []
    for position in on_host(spots.coords):
        b, noise, _, _ = reference.annulus(image, good, position, annulus, known.get("method", "mean"))
        level = np.full(image.shape, b) if known.get("level") is None else known["level"]
        if math.isfinite(noise):
            found.append(reference.scatter(image, good, position, radius, level, np.full(image.shape, noise)))
    return reference.noise_slope([spot for spot in found if spot is not None])


def check(
    spots: npsubpix.Measurements, image: np.ndarray, radius: float, annulus: tuple[float, float], **known
) -> None:
    """Every column is that of the definition."""
    columns = spots.to_dict()
    if known.get("error") is None:
        known = {**known, "slope": slope_of(spots, image, radius, annulus, **known)}
    for row, position in enumerate(on_host(spots.coords)):
        want = reference.measure(image, position, radius, annulus, **known)
        for name, number in want.items():
            got = float(columns[name][row])
            if name == "angle":
                number = got + (number - got + math.pi / 2) % math.pi - math.pi / 2
            assert got == pytest.approx(number, rel=1e-8, abs=1e-9, nan_ok=True), (name, row)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("radius", "annulus"), [(3.0, (4.5, 7.5)), (2.35, (4.0, 9.2)), (0.4, (1.0, 3.0))])
def test_definition(image, radius, annulus):
    mask = np.zeros(image.shape, bool)
    mask[12, 14] = mask[4, 27] = True
    for method in ("median", "mean"):
        spots = npsubpix.measure_spots(image, POSITIONS, radius, annulus=annulus, method=method, mask=mask)
        if radius > 1:
            check(spots, image, radius, annulus, method=method, mask=mask)
        else:  # a circle in a pixel, which has no shape
            np.testing.assert_allclose(spots.area[3], math.pi * radius**2)
            np.testing.assert_allclose(spots.mass[3], spots.flux[3] / spots.area[3])


@pytest.mark.usefixtures("backend")
def test_definition_with_known_background_and_error(image):
    level, error = np.linspace(15, 25, image.size).reshape(image.shape), np.sqrt(np.abs(image) + 1)
    error[20, 22] = 2.0
    spots = npsubpix.measure_spots(image, POSITIONS, 3.0, background=level, error=error)
    check(spots, image, 3.0, (4.5, 7.5), level=level, error=error)
    half = npsubpix.measure_spots(image, POSITIONS, 3.0, background=level)  # noise of the annulus
    check(half, image, 3.0, (4.5, 7.5), level=level)
    other = npsubpix.measure_spots(image, POSITIONS, 3.0, error=error)
    check(other, image, 3.0, (4.5, 7.5), error=error)
    numbers = npsubpix.measure_spots(image, POSITIONS, 3.0, background=20.0, error=3)
    check(numbers, image, 3.0, (4.5, 7.5), level=np.full(image.shape, 20.0), error=np.full(image.shape, 3.0))
    both = npsubpix.measure_spots(image, POSITIONS, 3.0, background=npsubpix.results.Background(level, error))
    np.testing.assert_array_equal(both.flux_std, spots.flux_std)


def test_backgrounds_of_all_distributions(rng):
    """Pixels that are equal, that are about 0, of which few or many are far off at either end, or of two groups."""
    plain, shape = rng.normal(20, 3, (27, 29)), (27, 29)
    far, many = rng.uniform(0, 1e5, shape), rng.random(shape) < 0.3
    images = {
        "about 0": plain - 20,
        "few photons": rng.poisson(0.3, shape).astype(float),
        "photons": rng.poisson(5, shape).astype(float),
        "equal": np.full(shape, 7.0),
        "few bright": np.where(rng.random(shape) < 0.01, far, plain),
        "many bright": np.where(many, far, plain),
        "many dark": np.where(many, -far, plain),
        "two groups": np.where(many, plain * 1e-12, plain * 1e12),
        "ordered": np.sort(plain, axis=None).reshape(shape),
    }
    stack, frame = np.stack([*images.values()]), np.arange(len(images))
    position, annulus = np.array([13.2, 13.9]), (4.0, 12.0)
    for method in ("mean", "median"):
        spots = npsubpix.measure_spots(
            stack, np.tile(position, (len(stack), 1)), 3.0, annulus=annulus, method=method, error=1.0, frame=frame,
            frame_axis=0,
        )  # fmt: skip
        for k, (name, image) in enumerate(images.items()):
            level = reference.annulus(image, np.ones(shape, bool), position, annulus, method)[0]
            assert spots.background[k] == pytest.approx(level, rel=1e-9, abs=1e-12), (name, method)


def test_shares_add_up_to_the_area_of_the_circle(rng):
    """Wherever the circle is, on pixels and between them, small and large."""
    image = np.ones((90, 90))
    for radius in (0.2, 0.5, 1.0, 1.5, math.sqrt(2) / 2, 7.3, 40.0):
        points = np.concatenate(
            [rng.uniform(41, 48, (20, 2)), [[44, 44], [44.5, 44.5], [44, 44.5], [44.5, 44 + radius % 1]]]
        )
        spots = npsubpix.measure_spots(image, points, radius, background=0, error=1)
        np.testing.assert_allclose(spots.area, math.pi * radius**2, rtol=1e-11)
        np.testing.assert_allclose(spots.aperture_sum, spots.area, rtol=1e-12)


@pytest.mark.usefixtures("backend")
def test_definition_with_a_camera(image, wrap):
    """In electrons, with the noise of electrons and of reading, by maps of pixels."""
    offset, gain = np.linspace(90, 110, image.size).reshape(image.shape), np.full(image.shape, 0.5)
    gain[:, 20:], read = 0.8, 4.0
    counts = offset + np.nan_to_num(image, nan=20.0) / gain
    camera = npsubpix.Camera(offset=wrap(offset), electrons_per_count=gain, read_variance=read)
    electrons = (counts - offset) * gain
    error = np.sqrt(electrons.clip(0) + read * gain**2)
    spots = npsubpix.measure_spots(wrap(counts), POSITIONS, 3.0, camera=camera)
    check(spots, electrons, 3.0, (4.5, 7.5), error=error, electron=1.0)
    movie = wrap(np.stack([counts, counts], axis=1))
    rows = npsubpix.measure_spots(movie, POSITIONS, 3.0, camera=camera, frame=np.arange(5) % 2, frame_axis=1)
    np.testing.assert_allclose(on_host(rows.flux_std), on_host(spots.flux_std), rtol=1e-10)
    multiplied = npsubpix.Camera(
        offset=offset, electrons_per_count=30 * gain, read_variance=read, em_gain=gain * 0 + 30
    )
    double = npsubpix.measure_spots(wrap(counts), POSITIONS, 3.0, camera=multiplied)
    error = np.sqrt(2 * electrons.clip(0) + read * gain**2)
    check(double, electrons, 3.0, (4.5, 7.5), error=error, electron=3.0)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, -1])
def test_rows_of_a_stack_are_measured_in_their_frames(image, wrap, axis):
    movie = np.stack([image, np.full(image.shape, 7.0), 2 * image])
    frames = np.array([2, 0, 1, 2])
    peaks = table(POSITIONS[[0, 2, 3, 4]], frames, wrap)
    stack = wrap(np.moveaxis(movie, 0, axis))
    spots = npsubpix.measure_spots(stack, peaks, 3, frame_axis=axis)
    assert_library(spots.flux, stack)
    assert on_host(spots.frame).tolist() == frames.tolist()
    assert spots.image_shape == image.shape
    for row, frame in enumerate(frames):
        want = npsubpix.measure_spots(movie[frame], on_host(peaks.coords)[row : row + 1], 3)
        got = spots[row].to_dict()
        assert got.pop("flag_names")[0] == want.flag_names()[0]
        for name in got.keys() - {"frame", "flux_std", "snr"}:  # errors are of all spots
            assert got[name][0] == pytest.approx(want.to_dict()[name][0], rel=1e-12, nan_ok=True)
    listed = npsubpix.measure_spots(stack, on_host(peaks.coords), 3, frame=frames, frame_axis=axis)
    np.testing.assert_array_equal(on_host(listed.flux), on_host(spots.flux))
    maps = wrap(np.moveaxis(movie * 0 + np.arange(3.0)[:, None, None], 0, axis))
    known = npsubpix.measure_spots(stack, peaks, 3, frame_axis=axis, background=maps, error=wrap(np.ones(image.shape)))
    sound = on_host(known.flags) & 4 == 0
    np.testing.assert_allclose(on_host(known.background)[sound], frames[sound])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "float32", ">f8", "bool"])
def test_images_of_other_dtypes(image, dtype):
    """Measured as the numbers they hold."""
    x = (
        np.nan_to_num(image, nan=20.0).clip(0, 200) > 60 if dtype == "bool" else np.nan_to_num(image).clip(0, 200)
    ).astype(dtype)
    x.setflags(write=False)
    spots = npsubpix.measure_spots(np.asfortranarray(x), POSITIONS, 3)
    want = npsubpix.measure_spots(x.astype(float), POSITIONS, 3)
    for name in ("flux", "background", "noise", "size", "flags"):
        np.testing.assert_allclose(getattr(spots, name), getattr(want, name), rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("backend")
def test_flags():
    """A bad spot is a flagged row, and the others do not notice."""
    x = 5.0 + npsubpix.render_spots([[10.0, 10.0]], (30, 31), std=1.3, amplitude=100.0)
    x += np.random.default_rng(1).normal(0, 0.1, x.shape)
    mask = np.zeros(x.shape, bool)
    mask[20, 22], x[20, 12], x[21, 12] = True, np.nan, np.inf
    points = np.array(
        [[10, 10], [1.4, 10], [10, 29.5], [20, 21], [20, 11], [-1, 5], [5, 31], [np.nan, 5], [5, np.inf], [1e300, 3]]
    )
    spots = npsubpix.measure_spots(x, points, 3, mask=mask)
    F = MeasurementFlags
    shape = int(F.NO_SHAPE | F.NEGATIVE_FLUX | F.NOISE_GUESSED)
    assert (spots.flags & ~shape).tolist() == [
        0, F.PARTIAL_WINDOW, F.PARTIAL_WINDOW, F.MASKED, F.NONFINITE, F.OUTSIDE, F.OUTSIDE, F.NONFINITE, F.NONFINITE,
        F.OUTSIDE,
    ]  # fmt: skip
    assert spots.ok.tolist() == [True] + [False] * 9
    assert spots.flag_names()[0] == "-"
    assert spots.flag_names()[1].startswith("PARTIAL_WINDOW")
    assert np.isnan(spots.flux[5:]).all()
    assert np.isfinite(spots.flux[:5]).all()
    assert spots.area[3] == pytest.approx(math.pi * 9 - 1)
    np.testing.assert_array_equal(spots.coords, points)
    alone = npsubpix.measure_spots(x, points[:1], 3, mask=mask)
    assert alone.flux[0] == spots.flux[0] == pytest.approx(92.1, abs=2.5)


@pytest.mark.usefixtures("backend")
def test_spots_without_flux_without_shape_and_without_a_background():
    x = np.full((20, 20), 9.0)
    x[5, 5], x[5, 14], x[14, 4] = 4.0, 19.0, 10.0
    x[14, 6], x[13, 5], x[15, 5] = 8.0, 8.5, 8.5  # the second moments of the third are not those of an ellipse
    spots = npsubpix.measure_spots(x, [[5, 5], [5, 14], [14, 4], [10, 10]], 1.5)
    names = [set(n.split("|")) for n in spots.flag_names()]
    assert "NEGATIVE_FLUX" in names[0]
    assert spots.flux[0] == pytest.approx(-5)
    assert "NO_SHAPE" in names[1]  # a single pixel
    np.testing.assert_allclose(spots.centroid[1], [5, 14])
    assert np.isnan(spots.centroid[0]).all()
    assert np.isnan(spots.width).all()
    assert spots.ok.all()
    assert names[3] == {"NEGATIVE_FLUX"}
    assert spots.noise[3] == 0
    none = npsubpix.measure_spots(x, [[5, 14]], 1.5, annulus=(0.1, 0.9))
    assert none.flag_names() == ["NO_BACKGROUND"]
    assert np.isnan([none.flux[0], none.background[0], none.noise[0], none.snr[0], none.width[0]]).all()
    assert none.aperture_sum[0] == pytest.approx(9 * none.area[0] + 10)
    assert not none.ok[0]


@pytest.mark.usefixtures("backend")
def test_nothing_to_measure():
    for coords in ([], np.empty((0, 2))):
        spots = npsubpix.measure_spots(np.ones((5, 6)), coords, 2)
        assert len(spots) == 0
        assert spots.centroid.shape == (0, 2)
        assert spots.to_pandas().shape == (0, 24)
    outside = npsubpix.measure_spots(np.ones((0, 6)), [[0, 0]], 2)
    assert outside.flag_names() == ["OUTSIDE"]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["median", "mean"])
def test_standard_error_of_the_flux_is_its_scatter(rng, method):
    """Of noise of the background alone, and of photons, whose noise the spots show or the caller knows."""
    centres = np.stack(np.mgrid[15:495:30, 15:495:30], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (256, 2))
    truth = npsubpix.render_spots(centres, (510, 510), std=1.3, amplitude=300.0, integrate=True)
    lost = 300 - npsubpix.measure_spots(truth, centres, 3, background=0, error=1).flux
    noise, photons = truth + rng.normal(10, 4, truth.shape), rng.poisson(truth + 10.0)
    for image, known in ((noise, {}), (photons, {}), (photons, {"error": np.sqrt(truth + 10)})):
        spots = npsubpix.measure_spots(image, centres, 3, method=method, **known)
        pull = (spots.flux + lost - 300) / spots.flux_std
        assert abs(pull.mean()) < 4 / 16
        assert pull.std() == pytest.approx(1, abs=0.15)  # 3.4 standard errors of 256 spots


def grid(rng: np.random.Generator, side: int, count: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Positions in cells of an image, and its shape."""
    corners = np.stack(np.mgrid[:count, :count], -1).reshape(-1, 2) * side + side / 2
    return corners + rng.uniform(-0.5, 0.5, corners.shape), (count * side, count * side)


@pytest.mark.exhaustive
@pytest.mark.parametrize("background", [0.1, 0.3, 2.0, 20.0, 100.0])
@pytest.mark.parametrize("flux", [50, 1000, 1e5])
@pytest.mark.parametrize(("sigma", "radius"), [(1.3, 4.5), (1.3, 2.1), (0.8, 2.5)])
def test_errors_of_photon_counts(rng, background, flux, sigma, radius):
    """With a camera and without one, of few photons and of many, on a background of few or many."""
    points, shape = grid(rng, 30, 20)
    light = npsubpix.render_spots(points, shape, std=sigma, amplitude=flux, integrate=True)
    image = rng.poisson(light + background)
    truth = npsubpix.measure_spots(light, points, radius, background=0.0).flux
    annulus = (max(1.5 * radius, 4 * sigma), max(2.5 * radius, 4 * sigma + 3))
    for camera in (None, npsubpix.Camera()):
        spots = npsubpix.measure_spots(image, points, radius, annulus=annulus, camera=camera)
        pull = (spots.flux - truth) / spots.flux_std
        assert spots.ok.all()
        assert abs(pull.mean()) < 0.2  # 4 standard errors of 400 spots
        assert pull.std() == pytest.approx(1, abs=0.16)


@pytest.mark.exhaustive
@pytest.mark.parametrize("shape", ["moffat", "disc", "elliptical"])
def test_errors_of_spots_of_other_shapes(rng, shape):
    """The noise of the light shows in the residuals of spots that are no Gaussians too."""
    points, size = grid(rng, 30, 14)
    fine = (np.arange(size[0] * 5) - 2) / 5  # five samples per pixel
    light = np.zeros(size)
    for y, x in points:
        rows, columns = (np.flatnonzero(np.abs(fine - p) < 13) for p in (y, x))
        u, v = fine[rows, None] - y, fine[None, columns] - x
        profile = {
            "moffat": (1 + (u**2 + v**2) / 6) ** -3.0,
            "disc": 1 / (1 + np.exp((np.hypot(u, v) - 2.5) / 0.4)),
            "elliptical": np.exp(-(u**2) / 2 / 1.2**2 - v**2 / 2 / 2.0**2),
        }[shape]
        np.add.at(light, np.ix_(rows // 5, columns // 5), 20000 * profile / profile.sum())
    image = 7.0 * rng.poisson(light + 5.0)
    truth = 7 * npsubpix.measure_spots(light, points, 6.5, background=0.0).flux
    spots = npsubpix.measure_spots(image, points, 6.5)
    pull = (spots.flux - truth) / spots.flux_std
    assert 0.8 < pull.std() < 1.15  # an error is rather too large where the series misses some of the shape


@pytest.mark.exhaustive
def test_a_crowded_annulus(rng):
    """Two neighbours in the annulus of each spot bias its flux by less than half of its standard error."""
    points, shape = grid(rng, 30, 20)
    others = rng.uniform(0, shape[0], (800, 2))
    others = others[((others[:, None] - points) ** 2).sum(-1).min(axis=1) > 81]
    for background in (0.1, 1.0, 20.0):
        for flux in (50, 1000, 1e5):
            light = npsubpix.render_spots(
                np.concatenate([points, others]), shape, std=1.3, amplitude=flux, integrate=True
            )
            truth = npsubpix.measure_spots(light, points, 4.5, background=0.0).flux
            spots = npsubpix.measure_spots(rng.poisson(light + background), points, 4.5)
            pull = (spots.flux - truth) / spots.flux_std
            assert -0.6 < pull.mean() < 0.2
            assert pull.std() == pytest.approx(1, abs=0.2)


@pytest.mark.usefixtures("backend")
def test_a_bright_spot_whose_noise_nothing_shows(rng):
    """It has no standard error, but a flag, and the rest of its row."""
    image = rng.normal(10.0, 1.0, (30, 30))
    image[15, 15] += 1000
    spots = npsubpix.measure_spots(image, [[15, 15]], 0.7, annulus=(3, 6))
    assert spots.flag_names() == ["NO_ERROR"]
    assert np.isnan([spots.flux_std[0], spots.snr[0]]).all()
    assert spots.flux[0] == pytest.approx(1000, abs=20)
    assert spots.ok[0]
    known = npsubpix.measure_spots(image, [[15, 15]], 0.7, annulus=(3, 6), error=1.0)
    assert known.flag_names() == ["-"]


@pytest.mark.usefixtures("backend")
def test_a_background_says_nothing_of_the_noise_of_the_light(rng):
    """The noise of a `Background` is that of the background: what spots add to it is measured."""
    points, shape = grid(rng, 30, 5)
    image = rng.poisson(npsubpix.render_spots(points, shape, std=1.3, amplitude=5000, integrate=True) + 4.0)
    known = npsubpix.results.Background(np.full(shape, 4.0), np.full(shape, 2.0))
    spots = npsubpix.measure_spots(image, points, 4.0, background=known)
    assert np.median(spots.flux_std) == pytest.approx(math.sqrt(5000 * 0.99 + 4 * 50), rel=0.1)


def test_neighbours_in_the_annulus_do_not_count(rng):
    x = rng.normal(50, 2, (60, 60))
    x += npsubpix.render_spots([[30, 30], [30, 36], [24, 29]], x.shape, std=1.3, amplitude=[500, 20000, 9000])
    plain = npsubpix.measure_spots(x, [[30, 30]], 3, annulus=(5, 12))
    assert plain.background[0] == pytest.approx(50, abs=0.6)
    assert plain.noise[0] == pytest.approx(2, abs=0.5)


def test_same_bits_for_any_number_of_threads(image, threads):
    def measured() -> list[np.ndarray]:
        columns = npsubpix.measure_spots(image, np.tile(POSITIONS, (40, 1)), 3).to_dict()
        return [column for name, column in columns.items() if name != "flag_names"]

    assert threads(measured) == {"photometry_annuli", "photometry_apertures", "photometry_scatter"}


def test_table(image, tmp_path):
    spots = npsubpix.measure_spots(image, POSITIONS, 3)
    text = repr(spots).splitlines()
    assert text[0] == "Measurements: 5 in 2-D"
    assert text[1].split() == [
        "y", "x", "background", "flux", "flux_std", "snr", "peak", "width", "ellipticity", "flags",
    ]  # fmt: skip
    assert spots[1:3].coords.tolist() == POSITIONS[1:3].tolist()
    assert spots[spots.ok].ok.all()
    spots.save(tmp_path / "spots.csv", origin="fits")
    import pandas as pd

    saved = pd.read_csv(tmp_path / "spots.csv")
    np.testing.assert_allclose(saved.y, POSITIONS[:, 0] + 1)
    np.testing.assert_allclose(saved.x_centroid, spots.centroid[:, 1] + 1)
    np.testing.assert_allclose(saved.flux, spots.flux)
    again = npsubpix.refine_peaks(image, spots, method="centroid")  # a table of positions, as others are
    assert len(again) == 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"radius": 0}, ValueError, "radius must be positive, got 0"),
        ({"radius": math.nan}, ValueError, "radius must be positive"),
        ({"radius": 2000}, ValueError, "radius must be at most 1000 pixels, got 2000"),
        ({"radius": "3"}, TypeError, "radius must be a number"),
        ({"annulus": (5, 4)}, ValueError, r"annulus must be an inner radius and a greater outer one.*got \(5, 4\)"),
        ({"annulus": 5}, TypeError, "annulus must be a tuple of an inner and an outer radius, got 5"),
        ({"annulus": (1, 2, 3)}, ValueError, "annulus must be one number or 2 of them"),
        ({"method": "mode"}, ValueError, "method must be one of 'mean', 'median', got 'mode'"),
        ({"camera": 3}, TypeError, "camera must be a Camera or None, got 3"),
        ({"camera": npsubpix.Camera(), "error": 1}, ValueError, "error and camera exclude each other"),
        ({"camera": npsubpix.Camera(offset=np.ones((2, 2)))}, ValueError, "offset must be a number or have the shape"),
        ({"error": 0}, ValueError, "error must be positive, got 0"),
        ({"error": np.ones((2, 2))}, ValueError, "error must be a number or have the shape of the image"),
        ({"background": np.ones((2, 2))}, ValueError, "background must be a number or have the shape of the image"),
        ({"mask": np.zeros((3, 3), bool)}, ValueError, "mask must have the shape of the image"),
        ({"frame": [0]}, ValueError, "frame is given, so frame_axis must say"),
    ],
)
def test_misuse(options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.measure_spots(np.ones((8, 9)), [[4, 4]], **{"radius": 2, **options})


def test_volumes_are_refused():
    with pytest.raises(ValueError, match=r"image must have 2 dimensions besides frames.*: pass frame_axis"):
        npsubpix.measure_spots(np.ones((3, 8, 9)), [[1, 4, 4]], 2)
    with pytest.raises(ValueError, match=r"image must have 2 dimensions besides frames.*9\)$"):
        npsubpix.measure_spots(np.ones((2, 3, 8, 9)), [[1, 4, 4]], 2, frame=[0], frame_axis=0)
