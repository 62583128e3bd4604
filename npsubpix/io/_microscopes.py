"""Read the files of microscopes: ND2 of Nikon, CZI of Zeiss, LIF of Leica, and MRC of electron microscopes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._czi_structure import check_czi
from npsubpix.io._planes import planes
from npsubpix.io._raw import BoundedFile, RawArray
from npsubpix.io._source import ImageError, Options, Size, Source, check_size
from npsubpix.io._units import converted, size_of

__all__ = ["czi_file", "lif_file", "mrc_file", "nd2_file"]


@contextlib.contextmanager
def nd2_file(path: Path, options: Options) -> Iterator[Source]:
    """Open a position of an ND2 file."""
    import nd2

    with nd2.ND2File(path) as file:
        lengths = {name.lower(): int(length) for name, length in file.sizes.items()}
        loops = [name for name in lengths if name not in "cyxs"]
        scene = _scene(path, options.scene, lengths.get("p", 1), "positions")
        lead = [name for name in loops if name != "p"]
        axes = (*lead, *(name for name in ("c", "y", "x", "s") if name in lengths))
        shape = tuple(lengths[name] for name in axes)
        loop_shape = tuple(lengths[name] for name in loops)

        def read(numbers: tuple[int, ...]) -> HostArray:
            of = dict(zip(lead, numbers, strict=True)) | {"p": scene}
            number = np.ravel_multi_index([of[name] for name in loops], loop_shape) if loops else 0
            frame: HostArray = file.read_frame(int(number))
            return frame

        dtype = np.dtype(file.dtype)
        check_size(path, "a frame", shape[len(lead) :], dtype, options.max_memory)
        voxel = file.voxel_size()
        sizes = {axis: size_of(getattr(voxel, axis, None), "µm") for axis in "zyx"}
        yield Source(
            shape,
            axes,
            dtype,
            planes(shape, len(lead), dtype, read),
            "s" in axes,
            _others(scene, lengths.get("p", 1), "position"),
            chunks=_one_plane(shape, len(lead)),
            pixel_size={axis: size for axis, size in sizes.items() if size is not None},
            time_step=_nd2_step(file),
            header=_described(file, "text_info"),
        )


def _nd2_step(file: Any) -> Size | None:
    """Return the time between frames by the loop over times of an experiment."""
    with contextlib.suppress(Exception):
        for loop in file.experiment:
            if loop.type in ("TimeLoop", "NETimeLoop"):
                periods = getattr(loop.parameters, "periods", None) or [loop.parameters]
                return size_of(converted(periods[0].periodMs, "ms", "s"), "s") if len(periods) == 1 else None
    return None


@contextlib.contextmanager
def czi_file(path: Path, options: Options) -> Iterator[Source]:
    """Open a scene of a CZI file, whose tiles are put together."""
    from pylibCZIrw import czi

    check_czi(path)
    with czi.open_czi(str(path)) as file:
        bounds = file.total_bounding_box
        scenes = dict(file.scenes_bounding_rectangle)
        numbers = sorted(scenes)
        number = _scene(path, options.scene, max(len(numbers), 1), "scenes")
        scene = numbers[number] if numbers else None
        box = scenes[scene] if scene is not None else file.total_bounding_rectangle
        lead = [name for name in "TZC" if name in bounds and bounds[name][1] - bounds[name][0] > 1]
        kinds = {str(kind) for kind in file.pixel_types.values()}
        if len(kinds) != 1:
            raise ImageError(f"{path}: has channels of {', '.join(sorted(kinds))}; needed is one type for all")
        kind = kinds.pop()
        samples = (3,) if kind.startswith("Bgr") else ()
        if kind not in _CZI:
            raise ImageError(f"{path}: holds {kind}; needed are {', '.join(_CZI)}")
        dtype = _CZI[kind]
        size = tuple(bounds[name][1] - bounds[name][0] for name in lead)
        shape = (*size, int(box.h), int(box.w), *samples)
        check_size(path, "a plane", shape[len(lead) :], dtype, options.max_memory)

        def read(numbers: tuple[int, ...]) -> HostArray:
            plane = {name: bounds[name][0] + number for name, number in zip(lead, numbers, strict=True)}
            data = np.asarray(file.read(roi=(box.x, box.y, box.w, box.h), plane=plane, scene=scene))
            return data[..., ::-1] if samples else data  # blue, green, red

        metadata = _described(file, "metadata")
        yield Source(
            shape,
            (*(name.lower() for name in lead), "y", "x", *(("s",) if samples else ())),
            dtype,
            planes(shape, len(lead), dtype, read),
            bool(samples),
            _others(options.scene, len(numbers), "scene"),
            chunks=_one_plane(shape, len(lead)),
            pixel_size=_czi_sizes(metadata),
            header=metadata,
        )


_CZI: dict[str, np.dtype[Any]] = {
    "Gray8": np.dtype("u1"), "Gray16": np.dtype("u2"), "Gray32Float": np.dtype("f4"), "Bgr24": np.dtype("u1"),
    "Bgr48": np.dtype("u2"), "Bgr96Float": np.dtype("f4"),
}  # fmt: skip


def _czi_sizes(metadata: Any) -> dict[str, Size]:
    """Return the pixel sizes of a CZI file, which are in metres."""
    sizes = {}
    with contextlib.suppress(Exception):
        distances = metadata["ImageDocument"]["Metadata"]["Scaling"]["Items"]["Distance"]
        for distance in distances if isinstance(distances, list) else [distances]:
            size = size_of(converted(float(distance["Value"]), "m", "µm"), "µm")
            if size is not None:
                sizes[str(distance["@Id"]).lower()] = size
    return sizes


@contextlib.contextmanager
def lif_file(path: Path, options: Options) -> Iterator[Source]:
    """Open an image of a LIF file."""
    import liffile

    with BoundedFile(path) as stream, liffile.LifFile(stream) as file:
        images = list(file.images)
        image = images[_scene(path, options.scene, len(images), "images")]
        lengths = {str(name): int(length) for name, length in image.sizes.items()}
        names = [*(name for name in lengths if name not in "YXS"), *(name for name in "YXS" if name in lengths)]
        if not {"Y", "X"} <= lengths.keys():
            raise ImageError(f"{path}: image {options.scene} has axes {', '.join(lengths)}; needed are Y and X")
        lead = [name for name in names if name not in "YXS"]
        shape = tuple(lengths[name] for name in names)
        block = image.memory_block
        needed = math.prod(shape) * image.dtype.itemsize
        if block.offset + needed > path.stat().st_size:
            raise ImageError(f"{path}: is truncated, {path.stat().st_size} bytes long of {block.offset + needed}")
        check_size(path, "a frame", shape[len(lead) :], image.dtype, options.max_memory)

        def read(numbers: tuple[int, ...]) -> HostArray:
            return np.asarray(image.frame(**dict(zip(lead, numbers, strict=True))))

        coordinates = {name: np.asarray(values, np.float64) for name, values in image.coords.items() if name in lengths}
        steps = {
            name.lower(): abs(float(values[1] - values[0])) for name, values in coordinates.items() if len(values) > 1
        }
        sizes = {
            axis: size_of(converted(step, "m", "µm"), "µm") for axis, step in steps.items() if axis in ("z", "y", "x")
        }
        yield Source(
            shape,
            tuple(name.lower() for name in names),
            np.dtype(image.dtype),
            planes(shape, len(lead), np.dtype(image.dtype), read),
            "S" in names,
            _others(options.scene, len(images), "image"),
            chunks=_one_plane(shape, len(lead)),
            pixel_size={axis: size for axis, size in sizes.items() if size is not None},
            time_step=size_of(steps.get("t"), "s"),
            header=_described(image, "attrs"),
        )


@contextlib.contextmanager
def mrc_file(path: Path, options: Options) -> Iterator[Source]:
    """Open an MRC file: an image, a movie or a volume, as its header says."""
    import mrcfile
    import mrcfile.utils

    with path.open("rb") as raw:
        head = raw.read(1024)
    order = ">i4" if head[212:213] == b"\x11" else "<i4"
    ends = 1024 + int(np.frombuffer(head[92:96], order).sum())  # behind the extended header, which mrcfile reads whole
    if len(head) < 1024 or not 1024 <= ends <= path.stat().st_size:
        raise ImageError(f"{path}: is damaged or truncated: its header ends at byte {ends} of {path.stat().st_size}")
    with mrcfile.open(path, header_only=True) as file:
        header = file.header
        shape = tuple(map(int, mrcfile.utils.data_shape_from_header(header)))
        dtype = mrcfile.utils.data_dtype_from_header(header)
        array = RawArray(path, 1024 + int(header.nsymbt), shape, dtype)
        array.check()
        # Columns, rows and sections are x, y and z unless the header says otherwise
        stored = [int(header[name]) for name in ("maps", "mapr", "mapc")]
        names = [{1: "x", 2: "y", 3: "z"}[axis] for axis in stored] if sorted(stored) == [1, 2, 3] else ["z", "y", "x"]
        axes = tuple(names[-len(shape) :]) if len(shape) < 4 else ("t", *names)
        if len(shape) == 3 and int(header.ispg) == 0:  # a stack of images, and no volume
            axes = ("t", *names[1:])
        sizes = {axis: size_of(float(file.voxel_size[axis]), "Å") for axis in "zyx"}
        about = {name: header[name].item() for name in ("mode", "ispg", "nversion", "dmin", "dmax", "dmean")}
    del options
    yield Source(
        shape,
        axes,
        dtype,
        array.fetch,
        pixel_size={axis: size for axis, size in sizes.items() if size is not None},
        header=about,
        is_concurrent=True,
    )


def _scene(path: Path, scene: int, count: int, things: str) -> int:
    if not 0 <= scene < count:
        raise ImageError(f"{path}: has {count} {things}; there is no {things.removesuffix('s')} {scene}")
    return scene


def _others(scene: int, count: int, thing: str) -> tuple[str, ...]:
    """Say that others are left out."""
    return (f"{thing} 0 of {count} is read; --series reads others",) if scene == 0 and count > 1 else ()


def _one_plane(shape: tuple[int, ...], lead: int) -> tuple[int, ...]:
    return (*(1 for _ in range(lead)), *shape[lead:])


def _described(file: Any, name: str) -> Any:
    """Return metadata, or None where a library does not understand them."""
    with contextlib.suppress(Exception):
        return getattr(file, name)
    return None
