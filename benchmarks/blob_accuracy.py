"""Positions and widths of blobs, beside other libraries: ``python -m benchmarks.blob_accuracy``.

Images of 1024² pixels with 240 round Gaussian blobs each, of widths from 1.5 to 8 pixels and heights from 30 to 100 in
noise of 2, and volumes of 48 × 256² pixels with 120 blobs of widths (1.5, 2, 2). The bound is that of Cramér and Rao.
The last tables are those of a photograph with the keypoints that D. Lowe's own program found in it, which is read from
the folder beside the project, and of the memory of one call.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks import blobbing, peers
from benchmarks.accuracy import DATA, columns, rows_of
from benchmarks.blobbing import Field, Score, field, score, volume
from benchmarks.child import run_module

__all__ = ["OURS", "SEEDS", "lowe", "ours", "ours_3d", "score_of"]

Floats = npt.NDArray[np.float64]
Found = tuple[Floats, Floats]

#: Fields whose blobs are taken together.
SEEDS = (2, 3, 4, 5)

#: Options of `find_blobs` that are compared.
OURS: dict[str, dict[str, Any]] = {
    "`find_blobs`": {},
    '`find_blobs`, `refine="fit"`': {"refine": "fit"},
    '`find_blobs`, `method="dog"`': {"method": "dog"},
    '`find_blobs`, `method="doh"`': {"method": "doh"},
}

#: Widths of blobs in the volume, and the range of sizes that is searched, as multiples.
SPACING, RANGE = (1.5, 2.0, 2.0), (0.6, 1.6)


def ours(drawn: Field, **options: Any) -> Found:
    """Find blobs by `find_blobs`."""
    blobs = npsubpix.find_blobs(drawn.image, 1.0, 10.0, **options)
    blobs = blobs[blobs.ok]
    return blobs.coords, _width(blobs.sigma)


def ours_3d(drawn: Field, **options: Any) -> Found:
    """Find blobs of a volume by `find_blobs`, with widths in the ratios of those that were drawn."""
    low, high = (tuple(factor * width for width in SPACING) for factor in RANGE)
    blobs = npsubpix.find_blobs(drawn.image, low, high, **options)
    blobs = blobs[blobs.ok]
    return blobs.coords, _width(blobs.sigma)


def _width(sigma: Any) -> Floats:
    """Return one width per blob: the geometric mean of those along the axes."""
    widths = np.asarray(sigma, np.float64)
    own: Floats = widths if widths.ndim == 1 else np.exp(np.log(widths).mean(axis=1))
    return own


def score_of(find: Callable[[Field], Found], fields: list[Field]) -> Score:
    """Return how well a function finds the blobs of fields."""
    return score(fields, [find(one) for one in fields])


# --- other libraries


def _skimage(name: str, **options: Any) -> Callable[[Field], Found] | None:
    if peers.load("skimage.feature") is None:
        return None

    def find(drawn: Field) -> Found:
        call = blobbing.skimage_blobs(name, drawn.image, **options)
        assert call is not None
        rows = call()
        n = drawn.image.ndim
        return rows[:, :n], _width(rows[:, n:] if rows.shape[1] > n + 1 else rows[:, n])

    return find


def _sift(drawn: Field) -> Found:
    call = blobbing.cv2_sift(drawn.image)
    assert call is not None
    rows = np.array([(key.pt[1], key.pt[0], key.size / 2) for key in call()])
    return rows[:, :2], rows[:, 2]


def _kornia(drawn: Field, double: bool) -> Found:
    call = blobbing.kornia_detector(drawn.image, double=double)
    assert call is not None
    frames, responses = (x[0].numpy() for x in call())
    kept = frames[responses > 0.02].astype(np.float64)
    return kept[:, ::-1, 2], np.sqrt(np.abs(np.linalg.det(kept[:, :, :2])))


def _others() -> Iterator[tuple[str, Callable[[Field], Found]]]:
    """Yield the libraries that are installed."""
    for title, name, options in (
        ("`skimage.feature.blob_log`", "blob_log", {"num_sigma": 10, "threshold": 0.1}),
        ("`skimage.feature.blob_dog`", "blob_dog", {"threshold": 0.1}),
        ("`skimage.feature.blob_doh`", "blob_doh", {"num_sigma": 10, "threshold": 0.002}),
    ):
        find = _skimage(name, min_sigma=1, max_sigma=10, **options)
        if find is not None:
            yield title, find
    if peers.load("cv2") is not None:
        yield "`cv2.SIFT`", _sift
    if peers.load("kornia") is not None:
        for double in (False, True):
            yield f"kornia `ScaleSpaceDetector`, `double_image={double}`", lambda one, d=double: _kornia(one, d)


# --- a photograph with known keypoints


def lowe(prepared: bool = True) -> tuple[Floats, Floats, npsubpix.Blobs]:
    """Return the positions and scales that Lowe's program found in a photograph, and blobs of it.

    His program doubles the image and takes it for one that is blurred by half a pixel already, which its first filters
    therefore lack. `prepared` does the same: the blur is taken off the doubled image.
    """
    import cv2

    folder = DATA / "blobs_lowe_sift"
    listed = np.unique(columns(rows_of(folder / "box_keypoints.csv"), "row", "col", "scale"), axis=0)
    image = cv2.imread(str(folder / "box.pgm"), cv2.IMREAD_GRAYSCALE)
    options: dict[str, Any] = {"method": "dog", "dark": "both", "threshold_abs": 0, "overlap": 1.0}
    if not prepared:
        return listed[:, :2], listed[:, 2], npsubpix.find_blobs(image, 0.8, 40.0, **options)
    step = 2 ** (1 / 3)
    least = 1.6 / math.sqrt((step - 1) / (step**2 - step))  # the size of blobs of his first scale
    blobs = npsubpix.find_blobs(_without_blur(_doubled(image)), least, least * step**16, **options)
    halved = {name: getattr(blobs, name) / 2 for name in ("coords", "sigma")}
    return listed[:, :2], listed[:, 2], dataclasses.replace(blobs, **halved)


def _doubled(image: npt.NDArray[Any]) -> Floats:
    """Return an image with pixels between its own, by linear interpolation: pixel i is at 2 i."""
    wide = np.zeros(tuple(2 * n - 1 for n in image.shape))
    wide[::2, ::2] = image
    wide[1::2, ::2] = (wide[:-1:2, ::2] + wide[2::2, ::2]) / 2
    wide[:, 1::2] = (wide[:, :-1:2] + wide[:, 2::2]) / 2
    return wide


def _without_blur(image: Floats, sigma: float = 1.0) -> Floats:
    """Divide the spectrum of an image, mirrored at its ends, by that of a Gaussian."""
    from scipy.fft import dctn, idctn

    waves = [np.pi * np.arange(n) / n for n in image.shape]
    factors = np.multiply.outer(*(np.exp((sigma * w) ** 2 / 2) for w in waves))
    sharp: Floats = idctn(dctn(image) * factors)
    return sharp


# --- the tables


def _table(fields: list[Field], finders: list[tuple[str, Callable[[Field], Found]]]) -> None:
    axes = "zyx"[-fields[0].image.ndim :]
    names = " | ".join(f"mean of {axis}, px" for axis in axes)
    print(f"| method | recall | precision | RMS per axis, px | × bound | {names} | ln σ bias | ln σ spread |")
    print("|---|---|---|---|---|" + "---|" * len(axes) + "---|---|")
    for title, find in finders:
        found = score_of(find, fields)
        offsets = " | ".join(f"{offset:+.4f}" for offset in found.offset)
        print(
            f"| {title} | {found.recall:.3f} | {found.precision:.3f} | {found.rms:.4f} | {found.rms / found.bound:.2f} "
            f"| {offsets} | {found.width_bias:+.4f} | {found.width_spread:.4f} |",
            flush=True,
        )


def _print_lowe() -> None:
    from scipy.spatial import KDTree

    coords, scales, blobs = lowe()
    distance, nearest = KDTree(blobs.coords).query(coords)
    close = distance < 0.5
    ratio = np.median(blobs.sigma[nearest[close]] / scales[close])
    offset = np.median(blobs.coords[nearest[close]] - coords[close], axis=0)
    print(f"| {len(coords)} | {close.mean():.1%} | {offset[0]:+.3f}, {offset[1]:+.3f} px | {ratio:.3f} |")


def _print_memory() -> None:
    for who, name in (("ours", "`find_blobs`"), ("theirs", "`skimage.feature.blob_log`")):
        used = run_module("benchmarks.memory_child", "find_blobs, besides the result", who, "1024", threads=2)
        if used:
            images = (used["extra"] - used["outputs"]) / used["pixels"] / 4
            print(f"| {name} | {images:.1f} |")


def main() -> None:
    """Print the tables as Markdown."""
    fields = [field(seed=seed) for seed in SEEDS]
    bound = math.sqrt(np.mean([one.bound**2 for one in fields]))
    width = math.sqrt(np.mean([one.width_bound**2 for one in fields]))
    print(f"{sum(len(one.coords) for one in fields)} blobs; bounds: {bound:.4f} px, {width:.4f} in ln σ\n")
    mine = [(title, lambda one, own=options: ours(one, **own)) for title, options in OURS.items()]
    _table(fields, [*mine, *_others()])
    volumes = [volume(seed=seed) for seed in SEEDS[:2]]
    print(f"\n{sum(len(one.coords) for one in volumes)} blobs; bound: {volumes[0].bound:.4f} px\n")
    in_3d: list[tuple[str, Any]] = [(t, lambda v, o=options: ours_3d(v, **o)) for t, options in list(OURS.items())[:2]]
    low, high = (tuple(factor * width for width in SPACING) for factor in RANGE)
    for name, options in (("blob_log", {"num_sigma": 6}), ("blob_dog", {})):
        find = _skimage(name, min_sigma=low, max_sigma=high, threshold=0.08, **options)
        in_3d += [] if find is None else [(f"`skimage.feature.{name}`", find)]
    _table(volumes, in_3d)
    print("\n| call | memory, images of float32 |")
    print("|---|---|")
    _print_memory()
    if (DATA / "blobs_lowe_sift").exists():
        print("\n| keypoints of Lowe's program | found within 0.5 px | median offset (y, x) | median σ / scale |")
        print("|---|---|---|---|")
        _print_lowe()


if __name__ == "__main__":
    main()
