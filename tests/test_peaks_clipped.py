"""Two equal pixels are a tie, unless there is evidence that the image is clipped at their value."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags

#: Two spots whose two brightest pixels are equal, and one of a single brightest pixel.
TIES = (10.0, 10.5), (10.0, 30.5), (30.0, 10.0)


def spots(height: float, ceiling: float, dtype: str = "uint8", wide: bool = False) -> np.ndarray:
    """An image of spots of standard deviation 1, clipped at a ceiling; with a brighter one if `wide`."""
    grid = np.indices((40, 41))
    shapes = [np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / 2) for y, x in TIES]
    image = 20 + height * sum(shapes)
    if wide:
        image += 9 * height * np.exp(-((grid[0] - 30) ** 2 + (grid[1] - 30) ** 2) / 2)
    return np.minimum(np.rint(image), ceiling).astype(dtype)


def tied(peaks: npsubpix.Peaks) -> npsubpix.Peaks:
    """The peaks of two equal pixels, which lie in row 10."""
    chosen = peaks[np.asarray(peaks.coords[:, 0] < 20)]
    assert len(chosen) == 2
    assert ((chosen.flags & int(PeakFlags.PLATEAU)) != 0).all()
    return chosen


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola"])
def test_at_the_greatest_value_of_the_dtype(method):
    """A fit to a clipped spot is off by a fifth of a pixel: it is rejected, and the centre of the pixels stays."""
    image = spots(300, 255)
    assert (image[10, 10:12] == 255).all()
    peaks = tied(npsubpix.find_peaks(image, refine=method))
    assert not peaks.ok.any()
    assert ((peaks.flags & int(PeakFlags.SINGULAR)) != 0).all()
    np.testing.assert_array_equal(np.sort(peaks.coords[:, 1]), [10.5, 30.5])
    assert tied(npsubpix.find_peaks(spots(200, 254), refine=method)).ok.all()
    assert not tied(npsubpix.find_peaks(image, refine=method, plateau="first")).ok.any()
    assert tied(npsubpix.find_peaks(image, refine="centroid")).ok.all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_at_a_ceiling_that_a_wide_plateau_shows(dtype):
    """A camera of 12 bits is clipped at 4095, which the dtype does not tell, but a spot of more equal pixels does."""
    alone = spots(4800, 4095, dtype)
    assert (alone[10, 10:12] == 4095).all()
    assert tied(npsubpix.find_peaks(alone)).ok.all()
    shown = npsubpix.find_peaks(spots(4800, 4095, dtype, wide=True))
    assert not tied(shown).ok.any()
    assert ((tied(shown).flags & int(PeakFlags.SINGULAR)) != 0).all()
    stack = np.stack([alone, spots(4800, 4095, dtype, wide=True)])
    movie = npsubpix.find_peaks(stack, frame_axis=0)
    assert tied(movie[movie.frame == 0]).ok.all()
    assert not tied(movie[movie.frame == 1]).ok.any()


@pytest.mark.usefixtures("backend")
def test_wide_plateaus_below_others_show_nothing():
    """Flat tops of lesser spots are no ceiling."""
    image = spots(100, 4095, "uint16")
    level = image[10, 10]
    image[30:32, 30:32] = level
    assert not tied(npsubpix.find_peaks(image, mask=image > level)).ok.any()
    assert image.max() > level
    assert tied(npsubpix.find_peaks(image)).ok.all()


@pytest.mark.usefixtures("backend")
def test_minima_at_the_least_value():
    dark = 255 - spots(300, 255)
    peaks = npsubpix.find_peaks(dark, minima=True, threshold_abs=-100)
    assert not tied(peaks).ok.any()
    assert tied(npsubpix.find_peaks(255 - spots(200, 255), minima=True, threshold_abs=-100)).ok.all()


@pytest.mark.usefixtures("backend")
def test_in_periodic_images():
    image = np.roll(spots(4800, 4095, "uint16", wide=True), (-10, -11), (0, 1))
    peaks = npsubpix.find_peaks(image, mode="wrap")
    flat = np.asarray((peaks.flags & int(PeakFlags.PLATEAU)) != 0)
    assert flat.sum() == 3
    assert not peaks[flat].ok.any()
