"""Read datasets of HDF5 files, part by part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._arrays import array_source
from npsubpix.io._source import ImageError, Options, Source, check_size
from npsubpix.io._units import size_of

__all__ = ["hdf5_file"]

_LISTED = 5


@contextlib.contextmanager
def hdf5_file(path: Path, options: Options) -> Iterator[Source]:
    """Open a dataset: the one that is named behind the file, or the only image of the file."""
    import h5py

    with h5py.File(path, "r") as file:
        dataset = _only_image(path, file, h5py) if not options.part else _named(path, file, options.part, h5py)
        for part in dataset.virtual_sources() if dataset.is_virtual else ():
            other = Path(part.file_name) if part.file_name != "." else path
            if not (path.parent / other).is_file():
                raise ImageError(
                    f"{path}: {dataset.name} is made of several files, of which {part.file_name} is missing"
                )
        for extension in dataset.external or ():
            if not (path.parent / extension[0]).is_file():
                raise ImageError(f"{path}: {dataset.name} is in another file, {extension[0]}, which is missing")
        if dataset.chunks is not None:
            check_size(path, "a chunk", dataset.chunks, dataset.dtype, options.max_memory)
        source = array_source(dataset)
        yield replace(source, pixel_size=_sizes(dataset, source.axes), header=_attributes(dataset))


def _named(path: Path, file: Any, name: str, h5py: Any) -> Any:
    found = file.get(name)
    if isinstance(found, h5py.Dataset):
        return found
    listed = _datasets(file, h5py)
    thing = "is no dataset" if found is not None else "is not there"
    raise ImageError(f"{path}: {name} {thing}; {_choices(path, listed)}")


def _only_image(path: Path, file: Any, h5py: Any) -> Any:
    listed = _datasets(file, h5py)
    if len(listed) != 1:
        raise ImageError(f"{path}: holds {len(listed)} datasets that could be images; {_choices(path, listed)}")
    return file[listed[0]]


def _datasets(file: Any, h5py: Any) -> list[str]:
    """Return the names of the datasets that could be images."""
    names: list[str] = []

    def look(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2 and node.dtype.kind in "biuf":
            names.append(f"/{name}")

    file.visititems(look)
    return names


def _choices(path: Path, names: list[str]) -> str:
    if not names:
        return "needed is a dataset of numbers with two axes or more"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"name one: {', '.join(f'{path.name}::{name}' for name in names[:_LISTED])}{more}"


def _attributes(dataset: Any) -> dict[str, Any]:
    """Return the attributes that can be read."""
    found = {}
    for name in dataset.attrs:
        with contextlib.suppress(Exception):
            found[str(name)] = dataset.attrs[name]
    return found


def _sizes(dataset: Any, axes: tuple[str, ...]) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes by the attribute that Fiji, ilastik and others write: z, y, x in micrometres."""
    with contextlib.suppress(Exception):
        sizes = np.asarray(dataset.attrs["element_size_um"], np.float64)
        named = [axis for axis in axes if axis != "s"][-3:]
        pairs = zip(named[-len(sizes) :], sizes[-len(named) :], strict=True)
        return {axis: size for axis, value in pairs if (size := size_of(value, "µm")) is not None}
    return {}
