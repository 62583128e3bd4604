"""Movies in workers: threads, processes and a cluster of dask, some of which die."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import npsubpix
from npsubpix.movies.shared import SharedFiles, shared
from tests.movie_cases import assert_same_rows, blocks, in_one_call, movie, tiles

ROOT = Path(__file__).parent.parent


def test_threads_give_the_rows_of_one_call():
    counts = movie()
    with ThreadPoolExecutor(3) as pool, blocks(counts[0].size):
        found = npsubpix.locate(counts, executor=pool, threshold_abs=20)
        assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))


def test_threads_read_files_block_by_block(tmp_path):
    counts = movie()
    np.save(tmp_path / "movie.npy", counts)
    with ThreadPoolExecutor(2) as pool, blocks(2 * counts[0].size):
        found = npsubpix.locate(tmp_path / "movie.npy", executor=pool, threshold_abs=20)
        assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))
        with tiles(15, 17):
            found = npsubpix.locate(tmp_path / "movie.npy", executor=pool, threshold_abs=20)
    assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))


def failing(frames, frame_axis, wrong):
    if frames[:, 0, 0].max() == wrong:
        raise ArithmeticError("no such frame")
    return {"frame": np.arange(len(frames))}


def test_an_error_in_a_worker_ends_the_run():
    counts = movie()
    counts[:, 0, 0] = np.arange(13)
    with ThreadPoolExecutor(2) as pool, blocks(2 * counts[0].size), pytest.raises(ArithmeticError, match="no such"):
        npsubpix.locate(counts, task=failing, executor=pool, wrong=9)


@pytest.mark.exhaustive
def test_processes_give_the_rows_of_one_call(tmp_path):
    counts = movie(shape=(60, 64, 64))
    np.save(tmp_path / "movie.npy", counts)
    for source in (counts, tmp_path / "movie.npy"):
        with blocks(7 * counts[0].size):
            found = npsubpix.locate(source, executor=2, threshold_abs=20)
        assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory without a name")
def test_frames_in_memory_are_read_by_other_processes_and_leave_nothing():
    """Frames in any order of axes and bytes; a long run would else be out of files, or of memory."""
    frames = movie().transpose(2, 0, 1).astype(">f4")
    before, files = _open_files(), SharedFiles()
    for part in (frames, frames[:5], frames[3:]):  # one file after the other, of any length
        sent = shared(part, files)
        read = pickle.loads(pickle.dumps(sent)).get()
        np.testing.assert_array_equal(read, part)
        assert read.dtype == part.dtype
        assert _open_files() <= before + 2
    files.close()
    del sent
    assert _open_files() == before


def killing(frames, frame_axis, victims):
    """Stop the process of the first call that finds a file, as a lack of memory would."""
    try:
        Path(victims).unlink()
    except FileNotFoundError:
        peaks = npsubpix.find_peaks(frames, frame_axis=frame_axis, threshold_abs=20)
        return {"frame": peaks.frame, "y": peaks.coords[:, 0], "x": peaks.coords[:, 1]}
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return {}


@pytest.mark.exhaustive
def test_a_process_that_dies_is_named_and_the_run_goes_on(tmp_path):
    """Rows of earlier frames are kept, and a resume finds the others."""
    counts, table, victims = movie(shape=(40, 64, 64)), tmp_path / "rows", tmp_path / "victim"
    expected = in_one_call(counts, 0, threshold_abs=20)
    task = functools.partial(npsubpix.locate, counts, task=killing, output=table, executor=2, victims=str(victims))
    victims.touch()
    with blocks(4 * counts[0].size), pytest.raises(RuntimeError, match=r"a worker process ended while frames \d+ to"):
        task()
    with blocks(4 * counts[0].size):
        task(resume=True)
    assert np.array_equal(pytest.importorskip("pandas").read_parquet(table)["y"], expected.coords[:, 0])


def waiting(frames, frame_axis, folder):
    """Leave the number of the process, and wait to be killed."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)
    return {"frame": np.arange(len(frames))}


PARENT = """
import sys
import numpy as np, npsubpix
from tests.test_movies_workers import waiting
if __name__ == "__main__":
    npsubpix.locate(np.zeros((2, 2048, 4096), np.uint8), task=waiting, executor=2, folder=sys.argv[1])
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_a_parent_that_is_killed(tmp_path, how):
    """Or each run that a scheduler stops leaves processes, with their memory, for ever."""
    psutil = pytest.importorskip("psutil")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], cwd=ROOT)
    try:
        for _ in range(600):
            if any(tmp_path.iterdir()) or parent.poll() is not None:
                break
            time.sleep(0.1)
        workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
        assert workers
    finally:
        parent.send_signal(how)
        parent.wait()
    assert not psutil.wait_procs(workers, timeout=20)[1]


@pytest.mark.exhaustive
def test_a_cluster_of_dask_loses_a_worker_in_the_middle(tmp_path):
    """dask gives the frames of a worker that dies to another: nothing is lost, and nothing comes twice."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask.array")
    counts = movie(shape=(60, 64, 64))
    expected = in_one_call(counts, 0, threshold_abs=20)
    np.save(tmp_path / "movie.npy", counts)
    array = dask.from_array(counts, chunks=(5, 64, 64))
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        for source in (array, tmp_path / "movie.npy"):
            with blocks(5 * counts[0].size):
                assert_same_rows(npsubpix.locate(source, executor=client, threshold_abs=20), expected)
        worker = next(iter(cluster.workers.values()))
        killed = []

        def kill(done, count):
            if done >= 10 and not killed:
                killed.append(client.run(os.getpid)[worker.worker_address])
                os.kill(killed[0], signal.SIGKILL)

        with blocks(5 * counts[0].size):
            found = npsubpix.locate(array, executor=client, threshold_abs=20, progress=kill)
        assert killed
        assert_same_rows(found, expected)


#: Pages of files that are mapped do not count: the system takes them back whenever it needs memory.
CHILD = """
import sys, threading, time
import numpy as np, psutil, npsubpix
process, most = psutil.Process(), [0]
def taken():
    info = process.memory_info()
    return info.rss - getattr(info, "shared", 0)
def watch():
    while True:
        most[0] = max(most[0], taken())
        time.sleep(0.002)
path, memory, frames, output = sys.argv[1], sys.argv[2], sys.argv[3] != "False", sys.argv[4] or None
small = np.zeros((2, 64, 64), np.uint16)
small[0, 30, 30] = 9
npsubpix.find_peaks(small, frame_axis=0)  # kernels are loaded
npsubpix.locate(small, threshold_abs=3, output=output and output + "-small")  # and libraries imported
if not frames:
    volume = np.random.default_rng(0).poisson(3, (40, 64, 64)).astype(np.uint16)
    npsubpix.locate(volume, frames=False, max_memory="2 MB")
base = taken()
threading.Thread(target=watch, daemon=True).start()
found = npsubpix.locate(path, frames=None if frames else False, threshold_abs=20, max_memory=memory, output=output)
print(len(found) if output is None else found.n_rows, most[0] - base)
"""


def measured(path, memory, frames, output=""):
    """Return how many rows a process finds, and the bytes that it takes beside those of the libraries."""
    command = [sys.executable, "-c", CHILD, str(path), str(memory), str(frames), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows, size = map(int, done.stdout.split())
    return rows, size


@pytest.mark.exhaustive
def test_memory_is_flat_in_the_number_of_frames(tmp_path):
    """A movie of four times the frames takes no more."""
    pytest.importorskip("psutil")
    sizes = []
    for count in (1000, 4000):
        path = tmp_path / f"{count}.npy"
        images = np.lib.format.open_memmap(path, "w+", np.uint16, (count, 128, 128))
        for first in range(0, count, 500):
            images[first : first + 500] = movie(first, (500, 128, 128))
        images.flush()
        del images
        if not sizes:  # a compiler takes memory too
            measured(path, "64 MB", frames=True, output=tmp_path / "first")
        rows, size = measured(path, "64 MB", frames=True, output=tmp_path / f"{count}")
        assert rows > count
        sizes.append(size)
    assert sizes[1] < sizes[0] + 16 * 2**20
    assert max(sizes) < 64 * 10**6


@pytest.mark.exhaustive
def test_a_volume_of_many_times_the_memory(tmp_path):
    """Tiles take what they may, and find each peak once."""
    pytest.importorskip("psutil")
    zarr = pytest.importorskip("zarr")
    rng = np.random.default_rng(0)
    volume = rng.poisson(4, (96, 512, 512)).astype(np.uint16)
    places = rng.integers(4, [92, 508, 508], (400, 3))
    volume[tuple(places.T)] += 40
    store = zarr.create_array(tmp_path / "v.zarr", shape=volume.shape, chunks=(16, 128, 128), dtype="u2")
    store[:] = volume
    rows, size = measured(tmp_path / "v.zarr", "24 MB", frames=False)
    assert rows == len(npsubpix.find_peaks(volume, threshold_abs=20))
    assert size < 30 * 10**6 < volume.nbytes
