"""How often an alignment that is ok is right: ``python -m benchmarks.alignment_success [trials]``.

Images of one scene, displaced by less than two pixels, must be ok where the shift is found; images of two scenes, and
of one scene displaced by more than can be found, must not be. The limits of `npsubpix._definitions.alignment.fit` are
set so that less than 1 % of the latter are, and hardly any of the former is not.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
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
#: Flags of images whose noise hides their texture.
NOISY = npsubpix.AlignmentFlags.NO_TEXTURE | npsubpix.AlignmentFlags.NOT_CONVERGED


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
    """A pair of images: whether it can be aligned, the distance from the right shift, and whether it is ok."""

    kind: str
    size: int
    related: bool
    error: float  # in pixels, infinite for images of two scenes
    result: npsubpix.Alignment

    @property
    def right(self) -> bool:
        """Whether the shift is right to half a pixel, or to three standard errors."""
        return bool(self.error < max(0.5, 3 * float(np.nan_to_num(self.result.shift_std.max()))))


def noisy(rng: np.random.Generator, image: Image, noise: str) -> Image:
    """An image with noise: of standard deviation 1, or of photons on a background of one per pixel."""
    if noise == "white":
        return np.asarray(image + rng.standard_normal(image.shape))
    return np.asarray(rng.poisson(image - min(image.min(), 0) + 1).astype(np.float64))


def trials(kind: Kind, count: int) -> Iterator[Trial]:
    """All pairs of a kind of scenes."""
    for size in SIZES:
        for signal in SIGNALS:
            for noise in NOISES:
                for k in range(count):
                    rng = np.random.default_rng([k, size, int(signal), NOISES.index(noise)])
                    scene, other = kind.make(rng, size, signal), kind.make(rng, size, signal)
                    angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(FAR[0], FAR[1] * size)
                    near, distant = rng.uniform(-NEAR, NEAR, 2), far * np.array([math.sin(angle), math.cos(angle)])
                    fixed = noisy(rng, scene((0, 0)), noise)
                    pairs = [(scene, near), (scene, distant), (other, None)]
                    for moved, shift in pairs[: 2 if kind.alone else 3]:
                        moving = noisy(rng, moved((0, 0) if shift is None else shift), noise)
                        result = npsubpix.align(fixed, moving)
                        error = math.inf if shift is None else float(np.hypot(*(result.shift - shift)))
                        yield Trial(kind.name, size, moved is scene, error, result)


def noise_alone(count: int) -> Iterator[Trial]:
    """Pairs of images of noise, white and smooth."""
    for size in (16, *SIZES):
        for k in range(10 * count):
            rng = np.random.default_rng([k, size])
            for length in (0.0, 1.5):
                images = ndi.gaussian_filter(rng.standard_normal((2, size, size)), (0, length, length))
                result = npsubpix.align(*images)
                yield Trial("noise alone", size, False, math.inf, result)


def table(found: dict[str, list[Trial]]) -> str:
    """The table as Markdown."""
    names = "right", "not ok for noise", "poor fit", "two scenes", "ok", "shift not found", "ok"
    lines = ["| scenes | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    total = np.zeros(len(names), int)
    for name, pairs in found.items():
        right = [pair.result for pair in pairs if pair.right]
        poor = [result for result in right if npsubpix.AlignmentFlags.POOR_FIT in result.flags]
        noisy = sum(NOISY & result.flags != 0 for result in poor) + sum(not r.ok for r in right) - len(poor)
        unrelated = [pair.result.ok for pair in pairs if not pair.related]
        lost = [pair.result.ok for pair in pairs if pair.related and not pair.right]
        counts = [len(right), noisy, sum(not NOISY & result.flags for result in poor)]
        counts += [len(unrelated), sum(unrelated), len(lost), sum(lost)]
        total += counts
        lines.append(f"| {name} | " + " | ".join(str(n) for n in counts) + " |")
    return "\n".join([*lines, "| all | " + " | ".join(str(n) for n in total) + " |"])


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
    print(table(found), scatters(25 * count), sep="\n\n")


if __name__ == "__main__":
    main()
