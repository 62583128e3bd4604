"""What fits do with bad input: misuse is an error, a bad spot a flagged row."""

from __future__ import annotations

import math

import numpy as np
import pytest

import npsubpix
from npsubpix import Camera, FitFlags

pytestmark = pytest.mark.usefixtures("backend")

CAMERA = Camera()
SPOTS = np.array([[10.2, 11.7], [30.6, 25.1], [20.4, 40.3]])


def field(rng: np.random.Generator | None = None) -> np.ndarray:
    """Three spots on a background."""
    image = 5 + npsubpix.render_spots(SPOTS, (41, 52), std=1.2, amplitude=2000.0, integrate=True)
    return image if rng is None else rng.poisson(image).astype(float)


def has(fits: npsubpix.Fits, flag: FitFlags) -> list[bool]:
    return [bool(f & flag) for f in fits.flags.tolist()]


def rejected(fits: npsubpix.Fits, row: int, start: np.ndarray) -> bool:
    """Whether a row has the position of its start, NaN elsewhere, and is not ok."""
    columns = (fits.coords_std, fits.flux, fits.flux_std, fits.background, fits.sigma, fits.chi2, fits.log_likelihood)
    same = np.array_equal(fits.coords[row], start, equal_nan=True)
    return same and all(np.isnan(c[row]).all() for c in columns) and not fits.ok[row]


@pytest.mark.parametrize("estimator", ["mle", "lsq"])
@pytest.mark.parametrize(
    ("patch", "flag"),
    [
        (np.zeros((7, 7)), FitFlags.SINGULAR),
        (np.full((7, 7), 12.5), FitFlags.SINGULAR),
        (np.full((7, 7), math.nan), FitFlags.NONFINITE),
        (np.full((7, 7), math.inf), FitFlags.NONFINITE),
        (np.where(np.eye(7) > 0, math.nan, 3.0), FitFlags.NONFINITE),
    ],
)
def test_patches_without_a_spot_are_flagged_and_stop_no_other(rng, patch, flag, estimator):
    good = field(rng)[7:14, 9:16]
    fits = npsubpix.fit_patches(np.stack([good, patch, good]), camera=CAMERA, estimator=estimator)
    assert has(fits, flag) == [False, True, False]
    assert rejected(fits, 1, np.array([3.0, 3.0]))
    assert fits.ok[[0, 2]].all()
    np.testing.assert_array_equal(fits.coords[0], fits.coords[2])


def test_masked_patches(rng):
    good = field(rng)[7:14, 9:16]
    mask = np.zeros((3, 7, 7), bool)
    mask[1], mask[2, 2, 5] = True, True
    broken = good.copy()
    broken[2, 5] = math.nan
    fits = npsubpix.fit_patches(np.stack([good, good, broken]), camera=CAMERA, mask=mask)
    assert has(fits, FitFlags.MASKED) == [False, True, True]
    assert has(fits, FitFlags.SINGULAR) == [False, True, False]
    assert fits.ok.tolist() == [True, False, True]
    np.testing.assert_allclose(fits.coords[2], fits.coords[0], atol=0.05)
    dead = np.zeros((7, 7))
    dead[2, 5] = math.inf  # the same by its read variance
    same = npsubpix.fit_patches(broken[None], camera=Camera(read_variance=dead))
    np.testing.assert_allclose(same.coords[0], fits.coords[2], rtol=1e-12)


def test_saturated_spots_fit_poorly(rng):
    image = npsubpix.render_spots([[6.2, 5.8]], (13, 13), std=1.3, amplitude=20_000.0, integrate=True) + 10.0
    clipped = np.minimum(rng.poisson(image), 500)
    for camera in (CAMERA, None):
        fits = npsubpix.fit_patches(np.stack([rng.poisson(image), clipped]), camera=camera, width="fixed", sigma=1.3)
        assert has(fits, FitFlags.POOR_FIT) == [False, True]
        assert fits.ok.tolist() == [True, False]


def test_faint_saturated_spots_fit_poorly_too(rng):
    """A wider spot fits them within the noise: pixels that share the greatest value tell."""
    image = npsubpix.render_spots([[6.2, 5.8]], (13, 13), std=1.3, amplitude=1000.0, integrate=True) + 5.0
    patches = np.repeat(rng.poisson(image, (50, 13, 13)), 2, axis=0)
    patches[1::2] = np.minimum(patches[1::2], 50)
    for options in ({"camera": CAMERA}, {"error": np.sqrt(image)}, {}):
        fits = npsubpix.fit_patches(patches, **options)
        assert fits.ok[::2].mean() > 0.97
        assert not fits.ok[1::2].any()


def test_dark_spots_have_no_flux(rng):
    for camera in (CAMERA, None):
        fits = npsubpix.fit_patches(300 - field(rng)[None, 7:14, 9:16], camera=camera)
        assert not fits.ok.any()
        assert fits.flags[0] & int(
            FitFlags.NEGATIVE_FLUX | FitFlags.TOO_FAR | FitFlags.NOT_CONVERGED | FitFlags.LOW_SIGNAL
        )


def test_pixels_below_their_read_variance_are_flagged(rng):
    """And used as they are: raised to zero, they would raise the background."""
    truth = field()[7:14, 9:16] - 4.8
    data = truth + rng.normal(size=(400, 7, 7)) * np.sqrt(truth + 1.0)
    fits = npsubpix.fit_patches(data, camera=Camera(read_variance=1.0))
    assert np.mean(has(fits, FitFlags.NEGATIVE_PIXELS)) > 0.3
    assert fits.ok.mean() > 0.9
    background = fits.background[fits.ok]
    assert abs(background.mean() - 0.2) < 4 * background.std() / 20


def test_a_background_at_its_limit(rng):
    image = npsubpix.render_spots([[3.1, 3.3]], (7, 7), std=1.1, amplitude=1000.0, integrate=True)
    fits = npsubpix.fit_patches(rng.poisson(np.stack([image] * 50)), camera=CAMERA)
    bound = has(fits, FitFlags.AT_BOUND)
    assert any(bound)
    assert fits.ok.all()
    assert np.isnan(fits.background_std[bound]).all()
    error = (fits.coords - [3.1, 3.3]) / fits.coords_std
    assert 0.8 < np.std(error) < 1.2


def test_starts_outside_the_image_or_not_finite(rng):
    starts = np.array([SPOTS[0], [-3.0, 5.0], [math.nan, 5.0], [10.0, 60.0], [5.0, math.inf]])
    fits = npsubpix.fit_spots(field(rng), starts, camera=CAMERA)
    assert fits.ok.tolist() == [True, False, False, False, False]
    for row in (1, 2, 3, 4):
        assert rejected(fits, row, starts[row])
    assert has(fits, FitFlags.NONFINITE) == [False, False, True, False, True]
    assert fits.indices[2].tolist() == [-1, -1]


def test_a_box_that_the_border_cuts(rng):
    image = npsubpix.render_spots([[1.2, 8.3]], (20, 20), std=1.2, amplitude=3000.0, integrate=True) + 4.0
    data = rng.poisson(image)
    fits = npsubpix.fit_spots(data, [[1, 8]], camera=CAMERA, sigma=1.2)
    assert has(fits, FitFlags.PARTIAL_WINDOW) == [True]
    assert fits.ok.all()
    np.testing.assert_allclose((fits.coords - [1.2, 8.3]) / fits.coords_std, 0, atol=4)


def test_positions_that_move_too_far(rng):
    starts = SPOTS[:1] + np.array([[0.0, 1.4]])
    assert npsubpix.fit_spots(field(rng), starts, camera=CAMERA).ok.all()
    fits = npsubpix.fit_spots(field(rng), starts, camera=CAMERA, max_shift=1.0)
    assert has(fits, FitFlags.TOO_FAR) == [True]
    assert rejected(fits, 0, starts[0])


def test_neighbours_nearer_than_their_widths_are_blended(rng):
    starts = np.array([[10.0, 10.0], [10.0, 11.5], [10.0, 30.0], [10.0, 30.0]])
    image = npsubpix.render_spots(starts, (20, 40), std=1.2, amplitude=3000.0, integrate=True) + 4.0
    stack = np.stack([rng.poisson(image)] * 2)
    fits = npsubpix.fit_spots(stack, starts, frame=[0, 0, 0, 1], frame_axis=0, camera=CAMERA, width="fixed", sigma=1.2)
    assert has(fits, FitFlags.BLENDED) == [True, True, False, False]
    assert fits.ok.tolist() == [False, False, True, True]


def test_low_signals_are_flagged(rng):
    image = npsubpix.render_spots([[4.1, 4.3]], (9, 9), std=1.3, amplitude=120.0, integrate=True) + 20.0
    fits = npsubpix.fit_patches(rng.poisson(np.stack([image] * 20)), camera=CAMERA, width="fixed", sigma=1.3)
    assert npsubpix.cramer_rao(120, 1.3, 20, width="fixed", box=9).coords_std[0] > 0.2 * 1.3
    assert not fits.ok.any()
    assert np.mean(has(fits, FitFlags.LOW_SIGNAL)) > 0.7


@pytest.mark.parametrize("unit", [1e-30, 1e-6, 1e6, 1e30])
def test_any_unit(rng, unit):
    """Results without a camera, and with its factor, do not depend on the unit of the image."""
    data = field(rng)
    want = npsubpix.fit_spots(data, SPOTS)
    fits = npsubpix.fit_spots(data * unit, SPOTS)
    np.testing.assert_allclose(fits.coords, want.coords, rtol=1e-9)
    np.testing.assert_allclose(fits.coords_std, want.coords_std, rtol=1e-6)
    np.testing.assert_allclose(fits.flux_std, want.flux_std * unit, rtol=1e-6)
    np.testing.assert_array_equal(fits.flags, want.flags)
    want = npsubpix.fit_spots(data, SPOTS, camera=CAMERA)
    fits = npsubpix.fit_spots(data / unit, SPOTS, camera=Camera(electrons_per_count=unit))
    np.testing.assert_allclose(fits.coords_std, want.coords_std, rtol=1e-6)
    want, fits = (npsubpix.fit_spots(data * u, SPOTS, error=3.0 * u) for u in (1.0, unit))
    np.testing.assert_allclose(fits.flux, want.flux * unit, rtol=1e-6)
    np.testing.assert_array_equal(fits.flags, want.flags)


def test_spots_at_corners(rng):
    """A corner cuts the box of each; what is left of it is enough."""
    corners = np.array([[0.6, 0.7], [0.4, 38.8], [28.7, 0.9], [28.3, 38.6]])
    image = npsubpix.render_spots(corners, (30, 40), std=1.2, amplitude=5000.0, integrate=True) + 4.0
    fits = npsubpix.fit_spots(rng.poisson(image), np.rint(corners), camera=CAMERA, sigma=1.2, box=9)
    assert has(fits, FitFlags.PARTIAL_WINDOW) == [True] * 4
    assert fits.ok.all()
    np.testing.assert_allclose((fits.coords - corners) / fits.coords_std, 0, atol=4.5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_integers_at_their_limit(rng, dtype):
    """A spot that saturates is not ok, whatever is known of the noise."""
    top = np.iinfo(dtype).max
    image = npsubpix.render_spots([[6.2, 5.8]], (13, 13), std=1.5, amplitude=30.0 * top, integrate=True) + 0.1 * top
    data = np.minimum(rng.poisson(image), top).astype(dtype)
    for camera in (CAMERA, None):
        fits = npsubpix.fit_patches(data[None], camera=camera)
        assert has(fits, FitFlags.POOR_FIT) == [True]


def test_no_spots():
    for fits in (npsubpix.fit_spots(field(), []), npsubpix.fit_patches(np.zeros((0, 7, 7)))):
        assert len(fits) == 0
        assert fits.coords.shape == fits.coords_std.shape == (0, 2)
        assert fits.flux.dtype == np.float64
        assert fits.flags.dtype == np.int32
        assert repr(fits) == "Fits: 0 in 2-D"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sigma": 0.0}, ValueError, "sigma must be positive, got 0.0"),
        ({"sigma": -1.0}, ValueError, "sigma must be positive"),
        ({"sigma": math.nan}, ValueError, "sigma must be"),
        ({"sigma": 1e300}, ValueError, "sigma must be at most 166 if box is not given, got"),
        ({"error": 0.0}, ValueError, "error must be positive, got 0.0"),
        ({"error": -1.0}, ValueError, "error must be positive"),
        ({"box": 8}, ValueError, "box must be odd, so that it has a pixel at its centre, got 8"),
        ({"box": 43}, ValueError, r"box must not be larger than the image, of shape \(41, 52\), got 43"),
        ({"box": 1}, ValueError, "box must be at least 3"),
        ({"width": "fixed"}, ValueError, "sigma must be given with width='fixed'"),
        ({"width": "round"}, ValueError, "width must be one of 'free', 'fixed', 'elliptical'"),
        ({"model": "airy"}, ValueError, "model must be one of 'gaussian'"),
        ({"estimator": "wls"}, ValueError, "error must be given"),
        ({"estimator": "lsq", "error": 1.0}, ValueError, "error is for estimator='wls', got estimator='lsq'"),
        ({"camera": 3.0}, TypeError, "camera must be a Camera or None, got 3.0"),
        ({"camera": Camera(offset=np.zeros((3, 3)))}, ValueError, "offset must be a number or have the shape"),
        ({"error": np.ones((3, 3))}, ValueError, "error must be a number or have the shape"),
        ({"mask": np.zeros((3, 3), bool)}, ValueError, "mask must have the shape"),
        ({"max_shift": 0.0}, ValueError, "max_shift must be positive"),
        ({"n_iters": 0}, ValueError, "n_iters must be at least 1"),
        ({"background": 3.0}, ValueError, "background must be one of 'constant', 'plane'"),
        ({"frame": [0, 0, 0]}, ValueError, "frame is given, so frame_axis must say"),
    ],
)
def test_misuse_is_an_error(options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.fit_spots(field(), SPOTS, **options)


def test_patches_are_named_in_errors():
    with pytest.raises(TypeError, match="patches must hold real numbers, got dtype complex128"):
        npsubpix.fit_patches(np.ones((2, 7, 7), complex))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"electrons_per_count": 0}, "electrons_per_count must be positive and finite, got 0"),
        ({"electrons_per_count": np.array([1.0, -1.0])}, "electrons_per_count must be positive and finite, got -1.0"),
        ({"read_variance": -2.0}, "read_variance must be at least 0, got -2.0"),
        ({"read_variance": np.array([math.nan])}, "read_variance must be at least 0, got nan"),
        ({"offset": math.inf}, "offset must be finite, got inf"),
        ({"em_gain": 0}, "em_gain must be positive and finite, got 0"),
        ({"em_gain": np.array([30.0, 1.0])}, "em_gain must be above 1 at every pixel or at none"),
    ],
)
def test_cameras_refuse_impossible_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        Camera(**options)


def test_cameras_refuse_what_is_no_number():
    for name in ("offset", "electrons_per_count", "read_variance", "em_gain"):
        with pytest.raises(TypeError, match=name):
            Camera(**{name: "3"})
