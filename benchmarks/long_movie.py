"""Memory and rate of `locate` on a long movie: ``python -m benchmarks.long_movie [FRAMES WORKERS MEMORY]``.

By default 100,000 frames of 256 x 256, 13 GB on the disk, no workers, and "1 GiB". A movie of a tenth of the frames
is searched first, by a process of its own: memory has to be the same. It is the highest sum of the resident memory of
the process and of all that it has started, looked at every 20 ms, and not below the system's own record of the process.
Pages that processes share are counted in each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import npsubpix

_SIDE, _DISTINCT, _THRESHOLD = 256, 200, 150

_CHILD = """
import json, os, sys, threading, time
from pathlib import Path
import numpy as np
import npsubpix

def field(pid, name):
    try:
        return next(int(l.split()[1]) for l in Path(f"/proc/{pid}/status").open() if l.startswith(name + ":"))
    except (OSError, StopIteration):  # it has ended
        return 0

def family():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parents[int(entry)] = field(entry, "PPid")
    own, new = {os.getpid()}, {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - own
        own |= new
    return own

most, over = 0, threading.Event()
def watch():
    global most
    while not over.wait(0.02):
        most = max(most, sum(field(pid, "VmRSS") for pid in family()))

def main():
    path, output, workers, memory = sys.argv[1:]
    npsubpix.find_peaks(np.zeros((2, 64, 64), np.uint16), refine="centroid", frame_axis=0)
    before = field("self", "VmHWM")
    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    done = npsubpix.locate(path, threshold_abs=%d, refine="centroid", output=output,
                           executor=int(workers) or None, max_memory=memory)
    took = time.perf_counter() - start
    over.set()
    thread.join()
    peak = max(most, field("self", "VmHWM")) // 1024
    print(json.dumps({"frames": done.n_frames, "rows": done.n_rows, "s": round(took, 1),
                      "frames/s": round(done.n_frames / took), "peak MiB": peak, "before MiB": before // 1024}))

if __name__ == "__main__":
    main()
"""


def main(frames: int = 100_000, workers: int = 0, memory: str = "1 GiB") -> None:
    """Write two movies, search them, and print what it took."""
    rng = np.random.default_rng(0)
    places = rng.uniform(8, _SIDE - 9, (40 * _DISTINCT, 2))
    number = np.repeat(np.arange(_DISTINCT), 40)
    block = npsubpix.simulate_spots(
        (_DISTINCT, _SIDE, _SIDE), places, flux=1500, sigma=1.3, background=10, rng=rng, frame=number, frame_axis=0
    )
    block = (block + 100).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        child = Path(folder) / "child.py"
        child.write_text(_CHILD % _THRESHOLD)
        for count in (max(frames // 10, 1), frames):
            path = Path(folder) / "movie.npy"
            movie = np.lib.format.open_memmap(path, "w+", np.uint16, (count, _SIDE, _SIDE))
            for first in range(0, count, _DISTINCT):
                movie[first : first + _DISTINCT] = np.roll(block, first, axis=2)[: count - first]
            movie.flush()
            del movie
            command = [sys.executable, str(child), str(path), str(Path(folder) / f"{count}.parquet")]
            done = subprocess.run([*command, str(workers), memory], check=True, capture_output=True, text=True)
            print(f"max_memory {memory}, {workers or 'no'} workers: {done.stdout.strip()}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(int, arguments[:2]), *arguments[2:])
