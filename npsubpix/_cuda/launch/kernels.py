"""Kernels of the GPU: their text, and the types that they are compiled for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from npsubpix._cuda.launch.catalogue import BY_ROUNDED_PRODUCTS, C_NAMES, MOST_TAPS, STRIP_ROWS, TILE_BYTES, TYPES
from npsubpix._cuda.launch.definitions import HEADERS
from npsubpix._definitions import constants
from npsubpix._definitions.flags import FIT_REJECTED, REJECTED, FitFlags, PeakFlags
from npsubpix._definitions.shapes import MOMENTS

__all__ = ["THREADS", "DeviceArray", "Kernel", "options", "text"]


#: An array of the library of a device, in C order.
DeviceArray: TypeAlias = Any


#: Threads of a block, where a kernel does not ask for another number.
THREADS = 256


@dataclass(frozen=True)
class Kernel:
    """A function of a `.cu` file, compiled for some types: pairs of a macro and the name of a type."""

    file: str
    name: str
    types: tuple[tuple[str, str], ...]

    @staticmethod
    def of(file: str, name: str, **dtypes: Any) -> Kernel:
        """Choose a kernel by the dtypes of its arrays."""
        return _kernel(file, name, tuple(dtypes.items()))


@functools.lru_cache(maxsize=1024)
def _kernel(file: str, name: str, dtypes: tuple[tuple[str, Any], ...]) -> Kernel:
    types = tuple((macro, C_NAMES[np.dtype(dtype).name]) for macro, dtype in dtypes)
    if types not in TYPES.get(file, ()):
        raise TypeError(f"there is no kernel {name} for {', '.join(f'{m}={t}' for m, t in types)}")
    return Kernel(file, name, types)


@functools.cache
def text(file: str) -> str:
    """Return the text of a `.cu` file with that of the headers it includes.

    Headers are put in here, as CuPy's cache on disk looks at the text of a kernel, not at its headers.
    """
    lines = []
    for number, line in enumerate(_read(f"{file}.cu").splitlines(), 1):
        header = line.removeprefix('#include "').removesuffix('"')
        if header == line:
            lines.append(line)
        else:
            lines += [f'#line 1 "{header}"', _read(header), f'#line {number + 1} "{file}.cu"']
    return "\n".join(lines) + "\n"


@functools.cache
def _sources() -> dict[str, Path]:
    """Return where each `.cu` and `.cuh` file is, by its name, which no two files share."""
    found: dict[str, Path] = {}
    for path in sorted(Path(__file__).parents[1].rglob("*.cu*")):
        if path.name in found:
            raise RuntimeError(f"{path} and {found[path.name]} have one name")
        found[path.name] = path
    return found


def _read(name: str) -> str:
    return HEADERS[name] if name in HEADERS else _sources()[name].read_text("utf-8")


def options(file: str, types: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the options a file is compiled with, which hold the constants of `_definitions`."""
    fused = () if file not in BY_ROUNDED_PRODUCTS else ("--fmad=false",)
    macros = {**_constants(), **dict(types)}
    return ("--std=c++17", *fused, *(f"-D{name}={value}" for name, value in macros.items()))


@functools.cache
def _constants() -> dict[str, str]:
    numbers = {name: repr(getattr(constants, name)) for name in constants.__all__}
    flags = {f"FLAG_{flag.name}": str(int(flag)) for flag in PeakFlags}
    flags |= {f"FITFLAG_{flag.name}": str(int(flag)) for flag in FitFlags}
    rejected = {"FLAGS_REJECTED": REJECTED, "FITFLAGS_REJECTED": FIT_REJECTED}
    limits = {
        "THREADS": THREADS, "STRIP_ROWS": STRIP_ROWS, "TILE_BYTES": TILE_BYTES, "MOST_TAPS": MOST_TAPS,
        "MOMENTS": MOMENTS,
    }  # fmt: skip
    sizes = {name: str(number) for name, number in limits.items()}
    return {**numbers, **flags, **sizes, **{name: str(int(number)) for name, number in rejected.items()}}
