"""Time before the first result of a script, each time in a fresh process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence

from benchmarks.child import run_code
from benchmarks.registry import Row, Run, Stats, Target, measurement

_IMPORT = """
import json, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import npsubpix
print(json.dumps([time.perf_counter() - start, middle - start]))
"""

_FIRST_CALL = """
import json, sys, time
import numpy
side = int(sys.argv[1])
image = numpy.random.default_rng(0).standard_normal((1, 1, side, side), dtype=numpy.float32)
start = time.perf_counter()
import numba
middle = time.perf_counter()
import npsubpix
npsubpix.nms2d(image, (3, 3))
print(json.dumps([time.perf_counter() - middle, middle - start]))
"""

#: Calls whose kernels are compiled, with the seconds that they are meant to take.
_COMPILED = {
    "find_peaks": ("npsubpix.find_peaks(image, threshold_abs=2.0)", 2.0),
    "conv_soft_argmax2d": ("npsubpix.conv_soft_argmax2d(image[None, None], (3, 3))", 5.0),
    "correlate": ("npsubpix.correlate(image, image[:3, :3])", 5.0),
    "sample_with_gradient": ("npsubpix.sample_with_gradient(image, image[:2, :8] + 8, method='bspline3')", 5.0),
    "align": ("npsubpix.align(image, numpy.roll(image, 1, 0), model='affine')", 5.0),
}

_COMPILATION = """
import json, sys, time
import numpy, scipy.ndimage
noise = numpy.random.default_rng(0).normal(0, 8, (1024, 1024)).astype("f4")
image = scipy.ndimage.gaussian_filter(noise, 2, mode="wrap")
import numba, npsubpix
start = time.perf_counter()
eval(sys.argv[1])
print(json.dumps(time.perf_counter() - start))
"""


def _repeat(code: str, *args: str, run: Run) -> Sequence[Stats]:
    """Run code in fresh processes, the first of them untimed: it compiles kernels and brings files into memory."""
    if not run.quick:
        run_code(code, *args, threads=run.threads)
    samples = [run_code(code, *args, threads=run.threads) for _ in range(1 if run.quick else 9)]
    return [Stats.of(column) for column in zip(*samples, strict=True)]


@measurement("start: import npsubpix")
def import_time(run: Run) -> Iterable[Row]:
    whole, numpy = _repeat(_IMPORT, run=run)
    yield Row("start: import npsubpix", "NumPy included", "s", whole, target=Target(0.15, at_least=False))
    yield Row("start: import npsubpix", "NumPy's share", "s", numpy)


@measurement("start: first nms2d")
def first_call(run: Run) -> Iterable[Row]:
    for side in (64, 256 if run.quick else 2048):
        call, numba = _repeat(_FIRST_CALL, str(side), run=run)
        work = f"{side}², kernels cached, after import numba"
        yield Row("start: first nms2d", work, "s", call, target=Target(0.3, at_least=False))
    yield Row("start: first nms2d", "import numba", "s", numba)


@measurement("start: compilation")
def compilation(run: Run) -> Iterable[Row]:
    """First calls on a fresh installation, which compile their kernels; later processes take them from the cache."""
    for name, (call, target) in list(_COMPILED.items())[: 1 if run.quick else None]:
        seconds = []
        for _ in range(1 if run.quick else 3):
            with tempfile.TemporaryDirectory() as cache:
                seconds.append(run_code(_COMPILATION, call, threads=run.threads, cache=cache))
        yield Row(
            "start: compilation",
            f"{name}, 1024², no cache",
            "s",
            Stats.of(seconds),
            target=Target(target, at_least=False),
        )
