"""Tables of named columns as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

__all__ = ["aligned", "table_text"]

_UNSHOWN = {"index", "ok", "flags", "noise_guessed"}  # columns that are not shown
#: Columns shown with six digits.
_SHORT = {"value", "background", "noise", "significance", "flux", "chi2", "amplitude", "snr"}
_POSITIONS = ("z", "y", "x")  # columns shown with three decimals
_DEGREES = ("ra", "dec")  # columns shown with seven decimals, less than a thousandth of an arc second


def table_text(columns: Mapping[str, npt.NDArray[Any]], rows: int) -> str:
    """Return the first rows as text in aligned columns, without the columns of indices."""
    names = [name for name in columns if not name.endswith("_index") and name not in _UNSHOWN]
    cells = {
        "flags" if name == "flag_names" else name: [_cell(name, value) for value in columns[name][:rows]]
        for name in names
    }
    return "\n".join(aligned(cells, left={"file", "flags"}))


def aligned(cells: Mapping[str, list[str]], left: set[str]) -> list[str]:
    """Return lines of aligned columns, a header first; text is aligned on the left."""
    columns = []
    for name, column in cells.items():
        width = max(map(len, [name, *column]))
        columns.append([cell.ljust(width) if name in left else cell.rjust(width) for cell in [name, *column]])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def _cell(name: str, value: Any) -> str:
    if name.endswith("_std"):
        return f"{value:.4g}"
    if name in _POSITIONS or name in _DEGREES:
        return f"{value:.{3 if name in _POSITIONS else 7}f}"
    is_short = name in _SHORT or name.endswith(("_um", "_nm")) or name.startswith(("fit_", "sigma", "radius"))
    return f"{value:.6g}" if is_short and not isinstance(value, str) else str(value)
