"""Metadata of OME-Zarr (NGFF) 0.1 to 0.6: images of a group, their levels of resolution, axes, scales and places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from npsubpix.io._source import ImageError, Size
from npsubpix.io._units import unit_name

__all__ = ["Level", "level_of", "scenes_of"]

_TYPES = {"time": "t", "channel": "c"}


@dataclass(frozen=True)
class Level:
    """An array of a multiscale image, and what its metadata say of it."""

    path: str
    axes: tuple[str, ...]
    sizes: dict[str, Size] = field(default_factory=dict)
    origin: dict[str, Size] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def metadata_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata of a group: from 0.5 on, they are under a name of their own."""
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def scenes_of(
    name: str,
    attributes: Mapping[str, Any],
    children: Callable[[str], Mapping[str, Any]],
    names: Callable[[], Sequence[str]],
) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the images of a group: for each the path of its group, and its multiscale metadata.

    `children` returns the attributes of the group at a path, and `names` the names of the groups in this one.
    """
    metadata = metadata_of(attributes)
    if metadata.get("multiscales"):
        return [("", image) for image in metadata["multiscales"]]
    if "plate" in metadata:
        wells = [str(well["path"]) for well in metadata["plate"]["wells"]]
        paths = [f"{well}/{image['path']}" for well in wells for image in metadata_of(children(well))["well"]["images"]]
    elif "bioformats2raw.layout" in metadata:
        groups = names()
        listed = metadata_of(children("OME")).get("series") if "OME" in groups else None
        numbers = sorted((group for group in groups if group.isdecimal()), key=int)
        paths = [str(path) for path in (listed or numbers)]
    else:
        return []
    found = []
    for path in paths:
        images = metadata_of(children(path)).get("multiscales")
        if not images:
            raise ImageError(f"{name}: its image {path} has no multiscales in its metadata")
        found.append((path, images[0]))
    return found


def level_of(name: str, image: Mapping[str, Any], number: int, ndim_of: Callable[[str], int]) -> Level:
    """Return a level of an image; `ndim_of` returns the number of axes of the array at a path."""
    datasets = image.get("datasets") or ()
    if not 0 <= number < len(datasets):
        raise ImageError(f"{name}: has {len(datasets)} levels of resolution; there is no level {number}")
    path = str(datasets[number]["path"])
    described = _axes_of(image, ndim_of(path))
    axes = tuple(axis["name"] for axis in described)
    if len(axes) != ndim_of(path) or len(set(axes)) < len(axes):
        raise ImageError(f"{name}: its metadata name {len(axes)} axes ({', '.join(axes)}), and it has {ndim_of(path)}")
    transforms = [*_listed(datasets[number]), *_listed(image)]
    scales, places, unknown = _applied(transforms, len(axes))
    if unknown:
        return Level(path, axes, notes=(f"its pixel sizes are not known, which a transformation {unknown} changes",))
    sizes = {axis["name"]: (scale, axis["unit"]) for axis, scale in zip(described, scales, strict=True)}
    origin = {axis["name"]: (place, axis["unit"]) for axis, place in zip(described, places, strict=True)}
    known = {axis for axis, (scale, unit) in sizes.items() if axis not in ("c", "s") and (unit or scale != 1)}
    return Level(
        path,
        axes,
        {axis: size for axis, size in sizes.items() if axis in known},
        {axis: place for axis, place in origin.items() if axis in known and any(places)},
    )


def _axes_of(image: Mapping[str, Any], ndim: int) -> list[dict[str, str]]:
    """Return the name and the unit of each axis."""
    axes = image.get("axes")
    if axes is None and image.get("coordinateSystems"):  # 0.6
        axes = image["coordinateSystems"][0]["axes"]
    if axes is None:  # 0.1 and 0.2
        axes = list("tczyx"[-ndim:])
    named = [{"name": axis} if isinstance(axis, str) else axis for axis in axes]  # 0.3 has strings
    return [
        {"name": _TYPES.get(axis.get("type", ""), str(axis["name"]).lower()), "unit": unit_name(axis.get("unit", ""))}
        for axis in named
    ]


def _listed(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    transforms: Sequence[Mapping[str, Any]] = entry.get("coordinateTransformations") or ()
    return transforms


def _applied(transforms: Sequence[Mapping[str, Any]], ndim: int) -> tuple[list[float], list[float], str]:
    """Return the scales and the translations of transformations, one after another, and the name of an unknown one."""
    scales, places = [1.0] * ndim, [0.0] * ndim
    for transform in transforms:
        kind = str(transform.get("type", ""))
        values = transform.get(kind)
        if kind == "identity":
            continue
        if kind == "sequence":
            inner, shifts, unknown = _applied(transform["transformations"], ndim)
            if unknown:
                return scales, places, unknown
            scales = [a * b for a, b in zip(scales, inner, strict=True)]
            places = [a * b + c for a, b, c in zip(places, inner, shifts, strict=True)]
        elif kind not in ("scale", "translation") or not isinstance(values, Sequence) or len(values) != ndim:
            return scales, places, kind or "without a type"
        elif kind == "scale":
            scales = [a * float(b) for a, b in zip(scales, values, strict=True)]
            places = [a * float(b) for a, b in zip(places, values, strict=True)]
        else:
            places = [a + float(b) for a, b in zip(places, values, strict=True)]
    return scales, places, ""
