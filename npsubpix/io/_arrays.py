"""Arrays of NumPy, dask, zarr, h5py and xarray as images, and how they travel to other processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import HostArray, to_numpy
from npsubpix._arrays.masks import without_mask
from npsubpix.io._source import TIMES, ImageError, Index, Size, Source, unnamed
from npsubpix.io._units import unit_name

__all__ = ["array_source", "axes_of_array", "file_of", "is_array", "is_worker", "opened_again", "portable"]


def is_array(x: Any) -> bool:
    """Whether something is an array, or what NumPy makes one of, and no name of a file."""
    return (hasattr(x, "shape") and hasattr(x, "dtype")) or hasattr(x, "data_vars") or isinstance(x, (list, tuple))


def _library(array: Any) -> str:
    return type(array).__module__.partition(".")[0]


def array_source(array: Any) -> Source:
    """Return an array as an image, its axes by the names that it has for them."""
    library = _library(array)
    if library == "xarray":
        return _xarray_source(array)
    home = home_of(array)
    if home.on_gpu:
        move = {"cupy": "x.get()", "torch": "x.cpu()"}.get(home.library, "np.asarray(x)")
        raise TypeError(
            f"array: is on {home.place}, and images are read on the host: find_peaks and fit_spots take it as it is, "
            f"with frame_axis, and {move} is on the host"
        )
    if home.library != "numpy":  # of which lists and arrays in files are, too
        array = to_numpy(array)
    chunks: Any = getattr(array, "chunks", None)
    if library == "dask":
        array_of: Any = _computed
        chunks = tuple(max(sizes) for sizes in chunks)
    elif isinstance(array, (np.ndarray, list, tuple)):
        array = without_mask(_one_array(array), "image")
        array_of, chunks = np.ndarray.__getitem__, None
    else:
        array_of = _part
    shape = tuple(map(int, array.shape))
    axes, colour = _names_of_array(array, shape)
    return Source(
        shape,
        axes,
        np.dtype(array.dtype),
        lambda index: array_of(array, index),
        colour,
        chunks=None if chunks is None else tuple(map(int, chunks)),
        is_concurrent=library != "h5py",
    )


def _one_array(array: Any) -> Any:
    """Return a list of images as one array."""
    try:
        return np.asanyarray(array)
    except ValueError:
        shapes = sorted({str(np.shape(part)) for part in array if hasattr(part, "shape")})
        raise ImageError(f"array: a list must hold images of one shape, got {', '.join(shapes) or 'others'}") from None


def axes_of_array(shape: tuple[int, ...]) -> tuple[tuple[str, ...], bool]:
    """Name axes that have no names: the last are rows and columns; and say whether three or four samples follow."""
    # No frame is three or four pixels wide: such an array is a picture, or a stack of them
    colour = len(shape) in (3, 4) and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4
    last = ("y", "x", "s") if colour else ("y", "x")
    count = max(len(shape) - len(last), 0)
    return (*map(unnamed, range(count)), *last[len(last) + count - len(shape) :]), colour


def _names_of_array(array: Any, shape: tuple[int, ...]) -> tuple[tuple[str, ...], bool]:
    """Return the names that a zarr array or an HDF5 dataset has for its axes."""
    metadata = getattr(array, "metadata", None)
    names = getattr(metadata, "dimension_names", None)
    if names is None and hasattr(array, "dims") and _library(array) == "h5py":
        names = [dimension.label or None for dimension in array.dims]
    if names is None or len(names) != len(shape) or not any(names):
        return axes_of_array(shape)
    return tuple(str(name or unnamed(axis)) for axis, name in enumerate(names)), False


def _part(array: Any, index: Index) -> HostArray:
    return np.asarray(array[index])


def _computed(array: Any, index: Index) -> HostArray:
    """Compute a part of a dask array: by one thread in a worker, whose cores belong to all workers."""
    scheduler = "synchronous" if is_worker() else "threads"
    return np.asarray(array[index].compute(scheduler=scheduler))


def is_worker() -> bool:
    """Whether this process works for another one."""
    if multiprocessing.parent_process() is not None:
        return True
    worker = sys.modules.get("distributed.worker")
    return worker is not None and bool(getattr(worker.Worker, "_instances", ()))


def _xarray_source(array: Any) -> Source:
    """Return an array of xarray: its dimensions are the axes, its coordinates their sizes."""
    if not hasattr(array, "dims") or not hasattr(array, "coords") or hasattr(array, "data_vars"):
        raise ImageError(f"array: is an xarray.{type(array).__name__}; needed is one of its variables")
    lengths = tuple(map(int, array.shape))
    steps: dict[str, Size] = {}
    origin: dict[str, Size] = {}
    for name in map(str, array.dims):
        if name in array.coords and array.coords[name].ndim == 1:
            found = _even_steps(array.coords[name])
            if found is not None:
                steps[name], origin[name] = found
    times = [name for name in steps if name.lower() in TIMES]
    blocks = array.chunks

    def fetch(index: Index) -> HostArray:
        part = array[index]
        data = part.data
        return _computed(data, (...,)) if _library(data) == "dask" else np.asarray(part)

    return Source(
        lengths,
        tuple(map(str, array.dims)),
        np.dtype(array.dtype),
        fetch,
        chunks=None if blocks is None else tuple(max(sizes) for sizes in blocks),
        pixel_size=steps,
        time_step=steps[times[0]] if times else None,
        origin=origin,
        header=dict(array.attrs),
        is_concurrent=True,
    )


def _even_steps(coordinate: Any) -> tuple[Size, Size] | None:
    """Return the step of an even coordinate and its start, with their unit."""
    values = np.asarray(coordinate)
    unit = unit_name(coordinate.attrs.get("units", ""))
    if values.dtype.kind == "m":
        values, unit = values / np.timedelta64(1, "s"), "s"
    elif values.dtype.kind == "M":
        values, unit = (values - values[:1]) / np.timedelta64(1, "s"), "s"
    if values.dtype.kind not in "iuf" or len(values) < 2:
        return None
    differences = np.diff(values.astype(np.float64))
    step = float(differences.mean())
    if step == 0 or not np.allclose(differences, step, rtol=1e-3, atol=0):
        return None
    return (step, unit), (float(values[0]), unit)


@dataclass(frozen=True)
class _Mapped:
    """A memory map, by its file."""

    path: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any

    def open(self) -> HostArray:
        raw = np.memmap(self.path, np.uint8, "r")
        found: HostArray = np.ndarray(self.shape, self.dtype, raw, self.offset, self.strides)
        return found


@dataclass(frozen=True)
class _Dataset:
    """A dataset of an HDF5 file."""

    path: str
    name: str

    def open(self) -> Any:
        import h5py

        return h5py.File(self.path, "r")[self.name]


def portable(target: Any) -> Any:
    """Return what another process can open: a file by its name, and what is in memory itself."""
    if isinstance(target, (str, os.PathLike)):  # a worker may be in another folder
        name = os.fspath(target)
        return name if "://" in name else os.path.abspath(name)  # noqa: PTH100, of patterns too
    if isinstance(target, np.memmap) and target.filename is not None and target.mode != "c":
        root: Any = target
        while isinstance(root.base, np.ndarray):
            root = root.base
        if all(stride >= 0 for stride in target.strides):
            place = target.__array_interface__["data"][0] - root.__array_interface__["data"][0] + root.offset
            return _Mapped(str(target.filename), place, target.shape, target.strides, target.dtype)
    if _library(target) == "h5py":
        return _Dataset(str(Path(target.file.filename).absolute()), target.name)
    return target


def opened_again(target: Any) -> Any:
    """Return the array that `portable` stands for."""
    return target.open() if isinstance(target, (_Mapped, _Dataset)) else target


def file_of(target: Any) -> tuple[Path | None, str]:
    """Return the file that an array is in, and which part of it, or None."""
    found = portable(target)
    if isinstance(found, _Mapped):
        return Path(found.path), f"{found.offset} {found.strides}"
    return (Path(found.path), found.name) if isinstance(found, _Dataset) else (None, "")
