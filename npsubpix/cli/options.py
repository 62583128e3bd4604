"""Options of the commands: how the text after an option becomes an argument of a function."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "PER_AXIS",
    "Debug",
    "Origin",
    "Quiet",
    "as_axis",
    "as_border",
    "as_counts",
    "as_matrix",
    "as_memory",
    "as_number_or_none",
    "as_number_or_path",
    "as_numbers",
    "as_numbers_or_path",
    "as_region",
    "default",
    "given",
    "one_of",
]


class Origin(enum.Enum):
    """Origins of coordinates."""

    center = "center"
    corner = "corner"
    fits = "fits"


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")]

#: How help shows one number for all axes, or one per axis.
PER_AXIS = "N[,N...]"


def _per_axis(number: type, words: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            values = tuple(number(part) for part in text.split(","))
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not {words}, or one per axis, such as 2,4,4") from None
        return values[0] if len(values) == 1 else values

    return parse


#: Parse ``3`` or ``3,5,5``: one integer, or one per axis.
as_counts = _per_axis(int, "an integer")

#: Parse ``2.5`` or ``1,2.5,2.5``: one number, or one per axis.
as_numbers = _per_axis(float, "a number")


def as_border(text: str) -> Any:
    """Parse ``true``, ``false``, or numbers of pixels."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    return words[text.lower()] if text.lower() in words else as_counts(text)


def as_axis(text: str) -> int | str:
    """Parse the number of an axis, or else its name."""
    try:
        return int(text)
    except ValueError:
        return text


def as_region(text: str) -> tuple[slice, ...]:
    """Parse a range per axis, ``100:200,:`` or ``:10,100:200,50:``."""
    try:
        ends = [[int(end) if end.strip() else None for end in part.split(":")] for part in text.split(",")]
    except ValueError:
        ends = []
    if not 2 <= len(ends) <= 3 or any(len(pair) != 2 for pair in ends):
        raise typer.BadParameter(f"{text!r} is not a range per axis, such as 100:200,50:90")
    return tuple(slice(*pair) for pair in ends)


def as_matrix(text: str) -> list[list[float]]:
    """Parse a shift (y, x), or the entries of a matrix of two or three rows."""
    numbers = as_numbers(text)
    count = len(numbers) if isinstance(numbers, tuple) else 1
    if count == 2:
        return [[1.0, 0.0, numbers[0]], [0.0, 1.0, numbers[1]]]
    if count not in (6, 9):
        raise typer.BadParameter(f"{text!r} is neither a shift of 2 numbers nor a matrix of 6 or 9")
    return [list(numbers[row : row + 3]) for row in range(0, count, 3)]


def as_memory(text: str) -> int:
    """Parse ``500MB``, ``2 GiB``, or a number of GiB; infinity stands for more than there is."""
    from npsubpix._arrays.options import check_memory

    try:
        try:
            number = float(text)
        except ValueError:
            return check_memory(text)
        return check_memory(min(number, 2.0**30) * 2**30)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a size such as 500MB or 2GiB, nor a number of GiB") from None


def as_number_or_none(text: str) -> float | str:
    """Parse a number, or ``none``."""
    try:
        return text if text == "none" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor none") from None


def as_number_or_path(text: str) -> float | Path:
    """Parse a number, or else the name of a file."""
    try:
        return float(text)
    except ValueError:
        return Path(text)


def as_numbers_or_path(text: str) -> Any:
    """Parse ``2.5`` or ``1,2.5``, numbers, or else the name of a file."""
    try:
        return as_numbers(text)
    except typer.BadParameter:
        return Path(text)


def one_of(choices: Sequence[str | None]) -> dict[str, Any]:
    """Return the parser of one of some names, and how help shows them; None is ``none``."""
    names = ["none" if choice is None else choice for choice in choices]

    def parse(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}")
        return text

    return {"parser": parse, "metavar": f"[{'|'.join(names)}]"}


def default(function: Callable[..., Any], name: str) -> str | bool:
    """Return the default of an argument, as help shows it."""
    value = inspect.signature(function).parameters[name].default
    return False if value is None else str(value)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out options that were not given; those given as ``none`` are None."""
    return {name: None if value == "none" else value for name, value in options.items() if value is not None}
