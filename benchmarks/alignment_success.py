"""How often an alignment that is ok is right: ``python -m benchmarks.alignment_success [trials]``.

Images of one scene, displaced by less than two pixels, must be ok where the shift is found; images of two scenes, and
of one scene displaced by more than can be found, must not be. The limits of `npsubpix._definitions.alignment.fit` are
set so that less than 1 % of the latter are, and hardly any of the former is not.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

import npsubpix

Image = npt.NDArray[np.float64]
#: An image without noise of a scene, displaced.
Scene = Callable[[npt.ArrayLike], Image]

SIZES = (32, 64, 128)
#: Brightness of scenes in units of the noise: of stars at their peak, of textures by their standard deviation.
SIGNALS = (1.0, 3.0, 10.0, 100.0, 1000.0)
NOISES = ("white", "poisson")
#: Shifts in pixels: that can be found, and of which most cannot.
NEAR, FAR = 2.0, (8.0, 0.35)
#: Standard error in pixels that the noise must allow for a pair to count as one that can be aligned.
PRECISE = 0.1
#: Variance of the derivative of a cubic spline through white noise, in units of that of the noise.
NOISE_GRADIENT = 1.39


class Kind(NamedTuple):
    """A kind of scenes."""

    name: str
    make: Callable[[np.random.Generator, int, float], Scene]
    alone: bool = False  # two of which are one scene, displaced


def stars(count: int, std: float, equal: bool) -> Kind:
    """Stars of one width, of one brightness or of few bright ones."""

    def make(rng: np.random.Generator, size: int, signal: float) -> Scene:
        places = rng.uniform(-8, size + 8, (max(1, round(count * ((size + 16) / 64) ** 2)) if count > 3 else count, 2))
        if count <= 3:
            places = rng.uniform(0.25 * size, 0.75 * size, (count, 2))
        peaks = signal * (np.ones(len(places)) if equal else rng.pareto(1.2, len(places)) + 0.3)
        amplitude = peaks * 2 * math.pi * std**2
        return lambda shift: npsubpix.render_spots(places + shift, (size, size), std=std, amplitude=amplitude)

    name = f"{count} star{'s' if count > 1 else ''} of width {std:g}{', equal' if equal else ''}"
    return Kind(name, make, count == 1)


def texture(length: float) -> Kind:
    """White noise, smoothed."""

    def make(rng: np.random.Generator, size: int, signal: float) -> Scene:
        pad = math.ceil(size * FAR[1]) + 8
        image = ndi.gaussian_filter(rng.standard_normal((size + 2 * pad, size + 2 * pad)), length)
        coefficients = ndi.spline_filter(image * signal / image.std())
        pixels = np.mgrid[:size, :size] + float(pad)
        return lambda shift: np.asarray(
            ndi.map_coordinates(coefficients, pixels - np.reshape(shift, (2, 1, 1)), prefilter=False)
        )

    return Kind(f"texture of length {length:g}", make)


KINDS = (
    stars(1, 1.5, equal=True),
    stars(3, 1.5, equal=True),
    stars(8, 1.5, equal=False),
    stars(30, 1.5, equal=False),
    stars(30, 1.0, equal=True),
    stars(30, 0.6, equal=False),
    stars(200, 1.5, equal=False),
    texture(1),
    texture(2),
    texture(5),
    texture(12),
)


class Trial(NamedTuple):
    """A pair of images: the distance from the right shift, the standard error that noise allows, and the result."""

    kind: str
    size: int
    related: bool
    error: float  # in pixels, infinite for images of two scenes
    allowed: float  # in pixels, infinite for images of two scenes
    result: npsubpix.Alignment

    @property
    def right(self) -> bool:
        """Whether the shift is right to half a pixel, or to three standard errors."""
        return bool(self.error < max(0.5, 3 * float(np.nan_to_num(self.result.shift_std.max()))))


def least_of(images: Sequence[Image]) -> float:
    """The least pixel of both images, if it is negative: photons cannot be."""
    return min(0.0, *(float(image.min()) for image in images))


def noisy(rng: np.random.Generator, images: Sequence[Image], noise: str) -> list[Image]:
    """Two images with noise: of standard deviation 1, or of photons on a background of one per pixel."""
    if noise == "white":
        return [image + rng.standard_normal(image.shape) for image in images]
    return [rng.poisson(image - least_of(images) + 1).astype(np.float64) for image in images]


def trials(kind: Kind, count: int, sizes: Sequence[int] = SIZES, signals: Sequence[float] = SIGNALS) -> Iterator[Trial]:
    """All pairs of a kind of scenes."""
    for size in sizes:
        for signal in signals:
            for noise in NOISES:
                for k in range(count):
                    rng = np.random.default_rng([k, size, int(signal), NOISES.index(noise)])
                    scene, other = kind.make(rng, size, signal), kind.make(rng, size, signal)
                    angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(FAR[0], FAR[1] * size)
                    near, distant = rng.uniform(-NEAR, NEAR, 2), far * np.array([math.sin(angle), math.cos(angle)])
                    pairs = [(scene, near), (scene, distant), (other, None)]
                    for moved, shift in pairs[: 2 if kind.alone else 3]:
                        images = scene((0, 0)), moved((0, 0) if shift is None else shift)
                        fixed, moving = noisy(rng, images, noise)
                        allowed = math.inf if shift is None else allowed_error(images[0], least_of(images), noise)
                        result = npsubpix.align(fixed, moving)
                        error = math.inf if shift is None else float(np.hypot(*(result.shift - shift)))
                        yield Trial(kind.name, size, moved is scene, error, allowed, result)


def allowed_error(image: Image, least: float, noise: str) -> float:
    """The standard error of a shift at the right place, from an image without noise."""
    variance = (image - least + 1 if noise == "poisson" else np.ones_like(image))[1:-1, 1:-1]
    gradient = np.array([g[1:-1, 1:-1].ravel() for g in np.gradient(image)])
    products = gradient @ gradient.T
    scatter = (2 * variance.ravel() * gradient) @ gradient.T + NOISE_GRADIENT * (variance**2).sum() * np.eye(2)
    if np.linalg.cond(products) > 1e9:
        return math.inf
    inverse = np.linalg.inv(products)
    return float(np.sqrt(np.diag(inverse @ scatter @ inverse).max()))


def noise_alone(count: int, sizes: Sequence[int] = (16, *SIZES)) -> Iterator[Trial]:
    """Pairs of images of noise, white and smooth."""
    for size in sizes:
        for k in range(10 * count):
            rng = np.random.default_rng([k, size])
            for length in (0.0, 1.5):
                images = ndi.gaussian_filter(rng.standard_normal((2, size, size)), (0, length, length))
                result = npsubpix.align(*images)
                yield Trial("noise alone", size, False, math.inf, math.inf, result)


class Counts(NamedTuple):
    """Numbers of pairs of images, and of those that are ok."""

    right: int
    right_ok: int
    hidden: int  # right, but noise allows no more than a few tenths of a pixel
    hidden_ok: int
    wrong: int
    wrong_ok: int


def counts_of(pairs: Sequence[Trial]) -> Counts:
    """Count pairs by their results."""
    right = [p.result.ok for p in pairs if p.right and p.allowed <= PRECISE]
    hidden = [p.result.ok for p in pairs if p.right and p.allowed > PRECISE]
    wrong = [p.result.ok for p in pairs if not p.right]
    return Counts(*(n for ok in (right, hidden, wrong) for n in (len(ok), sum(ok))))


def table(found: dict[str, list[Trial]]) -> str:
    """The table as Markdown."""
    names = "right", "ok", "right, in noise", "ok", "wrong", "ok"
    lines = ["| scenes | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, pairs in [*found.items(), ("all", list(chain(*found.values())))]:
        lines.append(f"| {name} | " + " | ".join(str(n) for n in counts_of(pairs)) + " |")
    return "\n".join(lines)


def losses(found: dict[str, list[Trial]]) -> str:
    """Flags of right pairs that are not ok, and the wrong ones that are, as Markdown."""
    pairs = [pair for pairs in found.values() for pair in pairs]
    lost = Counter(
        (p.kind, p.result.flag_names().replace("|", ", "))
        for p in pairs
        if p.right and p.allowed <= PRECISE and not p.result.ok
    )
    wrong = Counter((p.kind, f"wrong by {p.error:.1f} px, ok") for p in pairs if not p.right and p.result.ok)
    lines = ["| scenes | why | pairs |", "|---|---|---|"]
    return "\n".join(lines + [f"| {kind} | {why} | {n} |" for (kind, why), n in (lost + wrong).items()])


#: Standard deviations of spots in pixels, and photons of each.
WIDTHS, PHOTONS = (0.5, 0.7, 1.0, 1.5, 2.5), (100, 1000, 10_000, 100_000)


def scatter(std: float, photons: float, noise: str, count: int) -> float:
    """Standard deviation of errors over standard errors: 60 spots, on a background of 2 photons per pixel."""
    errors = []
    for k in range(count):
        rng = np.random.default_rng(k)
        places, shift = rng.uniform(-4, 100, (60, 2)), rng.uniform(-1.5, 1.5, 2)
        images = [
            2 + npsubpix.render_spots(p, (96, 96), std=std, amplitude=photons, integrate=True)
            for p in (places, places + shift)
        ]
        deviation = photons / (2 * math.pi * (std**2 + 1 / 12)) / 20
        moved = [rng.poisson(x) if noise == "poisson" else x + rng.normal(0, deviation, x.shape) for x in images]
        result = npsubpix.align(*moved)
        if result.ok:
            errors.append((result.shift - shift) / result.shift_std)
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else math.nan


def scatters(count: int) -> str:
    """The scatter of errors in units of the standard error, as Markdown."""
    head = [*(f"{n:,} photons" for n in PHOTONS), "white noise"]
    lines = ["| standard deviation of spots | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for std in WIDTHS:
        found = [scatter(std, n, "poisson", count) for n in PHOTONS] + [scatter(std, 1000, "white", count)]
        lines.append(f"| {std} | " + " | ".join(f"{v:.2f}" for v in found) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="?", type=int, default=4, help="pairs of each kind, size, signal and noise")
    count = parser.parse_args().trials
    found = {kind.name: list(trials(kind, count)) for kind in KINDS}
    found["noise alone"] = list(noise_alone(count))
    print(table(found), losses(found), scatters(25 * count), sep="\n\n")


if __name__ == "__main__":
    main()
