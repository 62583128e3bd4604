"""Operations as data: which kernels a call needs, which arrays and options they take, and which arrays they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from npsubpix._definitions.shapes import Shape

__all__ = ["Argument", "Example", "Operation", "Result", "ShapeRule", "out_of_memory"]

#: A call of a public function, from the package and an array of shape (1, 2, 4, 7, 8), which it cuts to what it takes.
Example: TypeAlias = Callable[[Any, Any], Any]

#: Shapes of results, from the shapes of arrays, None for an absent one, and the options.
ShapeRule: TypeAlias = Callable[..., tuple[Shape, ...]]


@dataclass(frozen=True)
class Argument:
    """An array that an operation takes.

    `layout` is ``"array"``; or, for operations on stacks of images, ``"stack"`` for the images, ``"mask"`` for a mask
    of them or of one, and ``"pixels"`` for a number or an array of a value for each pixel.
    """

    name: str
    optional: bool = False
    boolean: bool = False
    differentiable: bool = False
    layout: str = "array"
    on_host: bool = False  # may be on the host beside arrays on a GPU
    repeated: bool = False  # any number of arrays, from here on


@dataclass(frozen=True)
class Result:
    """An array that kernels return.

    `dtype` is ``"float"`` for the dtype of a floating first argument, else for its promotion with
    float32; ``"same"`` for the dtype of the first argument; ``"option"`` for that named by the option ``dtype``, or of
    the first argument if this is empty; or ``"bool"`` or ``"float64"``.
    """

    name: str
    dtype: str = "float"
    saved: bool = False  # for the vector-Jacobian product
    layout: str = "array"  # "stack" for images that are given back in the shape of the caller's image


@dataclass(frozen=True)
class Operation:
    """A function of a family of kernels, for each backend.

    The function ``name`` takes the arrays by position, None for an absent one, and the options by name, and returns a
    tuple of arrays. If any argument is differentiable, ``name_vjp`` takes the cotangents of the results, None for an
    absent one; the arrays; the saved results; and the options by name; and returns the cotangents of the
    differentiable arguments, None for an absent one.
    """

    name: str
    family: str
    arguments: tuple[Argument, ...]
    #: None for a record of numbers on the host, returned as it is.
    results: tuple[Result, ...] | None
    #: None where shapes are known only after the call, so that torch cannot trace it.
    shapes: ShapeRule | None = None
    #: The type of each, as torch writes it, and its name, "int[] kernel_size"; its name where torch does not trace.
    options: tuple[str, ...] = ()
    #: Options that the caller of a public function does not give by this name.
    internal: frozenset[str] = frozenset()
    #: The public functions that run it, each with an example.
    functions: Mapping[str, Example] = field(default_factory=dict)
    #: The name of the public function by the options, as in "window_{reduction}", where one option tells it.
    called: str = ""

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options, in order."""
        return tuple(option.split()[-1] for option in self.options)

    def public_name(self, options: Mapping[str, Any]) -> str:
        """Return the name of the public function that ran it, or of all that it can have been."""
        if self.called:
            return self.called.format(**options)
        return self.name if self.name in self.functions else " or ".join(self.functions) or self.name

    @property
    def differentiable(self) -> tuple[int, ...]:
        """Positions of the differentiable arguments."""
        return tuple(k for k, a in enumerate(self.arguments) if a.differentiable)

    def shapes_of(self, shapes: Sequence[Shape | None], options: Mapping[str, Any]) -> tuple[Shape, ...]:
        """Return the shapes of the results."""
        assert self.shapes is not None
        return self.shapes(shapes, **options)


def out_of_memory(operation: Operation, options: Mapping[str, Any], error: MemoryError, on_gpu: bool) -> MemoryError:
    """Return an error that names the public function; on a GPU, that of its library, which says how much it has."""
    return error if on_gpu else MemoryError(f"{operation.public_name(options)} ran out of memory: {error}")
