"""What can be launched: the files of kernels, and the types each is compiled for.

Tests compile and run all of it. A launcher that asks for anything else gets an error.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["BY_ROUNDED_PRODUCTS", "C_NAMES", "MOST_TAPS", "STRIP_ROWS", "TILE_BYTES", "TYPES"]

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

_FLOATS = ("float", "double")
_IN_FLOAT = ("Int8", "Int16", "UInt8", "UInt16", "float")
_INTEGERS = tuple(name for name in C_NAMES.values() if "Int" in name)


def _one(macro: str, names: tuple[str, ...]) -> tuple[Types, ...]:
    return tuple(((macro, name),) for name in names)


def _promoted(macro: str, names: tuple[str, ...]) -> tuple[Types, ...]:
    """Pair types with that of results: float if it holds every value, else double."""
    return tuple(((macro, n), ("Result", "float" if n in _IN_FLOAT else "double")) for n in names)


TYPES: dict[str, tuple[Types, ...]] = {
    "nms": _one("Pixel", (*_INTEGERS, "Half", *_FLOATS)),
    "quad_interp": _promoted("Pixel", (*_INTEGERS, *_FLOATS)),
    "spatial": _one("Pixel", _FLOATS),
    "convolution": _one("Real", _FLOATS),
    "sampling": _one("Real", _FLOATS),
    "splines": _one("Real", _FLOATS),
    "alignment": _one("Real", _FLOATS),
    "reductions": _one("Real", ("Int64", *_FLOATS)),
    "moments": _one("Real", _FLOATS),
    "percentiles": _one("Real", ("Int64", *_FLOATS)),
    "passes": _one("Real", _FLOATS),
    "stencils": _one("Real", _FLOATS),
    "filter_banks": _one("Real", _FLOATS),
    "maps": _one("Pixel", _FLOATS),
    "spots": _one("Pixel", _FLOATS),
    "peaks": _one("Pixel", ("UInt8", "UInt16", "Int64", "UInt64", *_FLOATS)),
    "plateaus": _one("Pixel", ("Int64", "UInt64", *_FLOATS)),
    "candidates": _one("Real", ("double",)),
    "refinement": _one("Pixel", ("UInt16", *_FLOATS)),
    "background": _one("Real", _FLOATS),
    "mesh": _one("Real", _FLOATS),
    "soft_argmax": tuple(
        (("Pixel", p), ("Real", r)) for p, r in (("float", "float"), ("float", "double"), ("double", "double"))
    ),
}

#: Files that are compiled without fused products and sums: what is singular there, or at a distance, or a whole rank,
#: or what a sum leaves, must not depend on which are fused.
BY_ROUNDED_PRODUCTS = frozenset({"candidates", "moments", "percentiles", "quad_interp", "refinement"})

#: Rows of an image that one thread goes down where it looks for extrema of 3 x 3 pixels.
STRIP_ROWS = 16

#: Shared memory for the parts of a tile of windows; a block has two such.
TILE_BYTES = 16384

#: Weights along an axis that are applied at a time to tiles of an image in shared memory.
MOST_TAPS = 15
