"""What notebooks show of results: the first rows as text and as HTML, and pictures.

Pictures are drawn by `npsubpix.plotting`, which stands above this package and is loaded when the first one is drawn.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from enum import IntFlag
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy

__all__ = ["AXES", "Displayed", "draw_background", "draw_images", "flag_counts", "table_html"]

AXES = ("z", "y", "x")

T = TypeVar("T", bound="Displayed")

_SHOWN = 10
_UNSHOWN = ("ok", "flags", "flag_names")
_NUMBER, _TEXT = "text-align: right", "text-align: left"


class Displayed(ABC):
    """A table as text, as HTML and as a picture."""

    coords: Array
    flags: Array
    frame: Array | None
    image_shape: tuple[int, ...] | None

    #: What the bits of flags mean.
    _FLAGS: ClassVar[type[IntFlag]]
    #: Columns that are converted but not shown.
    _HIDDEN: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self: T, rows: Any) -> T: ...

    @abstractmethod
    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns."""

    @property
    @abstractmethod
    def ok(self) -> Array:
        """True for the rows to rely on."""

    @property
    def ndim(self) -> int:
        """Number of dimensions of the image."""
        return int(self.coords.shape[1])

    def plot(self, image: Any = None, ax: Any = None, *, frame: int | None = None, title: str = "",
             y_up: bool = False) -> Any:  # fmt: skip
        """Draw the rows on their image, as `npsubpix.plotting.draw_peaks` and the command line do.

        Parameters
        ----------
        image : array, optional
            The image. Of a stack along its first axis, the frame, or the maximum of all frames. By default, black.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. By default, they are those of a new figure.
        frame : int, optional
            The frame whose rows are drawn. By default, all rows are.
        title : str, optional
            The title, as plain text.
        y_up : bool, default False
            Draw rows upwards, as astronomers do.

        Returns
        -------
        matplotlib.figure.Figure or matplotlib.axes.Axes
            The new figure, which a notebook shows. With `ax`, the axes.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        from npsubpix.plotting.maps import draw_rows

        return draw_rows(self, image, frame, title=title, y_up=y_up, ax=ax)

    def __repr__(self) -> str:
        """Show the first rows as a table."""
        if len(self) == 0:
            return "\n".join([self._head(), *self.left_out()])
        from npsubpix._tables import aligned

        lines = [f" {line}" for line in aligned(self._cells(), left={"flags"})]
        more = [f" … {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([self._head(), *lines, *more, *self.left_out()])

    def _repr_html_(self) -> str:
        """Show the first rows as a table of HTML, as notebooks do."""
        notes = [f"… {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        if len(self):
            good = int(to_numpy(self.ok).sum())
            notes.append(", ".join([f"{good} of {len(self)} ok", *flag_counts(to_numpy(self.flags), self._FLAGS)]))
        cells = self._cells() if len(self) else {}
        return table_html(self._head(), cells, [*notes, *self.left_out()], left={"flags"})

    def left_out(self) -> list[str]:
        """Return lines about what the table does not hold."""
        return []

    def _head(self) -> str:
        frames = "" if self.frame is None else f", {len(np.unique(to_numpy(self.frame)))} frames"
        return f"{type(self).__name__}: {len(self)} in {self._extent()}{frames}"

    def _cells(self) -> dict[str, list[str]]:
        """Return the cells of the first rows by the names of columns, with the names of flags as the last."""
        columns = self[:_SHOWN].to_dict()
        hidden = (*_UNSHOWN, *self._HIDDEN)
        names = [name for name in columns if not name.endswith("_index") and name not in hidden]
        cells = {name: [self._cell(name, value) for value in columns[name].tolist()] for name in names}
        return {**cells, "flags": columns["flag_names"].tolist()}

    def _cell(self, name: str, value: float) -> str:
        if name == "frame":
            return str(value)
        return f"{value:.2f}" if name in AXES else f"{value:.4g}"

    def _extent(self) -> str:
        """Describe the image; the shape of a volume shows whether a movie was taken for one."""
        if self.ndim != 3 or self.image_shape is None:
            return f"{self.ndim}-D"
        shape = " × ".join(map(str, self.image_shape))
        return f"a volume of {shape}" if self.frame is None else f"volumes of {shape}"


def flag_counts(flags: Any, names: type[IntFlag]) -> list[str]:
    """Return the number of rows that have each flag, of those that any row has."""
    counts = {str(flag.name): int(np.count_nonzero(flags & int(flag))) for flag in names}
    return [f"{count} {name}" for name, count in counts.items() if count]


def table_html(head: str, cells: Mapping[str, Sequence[str]], notes: Iterable[str], left: set[str]) -> str:
    """Return columns as a table of HTML, under a heading and above remarks. All text is escaped."""
    styles = [_TEXT if name in left else _NUMBER for name in cells]
    names = _row("th", cells, styles)
    rows = "".join(_row("td", row, styles) for row in zip(*cells.values(), strict=True))
    body = f"<table><thead>{names}</thead><tbody>{rows}</tbody></table>" if cells else ""
    remarks = "".join(f"<p>{html.escape(note.strip())}</p>" for note in notes)
    return f"<div><p><strong>{html.escape(head)}</strong></p>{body}{remarks}</div>"


def _row(tag: str, texts: Iterable[str], styles: list[str]) -> str:
    cells = zip(texts, styles, strict=True)
    return "<tr>" + "".join(f'<{tag} style="{style}">{html.escape(text)}</{tag}>' for text, style in cells) + "</tr>"


def draw_background(level: Any, noise: Any, image: Any, *, title: str, y_up: bool, ax: Any) -> Any:
    """Draw a background and its noise."""
    from npsubpix.plotting import draw_background

    return draw_background(level, noise, image, title=title, y_up=y_up, ax=ax)


def draw_images(matrix: Any, fixed: Any, moving: Any, *, title: str, y_up: bool, ax: Any) -> Any:
    """Draw two images before and after one is warped."""
    from npsubpix.plotting import draw_alignment

    return draw_alignment(fixed, moving, matrix, title=title, y_up=y_up, ax=ax)
