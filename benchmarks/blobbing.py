"""Images of Gaussian blobs with noise, and the other libraries that find them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from benchmarks import peers

__all__ = ["Field", "Score", "cv2_sift", "field", "kornia_detector", "score", "skimage_blobs", "volume"]

Floats = npt.NDArray[np.float64]

#: Standard deviation of the noise of a field, and of a volume.
NOISE, NOISE_3D = 2.0, 3.0


class Field(NamedTuple):
    """An image, and its blobs: positions, widths along each axis and heights."""

    image: npt.NDArray[np.float32]
    coords: Floats
    sigma: Floats
    amplitude: Floats
    noise: float

    @property
    def bound(self) -> float:
        """Cramér–Rao bound of a position along an axis, the root mean square over all blobs, in pixels.

        That of one Gaussian of known width in white noise: a width that is fitted too does not change it.
        """
        n, own = self.coords.shape[1], self.sigma.prod(axis=1)
        variances = 2 * self.noise**2 / (np.pi ** (n / 2) * own * self.amplitude**2)
        return float(np.sqrt((variances[:, None] * self.sigma**2).mean()))

    @property
    def width_bound(self) -> float:
        """Cramér–Rao bound of the logarithm of the width of a round blob in two dimensions, with its height fitted."""
        return float(np.sqrt(np.mean((self.noise / (np.sqrt(np.pi) * self.amplitude * self.sigma[:, 0])) ** 2)))


@functools.lru_cache(maxsize=4)
def field(side: int = 1024, count: int = 240, seed: int = 2) -> Field:
    """Return an image of round blobs of widths from 1.5 to 8 pixels and heights from 30 to 100, which keep apart."""
    rng = np.random.default_rng(seed)
    blobs: list[tuple[float, ...]] = []
    for _ in range(200_000):
        if len(blobs) == count:
            break
        s = float(np.exp(rng.uniform(np.log(1.5), np.log(min(8.0, side / 16)))))
        y, x = rng.uniform(3 * s, side - 3 * s, 2)
        if all((y - a) ** 2 + (x - b) ** 2 > (3 * (s + c)) ** 2 for a, b, c, _ in blobs):
            blobs.append((y, x, s, rng.uniform(30, 100)))
    known = np.array(blobs)
    widths = np.repeat(known[:, 2:3], 2, axis=1)
    return _drawn((side, side), known[:, :2], widths, known[:, 3], 20.0, NOISE, rng)


@functools.lru_cache(maxsize=4)
def volume(shape: tuple[int, int, int] = (48, 256, 256), count: int = 120, seed: int = 4) -> Field:
    """Return a volume of blobs of widths 1.5 along z, and 2 along y and x, which keep apart."""
    rng = np.random.default_rng(seed)
    own = np.array([1.5, 2.0, 2.0])
    places: list[Floats] = []
    margin = np.minimum([8.0, 10.0, 10.0], np.array(shape) / 3)
    for _ in range(200_000):
        if len(places) == count:
            break
        at = rng.uniform(margin, np.array(shape) - margin)
        if all((((at - other) / own) ** 2).sum() > 36 for other in places):
            places.append(at)
    coords = np.array(places)
    heights = rng.uniform(30, 100, len(coords))
    return _drawn(shape, coords, np.tile(own, (len(coords), 1)), heights, 10.0, NOISE_3D, rng)


def _drawn(
    shape: tuple[int, ...],
    coords: Floats,
    sigma: Floats,
    amplitude: Floats,
    background: float,
    noise: float,
    rng: np.random.Generator,
) -> Field:
    image = np.full(shape, background)
    for at, widths, height in zip(coords, sigma, amplitude, strict=True):
        lows = np.maximum(np.floor(at - 6 * widths).astype(int), 0)
        highs = np.minimum(np.ceil(at + 6 * widths).astype(int) + 1, shape)
        profiles = [
            np.exp(-((np.arange(low, high) - c) ** 2) / (2 * w**2))
            for low, high, c, w in zip(lows, highs, at, widths, strict=True)
        ]
        box = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
        image[box] += height * functools.reduce(np.multiply.outer, profiles)
    image += rng.normal(0, noise, shape)
    return Field(image.astype(np.float32), coords, sigma, amplitude, noise)


class Score(NamedTuple):
    """How blobs that were found compare with those that were drawn."""

    recall: float
    precision: float
    rms: float  # along an axis, in pixels
    bound: float  # in the same unit
    offset: Floats  # mean along each axis
    width_bias: float  # mean of the logarithm of the ratio of widths
    width_spread: float  # its standard deviation


def score(fields: list[Field], found: list[tuple[Floats, Floats]]) -> Score:
    """Compare positions and widths with the nearest blob that was drawn, within half of its width."""
    errors, ratios, listed, given = [], [], 0, 0
    for drawn, (coords, sigma) in zip(fields, found, strict=True):
        listed, given = listed + len(drawn.coords), given + len(coords)
        if not len(coords):
            continue
        width = drawn.sigma.prod(axis=1) ** (1 / drawn.coords.shape[1])
        distance, nearest = KDTree(coords).query(drawn.coords)
        close = distance < 0.5 * width
        errors.append(coords[nearest[close]] - drawn.coords[close])
        ratios.append(np.log(sigma[nearest[close]] / width[close]))
    if not errors:
        return Score(0.0, 0.0, *(np.nan,) * 2, np.full(fields[0].coords.shape[1], np.nan), np.nan, np.nan)
    error, ratio = np.concatenate(errors), np.concatenate(ratios)
    bound = float(np.sqrt(np.mean([one.bound**2 for one in fields])))
    return Score(
        recall=len(error) / listed,
        precision=len(error) / given,
        rms=float(np.sqrt((error**2).mean())),
        bound=bound,
        offset=error.mean(axis=0),
        width_bias=float(ratio.mean()),
        width_spread=float(ratio.std()),
    )


# --- other libraries; each returns a function without arguments, or None where the library is not installed


def skimage_blobs(name: str, image: npt.NDArray[np.float32], **options: Any) -> Callable[[], Floats] | None:
    """Return a call of ``blob_log``, ``blob_dog`` or ``blob_doh``, with rows of positions and widths."""
    feature = peers.load("skimage.feature")
    scaled = image / np.float32(100)
    return feature and (lambda: getattr(feature, name)(scaled, **options))


def cv2_sift(image: npt.NDArray[np.float32]) -> Callable[[], Any] | None:
    """Return a call of the detector of SIFT, on the image in 8 bits."""
    cv2 = peers.load("cv2")
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    sift = cv2 and cv2.SIFT_create(nfeatures=0, contrastThreshold=0.02)
    return cv2 and (lambda: sift.detect(pixels, None))


def kornia_detector(image: npt.NDArray[np.float32], *, double: bool, mr_size: float = 1.0) -> Callable[[], Any] | None:
    """Return a call of the scale space detector of differences of Gaussians."""
    torch, feature = peers.load("torch"), peers.load("kornia.feature")
    geometry = peers.load("kornia.geometry")
    if torch is None or feature is None or geometry is None:
        return None
    detector = feature.ScaleSpaceDetector(
        num_features=2000,
        mr_size=mr_size,
        resp_module=feature.BlobDoG(),
        subpix_module=geometry.subpix.AdaptiveQuadInterp3d(),
        scale_pyr_module=geometry.transform.ScalePyramid(3, 1.6, 32, double_image=double),
        scale_space_response=True,
        minima_are_also_good=True,
    )
    tensor = torch.from_numpy(image / np.float32(100))[None, None]

    def call() -> Any:
        with torch.no_grad():
            return detector(tensor)

    return call
