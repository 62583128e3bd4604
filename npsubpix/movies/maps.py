"""Maps among the options of `locate`: of one frame or of all, checked for the whole movie before a block is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npsubpix._arrays.library import is_array
from npsubpix.camera import Camera
from npsubpix.results import Background

__all__ = ["changed", "check_map", "frames_of_map"]

#: Options that may be one map for all frames, or one per frame; cameras have such fields.
_MAPS = ("mask", "background", "sigma", "noise", "error", "detect")


def changed(options: Mapping[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Return options with all maps and numbers in place of maps changed, those of backgrounds and cameras too."""
    own = dict(options)
    for name in _MAPS:
        value = own.get(name)
        if isinstance(value, Background):
            own[name] = Background(change("background", value.level), change("sigma", value.noise))
        elif value is not None and not isinstance(value, (str, Mapping)) and not callable(value):
            own[name] = change(name, value)
    camera = own.get("camera")
    if isinstance(camera, Camera):
        fields = {field.name: getattr(camera, field.name) for field in dataclasses.fields(camera)}
        new = {name: change(name, value) for name, value in fields.items() if is_array(value)}
        if any(new[name] is not fields[name] for name in new):
            own["camera"] = dataclasses.replace(camera, **new)
    return own


def check_map(name: str, value: Any, frame: tuple[int, ...], movie: tuple[int, ...]) -> Any:
    """Require a number, or a map of a frame or of all frames; return lists as arrays.

    A block sees its own frames alone: a map of another number of frames could fit one block, and not the next.
    """
    own = np.asarray(value) if isinstance(value, (list, tuple)) else value
    shape = tuple(getattr(own, "shape", ()))
    if shape in (frame, movie) or (name not in ("mask", "detect") and shape in ((), (1,))):
        return own
    number = "have" if name in ("mask", "detect") else "be a number or have"
    frames = "" if frame == movie else f", or of all frames, {movie}"
    raise ValueError(f"{name} must {number} the shape of a frame, {frame}{frames}, got {shape}")


def frames_of_map(value: Any, first: int, last: int, movie: tuple[int, ...], axis: int) -> Any:
    """Return the frames first <= n < last of a map of all frames, frames first; any other map as it is."""
    if tuple(getattr(value, "shape", ())) != movie:
        return value
    block = (slice(None),) * axis + (slice(first, last),)
    return np.moveaxis(np.asarray(value[block]), axis, 0)
