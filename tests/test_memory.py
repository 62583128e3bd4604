"""Memory that runs out inside the threads of a kernel, in processes of their own."""

from __future__ import annotations

import sys

import pytest

from tests.test_runtime import run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the size of a process is read from /proc")

CODE = """
    import resource
    import numpy as np, npsubpix
    x = np.zeros((64, 20000), np.uint8)  # two bands of lines, one for each thread
    x[40, 800] = 9
    def far_apart(rows):
        footprint = np.zeros((rows, 1), bool)
        footprint[0] = footprint[-1] = True
        return footprint
    def sized():
        return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    small = lambda: npsubpix.window_mean(x, footprint=far_apart(3))
    wanted = small()
    large = far_apart(59)  # for which each thread takes 19 MB
    whole = npsubpix.window_mean(x, footprint=large)
    before = sized()
    resource.setrlimit(resource.RLIMIT_AS, (before + {room} * 2**20, resource.RLIM_INFINITY))
    messages = set()
    for _ in range(8):
        try:
            found = npsubpix.window_mean(x, footprint=large)  # if the threads ran one after the other
            assert (found == whole).all()
        except MemoryError as error:
            messages.add(str(error))
        assert (small() == wanted).all()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (small() == wanted).all()
    assert (npsubpix.window_mean(x, footprint=large) == whole).all()
    print(sorted(messages), sized() - before < 150 * 2**20, whole[11, 800], whole.sum())
"""


@pytest.mark.parametrize("room", [15, 30])
def test_threads_without_memory(room):
    """All of them, or one: the call raises, also where that is not the calling thread; the next one works."""
    printed = run(CODE.format(room=room), NUMBA_NUM_THREADS="2", OMP_NUM_THREADS="2", MALLOC_ARENA_MAX="1")
    assert printed == "['window_mean ran out of memory: no memory for a thread of footprint_mean'] True 9.0 9.0"


def test_arrays_that_are_too_large():
    """Of NumPy, or of a single thread, the error names the operation too."""
    code = """
    import numpy as np, npsubpix
    x = np.broadcast_to(np.float64(1), (2**30, 2**20))
    try:
        npsubpix.window_map(lambda a: a[0, 0], x, size=1)
    except MemoryError as error:
        print(error)
    """
    assert run(code).startswith("window_map ran out of memory: Unable to allocate")
