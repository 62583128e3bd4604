"""How well backgrounds are measured, beside sep and photutils: ``python -m benchmarks.background_accuracy``.

Simulated star fields have a known background. Their stars have wide wings (a Moffat profile of exponent
2.5), which is what draws a background up. The real ones are those of `benchmarks.accuracy`.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks.accuracy import DATA

Image = npt.NDArray[np.float64]
Maps = tuple[Image, Image]

NOISE = 10.0
BOX = 64
SHAPE = (512, 640)
SEEDS = range(4)

#: Background along and across an image, both from 0 to 1, and stars an image.
FIELDS: dict[str, tuple[Callable[[Image, Image], Image], int]] = {
    "flat, no stars": (lambda y, x: 0 * (x + y), 0),
    "slope, no stars": (lambda y, x: 15 * y + 32 * x, 0),
    "bowl, no stars": (lambda y, x: 60 * ((x - 0.5) ** 2 + (y - 0.5) ** 2), 0),
    "slope, 100 stars": (lambda y, x: 15 * y + 32 * x, 100),
    "slope, 600 stars": (lambda y, x: 15 * y + 32 * x, 600),
    "bowl, 600 stars": (lambda y, x: 60 * ((x - 0.5) ** 2 + (y - 0.5) ** 2), 600),
    "slope, 2000 stars": (lambda y, x: 15 * y + 32 * x, 2000),
}


def stars(rng: np.random.Generator, count: int) -> Image:
    """An image of stars of all brightnesses, each cut off 40 pixels from its centre."""
    image = np.zeros(SHAPE)
    grid = np.indices(SHAPE)
    for _ in range(count):
        flux, y, x = 10 ** rng.uniform(1.5, 4.5), rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1])
        part = tuple(slice(max(int(p) - 40, 0), int(p) + 41) for p in (y, x))
        square = (grid[0][part] - y) ** 2 + (grid[1][part] - x) ** 2
        image[part] += flux / 14.1 * (1 + square / 11.25) ** -2.5
    return image


@functools.lru_cache(maxsize=len(SEEDS))
def field(name: str, seed: int) -> tuple[npt.NDArray[np.float32], Image]:
    """A star field, and its background."""
    shape, count = FIELDS[name]
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE) / np.array(SHAPE)[:, None, None]
    background = 1000 + shape(y, x)
    image = background + stars(rng, count) + rng.normal(0, NOISE, SHAPE)
    return image.astype(np.float32), background


def ours(image: npt.NDArray[np.float32], method: str = "median") -> Maps:
    """Ours."""
    found = npsubpix.local_background(image, BOX, method=method)
    return found.level, found.noise


def by_sep(image: npt.NDArray[np.float32]) -> Maps:
    """SExtractor's algorithm, with its estimate of the mode."""
    import sep

    found = sep.Background(np.ascontiguousarray(image, np.float32), bw=BOX, bh=BOX)
    return found.back(), found.rms()


def by_photutils(image: npt.NDArray[np.float32], mode: bool = False, crowded: bool = False) -> Maps:
    """Background2D, with the median or with SExtractor's estimate of the mode."""
    from photutils import background

    estimator = background.SExtractorBackground() if mode else background.MedianBackground()
    # Its default leaves out boxes of which a tenth of the pixels are clipped: in a crowded field nearly all.
    share = 50 if crowded else 10
    found = background.Background2D(image, BOX, filter_size=3, bkg_estimator=estimator, exclude_percentile=share)
    return found.background, found.background_rms


#: Takes an image, and whether it is crowded.
METHODS: dict[str, Callable[[npt.NDArray[np.float32], bool], Maps]] = {
    "npsubpix, median": lambda image, _: ours(image),
    "npsubpix, mean": lambda image, _: ours(image, "mean"),
    "sep": lambda image, _: by_sep(image),
    "photutils, median": lambda image, crowded: by_photutils(image, False, crowded),
    "photutils, mode": lambda image, crowded: by_photutils(image, True, crowded),
}


class Errors(NamedTuple):
    """Errors of a method, in units of the noise."""

    bias: float
    rms: float
    greatest: float
    noise_bias: float
    noise_rms: float


def errors(name: str, method: str) -> Errors:
    """Errors of level and noise over the images of a field."""
    level, noise = [], []
    for seed in SEEDS:
        image, background = field(name, seed)
        maps = METHODS[method](image, FIELDS[name][1] > 1000)
        level.append((maps[0] - background) / NOISE)
        noise.append(maps[1] / NOISE - 1)
    a, b = np.array(level), np.array(noise)
    rms = [float(np.sqrt((x**2).mean())) for x in (a, b)]
    return Errors(float(a.mean()), rms[0], float(np.abs(a).max()), float(b.mean()), rms[1])


def real_fields() -> dict[str, npt.NDArray[np.float32]]:
    """Real images of stars and galaxies."""
    from astropy.io import fits

    names = {
        "ESO NTT": "astro_sextractor_ntt/image.fits",
        "SDSS, r": "astro_sdss_gri/reprojected_sdss_r.fits.bz2",
        "M51": "astro_iraf_m51/dev_pix.fits",
    }
    return {name: fits.getdata(DATA / path).astype(np.float32) for name, path in names.items()}


def sextractor_maps() -> Maps:
    """Background and noise of the ESO NTT field that SExtractor itself wrote."""
    from astropy.io import fits

    folder = DATA / "astro_sextractor_ntt"
    return fits.getdata(folder / "back.fits"), fits.getdata(folder / "rms.fits")


def differences(maps: Maps, others: Maps) -> tuple[float, float, float]:
    """Mean and root mean square of the difference of levels, and the ratio of noises, over the other's median noise."""
    noise = float(np.median(others[1]))
    level = (maps[0] - others[0]) / noise
    return float(level.mean()), float(np.sqrt((level**2).mean())), float(np.median(maps[1])) / noise


def simulated_table() -> str:
    """Errors on simulated fields as Markdown."""
    lines = ["| field | method | level: bias | RMS | greatest | noise: bias | RMS |", "|---|---|---|---|---|---|---|"]
    for name in FIELDS:
        for method in METHODS:
            e = errors(name, method)
            numbers = f"{e.bias:+.3f} | {e.rms:.3f} | {e.greatest:.2f} | {e.noise_bias:+.3f} | {e.noise_rms:.3f}"
            lines.append(f"| {name} | {method} | {numbers} |")
    return "\n".join(lines)


def real_table() -> str:
    """Differences on real fields as Markdown."""
    lines = ["| field | method | compared with | level: mean | RMS | ratio of noise |", "|---|---|---|---|---|---|"]
    for name, image in real_fields().items():
        others = {"sep": by_sep(image), "photutils, mode": by_photutils(image, mode=True)}
        if name == "ESO NTT":
            others = {"SExtractor's own maps": sextractor_maps()} | others
        pairs = [("npsubpix, median", ours(image), title, maps) for title, maps in others.items()]
        pairs.append(("photutils, mode", others["photutils, mode"], "sep", others["sep"]))
        for method, maps, title, reference in pairs:
            mean, rms, ratio = differences(maps, reference)
            lines.append(f"| {name} | {method} | {title} | {mean:+.3f} | {rms:.3f} | {ratio:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")
    print(simulated_table())
    if not DATA.exists():
        sys.exit(f"{DATA} is not there: it holds the real images")
    print("", real_table(), sep="\n")


if __name__ == "__main__":
    main()
