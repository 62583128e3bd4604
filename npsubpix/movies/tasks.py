"""Tasks of `locate`: from a block of frames to a table of their spots."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import with_defaults
from npsubpix._detection import detected
from npsubpix.background import local_background
from npsubpix.blobs.finding import find_blobs
from npsubpix.blobs.options import check_scales
from npsubpix.fitting import fit_spots
from npsubpix.movies.fits import fitted
from npsubpix.movies.functions import joined_columns, rows_of_function
from npsubpix.movies.maps import StoredMap, changed, check_map, frame_of_map, frames_of_map
from npsubpix.peaks import check_search, find_peaks
from npsubpix.results import Background, Peaks
from npsubpix.results.table import Table

__all__ = [
    "TASKS",
    "Columns",
    "Found",
    "Task",
    "columns_of",
    "joined",
    "moved",
    "run_task",
    "significance",
    "sought",
    "task_of",
]

#: Tasks with a name. All but "blobs" find peaks.
TASKS = ("peaks", "spots", "blobs")

Columns: TypeAlias = dict[str, HostArray]

#: Options of a search that fits take instead of it, and those that both take.
_OF_FITS, _OF_BOTH = ("camera", "error"), ("mask",)

#: Parameters of `local_background` that are not for the caller of `locate`.
_NOT_OF_BOXES = ("image", "mask", "frame_axis")


class Found(NamedTuple):
    """Rows of a block: a table, or columns where a function of the caller returns these; and further columns."""

    table: Table | Columns
    columns: Columns
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Task:
    """A task and its options."""

    name: str | Callable[..., Any]
    options: dict[str, Any]
    fit: dict[str, Any] | None = None
    with_heights: bool = False  # whether rows have columns of background, noise and significance

    @property
    def boxes(self) -> dict[str, Any] | None:
        """Arguments with which `local_background` measures the background of each frame; None if it is known."""
        background = self.options.get("background")
        return dict(background) if isinstance(background, Mapping) else None

    def of_frames(self, first: int, last: int, count: int, shape: tuple[int, ...], axis: int | None) -> Task:
        """Return the task with the maps of these frames, of maps that have one per frame."""
        if axis is None:
            return self
        movie = (*shape[:axis], count, *shape[axis:])
        return self._changed(lambda _, value: frames_of_map(value, first, last, movie, axis))

    def of_frame(self, number: int, count: int, shape: tuple[int, ...], axis: int | None) -> Task:
        """Return the task with the maps of one frame, of which those in files are read in parts."""
        if axis is None:
            return self
        movie = (*shape[:axis], count, *shape[axis:])
        return self._changed(lambda _, value: frame_of_map(value, number, movie, axis))

    def loaded(self, frame: tuple[int, ...]) -> Task:
        """Return the task with maps of a frame in memory, where they are needed for all blocks."""
        return self._changed(
            lambda _, value: np.asarray(value) if isinstance(value, StoredMap) and value.shape == frame else value
        )

    def checked(self, frame: tuple[int, ...], movie: tuple[int, ...]) -> Task:
        """Require maps of the shape of a frame or of the movie, and options of a search; return lists as arrays."""
        if not isinstance(self.name, str):
            return self
        task = self._changed(lambda name, value: check_map(name, value, frame, movie))
        if self.name == "blobs":
            scales = ("min_sigma", "max_sigma", "scales_per_octave", "method", "spacing")
            defaults = inspect.signature(find_blobs).parameters
            check_scales(shape=frame, **{name: task.options.get(name, defaults[name].default) for name in scales})
            return task
        names = [name for name in inspect.signature(check_search).parameters if name != "ndim"]
        defaults = inspect.signature(find_peaks).parameters
        check_search(len(frame), **{name: task.options.get(name, defaults[name].default) for name in names})
        return task

    def _changed(self, change: Callable[[str, Any], Any]) -> Task:
        fit = None if self.fit is None else changed(self.fit, change)
        return dataclasses.replace(self, options=changed(self.options, change), fit=fit)


def task_of(task: Any, options: Mapping[str, Any]) -> Task:
    """Require a task, and options that it has."""
    if callable(task):
        return Task(task, dict(options))
    if task not in TASKS:
        names = ", ".join(map(repr, TASKS))
        raise ValueError(f"task must be one of {names} or a function, got {task!r}")
    function = find_blobs if task == "blobs" else find_peaks
    known = _names(function)
    own = dict(options)
    fit = own.pop("fit", None)
    for name in own:
        if name not in known:
            raise TypeError(f"locate has no option {name!r}: those of {function.__name__} are {', '.join(known)}")
    if task == "blobs":
        if fit is not None:
            raise TypeError("fit is for task='spots', got it with task='blobs', which takes refine='fit'")
        missing = [name for name in ("min_sigma", "max_sigma") if name not in own]
        if missing:
            raise TypeError(f"task='blobs' needs the sizes of blobs, min_sigma and max_sigma, got no {missing[0]}")
        return Task(task, own)
    known_by_boxes = [name for name in inspect.signature(local_background).parameters if name not in _NOT_OF_BOXES]
    if isinstance(own.get("background"), Mapping):
        for name in own["background"]:
            if name not in known_by_boxes:
                needed = f"those of local_background are {', '.join(known_by_boxes)}"
                raise TypeError(f"background has no option {name!r}: {needed}")
    if task == "peaks":
        if fit is not None and own.get("refine") != "fit":
            raise TypeError("fit is for task='spots' or refine='fit', got it with task='peaks'")
        return Task(task, own if fit is None else {**own, "fit": fit})
    if fit is not None and not isinstance(fit, Mapping):
        raise TypeError(f"fit must be a dict of options of fit_spots, got {fit!r}")
    fit = dict(fit or {})
    known_by_fits = [name for name in _names(fit_spots) if name != "frame"]
    for name in fit:
        if name not in known_by_fits:
            raise TypeError(f"fit has no option {name!r}: those of fit_spots are {', '.join(known_by_fits)}")
    for name in (*_OF_FITS, *_OF_BOTH):
        if name in fit and name in own:
            raise TypeError(f"{name} is that of the fit, and got twice: give it once, as an option or in fit")
    fit |= {name: own.pop(name) for name in _OF_FITS if name in own}
    fit |= {name: own[name] for name in _OF_BOTH if name in own}
    return Task(task, own, fit)


def _names(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY and p.name != "frame_axis"]


def run_task(task: Task, block: HostArray, axis: int | None) -> Found:
    """Run a task on a block of frames, the frames first; without an axis, on the only one."""
    image, frame_axis = (block[0], None) if axis is None else (block, 0)
    if not isinstance(task.name, str):
        return Found(rows_of_function(task.name, task.options, image, frame_axis), {}, {})
    if task.name == "blobs":
        return Found(find_blobs(image, **task.options, frame_axis=frame_axis), {}, {})
    searched, options, guessed = sought(task, image, frame_axis)
    peaks = find_peaks(image, **options, frame_axis=frame_axis)
    columns = heights(searched, peaks, options, guessed) if task.with_heights else {}
    counts = {"border": 0 if peaks.border is None else int(np.count_nonzero(~np.isnan(peaks.border)))}
    if guessed is not None:
        counts["guessed"] = int(guessed.reshape(len(block), -1).any(axis=1).sum())
    if task.fit is None:
        return Found(peaks, columns, counts)
    fits = fitted(image, peaks, task.fit, frame_axis)
    if task.with_heights:
        columns = {"value": np.asarray(peaks.values), **columns, "peak_flags": np.asarray(peaks.flags)}
    return Found(fits, columns, counts)


def sought(task: Task, image: HostArray, frame_axis: int | None) -> tuple[HostArray, dict[str, Any], HostArray | None]:
    """Return the images in which peaks are sought, options of `find_peaks` for it, and where the noise is a guess."""
    searched, options = _filtered(task, image, frame_axis)
    if task.boxes is None and (searched is image or not _is_unknown(options)):
        return searched, options, None
    return searched, *_measured(options, searched, task.boxes or {}, frame_axis)


def _filtered(task: Task, image: HostArray, frame_axis: int | None) -> tuple[HostArray, dict[str, Any]]:
    """Return the images in which peaks are sought, and options that have them if they are not the frames themselves.

    `find_peaks` filters by itself; here filtered images are needed for the columns of heights, or for the background.
    """
    options = dict(task.options)
    filter_name = options.get("detect")
    if not isinstance(filter_name, str) or not (task.with_heights or task.boxes is not None):
        return image, options
    width, wrap = options.pop("detect_sigma", None), options.get("mode") == "wrap"
    mask = options.get("mask")
    options["detect"] = detected(image, filter_name, width, mask=mask, wrap=wrap, frame_axis=frame_axis)
    return options["detect"], options


def _is_unknown(options: Mapping[str, Any]) -> bool:
    """Say whether neither the background nor the noise is known."""
    return options.get("background") is None and options.get("sigma") is None


def _measured(
    options: Mapping[str, Any], image: HostArray, boxes: Mapping[str, Any], frame_axis: int | None
) -> tuple[dict[str, Any], HostArray | None]:
    """Measure the background of each frame; return the options of a search with it, and where noise is a guess."""
    measured = local_background(image, **boxes, mask=options.get("mask"), frame_axis=frame_axis)
    sigma = options.get("sigma")
    known = {"background": measured.level, "sigma": measured.noise if sigma is None else sigma}
    return {**options, **known}, np.asarray(measured.guessed) if sigma is None else None


def heights(image: HostArray, peaks: Peaks, options: Mapping[str, Any], guessed: HostArray | None) -> Columns:
    """Return columns of background, noise and significance, where they are known: heights by which peaks are ranked."""
    background, sigma = options.get("background"), options.get("sigma")
    if isinstance(background, Background):
        sigma = background.noise if sigma is None else sigma
        background = background.level
    level, noise = with_defaults(background, sigma)
    if level is None or isinstance(options.get("detect"), str):
        return {}
    frames = () if peaks.frame is None else (peaks.frame,)
    at = (*frames, *np.asarray(peaks.indices).T)
    value, level, noise = (np.broadcast_to(x, image.shape)[at] for x in (image, level, noise))
    columns = significance(value, level, noise, np.asarray(peaks.flags))
    return columns if guessed is None else {**columns, "noise_guessed": guessed[at]}


def significance(value: HostArray, level: HostArray, noise: HostArray, flags: HostArray) -> Columns:
    """Return columns of background, noise and significance, the height in units of the noise."""
    value, level, noise = (x.astype(np.float64) for x in (value, level, noise))
    height = np.where(flags & int(PeakFlags.MINIMUM), level - value, value - level)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"background": level, "noise": noise, "significance": height / noise}


def moved(found: Found, first: int, origin: tuple[int, ...], shape: tuple[int, ...]) -> Found:
    """Count frames, and pixels, from the first of the whole movie, whose frames have a shape."""
    table = found.table
    if not isinstance(table, Table):
        columns = {"frame": table["frame"] + first} if "frame" in table else {}
        begins = zip("zyx"[-len(origin) :], origin, strict=True)
        columns |= {axis: table[axis] + begin for axis, begin in begins if axis in table and begin}
        return found._replace(table={**table, **columns})
    changes: dict[str, Any] = {}
    if first and table.frame is not None:
        changes["frame"] = table.frame + first
    if table.image_shape is not None and tuple(table.image_shape) != shape:
        changes["image_shape"] = shape
    if any(origin):
        for name in ("coords", "centroid"):
            if (places := getattr(table, name, None)) is not None:
                changes[name] = places + np.array(origin, np.float64)
        indices = getattr(table, "indices", None)
        if indices is not None:
            inside = (indices >= 0).all(axis=1, keepdims=True)
            changes["indices"] = np.where(inside, indices + np.array(origin), indices)
    return found._replace(table=dataclasses.replace(table, **changes)) if changes else found  # type: ignore[type-var]


def columns_of(found: Found) -> Columns:
    """Return the columns of rows for a file."""
    table: Columns = found.table.to_dict() if isinstance(found.table, Table) else dict(found.table)
    flags: Columns = {name: table.pop(name) for name in ("ok", "flags", "flag_names") if name in table}
    renamed = {f"peak_{n}" if n in table else n: column for n, column in found.columns.items()}
    return {**table, **renamed, **flags}


def joined(parts: list[Found]) -> Table | Columns:
    """Join the rows of blocks."""
    tables: list[Any] = [part.table for part in parts]
    first = tables[0]
    if not isinstance(first, Table):
        return joined_columns(tables)
    if len(tables) == 1:
        return first
    table = type(first).concatenate(tables)
    if not isinstance(table, Peaks) or any(t.border is None for t in tables):
        return table
    return dataclasses.replace(table, border=np.concatenate([t.border for t in tables]))
