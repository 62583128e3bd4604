"""Windows that the border cuts, axes that cannot be refined, and windows too narrow for their pixels."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags
from tests.reference import quad_interp
from tests.reference import refinement as reference


def spot(shape: tuple[int, ...], centre: tuple[float, ...], sigma: tuple[float, ...]) -> np.ndarray:
    grid = np.indices(shape)
    u = [(g - c) / s for g, c, s in zip(grid, centre, sigma, strict=True)]
    return np.exp(-0.5 * sum(v**2 for v in u))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("z", [4.0, 2.3, 1.4, 0.7])
def test_a_window_cut_along_z_is_exact_for_a_gaussian(z):
    """Nine slices hold no window of eleven: what is seen of it determines z."""
    volume = 100 + 900 * spot((9, 31, 31), (z, 15.3, 14.8), (1.8, 1.4, 1.4))
    peaks = npsubpix.find_peaks(volume, threshold_abs=500, refine="centroid", radius=(5.4, 4.2, 4.2))
    assert peaks.ok.all()
    assert not (peaks.flags & int(PeakFlags.FIXED_Z)).any()
    np.testing.assert_allclose(peaks.coords, [[z, 15.3, 14.8]], atol=0.01)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("radius", [2.0, 3.0])
def test_centroids_of_windows_of_few_columns(rng, width, radius):
    """Images narrower than windows, and starts in each column: every window has its own number of columns."""
    for column in range(width):
        image = 50 * spot((15, width), (7.2, column + 0.1), (1.2, 1.2)) + rng.normal(5, 0.01, (15, width))
        found = npsubpix.refine_peaks(image, [[7, column]], method="centroid", radius=radius, n_iters=20)
        if found.ok[0]:
            wanted = reference.centroid(image, (7, column), (radius, radius), 20)
            np.testing.assert_allclose(found.coords[0], wanted, atol=1e-7)


@pytest.mark.usefixtures("backend")
def test_flat_spots_under_a_cut_window():
    """A blob of equal pixels has no Gaussian's slopes: moments are right where it is seen whole, and else there are
    none."""
    image = np.zeros((12, 13))
    image[3:6, 4:8] = 2
    peaks = npsubpix.refine_peaks(image, [[4, 5]], method="centroid", radius=6)
    assert peaks.ok.all()
    np.testing.assert_allclose(peaks.coords, [[4, 5.5]], atol=0.01)
    image[:3, 4:8] = 2
    assert npsubpix.refine_peaks(image, [[3, 5]], method="centroid", radius=6).flag_names() == ["SINGULAR"]


@pytest.mark.usefixtures("backend")
def test_thin_stacks_are_refined_along_all_axes(rng):
    """Nine slices of photon noise: all spots are refined, with the scatter of a stack of many slices."""
    errors = {}
    for depth in (9, 41):
        middle = depth // 2
        truth = np.stack(np.mgrid[:1, :8, :8], -1).reshape(-1, 3) * (0, 30, 30) + (middle, 15, 15)
        truth = truth + rng.uniform(-1, 1, truth.shape) * (2, 0.5, 0.5)
        grid = np.indices((depth, 240, 240), np.float32)
        image = np.full(grid.shape[1:], 20, np.float32)
        for z, y, x in truth:
            near = (slice(None), slice(int(y) - 12, int(y) + 13), slice(int(x) - 12, int(x) + 13))
            u = (grid[0][near] - z) / 1.8, (grid[1][near] - y) / 1.4, (grid[2][near] - x) / 1.4
            image[near] += 300 * np.exp(-0.5 * (u[0] ** 2 + u[1] ** 2 + u[2] ** 2))
        peaks = npsubpix.find_peaks(
            rng.poisson(image).astype(np.uint16), threshold_abs=150, min_distance=5, refine="centroid", radius=5
        )
        assert len(peaks) == 64
        assert peaks.ok.all()
        nearest = np.linalg.norm((peaks.coords[:, None] - truth) * (0, 1, 1), axis=2).argmin(1)
        errors[depth] = np.sqrt(((peaks.coords - truth[nearest]) ** 2).mean(0))
    assert (errors[9] < 1.6 * errors[41]).all()
    assert errors[9][0] < 0.06


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("shape", "radius"), [((13, 14), (4.0, 3.5)), ((7, 12, 13), (4.0, 3.0, 3.5))])
def test_cut_windows_by_their_definition(rng, shape, radius):
    """Noisy spots next to the border on any side, as the slow definition has them."""
    compared = 0
    for _ in range(40):
        centre = rng.uniform(0.6, np.array(shape) - 1.6)
        image = 10 + 60 * spot(shape, tuple(centre), (1.5,) * len(shape)) + rng.normal(0, 0.3, shape)
        pixel = tuple(np.rint(centre).astype(int).tolist())
        found = npsubpix.refine_peaks(image, [pixel], method="centroid", radius=radius)
        if found.ok[0]:
            want = reference.centroid(image, pixel, radius, 30)
            np.testing.assert_allclose(found.coords[0], want, atol=1e-7)
            compared += 1
    assert compared > 30


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola", "centroid"])
def test_an_axis_at_whose_border_a_pixel_lies_is_not_refined(method):
    """The others are, and the flag says which it was."""
    volume = spot((8, 15, 16), (0.2, 7.3, 8.4), (2.0, 1.5, 1.5))
    peaks = npsubpix.refine_peaks(volume, [[0, 7, 8]], method=method, radius=4)
    assert peaks.flag_names() == ["FIXED_Z"]
    assert peaks.ok.all()
    assert peaks.coords[0, 0] == 0
    np.testing.assert_allclose(peaks.coords[0, 1:], [7.3, 8.4], atol=0.05)
    edges = npsubpix.refine_peaks(spot((15, 16), (7.3, 0.1), (1.5, 1.5)), [[7, 0]], method=method, radius=4)
    assert edges.flag_names() == ["FIXED_X"]
    assert edges.coords[0, 1] == 0
    np.testing.assert_allclose(edges.coords[0, 0], 7.3, atol=0.05)
    corner = npsubpix.refine_peaks(volume, [[0, 0, 15]], method=method, radius=4)
    assert corner.flag_names() == ["AT_BORDER"]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("depth", [1, 2])
def test_volumes_too_thin_for_windows(rng, depth):
    """Every maximum of a plane is refined in the plane, as that plane alone is."""
    plane = rng.standard_normal((20, 21))
    volume = np.stack([plane, plane - 1][:depth])
    for method in ("quadratic", "parabola"):
        peaks = npsubpix.find_peaks(volume, exclude_border=(0, 1, 1), refine=method, duplicates="flag")
        want = npsubpix.find_peaks(plane, exclude_border=1, refine=method, duplicates="flag")
        np.testing.assert_allclose(peaks.coords[:, 1:], want.coords, atol=1e-12)
        np.testing.assert_array_equal(peaks.ok, want.ok)
        assert ((peaks.flags[peaks.ok] & int(PeakFlags.FIXED_Z)) != 0).all()


@pytest.mark.usefixtures("backend")
def test_fits_along_free_axes_by_their_definition(rng):
    """At a face of a volume the fit is that of the plane; at an edge, the parabola of the line."""
    volume = rng.standard_normal((6, 30, 31))
    for start in np.argwhere(np.ones((28, 29), bool)) + 1:
        peaks = npsubpix.refine_peaks(volume, [[0, *start]])
        want = quad_interp.refine(volume[0], tuple(start), limit=np.inf)
        if want is None or np.abs(want[0] - start).max() > 1.5:
            assert not peaks.ok[0]
        else:
            assert peaks.coords[0, 0] == 0
            np.testing.assert_allclose(peaks.coords[0, 1:], want[0], atol=1e-8)
            np.testing.assert_allclose(peaks.values[0], want[1], atol=1e-8)
        if start[0] > 1 or start[1] % 3:
            continue
        line = volume[0, 0]
        peaks = npsubpix.refine_peaks(volume, [[0, 0, start[1]]], method="parabola")
        slope, bend = (line[start[1] + 1] - line[start[1] - 1]) / 2, np.diff(line, 2)[start[1] - 1]
        if abs(slope / bend) < 0.6:
            np.testing.assert_allclose(peaks.coords[0, 2], start[1] - slope / bend, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("sigma", "radius", "bound"), [(0.5, 1.0, 0.08), (0.7, 1.0, 0.015), (0.8, 2.4, 0.005)])
def test_narrow_windows_do_not_give_the_pixel_back(sigma, radius, bound):
    """The window is never narrower than a pixel: a spot between two pixels is not drawn to either."""
    for phase in np.linspace(-0.45, 0.45, 7):
        image = 10 + 1000 * spot((15, 16), (7 + phase, 8.3), (sigma, sigma))
        peaks = npsubpix.find_peaks(image, threshold_abs=100, refine="centroid", radius=radius)
        assert peaks.ok.all()
        assert abs(peaks.coords[0, 0] - 7 - phase) < bound


@pytest.mark.usefixtures("backend")
def test_the_number_of_iterations_is_that_of_the_method():
    """A centroid comes closer by a factor in each iteration, and needs more of them than a fit."""
    image = np.minimum(spot((41, 41), (20.6, 20.3), (4.0, 4.0)), 0.8)
    few = npsubpix.refine_peaks(image, [[20, 20]], method="centroid", radius=4, n_iters=5)
    assert few.flag_names() == ["NOT_CONVERGED"]
    found = npsubpix.refine_peaks(image, [[20, 20]], method="centroid", radius=4)
    assert found.ok.all()
    np.testing.assert_allclose(found.coords, [[20.6, 20.3]], atol=0.03)
