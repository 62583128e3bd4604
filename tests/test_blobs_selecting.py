"""Which blobs `find_blobs` reports: options against rules in plain Python, formulas and scikit-image; and memory."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest

import npsubpix
from tests.reference import blobs as reference


def curvature_ratio(widths: tuple[float, ...], sigma: float) -> float:
    """Ratio of the greatest and the least curvature of the Laplacian, of width sigma, of a Gaussian at its centre."""
    inverse = 1 / (np.array(widths) ** 2 + sigma**2)
    curvatures = inverse * (inverse.sum() + 2 * inverse)
    return float(curvatures.max() / curvatures.min())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("widths", [(4.0, 7.0), (3.0, 3.0, 5.0)])
def test_edge_ratio_is_that_of_the_curvatures_of_the_response(widths):
    """Of an elongated Gaussian, from the derivatives of the Laplacian at the scale at which it answers most."""
    axes = len(widths)
    shape = (64,) * 2 if axes == 2 else (40,) * 3
    place = tuple(0.5 * n - 0.3 for n in shape)
    image = reference.image_of_blobs(shape, np.array([[*place, *widths, 50.0]]))
    sigmas = np.geomspace(1, 12, 400)
    inverse = 1 / (np.array(widths)[:, None] ** 2 + sigmas**2)
    response = sigmas**2 * np.sqrt(inverse.prod(axis=0)) * inverse.sum(axis=0)
    ratio = curvature_ratio(widths, float(sigmas[np.argmax(response)]))
    counts = [
        len(npsubpix.find_blobs(image, 2, 8, threshold_abs=10, edge_ratio=r)) for r in (0.85 * ratio, 1.15 * ratio)
    ]
    assert counts == [0, 1]


@pytest.mark.usefixtures("backend")
def test_each_option_leaves_the_rows_that_its_rule_leaves():
    """Rows that are found without an option, and are selected in plain Python, are those that are found with it."""
    rng = np.random.default_rng(5)
    truth = reference.scattered_blobs(rng, 14, (160, 150), (1.5, 4.0), (20.0, 90.0))
    image = reference.image_of_blobs((160, 150), truth, 10.0) + rng.normal(size=(160, 150))
    every = npsubpix.find_blobs(image, 1.2, 6, noise=1)
    assert len(every) == 14
    edge = np.minimum(every.coords, np.array(image.shape) - 1 - every.coords)
    middle = {name: np.sort(column)[6:8].mean() for name, column in (("amplitude", every.amplitude),
                                                                     ("snr", every.snr),
                                                                     ("border", edge.min(axis=1)))}  # fmt: skip
    border = round(middle["border"])
    for options, kept in (
        ({"threshold_abs": middle["amplitude"], "threshold_snr": 5}, every.amplitude > middle["amplitude"]),
        ({"threshold_snr": middle["snr"]}, every.snr > middle["snr"]),
        ({"threshold_rel": middle["amplitude"] / every.amplitude.max(), "threshold_snr": 5},
         every.amplitude > middle["amplitude"]),
        ({"exclude_border": border}, (edge >= border).all(axis=1)),
        ({"exclude_border": (border, 0)}, edge[:, 0] >= border),
        ({"exclude_border": True}, (edge >= every.radius[:, None]).all(axis=1)),
        ({"num_blobs": 5}, np.arange(14) < 5),
        ({"mask": np.zeros(image.shape, bool)}, np.ones(14, bool)),
    ):  # fmt: skip
        found = npsubpix.find_blobs(image, 1.2, 6, noise=1, **options)
        np.testing.assert_allclose(found.coords, every.coords[kept], atol=0.02, err_msg=str(options))


@pytest.mark.usefixtures("backend")
def test_both_are_the_bright_and_the_dark_ones():
    """Each of them, if none is dropped for another that it overlaps."""
    rng = np.random.default_rng(5)
    truth = reference.scattered_blobs(rng, 14, (160, 150), (1.5, 4.0), (20.0, 90.0))
    truth[::2, 3] *= -1
    image = reference.image_of_blobs((160, 150), truth, 10.0) + rng.normal(size=(160, 150))
    bright, dark, both = (
        npsubpix.find_blobs(image, 1.2, 6, noise=1, dark=which, overlap=1) for which in (False, True, "both")
    )
    assert len(both) == len(bright) + len(dark) >= 14
    for alone, sign in ((bright, 1), (dark, -1)):
        own = both[both.amplitude * sign > 0]
        distance = np.linalg.norm(own.coords[:, None] - alone.coords, axis=2)
        assert (distance.min(axis=0) < 0.3 * alone.sigma).all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("share", [0.02, 0.3, 0.97])
def test_overlap_keeps_what_skimage_keeps(share):
    """Where the larger of two blobs is also the stronger one: scikit-image keeps the larger."""
    from skimage.feature import blob_log

    rows = [(30.0, 30.0 + 70 * k, 6.0, 80.0) for k in range(4)]
    rows += [(30.0, 30.0 + 70 * k + d, 1.6, 60.0) for k, d in enumerate((6.0, 8.0, 9.5, 14.0))]
    image = reference.image_of_blobs((64, 280), np.array(rows))
    sizes = {"min_sigma": 1.2, "max_sigma": 8}
    found = npsubpix.find_blobs(image, **sizes, threshold_abs=15, overlap=share)
    theirs = blob_log(image, **sizes, num_sigma=20, threshold=8, overlap=share)
    drawn = {(round(row[0]), round(row[1])) for row in rows}

    def places(coords: np.ndarray) -> set[tuple[int, int]]:
        return {place for place in drawn if np.hypot(*(coords - place).T).min() < 2}

    assert places(found.coords) == places(theirs[:, :2])


@pytest.mark.usefixtures("backend")
def test_gaps_in_stacks_and_volumes_and_axes_of_one_pixel():
    """A frame or a part without values has no blobs, and hides none elsewhere."""
    rng = np.random.default_rng(1)
    image = reference.image_of_blobs((60, 62), np.array([[20.2, 30.6, 3.0, 50.0]])) + rng.normal(size=(60, 62))
    stack = np.stack([np.full_like(image, np.nan), image, np.where(np.indices(image.shape)[0] > 35, np.nan, image)])
    blobs = npsubpix.find_blobs(stack, 1.5, 6, noise=1, frame_axis=0)
    np.testing.assert_array_equal(blobs.frame, [1, 2])
    np.testing.assert_allclose(blobs.coords, [[20.2, 30.6]] * 2, atol=0.1)
    one = npsubpix.find_blobs(image[None], 1.5, 6, noise=1, frame_axis=0)
    np.testing.assert_array_equal(one.coords, npsubpix.find_blobs(image, 1.5, 6, noise=1).coords)
    with pytest.raises(ValueError, match="a third of the image"):
        npsubpix.find_blobs(image[None], 1, 4)
    for shape in ((0, 20, 20), (0, 3, 20, 20)):
        empty = npsubpix.find_blobs(np.empty(shape), 1, 4, frame_axis=0 if len(shape) == 3 else 1)
        assert len(empty) == 0
        assert empty.coords.shape[1] == len(shape) - 1


@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16", "float64"])
@pytest.mark.parametrize("method", ["log", "dog", "doh"])
@pytest.mark.parametrize("shape", [(768, 760), (32, 120, 128)])
def test_memory_is_that_of_five_images(shape, method, dtype):
    """Three responses and a level, and the image itself where its noise is measured by another filter."""
    rng = np.random.default_rng(0)
    axes = len(shape)
    truth = reference.scattered_blobs(rng, 6, shape, (1.5, 3.0), (50.0, 90.0))
    image = np.clip(reference.image_of_blobs(shape, truth, 20.0) + rng.normal(0, 2, shape), 0, 255).astype(dtype)

    def find() -> int:
        return len(npsubpix.find_blobs(image, 1, 8 if axes == 2 else 4, method=method))

    count = find()
    tracemalloc.start()
    try:
        assert find() == count >= 6
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 5.3 * 4 * math.prod(shape)


@pytest.mark.parametrize("method", ["log", "dog"])
def test_errors_in_volumes_are_the_scatter(method):
    """Of positions along each axis, for blobs of two pixels and 1.5 along z."""
    rng = np.random.default_rng(6)
    widths = np.array([1.5, 2.0, 2.0])
    places = np.array(list(itertools.product((12, 30), (14, 38, 62), (14, 38, 62)))) + rng.uniform(-0.5, 0.5, (18, 3))
    truth = np.column_stack([places, np.tile(widths, (18, 1)), np.full(18, 50.0)])
    clean = reference.image_of_blobs((42, 76, 76), truth, 10.0)
    scores = []
    for _ in range(3):
        blobs = npsubpix.find_blobs(clean + rng.normal(0, 3, clean.shape), 0.6 * widths, 1.6 * widths, noise=3.0,
                                    method=method)  # fmt: skip
        nearest = np.linalg.norm(blobs.coords[:, None] - places, axis=2).argmin(axis=0)
        scores.append((blobs.coords[nearest] - places) / blobs.coords_std[nearest])
        bound = np.sqrt(2 * 9 / (np.pi**1.5 * widths.prod() * 50**2)) * widths
        assert np.sqrt(np.mean(((blobs.coords[nearest] - places) / bound) ** 2)) < 1.45
    # 162 numbers, whose spread has an error of 6 %
    assert 0.84 < np.std(np.concatenate(scores)) < 1.16
