"""Methods of refinement beyond quadratics and centroids: definitions, exactness, noise, flags, and awkward images."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags
from tests.reference import refinement as reference

METHODS = ["least_squares", "log_quadratic", "phasor", "radial"]
WINDOWED = ["log_quadratic", "phasor", "radial"]


def radius_of(method: str, radius: object) -> dict[str, object]:
    """The option `radius`, for the methods that have one."""
    return {"radius": radius} if method in WINDOWED else {}


def gaussian(shape: tuple[int, ...], centre: object, precision: object) -> np.ndarray:
    """A Gaussian of height 1, of any inverse covariance."""
    u = np.moveaxis(np.indices(shape).astype(float), 0, -1) - centre
    return np.exp(-0.5 * np.einsum("...i,ij,...j", u, np.atleast_2d(precision), u))


def photons(rng: np.random.Generator, count: int, sigma: float, flux: float, background: float, side: int):
    """Photon counts of spots in images of their own, and the positions of the spots."""
    truth = side // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    at = np.concatenate([np.arange(count)[:, None] * side + truth[:, :1], truth[:, 1:]], 1)
    mean = np.zeros((count, side, side))
    for k in range(count):  # one by one, so that no spot reaches into another image
        mean[k] = npsubpix.render_spots(at[k : k + 1] - (k * side, 0), (side, side), std=sigma, integrate=True) * flux
    return rng.poisson(mean + background).astype(float), truth


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_definition(rng, method, ndim):
    """Noisy spots, at pixels next to their centres, as the slow definitions have them."""
    radius = (2.5, 4.0, 3.2)[:ndim]
    compared = 0
    for _ in range(12):
        centre = rng.uniform(-0.6, 0.6, ndim) + (6, 8, 8)[:ndim]
        image = 10 + 40 * gaussian((13, 17, 16)[:ndim], centre, np.eye(ndim) / 1.5**2)
        image += rng.normal(0, 0.3, image.shape)
        pixel = tuple(np.rint(centre).astype(int).tolist())
        found = npsubpix.refine_peaks(image, [pixel], method=method, **radius_of(method, radius))
        value = None
        if method == "least_squares":
            want, value, _ = reference.least_squares(image, pixel)
        elif method == "log_quadratic":
            want, value = reference.log_quadratic(image, pixel, radius)
        elif method == "phasor":
            want = reference.phasor(image, pixel, radius)
        else:
            want = reference.radial(image, pixel, radius, 30)
        if method == "radial" or np.abs(want - pixel).max() < 0.6:  # or it goes on from another pixel
            assert found.ok.all()
            np.testing.assert_allclose(found.coords[0], want, atol=1e-8)
            compared += 1
            if value is not None:
                np.testing.assert_allclose(found.values[0], value, rtol=1e-9)
    assert compared > 6


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("reach", [1, 3])
def test_saddle_definition(rng, reach):
    image = rng.standard_normal((23, 26))
    starts = np.argwhere(np.ones(image.shape, bool))
    found = npsubpix.refine_peaks(image, starts, method="saddle", max_shift=reach + 0.7)
    compared = 0
    for start, place, value, ok in zip(starts, found.coords, found.values, found.ok, strict=True):
        want = reference.saddle(image, tuple(start), reach)
        if want is not None and np.abs(want[0] - start).max() <= reach + 0.7:
            assert ok
            np.testing.assert_allclose(place, want[0], atol=1e-9)
            np.testing.assert_allclose(value, want[1], atol=1e-9)
            compared += 1
    assert compared > 200


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("ndim", [2, 3])
def test_log_quadratic_is_exact_for_gaussians(rng, ndim, sign):
    """Of any widths and orientation, on a background, bright or dark; where central differences are 0.08 pixels off."""
    worst = 0.0
    for _ in range(20):
        axes = np.linalg.qr(rng.standard_normal((ndim, ndim)))[0]
        precision = axes @ np.diag(rng.uniform(0.6, 1.1, ndim) ** -2.0) @ axes.T
        centre = 12 + rng.uniform(-0.5, 0.5, ndim)
        image = 7 + sign * 100 * gaussian((25,) * ndim, centre, precision)
        pixel = np.rint(centre).astype(int)
        found = npsubpix.refine_peaks(image, [pixel], method="log_quadratic", radius=7)
        assert found.ok.all()
        np.testing.assert_allclose(found.coords[0], centre, atol=1e-6)
        assert found.values[0] == pytest.approx(7 + sign * 100, rel=1e-6)
        worst = max(worst, np.abs(npsubpix.refine_peaks(image, [pixel]).coords[0] - centre).max())
    assert worst > 0.05


@pytest.mark.exhaustive
def test_bias_over_the_phase():
    """At sigma 0.7 the root mean square over the phase falls from 0.06 pixels to 0.001, on an unknown background."""
    phase = np.stack(np.meshgrid(*[np.linspace(-0.45, 0.45, 11)] * 2), -1).reshape(-1, 2)
    stack = np.stack([50 + 900 * gaussian((15, 15), 7 + p, np.eye(2) / 0.7**2) for p in phase])
    bias = {}
    for method in ("quadratic", *METHODS):
        peaks = npsubpix.refine_peaks(
            stack, np.full((121, 2), 7), method=method, frame=np.arange(121), frame_axis=0, **radius_of(method, 3)
        )
        assert peaks.ok.all()
        bias[method] = np.sqrt(((peaks.coords - 7 - phase) ** 2).mean())
    assert bias["quadratic"] > 0.05
    assert bias["log_quadratic"] < 1e-3
    assert bias["phasor"] < 1e-3
    assert bias["radial"] < 0.01


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("radius", [(1, 1), (3, 3), (2, 5), (12, 3)])
def test_phasor_walks_by_its_shifts(rng, radius):
    """From any pixel of noise, a walk goes one pixel on as long as the shift is more than 0.6, and ends where it is."""
    image = rng.standard_normal((60, 50))
    half = [max(r, 2) for r in radius]
    starts = rng.integers(13, 37, (150, 2))
    found = npsubpix.refine_peaks(image, starts, method="phasor", radius=radius)
    compared = 0
    for start, coords in zip(starts[found.ok], found.coords[found.ok], strict=True):
        pixel = start
        for _ in range(4):
            assert all(h <= p < n - h for p, n, h in zip(pixel, image.shape, half, strict=True))
            want = reference.phasor(image, tuple(pixel), radius)
            step = np.sign(want - pixel) * (np.abs(want - pixel) > 0.6)
            if not step.any():
                break
            pixel = pixel + step.astype(int)
        np.testing.assert_allclose(coords, want, rtol=0, atol=1e-8)
        compared += (pixel != start).any()
    assert compared > 10


@pytest.mark.exhaustive
@pytest.mark.parametrize("sigma", [1.0, 1.3, 1.6])
def test_phasor_reaches_the_bound(rng, sigma):
    """In a box of six widths the error is within 10 % of the Cramér-Rao bound where spots outshine the background."""
    radius = 3 * sigma
    box = 2 * int(np.ceil(radius)) + 1
    for flux, background in ((300, 0.2), (1000, 2.0), (1000, 20.0), (10000, 2.0), (10000, 100.0)):
        stack, truth = photons(rng, 2500, sigma, flux, background, box + 8)
        start = np.full((2500, 2), stack.shape[1] // 2)
        peaks = npsubpix.refine_peaks(stack, start, method="phasor", radius=radius, frame=np.arange(2500), frame_axis=0)
        error = (peaks.coords - truth)[peaks.ok]
        assert len(error) == 2500
        bound = npsubpix.cramer_rao(flux, sigma, background, box=box).coords_std[0]
        assert np.sqrt((error**2).mean()) < 1.1 * bound


@pytest.mark.exhaustive
def test_least_squares_has_less_noise_than_central_differences(rng):
    stack, truth = photons(rng, 2000, 1.3, 3000, 5.0, 17)
    scatter = {}
    for method in ("quadratic", "least_squares"):
        peaks = npsubpix.refine_peaks(stack, np.full((2000, 2), 8), method=method, frame=np.arange(2000), frame_axis=0)
        scatter[method] = np.sqrt(((peaks.coords - truth)[peaks.ok] ** 2).mean())
    assert scatter["least_squares"] < 0.75 * scatter["quadratic"]


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("ndim", [2, 3])
def test_radial_symmetry_of_rings(rng, ndim):
    """Rings, discs and spots, and shells in volumes of flat voxels, which no maximum in the middle gives away."""
    unit = np.array((0.5, 1.0, 1.0)[-ndim:]) if ndim == 3 else np.ones(2)
    for ring, width in ((5.0, 1.2), (0.0, 2.0), (3.5, 1.8)):
        centre = np.array((8, 14, 15)[-ndim:]) + rng.uniform(-0.5, 0.5, ndim)
        shape = (17, 29, 30)[-ndim:]
        u = (np.moveaxis(np.indices(shape).astype(float), 0, -1) - centre) / unit
        distance = np.sqrt((u**2).sum(-1))
        for sign in (1, -1):
            image = 20 + sign * 60 * np.exp(-0.5 * ((distance - ring) / width) ** 2)
            radius = tuple(9 * unit)
            found = npsubpix.refine_peaks(image, [np.rint(centre)], method="radial", radius=radius)
            assert found.ok.all()
            np.testing.assert_allclose(found.coords[0], centre, atol=0.03)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_radial_symmetry_at_the_border():
    """The border cuts the box, and what is seen of a ring has its centre; an axis at the border is not refined."""
    y, x = np.indices((24, 25))
    image = 10 + 50 * np.exp(-0.5 * ((np.hypot(y - 2.3, x - 12.4) - 4) / 1.2) ** 2)
    found = npsubpix.refine_peaks(image, [[2, 12]], method="radial", radius=7)
    assert found.flag_names() == ["-"]
    np.testing.assert_allclose(found.coords[0], (2.3, 12.4), atol=0.1)
    image = 10 + 50 * np.exp(-0.5 * ((np.hypot(y, x - 12.4) - 4) / 1.2) ** 2)
    found = npsubpix.refine_peaks(image, [[0, 12]], method="radial", radius=7)
    assert found.flag_names() == ["FIXED_Y"]
    np.testing.assert_allclose(found.coords[0], (0, 12.4), atol=0.03)
    assert npsubpix.refine_peaks(image, [[0, 0]], method="radial", radius=7).flag_names() == ["AT_BORDER"]


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["least_squares", "log_quadratic"])
def test_axes_at_the_border_are_not_refined(method):
    volume = gaussian((8, 15, 16), (0.0, 7.3, 8.4), np.diag([0.3, 0.6, 0.6])) + 1
    options = radius_of(method, 4)
    peaks = npsubpix.refine_peaks(volume, [[0, 7, 8], [0, 0, 15]], method=method, **options)
    assert peaks.flag_names() == ["FIXED_Z", "AT_BORDER"]
    assert peaks.coords[0, 0] == 0
    np.testing.assert_allclose(peaks.coords[0, 1:], [7.3, 8.4], atol=0.03)
    peaks = npsubpix.refine_peaks(volume[0, :, :9], [[7, 8]], method=method, **options)
    assert peaks.flag_names() == ["FIXED_X"]
    assert peaks.coords[0, 1] == 8
    plane = npsubpix.refine_peaks(volume[0], [[7, 8]], method=method, **options)
    if method == "least_squares":  # the other has more pixels around it, and another background
        one = npsubpix.refine_peaks(volume, [[0, 7, 8]], method=method)
        both = npsubpix.refine_peaks(np.stack([volume[0]] * 3), [[0, 7, 8]], method=method)
        np.testing.assert_allclose(both.coords[0, 1:], plane.coords[0], atol=1e-12)
        assert np.abs(one.coords[0, 1:] - plane.coords[0]).max() < 0.02


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", [*METHODS, "saddle"])
def test_flags(method):
    """Constant images, NaN, masks, positions that are too far, and bad positions among good ones."""
    y, x = np.indices((25, 26)).astype(float)
    if method == "saddle":
        image = 10 + 5 * np.tanh((y - 12.2) / 2) * np.tanh((x - 12.7) / 2)
    else:
        image = 10 + 50 * gaussian((25, 26), (12.2, 12.7), np.eye(2) / 1.4**2)
    options = {"method": method, **radius_of(method, 4)}

    def flag(image: np.ndarray, start: tuple[int, int] = (12, 13), **more: object) -> str:
        peaks = npsubpix.refine_peaks(image, [start], **options, **more)
        if not peaks.ok[0]:
            np.testing.assert_array_equal(peaks.coords[0], start)
            assert peaks.values[0] == image[start] or np.isnan(image[start])
        return peaks.flag_names()[0]

    assert flag(image) == "-"
    assert flag(image, (12, 12)) == "MOVED"
    assert flag(image, (11, 12), max_shift=0.4) in ("TOO_FAR", "MOVED|TOO_FAR")
    assert flag(np.full((25, 26), 3.0)) == ("EXTREMUM" if method == "saddle" else "SINGULAR").replace(
        "EXTREMUM", "SINGULAR"
    )
    reach = {"least_squares": 1, "saddle": 1, "phasor": 4}.get(method, 5)
    for distance, good in ((reach, False), (reach + 1, True)):
        masked, holed = np.zeros((25, 26), bool), image.copy()
        masked[12 - distance, 13] = True
        holed[12 - distance, 13] = np.nan
        assert flag(image, mask=masked) == ("-" if good else "MASKED")
        if not (method == "saddle" and not good):  # it may begin at another pixel
            assert flag(holed) == ("-" if good else "NONFINITE")
    bad = [[12, 13], [np.nan, 3], [-4, 5], [5, 99], [1e300, 5], [12.4, 12.6], [0, 0]]
    peaks = npsubpix.refine_peaks(image, bad, **options)
    names = peaks.flag_names()
    assert names[:5] == ["-", "NONFINITE", "AT_BORDER", "AT_BORDER", "AT_BORDER"]
    assert names[5:] == ["-", "AT_BORDER"]
    np.testing.assert_array_equal(peaks.coords[5], peaks.coords[0])


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_saddles_and_extrema():
    """A maximum is flagged where a saddle is sought, and the saddle beside it is found."""
    y, x = np.indices((31, 32)).astype(float)
    image = np.cos((y - 15.3) * np.pi / 10) + np.cos((x - 15.8) * np.pi / 10)
    peaks = npsubpix.refine_peaks(image, [[15, 16], [15, 25], [24, 15]], method="saddle")
    assert peaks.flag_names() == ["EXTREMUM", "MOVED", "MOVED"]
    assert list(peaks.ok) == [False, True, True]
    np.testing.assert_allclose(peaks.coords, [[15, 16], [15.3, 25.8], [25.3, 15.8]], atol=2e-3)
    np.testing.assert_allclose(peaks.values[1:], 0, atol=1e-3)

    def response(x: np.ndarray) -> np.ndarray:
        """Strength of saddles, by the determinant of second differences."""
        out = np.zeros_like(x)
        yy = x[2:, 1:-1] - 2 * x[1:-1, 1:-1] + x[:-2, 1:-1]
        xx = x[1:-1, 2:] - 2 * x[1:-1, 1:-1] + x[1:-1, :-2]
        xy = (x[2:, 2:] - x[2:, :-2] - x[:-2, 2:] + x[:-2, :-2]) / 4
        out[1:-1, 1:-1] = xy**2 - xx * yy
        return out

    found = npsubpix.find_peaks(image, detect=response, background=0, threshold_abs=1e-4, refine="saddle", size=7)
    nearest = {tuple(np.rint(c * 10).astype(int).tolist()) for c in found.coords[found.ok]}
    assert {(153, 58), (153, 258), (53, 158), (253, 158)} <= nearest


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
def test_minima_and_offsets(rng, method):
    """Minima are refined as maxima are, and a constant does not pull."""
    stack, _ = photons(rng, 20, 1.4, 4000, 3.0, 17)
    options = {"method": method, "frame": np.arange(20), "frame_axis": 0, **radius_of(method, 4)}
    start = np.full((20, 2), 8)
    up = npsubpix.refine_peaks(stack, start, **options)
    assert up.ok.all()
    for other in (500 - stack, stack + 1e6, stack * 2.0**-40, stack * 2.0**40):
        again = npsubpix.refine_peaks(other, start, **options)
        np.testing.assert_allclose(again.coords, up.coords, atol=1e-7)
        np.testing.assert_array_equal(again.flags, up.flags)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint64", "int64", "float32", "float16"]
)
@pytest.mark.parametrize("method", [*METHODS, "saddle"])
def test_dtypes(rng, method, dtype):
    """The result is that of the same numbers in float64, of planes of a stack and of strided views too."""
    numbers = rng.integers(0, 100, (2, 30, 31))
    numbers[:, 10:13, 10:13] += 20
    want = npsubpix.refine_peaks(
        numbers.astype(np.float64), [[11, 11], [15, 16], [20, 21]], frame=[0, 1, 1], frame_axis=0, method=method
    )
    images = [numbers.astype(dtype), np.repeat(numbers.astype(dtype), 2, 1)[:, ::2], numbers.astype(dtype)[:, :, ::-1]]
    for image in (images[0], images[1], images[2][:, :, ::-1]):
        got = npsubpix.refine_peaks(image, [[11, 11], [15, 16], [20, 21]], frame=[0, 1, 1], frame_axis=0, method=method)
        np.testing.assert_array_equal(got.coords, want.coords)
        np.testing.assert_array_equal(got.flags, want.flags)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
def test_found_and_refined(rng, method):
    """`find_peaks` refines as `refine_peaks` does, in stacks, periodic images, and on plateaus of saturated spots."""
    truth = np.array([[12.3, 11.6], [30.2, 28.9], [13.4, 33.3]])
    image = 5 + 100 * sum(gaussian((45, 46), c, np.eye(2) / 1.5**2) for c in truth) + rng.normal(0, 0.1, (45, 46))
    options = radius_of(method, 4.5)
    found = npsubpix.find_peaks(image, threshold_abs=50, refine=method, **options)
    again = npsubpix.refine_peaks(image, found.indices, method=method, **options)
    np.testing.assert_array_equal(found.coords, again.coords)
    order = np.lexsort(found.coords.T[::-1])
    np.testing.assert_allclose(found.coords[order], truth[np.lexsort(truth.T[::-1])], atol=0.06)
    rolled = np.roll(image, (-12, -11), (0, 1))
    around = npsubpix.find_peaks(rolled, threshold_abs=50, refine=method, mode="wrap", **options)
    np.testing.assert_allclose(around.coords, (found.coords - (12, 11) + 0.5) % (45, 46) - 0.5, atol=1e-9)
    stack = npsubpix.find_peaks(np.stack([image, image]), threshold_abs=50, refine=method, frame_axis=0, **options)
    np.testing.assert_array_equal(stack.coords, np.concatenate([found.coords] * 2))
    clipped = npsubpix.find_peaks(np.minimum(image, 70), threshold_abs=50, refine=method, **options)
    assert len(clipped) == 3
    if method in ("phasor", "radial"):
        assert clipped.ok.all()
        order = np.lexsort(clipped.coords.T[::-1])
        np.testing.assert_allclose(clipped.coords[order], truth[np.lexsort(truth.T[::-1])], atol=0.06)
    else:
        assert ((clipped.flags & int(PeakFlags.SINGULAR)) != 0).all()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_signal_on_the_other_side_of_the_background():
    """Such pixels have no logarithm: they do not count, and where too few are left the row says so."""
    image = np.zeros((15, 15))
    image[7, 7], image[7, 6], image[7, 8], image[6, 7], image[8, 7] = 10, 4, 5, 4, 4
    assert npsubpix.refine_peaks(image, [[7, 7]], method="log_quadratic").flag_names() == ["SINGULAR"]  # 5 of 6
    image[8, 8], image[6, 6] = 2, -3
    peaks = npsubpix.refine_peaks(image, [[7, 7]], method="log_quadratic")
    want, value = reference.log_quadratic(image, (7, 7), (3, 3))
    assert peaks.ok.all()
    np.testing.assert_allclose(peaks.coords[0], want, atol=1e-8)
    np.testing.assert_allclose(peaks.values[0], value, rtol=1e-8)
    image[7, 7] = 0.0  # the background itself
    assert npsubpix.refine_peaks(image, [[7, 7]], method="log_quadratic", radius=4).ok[0] in (True, False)


def test_same_bits_for_any_number_of_threads(rng, threads):
    """By each method, in planes and volumes."""
    image, volume = rng.standard_normal((60, 70)), rng.standard_normal((9, 20, 30))

    def refined() -> list[np.ndarray]:
        out = []
        for x in (image, volume):
            starts = np.argwhere(x > 0)
            for method in [*METHODS, "saddle"][: 5 if x.ndim == 2 else 4]:
                peaks = npsubpix.refine_peaks(x, starts, method=method)
                out += [peaks.coords, peaks.values, peaks.indices, peaks.flags]
        return out

    names = ("least_squares2d", "least_squares3d", "log_quadratic", "phasor", "radial", "saddle")
    assert threads(refined) >= {f"refine_{name}" for name in names}


def test_options_that_do_not_apply():
    """An option of another method, and images for which there is no such method, are errors that say what applies."""
    image = np.zeros((9, 9))
    for method in ("least_squares", "saddle"):
        with pytest.raises(ValueError, match=f"radius is of the methods 'log_quadratic', .*, and method='{method}'"):
            npsubpix.refine_peaks(image, [[4, 4]], method=method, radius=3)
        with pytest.raises(ValueError, match=f"and refine='{method}' has none"):
            npsubpix.find_peaks(image, refine=method, radius=3)
    with pytest.raises(
        ValueError, match="method='saddle' refines positions in images, and this image has 3 dimensions"
    ):
        npsubpix.refine_peaks(np.zeros((5, 5, 5)), [[2, 2, 2]], method="saddle")
