"""Models of spots: rotated Gaussians, Moffat functions, and z on an astigmatic curve."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import npsubpix
from npsubpix import AstigmaticCurve, Camera, FitFlags, Fits, PeakFlags
from npsubpix._cpu.fitting import moffat, rotated
from npsubpix._definitions.spot_models import Model
from tests.reference import fitting as reference
from tests.reference.fitting import Spot

CURVE = AstigmaticCurve((1.3, 1.2), (-200, 200), (350, 400), (-500, 500), a=(0.1, 0), b=(0, 0.1))
CURVES = [tuple(getattr(CURVE, name)[k] for name in ("sigma0", "focus", "depth", "a", "b")) for k in range(2)]

#: A spot by the reference, its parameters, options of the fit, and the columns of its shape.
MODELS = {
    "rotated": (
        Spot((11, 13), "rotated"), [5.2, 6.3, 4000.0, 1.8, 1.1, 0.5, 5.0], {"width": "rotated"},
        ("sigma_major", "sigma_minor", "angle"),
    ),
    "moffat": (
        Spot((15, 15), model="moffat"), [7.2, 6.8, 20_000.0, 1.3, 2.5, 5.0], {"model": "moffat"}, ("sigma", "beta"),
    ),
    "moffat of a known width": (
        Spot((15, 15), "fixed", 1.3, model="moffat"), [7.2, 6.8, 20_000.0, 2.5, 5.0],
        {"model": "moffat", "width": "fixed", "sigma": 1.3}, ("beta",),
    ),
    "moffat of a known exponent": (
        Spot((13, 13), model="moffat", beta=3.0), [6.2, 5.8, 5000.0, 1.3, 5.0], {"model": "moffat", "beta": 3.0},
        ("sigma",),
    ),
    "astigmatic": (Spot((15, 15), curves=CURVES), [7.2, 6.8, 4000.0, 120.0, 5.0], {"width": CURVE}, ("z",)),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", list(MODELS))


def columns_of(fits: Fits, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of positions, fluxes, shapes and backgrounds, and their errors."""
    table = fits.to_dict()
    wanted = ["y", "x", "flux", *names, "background"]
    return np.stack([table[n] for n in wanted], 1), np.stack([table[f"{n}_std"] for n in wanted], 1)


@pytest.fixture
def plain(monkeypatch):
    """Inner functions of kernels as Python has them, and those of the C library."""
    for module in (rotated, moffat):
        monkeypatch.setattr(module, "_sums", module._sums.py_func)
        monkeypatch.setattr(module, "choose_nodes", module.choose_nodes.py_func)
        monkeypatch.setattr(module, "exponential64", math.exp)
    monkeypatch.setattr(moffat, "logarithm64", math.log)


def pixel(model: Model, parameters: list[float], place: tuple[int, int], numbers: tuple[float, ...] = ()):
    """The share of the flux in a pixel by the functions of a kernel, and its derivatives by position and shape."""
    functions = rotated.rotated(model) if model.width == "rotated" else moffat.moffat(model)
    shared, slopes = np.zeros(16), np.zeros(model.parameters)
    values, constants = np.array([*parameters, 0.0]), model.constants(numbers)
    functions.prepare.py_func(shared, values, (1.3, 1.3), constants)
    value = functions.pixel.py_func(slopes, shared, values, (1.3, 1.3), constants, 0, *place)
    return value, slopes


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("place", [(4, 5), (6, 3), (0, 8)])
def test_values_and_derivatives_of_pixels(place):
    """Against the formulas, integrated over the pixel by a quadrature of high order, and differences of these."""
    at = [4.3, 4.8, 1.0]
    cases = [
        (Model(2, "rotated", False), [1.5, 1.2, 0.4], (), lambda y, x, r: (*axes_of(y, x, r),), reference.rotated),
        (Model(2, "free", False, "moffat"), [1.2, 0.4], (), lambda s, b: (s, 1 / b), reference.moffat),
        (Model(2, "fixed", False, "moffat_beta"), [], (2.5,), lambda: (1.3, 2.5), reference.moffat),
    ]
    for model, shape, numbers, public, density in cases:
        value, slopes = pixel(model, [*at, *shape], place, numbers)

        def share(own, public=public, density=density):
            return reference.integrated(density, (9, 11), own[:2], *public(*own[2:]))[place]

        own = np.array([*at[:2], *shape])
        assert value == pytest.approx(share(own), abs=1e-8)
        for k in range(len(own)):
            step = 1e-5 * (np.arange(len(own)) == k)
            want = (share(own + step) - share(own - step)) / 2e-5
            assert slopes[k if k < 2 else k + 1] == pytest.approx(want, abs=1e-7), (model.name, k)


def axes_of(y: float, x: float, correlation: float) -> tuple[float, float, float]:
    """Major and minor axis and angle, by the eigenvectors of the covariance."""
    squares, vectors = np.linalg.eigh([[y * y, correlation * y * x], [correlation * y * x, x * x]])
    return math.sqrt(squares[1]), math.sqrt(squares[0]), math.atan(vectors[1, 1] / vectors[0, 1])


@pytest.mark.usefixtures("plain")
def test_quadrature_of_narrow_spots():
    """To 1e-6 of the flux at half a pixel, and 1e-5 at the least width, against an adaptive quadrature."""
    from scipy.integrate import dblquad

    for width, limit in ((0.5, 1e-6), (0.3, 1e-5)):
        for place in ((4, 5), (5, 5)):
            y, x = place[0] - 4.3, place[1] - 4.8
            ends = (y - 0.5, y + 0.5, x - 0.5, x + 0.5)
            shape = axes_of(width, 1.1 * width, 0.2)
            narrow = width * width / shape[1]  # the minor axis has the width
            value, _ = pixel(Model(2, "rotated", False), [4.3, 4.8, 1.0, narrow, 1.1 * narrow, 0.2], place)
            own = axes_of(narrow, 1.1 * narrow, 0.2)
            want = dblquad(lambda u, v, own=own: reference.rotated(v, u, *own), *ends, epsabs=1e-10)[0]
            assert value == pytest.approx(want, abs=limit)
            value, _ = pixel(Model(2, "free", False, "moffat"), [4.3, 4.8, 1.0, width, 0.4], place)
            want = dblquad(lambda u, v, s=width: reference.moffat(v, u, s, 2.5), *ends, epsabs=1e-10)[0]
            assert value == pytest.approx(want, abs=limit)


@pytest.mark.exhaustive
@pytest.mark.parametrize("plane", [False, True])
@EACH
def test_optima_and_errors_of_the_definition(rng, backend, name, plane):
    """By likelihood, and weighted and plain least squares of SciPy."""
    spot, known, options, names = MODELS[name]
    spot = Spot(spot.box, spot.width, spot.sigma, plane, spot.model, spot.beta, spot.curves)
    known = np.array([*known[:-1], *([0.3, -0.2] if plane else []), known[-1]])
    options = {**options, "background": "plane" if plane else "constant"}
    variance = rng.uniform(0.5, 3.0, spot.box)
    data = rng.poisson(np.stack([spot.of(known)] * 2)) + rng.normal(size=(2, *spot.box)) * np.sqrt(variance)
    error = np.sqrt(spot.of(known) + variance)
    keep = np.r_[: 3 + len(names), len(known) - 1]
    for estimator, more in (
        ("mle", {"camera": Camera(read_variance=variance)}),
        ("wls", {"error": error}),
        ("lsq", {}),
    ):
        fits = npsubpix.fit_patches(data, **options, **more)
        assert fits.ok.all()
        found, errors = columns_of(fits, names)
        for row in range(2):
            weights = {"mle": None, "wls": 1 / error**2, "lsq": np.ones(spot.box)}[estimator]
            want, covariance = reference.fit(spot, data[row], known, variance, weights)
            scale = np.sqrt(np.diag(covariance))[keep] * (1 if estimator != "lsq" else math.sqrt(fits.chi2[row]))
            np.testing.assert_allclose((found[row] - want[keep]) / scale, 0, atol=3e-3 if estimator == "mle" else 2e-4)
            if estimator != "lsq":
                np.testing.assert_allclose(errors[row], scale, rtol=3e-3)


@pytest.mark.exhaustive
@EACH
def test_scatter_is_the_bound_and_errors_are_the_scatter(rng, name):
    """Three standard errors of a root mean square of so many spots are allowed."""
    spot, known, options, names = MODELS[name]
    count = 1000
    places = known[:2] + rng.uniform(-0.5, 0.5, (count, 2))
    images = rng.poisson(np.stack([spot.of(np.array([*p, *known[2:]])) for p in places]))
    slack = 3 / math.sqrt(2 * count)
    bound = bound_of(name)
    for camera, most in ((Camera(), 1.05), (None, 1.1)):
        fits = npsubpix.fit_patches(images, camera=camera, **options)
        kept = fits.ok
        assert kept.mean() > 0.98
        found, errors = columns_of(fits[kept], names)
        shift = found - np.array([*known[:-1], known[-1]])
        shift[:, :2] = found[:, :2] - places[kept]
        for k, column in enumerate(("y", "x", "flux", *names, "background")):
            assert np.std(shift[:, k] / errors[:, k]) == pytest.approx(1, abs=most - 1 + slack), column
            if camera is not None and column != "background":
                root = math.sqrt(np.mean(shift[:, k] ** 2))
                assert root / bound[k] == pytest.approx(1, abs=0.05 + slack), column


def bound_of(name: str) -> np.ndarray:
    """Bounds of positions, flux and the shape."""
    spot, known, options, names = MODELS[name]
    shape = known[3:-1]
    more = {
        "rotated": {"sigma": shape[:2], "angle": shape[-1]},
        "moffat": {"sigma": 1.3, "beta": 2.5},
        "moffat of a known width": {"sigma": 1.3, "beta": 2.5},
        "moffat of a known exponent": {"sigma": 1.3, "beta": 3.0, "free_beta": False},
        "astigmatic": {"sigma": None, "z": shape[0]},
    }[name]
    best = npsubpix.cramer_rao(
        known[2], background=known[-1], box=spot.box, model=options.get("model", "gaussian"),
        width=options.get("width", "free"), **more,
    )  # fmt: skip
    own = {"angle": best.angle_std, "beta": best.beta_std, "z": best.z_std}
    own |= {"sigma": best.sigma_std[0], "sigma_major": best.sigma_std[0], "sigma_minor": best.sigma_std[1]}
    return np.array([*best.coords_std, best.flux_std, *(own[n] for n in names)])


@EACH
def test_bounds_of_the_definition(name):
    """The inverse of the Fisher information by differences of the formulas."""
    spot, known, _, _ = MODELS[name]
    vector = np.array([*((np.array(spot.box) - 1) / 2), *known[2:]])
    slopes = spot.slopes(vector)
    want = np.sqrt(np.diag(np.linalg.inv(slopes / spot.of(vector).ravel() @ slopes.T)))
    np.testing.assert_allclose(bound_of(name), want[:-1], rtol=1e-4)


@pytest.mark.exhaustive
def test_round_spots_have_no_angle(rng, backend):
    """Its error says so, and the position is as good as ever."""
    light = npsubpix.render_spots([[5.1, 4.8]], (11, 11), std=1.3, amplitude=3000.0, integrate=True) + 5
    fits = npsubpix.fit_patches(
        np.concatenate([light[None], rng.poisson([light] * 50)]), width="rotated", camera=Camera()
    )
    assert fits.ok.all()
    unknown = np.isclose(fits.angle_std, math.pi / math.sqrt(12), rtol=1e-12)
    assert unknown[0]
    assert unknown.mean() > 0.9
    np.testing.assert_allclose(fits.coords_std, npsubpix.cramer_rao(3000, 1.3, 5, box=11).coords_std[0], rtol=0.1)
    assert (fits.sigma[:, 0] >= fits.sigma[:, 1]).all()


@pytest.mark.exhaustive
@pytest.mark.parametrize("angle", [-1.5, -0.7, 0.0, 0.8, 1.5])
def test_every_angle(backend, angle):
    """From the y axis towards the x axis, for elongated spots."""
    spot = Spot((17, 17), "rotated")
    fits = npsubpix.fit_patches(spot.of(np.array([8.2, 7.9, 1e5, 3.0, 1.0, angle, 10.0]))[None], width="rotated")
    assert fits.ok.all()
    assert fits.angle[0] == pytest.approx(angle, abs=1e-5)
    np.testing.assert_allclose(fits.sigma[0], [3.0, 1.0], rtol=1e-5)
    wide = Spot((33, 33), "rotated").of(np.array([16.2, 15.9, 1e5, 3.0, 1.0, angle, 0.0]))
    measured = npsubpix.measure_spots(wide, [[16.2, 15.9]], 12, background=0.0)
    assert measured.angle[0] == pytest.approx(angle, abs=0.02)


@pytest.mark.exhaustive
def test_a_gaussian_is_a_moffat_function_at_its_limit(rng, backend):
    """Its exponent is held at the limit, where the other columns are those of a Gaussian."""
    light = npsubpix.render_spots([[6.1, 5.8]], (13, 13), std=1.3, amplitude=20_000.0, integrate=True) + 5
    data = rng.poisson([light] * 40)
    fits = npsubpix.fit_patches(data, model="moffat", camera=Camera())
    at_bound = (fits.flags & int(FitFlags.AT_BOUND)) != 0
    assert fits.ok.all()
    assert at_bound.mean() > 0.5
    np.testing.assert_allclose(fits.beta[at_bound], 100)
    assert np.isnan(fits.beta_std[at_bound]).all()
    want = npsubpix.fit_patches(data, camera=Camera())
    np.testing.assert_allclose(fits.coords, want.coords, atol=0.002)
    np.testing.assert_allclose(fits.sigma[at_bound], want.sigma[at_bound], rtol=0.01)


@pytest.mark.exhaustive
@pytest.mark.parametrize("z", [-450, -250, -100, 0, 100, 250, 450])
def test_both_sides_of_the_focus(rng, backend, z):
    spot = Spot((15, 15), curves=CURVES)
    data = rng.poisson(np.stack([spot.of(np.array([7.2, 6.9, 1500.0, z, 5.0]))] * 60))
    for camera in (Camera(), None):
        fits = npsubpix.fit_patches(data, width=CURVE, camera=camera)
        kept = fits.ok
        assert kept.mean() > 0.85
        assert (np.abs(fits.z[kept] - z) < 6 * fits.z_std[kept]).all()
        np.testing.assert_allclose(fits.sigma[kept], CURVE.sigma(fits.z[kept]), rtol=1e-12)


@pytest.mark.exhaustive
def test_beyond_the_calibrated_range(backend):
    spot = Spot((17, 17), curves=CURVES)
    data = np.stack([spot.of(np.array([8.2, 7.9, 5000.0, z, 5.0])) for z in (-700, 490, 700)])
    fits = npsubpix.fit_patches(data, width=CURVE, camera=Camera())
    beyond = (fits.flags & int(FitFlags.OUT_OF_RANGE)) != 0
    assert beyond.tolist() == [True, False, True]
    assert fits.ok.tolist() == [False, True, False]
    np.testing.assert_allclose(fits.z, [-500, 490, 500], atol=0.1)
    assert np.isnan(fits.z_std).tolist() == beyond.tolist()
    assert np.isfinite(fits.coords_std).all()
    options = {"frame": [0, 1, 2], "frame_axis": 0, "camera": Camera()}
    peaks = npsubpix.refine_peaks(data, [[8, 8]] * 3, method="fit", fit={"width": CURVE, "box": 17}, **options)
    assert ((peaks.flags & int(PeakFlags.OUT_OF_RANGE)) != 0).tolist() == beyond.tolist()
    assert peaks.ok.tolist() == fits.ok.tolist()


def test_curves():
    assert CURVE.sigma(0.0).shape == (2,)
    for axis in range(2):
        z = np.linspace(-500, 500, 7)
        np.testing.assert_allclose(CURVE.sigma(z)[:, axis], reference.curve(z, *CURVES[axis]), rtol=1e-14)
    assert AstigmaticCurve.from_dict(json.loads(json.dumps(CURVE.to_dict()))) == CURVE
    assert eval(repr(CURVE)) == CURVE
    assert hash(CURVE) == hash(AstigmaticCurve.from_dict(CURVE.to_dict()))
    with pytest.raises(AttributeError):
        CURVE.depth = (1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma0": (0, 1)}, "sigma0 must be positive"),
        ({"depth": (300, -1)}, "depth must be positive"),
        ({"depth": 300}, "depth must have two numbers, along y and along x, got 300"),
        ({"focus": (1, 2, 3)}, "focus must have two numbers"),
        ({"focus": (1, math.nan)}, "focus must be"),
        ({"z_range": (500, -500)}, "z_range must be the least and the greatest z"),
        ({"a": (0, 5)}, "positive in z_range, along x too"),
        ({"unknown": (0, 5)}, "parameters must be sigma0, focus"),
    ],
)
def test_wrong_curves(change, message):
    with pytest.raises(ValueError, match=message):
        AstigmaticCurve.from_dict({**CURVE.to_dict(), **change})


def table(coords: np.ndarray, **columns: np.ndarray) -> Fits:
    """A table of fits from its columns."""
    ones = np.ones(len(coords))
    zeros = np.zeros(len(coords), np.int32)
    other = dict.fromkeys(("flux", "flux_std", "background", "background_std", "chi2", "log_likelihood"), ones)
    whole = {"n_iters": zeros, "flags": zeros, "indices": np.zeros((len(coords), 2), np.int64)}
    base = {"coords": coords, "coords_std": 0.1 * np.ones_like(coords), "sigma": ones, "sigma_std": ones}
    return Fits(**{**base, **other, **whole, **columns})


def test_curves_from_fits(rng):
    """Of four beads with noise of two percent, a tenth of which are far off."""
    z = np.linspace(-500, 500, 51)
    frame = np.repeat(np.arange(51), 4)
    sigma = CURVE.sigma(z)[frame] * rng.normal(1, 0.02, (len(frame), 2))
    wrong = rng.random(len(frame)) < 0.1
    sigma[wrong] *= rng.uniform(1.5, 3, (wrong.sum(), 1))
    fits = table(np.zeros((len(frame), 2)), sigma=sigma, sigma_std=0.02 * sigma, frame=frame)
    curve = npsubpix.fit_astigmatic_curve(fits, z)
    assert curve.z_range == (-500, 500)
    np.testing.assert_allclose(curve.sigma(z), CURVE.sigma(z), rtol=0.02)
    np.testing.assert_allclose(curve.focus, CURVE.focus, atol=20)
    np.testing.assert_allclose(curve.sigma0, CURVE.sigma0, rtol=0.02)
    by_row = npsubpix.fit_astigmatic_curve(table(fits.coords, sigma=sigma, sigma_std=0.02 * sigma), z[frame])
    assert by_row == curve


def test_wrong_calibrations():
    z, frame = np.arange(5.0), np.arange(5)
    fits = table(np.zeros((5, 2)), sigma=np.ones((5, 2)), sigma_std=np.ones((5, 2)), frame=frame)
    for arguments, message in (
        ((fits, z), "beads must have been fitted at 6 values of z at least, got 5"),
        ((fits, z[:4]), r"z must have one number per frame, got shape \(4,\)"),
        ((fits, z * math.nan), "z must be finite"),
        ((table(np.zeros((5, 2))), z), "beads must be fits of images by width='elliptical'"),
        ((fits, z, [[1, 2]]), "coords, camera and box are for images"),
        ((np.zeros((5, 9, 9)), z), "coords must be given with images"),
        ((np.zeros((4, 4)), z), r"beads must have 3 dimensions, frames, rows and columns, got shape \(4, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            npsubpix.fit_astigmatic_curve(*arguments)
    concave = np.sqrt(10 - 0.1 * np.arange(9.0)[:, None] ** 2) * np.ones(2)
    many = table(np.zeros((9, 2)), sigma=concave, sigma_std=np.ones((9, 2)))
    with pytest.raises(ValueError, match="widths along y must have a minimum in the range of z"):
        npsubpix.fit_astigmatic_curve(many, np.arange(9.0))


@pytest.mark.exhaustive
def test_curves_from_images_of_beads(rng):
    """z of molecules by the curve of beads is as good as by the true one."""
    z = np.linspace(-500, 500, 41)
    beads = np.array([[20.2, 21.4], [20.7, 60.1], [61.3, 22.2], [59.8, 60.6]])
    light = [
        npsubpix.render_spots(beads, (82, 84), std=s, amplitude=30_000.0, integrate=True) + 8 for s in CURVE.sigma(z)
    ]
    stack = rng.poisson(np.array(light))
    peaks = npsubpix.find_peaks(stack.mean(0), threshold_abs=100, min_distance=13)
    assert len(peaks) == 4
    curve = npsubpix.fit_astigmatic_curve(stack, z, peaks, camera=Camera())
    np.testing.assert_allclose(curve.sigma(z), CURVE.sigma(z), rtol=0.01)
    moved = npsubpix.fit_astigmatic_curve(np.moveaxis(stack, 0, 2), z, beads, camera=Camera(), frame_axis=2)
    np.testing.assert_allclose(moved.sigma(z), curve.sigma(z), rtol=1e-3)
    spot, count = Spot((15, 15), curves=CURVES), 800
    true = rng.uniform(-350, 350, count)
    data = rng.poisson(np.stack([spot.of(np.array([7.2, 6.9, 2000.0, at, 5.0])) for at in true]))
    fits = npsubpix.fit_patches(data, width=curve, camera=Camera())
    assert fits.ok.mean() > 0.98
    bounds = [npsubpix.cramer_rao(2000, None, 5, width=CURVE, z=at, box=15).z_std for at in true]
    error = (fits.z - true)[fits.ok]
    assert np.std(error / np.array(bounds)[fits.ok]) == pytest.approx(1, abs=0.1)
    assert np.std(error / fits.z_std[fits.ok]) == pytest.approx(1, abs=0.1)
    assert abs(error.mean()) < 5


def test_columns_and_files(tmp_path):
    """Tables have columns of a shape where the model has it; z of an image is not a position in pixels."""
    ones = np.ones(2)
    plain = table(np.ones((2, 2)))
    assert not {"angle", "beta", "z", "z_std"} & set(plain.to_dict())
    turned = table(np.ones((2, 2)), sigma=np.ones((2, 2)), sigma_std=np.ones((2, 2)), angle=ones, angle_std=ones)
    names = list(turned.to_dict())
    assert names[names.index("sigma_major") : names.index("chi2")] == [
        "sigma_major", "sigma_major_std", "sigma_minor", "sigma_minor_std", "angle", "angle_std",
    ]  # fmt: skip
    deep = table(np.ones((2, 2)), z=120 * ones, z_std=5 * ones, beta=3 * ones, beta_std=ones)
    assert len(deep[1:].z) == 1
    assert "z_std" in repr(deep)
    assert set(deep.to_pandas()) >= {"z", "z_std", "beta", "beta_std"}
    assert deep.to_astropy()["z"].unit is None
    assert str(turned.to_astropy()["sigma_major"].unit) == "pix"
    deep.save(tmp_path / "fits.csv", origin="corner")
    header, first = (tmp_path / "fits.csv").read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert (float(row["y"]), float(row["z"])) == (1.5, 120.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "airy"}, "model must be one of 'gaussian', 'moffat'"),
        ({"width": "narrow"}, "'rotated', or an AstigmaticCurve, got 'narrow'"),
        ({"width": 3}, "or an AstigmaticCurve, got 3"),
        ({"model": "moffat", "width": "elliptical"}, "width must be 'free' or 'fixed' with model='moffat'"),
        ({"model": "moffat", "width": "rotated"}, "width must be 'free' or 'fixed' with model='moffat'"),
        ({"model": "moffat", "sigma": (1.2, 1.3)}, "sigma must be one number with model='moffat'"),
        ({"model": "moffat", "width": "fixed"}, "sigma must be given with width='fixed'"),
        ({"model": "moffat", "beta": 1.0}, "beta must be above 1"),
        ({"model": "moffat", "beta": math.inf}, "beta must be above 1, so that a spot has a flux, and finite"),
        ({"beta": 3.0}, "beta is for model='moffat'"),
        ({"width": CURVE, "sigma": 1.3}, "sigma must be None with an AstigmaticCurve"),
        ({"width": CURVE, "model": "moffat"}, "model must be 'gaussian' with an AstigmaticCurve"),
        ({"width": CURVE, "beta": 3.0}, "beta is for model='moffat'"),
    ],
)
def test_wrong_combinations(options, message):
    for call, arguments in ((npsubpix.fit_patches, ()), (npsubpix.fit_spots, ([[4, 4]],))):
        data = np.zeros((1, 9, 9) if not arguments else (9, 9))
        with pytest.raises(ValueError, match=message):
            call(data, *arguments, **options)


@pytest.mark.parametrize("options", [{"model": "moffat"}, {"width": "rotated"}, {"width": CURVE}])
def test_models_of_images_refuse_volumes(options):
    with pytest.raises(ValueError, match="volume"):
        npsubpix.fit_spots(np.zeros((9, 9, 9)), [[4, 4, 4]], **options)
    with pytest.raises(ValueError, match="volume"):
        npsubpix.cramer_rao(1000, 1.3 if options.get("width") is not CURVE else None, 5, ndim=3, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": None}, "sigma must be given"),
        ({"sigma": 1.3, "z": 5.0}, "z must be given with an AstigmaticCurve for width, and not without one"),
        ({"sigma": None, "width": CURVE}, "z must be given with an AstigmaticCurve"),
        (
            {"sigma": None, "width": CURVE, "z": 501},
            "z must be in the range of the curve, from -500.0 to 500.0, got 501",
        ),
        ({"sigma": 1.3, "angle": 0.3}, "angle is for width='rotated'"),
        ({"sigma": (1.1, 1.3), "width": "rotated"}, "sigma must be the widths along the major and the minor axis"),
        ({"sigma": 1.3, "model": "moffat"}, "beta must be given with model='moffat'"),
    ],
)
def test_wrong_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        npsubpix.cramer_rao(1000, background=5, **options)
