"""Contents of an image file: its axes, and a function that reads a part of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray

__all__ = [
    "MAX_MEMORY",
    "TIMES",
    "ImageError",
    "ImageWarning",
    "Index",
    "Options",
    "Size",
    "Source",
    "as_image_error",
    "check_numbers",
    "check_ratio",
    "check_size",
    "letter_of",
    "names_of",
    "reason_of",
    "sizes",
    "times",
    "unnamed",
]

#: An integer or a slice of step 1 per axis.
Index = tuple[Any, ...]

#: The extras that packages are in, of those that are not in the extra of the command line.
EXTRAS = {
    **dict.fromkeys(("nd2", "pylibCZIrw", "liffile", "mrcfile"), "microscopes"),
    "av": "video",
    **dict.fromkeys(("fsspec", "aiohttp", "requests", "s3fs", "gcsfs", "adlfs"), "remote"),
    "dask": "dask",
}

#: Names of the axis of times, in lower case.
TIMES = ("t", "time", "frame", "frames")

#: Letters of axes by their names, in lower case.
_NAMES = {
    **dict.fromkeys(("time", "times", "frame", "frames"), "T"),
    **dict.fromkeys(("depth", "slice", "slices", "plane", "planes"), "Z"),
    **dict.fromkeys(("channel", "channels"), "C"),
    **dict.fromkeys(("rgb", "rgba", "sample", "samples"), "S"),
    **dict.fromkeys(("row", "rows"), "Y"),
    **dict.fromkeys(("column", "columns", "col"), "X"),
}

#: A size and its unit.
Size = tuple[float, str]

MAX_MEMORY = 4 * 2**30

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class ImageError(ValueError):
    """An image that cannot be used; the message is one line and names the file, what it is and what is needed."""


class ImageWarning(UserWarning):
    """A file that is damaged where it does not matter for the pixels, or may not; the message names the file."""


@dataclass(frozen=True)
class Options:
    """Arguments of `open_image` that choose a part of a file."""

    scene: int = 0
    level: int = 0
    hdu: int | str | None = None
    max_memory: int = MAX_MEMORY
    part: str = ""  # what is named behind "::"
    is_checked: bool = False  # by another process, which opened the same file


@dataclass(frozen=True)
class Source:
    """An open file: its axes, and a function that reads a part of it.

    Axes are called t, z, c, y and x, s the samples of a pixel of colours; those without a name by `unnamed`.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    fetch: Callable[[Index], HostArray]
    colour: bool = False  # the samples are red, green, blue and perhaps alpha
    notes: tuple[str, ...] = ()  # what is left out, and what is assumed
    warnings: tuple[str, ...] = ()  # what is damaged
    chunks: tuple[int, ...] | None = None  # what is read at once
    pixel_size: dict[str, Size] = field(default_factory=dict)
    time_step: Size | None = None
    origin: dict[str, Size] = field(default_factory=dict)  # of the centre of the first pixel
    header: Any = None
    wcs: Callable[[], Any] | None = None
    wcs_of: Callable[[int], Any] | None = None  # of a frame, in a folder of files that each have their own
    files: tuple[Path, ...] = ()  # that the pixels are read from, if these are others than the one that was opened
    file_per_frame: bool = False  # each of these is a frame
    is_concurrent: bool = False  # several threads may read at once


def unnamed(number: int) -> str:
    """Name an axis that has no name by its number."""
    return f"axis{number}"


def letter_of(name: str, axis: int) -> str:
    """Return T, Z, C, S, Y or X for the name of an axis, Q for an axis without one, O or another letter for others."""
    if name == unnamed(axis):
        return "Q"
    return _NAMES.get(name.lower(), name.upper() if len(name) == 1 and name.isalpha() else "O")


def names_of(letters: str) -> tuple[str, ...]:
    """Return the names of axes from letters as in "TZYX"; Q and I stand for none."""
    return tuple(unnamed(k) if letter in "QI" else letter.lower() for k, letter in enumerate(letters.upper()))


def check_numbers(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse what no pixel can be, and images without pixels."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ImageError(f"{name}: holds {dtype}; needed are integers or floats of up to 64 bits")
    if math.prod(shape) == 0 or min(shape, default=1) < 0:
        raise ImageError(f"{name}: has no pixels, its shape is {shape}")


@contextlib.contextmanager
def as_image_error(name: Path | str, failure: str) -> Iterator[None]:
    """Name the file in whatever a library raises: they raise anything from ``struct.error`` on."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name}: {failure}{_because(error)}") from error


def reason_of(error: Exception, name: str) -> str:
    """Return an error on one line, without the name of the file in front."""
    if isinstance(error, ImageError):
        return str(error).removeprefix(f"{name}: ")
    return _because(error).removeprefix(": ").strip()


def _because(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f" without {error.name}: pip install 'npsubpix[{EXTRAS.get(str(error.name).partition('.')[0], 'app')}]'"
    if isinstance(error, MemoryError):
        return ": there is not enough memory"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return f": {text}"


def times(shape: tuple[int, ...]) -> str:
    """Write a shape as in "3 × 40 × 50"."""
    return " × ".join(map(str, shape))


def sizes(nbytes: float) -> str:
    """Write a number of bytes with three digits and a unit."""
    power = min(int(math.log(max(nbytes, 1), 1024)), len(_UNITS) - 1)
    return f"{nbytes / 1024**power:.3g} {_UNITS[power]}"


def check_size(path: Path | str, thing: str, shape: tuple[int, ...], dtype: np.dtype[Any], max_memory: int) -> None:
    """Refuse what does not fit into the memory that a frame may take."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > max_memory:
        raise ImageError(
            f"{path}: {thing} of {times(shape)} {dtype} takes {sizes(nbytes)}, and max_memory allows "
            f"{sizes(max_memory)}; --max-memory allows more"
        )


def check_ratio(path: Path | str, thing: str, nbytes: int, stored: int, ratio: int, slack: int = 2**20) -> None:
    """Refuse a header that declares more than its bytes can hold, however well they are compressed."""
    if nbytes > ratio * stored + slack:
        raise ImageError(f"{path}: is damaged: {thing} declares {sizes(nbytes)}, stored in {sizes(stored)}")
