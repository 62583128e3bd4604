"""The runtime, in processes of their own: imports, threads, forks, the cache."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import npsubpix

ROOT = Path(__file__).parents[1]


def run(code: str, **environment: str) -> str:
    """Run Python code in a fresh process; return what it printed."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout.strip()


BIG = """
    import numpy as np, npsubpix, hashlib
    x = np.random.default_rng(1).standard_normal((3, 4, 200, 210))
    def digest():
        peaks = npsubpix.find_peaks(x, frame_axis=0, min_distance=3)
        return hashlib.sha256(peaks.coords.tobytes() + peaks.values.tobytes()).hexdigest()
"""

MANY = """
    import numpy as np, npsubpix, hashlib
    x = np.random.default_rng(1).standard_normal((3, 4, 200, 210)).astype(np.float32)
    def digest():
        peaks = npsubpix.find_peaks(x, frame_axis=0, min_distance=3, minima=True)
        dense = npsubpix.iterative_quad_interp3d(x[None])
        wide = npsubpix.nms2d(x, (9, 7))
        more = npsubpix.find_peaks(x[0], refine="centroid", plateau="first")
        parts = [peaks.coords, peaks.values, peaks.flags, *dense, wide, more.coords]
        return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()
"""


def test_import_loads_no_heavy_library():
    heavy = [
        "numba",
        "llvmlite",
        "torch",
        "cupy",
        "scipy",
        "pandas",
        "astropy",
        "matplotlib",
        "jax",
        "npsubpix.fitting",
    ]
    loaded = run(f"""
        import sys, npsubpix
        npsubpix.find_peaks, npsubpix.Peaks, npsubpix.AdaptiveQuadInterp3d, dir(npsubpix)
        print([name for name in {heavy} if name in sys.modules])
    """)
    assert loaded == "[]"


def test_all_names_load():
    for name in npsubpix.__all__:
        assert getattr(npsubpix, name).__doc__
        assert name in dir(npsubpix)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = npsubpix.nothing


@pytest.mark.exhaustive  # which compiles parallel forms of many kernels
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_same_bits_for_any_number_of_threads(layer):
    digests = {
        run(MANY + "    print(digest())", NUMBA_NUM_THREADS=str(n), NUMBA_THREADING_LAYER=layer) for n in (1, 2, 3)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_python_threads(layer):
    """Calls from several threads at once neither abort the process nor disturb each other."""
    code = (
        BIG
        + """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(lambda _: digest(), range(18)))
    print(found == {digest()})
    """
    )
    assert run(code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == "True"


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_fork_after_parallel_work(layer):
    """A forked worker, as a torch DataLoader's or multiprocessing's, works after its parent has."""
    code = (
        BIG
        + """
    import multiprocessing, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    def work(_):
        return digest()
    want = digest()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = set(pool.map_async(work, range(4)).get(timeout=200))
    print(found == {want}, digest() == want)
    """
    )
    assert run(code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == "True True"


WAITING = """
    import os
    os.environ["OMP_DISPLAY_ENV"] = "verbose"  # OpenMP then says how it was set up, where errors go
    os.dup2(1, 2)
    before = dict(os.environ)
    from npsubpix._cpu.compiler.threads import process
    assert process.load()
    assert dict(os.environ) == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks GNU OpenMP, whose settings have these names")
@pytest.mark.parametrize(
    ("chosen", "spins"),
    [({}, "0"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")],
)
def test_threads_wait_asleep_unless_the_user_decides(monkeypatch, chosen, spins):
    """Threads that spin take the time of other processes; the environment is left as it was, for other libraries."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    printed = run(WAITING, NUMBA_THREADING_LAYER="omp", **chosen)
    assert f"GOMP_SPINCOUNT = '{spins}'" in printed


def test_one_thread_starts_none():
    """Where the user has asked Numba for one thread, not even the first large image takes more."""
    code = """
    import numba, numpy as np, npsubpix
    from npsubpix._cpu.nms.neighbours import near2d_kernels
    numba.set_num_threads(1)
    npsubpix.nms2d(np.zeros((1, 1, 700, 600)), (3, 3))
    kernel = near2d_kernels["values"]
    print(len(kernel.serial.signatures), len(kernel.parallel.signatures))
    """
    assert run(code, NUMBA_NUM_THREADS="2") == "1 0"


def test_data_loader_workers():
    code = """
    import numpy as np, npsubpix, torch, warnings
    warnings.simplefilter("ignore")
    class Frames(torch.utils.data.Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, i):
            x = torch.from_numpy(np.random.default_rng(i).standard_normal((1, 1, 700, 600)))
            return npsubpix.nms2d(x, (3, 3))
    parent = [Frames()[i] for i in range(4)]
    loader = torch.utils.data.DataLoader(Frames(), num_workers=2, batch_size=None, multiprocessing_context="fork")
    print(all(torch.equal(a, b) for a, b in zip(loader, parent, strict=True)))
    """
    assert run(code) == "True"


SMALL = """
    import numpy as np, npsubpix
    from npsubpix._cpu.compiler import cache
    x = np.random.default_rng(0).standard_normal((1, 1, 40, 41))
    kept = npsubpix.nms2d(x, (3, 3))
    print((kept != 0).sum(), round(float(kept.sum()), 9), cache.cache_directory())
"""


def result_of(output: str) -> list[str]:
    return output.split()[:2]


@pytest.fixture(scope="module")
def expected():
    kept = npsubpix.nms2d(np.random.default_rng(0).standard_normal((1, 1, 40, 41)), (3, 3))
    return [str((kept != 0).sum()), str(round(float(kept.sum()), 9))]


@pytest.mark.exhaustive  # which compiles in processes of their own
def test_cache_can_be_moved_and_turned_off(tmp_path, expected):
    first = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert result_of(first) == expected
    entries = list((tmp_path / "npsubpix").glob("*.npsubpix"))
    assert entries
    before = {path: path.stat().st_mtime_ns for path in entries}
    assert result_of(run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))) == expected
    assert {path: path.stat().st_mtime_ns for path in entries} == before  # read, not written again
    off = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path / "off"), NPSUBPIX_CACHE="0")
    assert off.split() == [*expected, "None"]
    assert not (tmp_path / "off").exists()


@pytest.mark.parametrize(
    "damage",
    ["flipped", *(pytest.param(d, marks=pytest.mark.exhaustive) for d in ("empty", "truncated", "garbage", "folder"))],
)
def test_damaged_entries_cost_time_only(tmp_path, expected, damage):
    run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    for path in (tmp_path / "npsubpix").glob("*.npsubpix"):
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            content = content[: len(content) // 2]
        elif damage == "flipped":
            content[len(content) // 2] ^= 0xFF
        elif damage == "garbage":
            content = bytearray(os.urandom(4096))
        path.unlink()
        if damage == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"" if damage == "empty" else content)
    assert result_of(run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))) == expected


@pytest.mark.exhaustive  # which compiles in processes of their own
def test_entries_that_nobody_uses_go(tmp_path, expected):
    """An entry of an older version goes when a new one is written; one that is used, or is a user's own file, stays."""
    folder = tmp_path / "npsubpix"
    run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    used = set(folder.glob("*.npsubpix"))
    others = {folder / name for name in ("old-1.npsubpix", "dead-2.abc.npsubpix.tmp", "notes.txt")}
    for path in others:
        path.write_text("x")
    long_ago = time.time() - 91 * 86400
    for path in used | others:
        os.utime(path, (long_ago, long_ago))
    assert result_of(run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))) == expected
    assert all(path.exists() for path in used | others)
    last = max(used, key=lambda path: path.name)
    last.unlink()
    assert result_of(run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))) == expected
    assert set(folder.iterdir()) == used | {folder / "notes.txt"}


def test_no_writable_directory(tmp_path, expected):
    """Where nothing can be written kernels are compiled anew: a file stands in the way of the directory."""
    blocked = tmp_path / "blocked"
    blocked.write_text("not a directory")
    output = run(SMALL, NUMBA_CACHE_DIR=str(blocked))
    assert output.split() == [*expected, "None"]


COMPILED = """
    from npsubpix._cpu.nms.neighbours import near2d_kernels
    print(sum(near2d_kernels["values"].serial.stats.cache_misses.values()))
"""


def test_processes_that_need_a_kernel_compile_it_once(tmp_path, expected):
    """They agree, the others wait for the first, and nothing but entries is left."""
    command = [sys.executable, "-c", textwrap.dedent(SMALL) + textwrap.dedent(COMPILED)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) for _ in range(4)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [result_of(output) for output in outputs] == [expected] * 4
    assert sum(int(output.split()[-1]) for output in outputs) == 1
    assert {path.suffix for path in (tmp_path / "npsubpix").iterdir()} == {".npsubpix"}
    assert result_of(run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))) == expected


def test_a_cache_that_cannot_be_written_is_read(tmp_path, expected):
    """Whoever builds the image of a container fills it, and others, or nobody, may write there."""
    run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "npsubpix").iterdir()}
    closed = """
    from npsubpix._cpu.compiler import cache
    cache._can_write = lambda folder: False
    """
    output = run("\n".join(map(textwrap.dedent, (closed, SMALL, COMPILED))), NUMBA_CACHE_DIR=str(tmp_path))
    assert output.split() == [*expected, "None", "0"]  # nothing is compiled
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "npsubpix").iterdir()} == before


@pytest.mark.exhaustive  # which compiles in processes of their own
def test_a_process_that_stopped_while_it_compiled_delays_nobody(tmp_path, expected):
    """Its lock goes with it; one that is held for too long is not waited for."""
    run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    entries = [path for path in (tmp_path / "npsubpix").iterdir() if path.name.startswith("near2d")]
    for path in entries:
        path.unlink()
        path.with_name(f"{path.name}.lock").touch()
    assert result_of(run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))) == expected
    hold = f"""
    import fcntl
    from npsubpix._cpu.compiler import turns
    turns._LONGEST = 0.1
    held = [open(path + ".lock", "wb") for path in {[str(path) for path in entries]}]
    for file in held:
        fcntl.flock(file, fcntl.LOCK_EX)
    """
    for path in entries:
        path.unlink()
    assert result_of(run(textwrap.dedent(hold) + textwrap.dedent(SMALL), NUMBA_CACHE_DIR=str(tmp_path))) == expected


@pytest.mark.exhaustive  # which compiles in five processes
def test_entries_of_two_processes_do_not_mix(tmp_path):
    """Kernels that two processes compiled are told apart when a third loads both."""
    code = """
    import numpy as np, npsubpix
    y, x = np.indices((15, 15)) - 7.0
    image = 10 - 0.1 * ((y - 0.2) ** 2 + (x - 0.3) ** 2 + (y - 0.2) * (x - 0.3))
    for method in {methods}:
        print(npsubpix.refine_peaks(image, [[7, 7]], method=method).coords.round(6).tolist())
    """
    alone = [
        run(code.format(methods=[m]), NUMBA_CACHE_DIR=str(tmp_path)) for m in ("parabola", "quadratic", "centroid")
    ]
    for order in (["parabola", "quadratic", "centroid"], ["centroid", "quadratic", "parabola"]):
        together = run(code.format(methods=order), NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
        assert sorted(together) == sorted(alone)
    assert alone[1] == "[[7.2, 7.3]]"


def test_a_change_in_a_source_that_a_kernel_uses_makes_entries_stale(tmp_path):
    """Numba's own cache would miss a change in a function that a kernel calls, in another file."""
    code = """
    from pathlib import Path
    from npsubpix._cpu.compiler import cache
    cache._ROOT = Path({folder!r})
    print(cache._source_digest("npsubpix._cpu.a"))
    """
    sources = {
        "npsubpix/__init__.py": "",
        "npsubpix/_definitions/constants.py": "X = 1",
        "npsubpix/_cpu/compiler/jit.py": "J = 1",
        "npsubpix/_cpu/a.py": "from npsubpix._cpu.family import B\nfrom npsubpix._cpu import c",
        "npsubpix/_cpu/family/__init__.py": "from npsubpix._cpu.family.lines import B",
        "npsubpix/_cpu/family/lines.py": "from npsubpix._definitions.constants import X",
        "npsubpix/_cpu/c.py": "import npsubpix._cpu.d",
        "npsubpix/_cpu/d.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    digests = [run(code.format(folder=str(tmp_path)))]
    for name, text in sources.items():
        if name != "npsubpix/__init__.py":  # which no kernel imports from
            (tmp_path / name).write_text(text + "\nY = 2")
            digests.append(run(code.format(folder=str(tmp_path))))
    assert len(set(digests)) == len(sources)


def test_imports_are_found_without_parsing_whole_sources(monkeypatch):
    """An import that were missed would leave stale kernels in the cache; sources of kernels are read in no time."""
    from npsubpix._cpu.compiler import cache

    def names(source):
        try:
            return sorted(names for _, names in cache._names_in(source))
        except LookupError as error:
            return str(error)

    sources = [path.read_bytes() for path in Path(npsubpix.__file__).parent.rglob("*.py")]
    sources += [b"if x:\n    import a; import npsubpix._cpu.b", b"x = 1; from npsubpix import (\n a,\n b)  # (c)",
                b"from npsubpix._cpu import \\\n  b", b"from npsubpix._cpu import (a,  # of (b)\n    c)"]  # fmt: skip
    found = [names(source) for source in sources]
    short = [len(cache._imports_of(source)) > 1 for source in sources]
    monkeypatch.setattr(cache, "_imports_of", lambda source: [(1, ast.parse(source))])
    assert found == [names(source) for source in sources]
    assert sum(short) > 300


def test_digests_resolve_every_import():
    """An import that the digest cannot follow would leave stale kernels in the cache."""
    from npsubpix._cpu.compiler import cache

    package = Path(npsubpix.__file__).parent
    for path in (package / "_cpu").rglob("*.py"):
        cache._source_digest(".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from . import b", "a relative import"),
        ("from .b import c", "a relative import"),
        ("from npsubpix.nowhere import b", r"no source of npsubpix\.nowhere"),
        ("import npsubpix.nowhere", r"no source of npsubpix\.nowhere"),
        ("from npsubpix import sample", "names of npsubpix itself"),
        ("import npsubpix", "names of npsubpix itself"),
        ("import importlib; b = importlib.import_module('npsubpix.' + 'b')", "an import of a name that is computed"),
        ("b = __import__(name)", "an import of a name that is computed"),
    ],
)
def test_digests_refuse_what_they_cannot_resolve(tmp_path, source, message):
    from npsubpix._cpu.compiler import cache

    path = tmp_path / "a.py"
    path.write_text(source)
    with pytest.raises(LookupError, match=rf"a\.py:1: {message}"):
        cache._content_and_imports(path)


def test_digests_follow_imports_by_a_written_name(tmp_path):
    from npsubpix._cpu.compiler import cache

    path = tmp_path / "a.py"
    path.write_text("import importlib\nimportlib.import_module('cupy')\nb = __import__('npsubpix._cpu.launch')")
    assert list(cache._content_and_imports(path)[1]) == [Path(npsubpix.__file__).parent / "_cpu" / "launch.py"]
