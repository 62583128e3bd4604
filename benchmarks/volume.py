"""A Zarr volume larger than memory: ``python -m benchmarks.volume [SLICES SIDE MEMORY]``, 200 4096 "1 GiB" by default.

Spots lie in cells, one in each, at random places, whose borders are no multiples of chunks or tiles. Each has to be
found once, and nothing else; the rows of the slices that fit into memory have to be those of one call, bit for bit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

import npsubpix

_CELL = (20, 16, 16)
_CHUNK = (10, 512, 512)
_SIGMA, _HEIGHT, _NOISE = 1.4, 400.0, 32  # of Gaussians; the noise is evenly distributed, so that nothing exceeds it
_THRESHOLD = 200
_MOST_AT_ONCE = 40 * 4096**2  # pixels for one call on an array

_CHILD = """
import json, sys, time
from pathlib import Path
import numpy as np
import npsubpix
path, output, memory = sys.argv[1:]
npsubpix.find_peaks(np.zeros((8, 8, 8), np.uint16))
def peak():  # that of getrusage counts the parent, before it became this process
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM")) // 1024
before, start = peak(), time.perf_counter()
peaks = npsubpix.locate(path, frames=False, threshold_abs=%d, max_memory=memory)
took, most = time.perf_counter() - start, peak()
np.savez(output, coords=peaks.coords, values=peaks.values, indices=peaks.indices)
print(json.dumps({"s": round(took, 1), "peak MiB": most, "before MiB": before}))
"""


def main(slices: int = 200, side: int = 4096, memory: str = "1 GiB") -> None:
    """Write the volume, search it, and print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        path, rows = Path(folder) / "volume.zarr", Path(folder) / "rows.npz"
        start = time.perf_counter()
        truth = _write(path, (slices, side, side))
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        print(
            f"{slices} x {side} x {side} uint16, {slices * side**2 * 2 / 1e9:.1f} GB, {size / 1e9:.1f} GB on the disk"
        )
        print(f"{len(truth)} spots, written in {time.perf_counter() - start:.0f} s")
        child = [sys.executable, "-c", _CHILD % _THRESHOLD, str(path), str(rows), memory]
        print(f"max_memory {memory}:", subprocess.run(child, check=True, capture_output=True, text=True).stdout.strip())
        with np.load(rows) as found:
            _compare(found["coords"], truth, (slices, side, side))
            _compare_with_one_call(path, found)


def _write(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Write a volume, cells of slices at once; return the places of its spots."""
    import zarr

    store = zarr.create_array(path, shape=shape, chunks=_CHUNK, dtype="uint16")
    rng = np.random.default_rng(7)
    half = np.array(_CELL) // 2  # by which cells begin before the volume
    counts = [-(-(n + h) // c) for n, h, c in zip(shape, half, _CELL, strict=True)]
    truth = []
    for k in range(counts[0]):
        places = rng.uniform(4, np.array(_CELL) - 5, (counts[1], counts[2], 3))
        lines = [np.exp(-0.5 * ((np.arange(c) - places[..., a, None]) / _SIGMA) ** 2) for a, c in enumerate(_CELL)]
        plane = (lines[1][:, :, :, None] * lines[2][:, :, None, :]).transpose(0, 2, 1, 3)
        plane = plane.reshape(counts[1] * _CELL[1], counts[2] * _CELL[2]).astype(np.float32)
        first = k * _CELL[0] - half[0]
        block = np.empty((_CELL[0], *shape[1:]), np.uint16)
        for z, out in enumerate(block):
            depth = np.repeat(np.repeat(lines[0][:, :, z], _CELL[1], 0), _CELL[2], 1).astype(np.float32)
            spots = (_HEIGHT * plane * depth)[half[1] : half[1] + shape[1], half[2] : half[2] + shape[2]]
            out[:] = spots
            out += rng.integers(0, _NOISE, shape[1:], np.uint8)
        low, high = max(first, 0), min(first + _CELL[0], shape[0])
        store[low:high] = block[low - first : high - first]
        origin = np.stack(np.meshgrid(*map(np.arange, counts[1:]), indexing="ij"), -1) * _CELL[1:] - half[1:]
        places[..., 0] += first
        places[..., 1:] += origin
        truth.append(places.reshape(-1, 3))
    return np.concatenate(truth)


def _compare(coords: npt.NDArray[np.float64], truth: npt.NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Print how many spots were lost, found twice, or are none; those at the faces of the volume may be cut."""
    inside = ((truth > 2) & (truth < np.array(shape) - 3)).all(1)
    near = cKDTree(coords).query_ball_point(truth[inside], 1.5, return_length=True)
    strangers = int((cKDTree(truth).query(coords)[0] > 1.5).sum())
    errors = coords - truth[cKDTree(truth).query(coords)[1]]
    print(f"{len(coords)} rows; of {inside.sum()} spots away from the faces, lost: {int((near == 0).sum())}, ", end="")
    print(
        f"found twice: {int((near > 1).sum())}; rows without a spot: {strangers}; rms error {errors.std():.3f} pixels"
    )


def _compare_with_one_call(path: Path, found: Any) -> None:
    """Compare the rows of the first slices with those of one call on them."""
    import zarr

    store = zarr.open_array(path, mode="r")
    depth = min(store.shape[0], _MOST_AT_ONCE // (store.shape[1] * store.shape[2]))
    peaks = npsubpix.find_peaks(np.asarray(store[:depth]), threshold_abs=_THRESHOLD)
    last = depth - 4 if depth < store.shape[0] else depth  # after which windows, and fits that walk, would see more
    tables = []
    for table in (found, {name: getattr(peaks, name) for name in ("coords", "values", "indices")}):
        rows = table["indices"][:, 0] < last
        tables.append({name: table[name][rows] for name in ("coords", "values", "indices")})
    same = all(np.array_equal(tables[0][name], tables[1][name]) for name in tables[0])
    print(f"rows of the first {last} slices, {len(tables[1]['values'])}, are those of one call: {same}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(int, arguments[:2]), *arguments[2:])
