"""The files of kernels, and the types that each is compiled for: families register theirs.

Tests compile and run all of them. A launcher that asks for another type gets an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "BY_ROUNDED_PRODUCTS",
    "C_NAMES",
    "FLOATS",
    "INTEGERS",
    "MOST_TAPS",
    "STRIP_ROWS",
    "TILE_BYTES",
    "TYPES",
    "all_types",
    "each",
    "each_promoted",
    "register",
]

Types: TypeAlias = tuple[tuple[str, str], ...]

#: Names of dtypes in kernels. Half is a type of `formulas.cuh`, which needs no header of CUDA.
C_NAMES = {
    "bool": "bool",
    "int8": "Int8",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
    "uint8": "UInt8",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "float16": "Half",
    "float32": "float",
    "float64": "double",
}

FLOATS = ("float", "double")
INTEGERS = tuple(name for name in C_NAMES.values() if "Int" in name)
_IN_FLOAT = ("Int8", "Int16", "UInt8", "UInt16", "float")

#: Types that each file is compiled for, of the families that are loaded.
TYPES: dict[str, tuple[Types, ...]] = {}

#: Files that are compiled without fused products and sums.
BY_ROUNDED_PRODUCTS: set[str] = set()


def register(file: str, types: Iterable[Types], *, fused: bool = True) -> None:
    """Say for which types a file of kernels is compiled, in the module that launches them.

    Without `fused`, products are rounded before they are added: what is singular, or at a distance, or a whole rank,
    or what a sum leaves, must not depend on which products the compiler fuses.
    """
    TYPES[file] = tuple(types)
    if not fused:
        BY_ROUNDED_PRODUCTS.add(file)


def each(macro: str, names: tuple[str, ...]) -> tuple[Types, ...]:
    """Return one choice for each type of an array."""
    return tuple(((macro, name),) for name in names)


def each_promoted(macro: str, names: tuple[str, ...]) -> tuple[Types, ...]:
    """Pair types with that of results: float if it holds every value, else double."""
    return tuple(((macro, n), ("Result", "float" if n in _IN_FLOAT else "double")) for n in names)


def all_types() -> dict[str, tuple[Types, ...]]:
    """Return the types of all files, of all families."""
    package = Path(__file__).parents[1]
    families = {path.parent.name for path in package.glob("*/__init__.py")} | {
        path.stem for path in package.glob("*.py")
    }
    for family in sorted(families - {"__init__", "launch"}):
        importlib.import_module(f"npsubpix._cuda.{family}")
    return TYPES


#: Rows of an image that one thread goes down where it looks for extrema of 3 x 3 pixels.
STRIP_ROWS = 16

#: Shared memory for the parts of a tile of windows; a block has two such.
TILE_BYTES = 16384

#: Weights along an axis that are applied at a time to tiles of an image in shared memory.
MOST_TAPS = 15
