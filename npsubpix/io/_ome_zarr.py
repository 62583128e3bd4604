"""Write frames as an OME-Zarr store of version 0.4, which readers of all ages know."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._stacks import Calibration
from npsubpix.io.tables import OutputError

__all__ = ["write_ome_zarr"]

#: Greatest side of a chunk, in pixels.
_CHUNK = 1024

_KINDS = {"T": "time", "Z": "space", "C": "channel", "Y": "space", "X": "space"}
_UNITS = {
    "pm": "picometer", "Å": "angstrom", "nm": "nanometer", "µm": "micrometer", "mm": "millimeter", "cm": "centimeter",
    "m": "meter", "in": "inch",
}  # fmt: skip


def write_ome_zarr(
    path: Path, frames: Iterator[Any], count: int, shape: tuple[int, ...], calibration: Calibration
) -> None:
    """Write a number of frames of float32, of one shape (H, W), frame by frame; the store appears when it is whole."""
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem[:100]}-", suffix=".zarr"))
        _write(temporary, frames, count, shape, calibration)
        if path.exists():
            raise OutputError(f"{path}: exists, and a store is not replaced: remove it, or choose another name")
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, frames: Iterator[Any], count: int, shape: tuple[int, ...], calibration: Calibration) -> None:
    import zarr

    several = count > 1
    lengths = (count, *shape) if several else shape
    chunks = tuple(min(n, _CHUNK) for n in shape)
    chunks = (1, *chunks) if several else chunks
    options: dict[str, Any] = {"shape": lengths, "chunks": chunks, "dtype": "float32"}
    if int(zarr.__version__.partition(".")[0]) >= 3:
        group = zarr.open_group(str(folder), mode="w", zarr_format=2)
        array = group.create_array("0", chunk_key_encoding={"name": "v2", "separator": "/"}, **options)
    else:
        group = zarr.open_group(str(folder), mode="w")
        array = group.create_dataset("0", dimension_separator="/", **options)
    for number, frame in enumerate(frames):
        array[number if several else ...] = np.asarray(frame, np.float32)
    group.attrs["multiscales"] = [_multiscale(calibration, several)]


def _multiscale(calibration: Calibration, several: bool) -> dict[str, Any]:
    """Return the axes and sizes of pixels, as the specification has them."""
    names = f"{calibration.axis}YX" if several else "YX"
    sizes: dict[str, float | None] = {"T": calibration.interval, "Z": calibration.spacing}
    if calibration.pixel is not None:
        sizes |= dict(zip("YX", calibration.pixel, strict=True))
    axes, scale = [], []
    for name in names:
        axis = {"name": name.lower(), "type": _KINDS.get(name, "time")}
        size = sizes.get(name)
        unit = "second" if name == "T" else _UNITS.get(calibration.unit, calibration.unit)
        if size is not None and unit and axis["type"] != "channel":
            axis["unit"] = unit
        axes.append(axis)
        scale.append(1.0 if size is None else float(size))
    transform = [{"type": "scale", "scale": scale}]
    return {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transform}]}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
