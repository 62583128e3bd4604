"""Numba promises nothing about its internals: where one is gone, or is new, kernels compile by plain njit."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi

from npsubpix._cpu.compiler import instructions, internals, linking, loops
from tests.reference import nms

ROOT = Path(__file__).parents[1]
SMALL = """
import numpy as np, npsubpix
from npsubpix._cpu.compiler import internals

image = np.random.default_rng(0).standard_normal((1, 1, 40, 41))
print(internals.why_not_linking())
print(np.flatnonzero(npsubpix.nms2d(image, (3, 3), mask_only=True)).tolist())
"""
MAPPED = """
import numpy as np, npsubpix

image = np.random.default_rng(0).standard_normal((40, 41))
image[3, 4] = np.nan
found = npsubpix.window_map(lambda w: (2 * w - w.mean()).max(), image, size=3, border="nearest")
print(np.isnan(found).sum(), np.nansum(found).round(9))
"""


def run(code: str, before: str = "", **environment: str) -> list[str]:
    """Run Python code in a fresh process, after a change to Numba; return the lines that it printed."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(before) + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "NPSUBPIX_LINKING": "1", **environment},
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout.splitlines()


@pytest.fixture(scope="module")
def maxima() -> str:
    image = np.random.default_rng(0).standard_normal((40, 41))
    return str(np.flatnonzero(nms.mask(image, (3, 3))).tolist())


@pytest.mark.parametrize(
    ("before", "variable", "reason"),
    [
        ("", "1", "None"),
        ("", "0", "NPSUBPIX_LINKING=0"),
        ("import numba; numba.__version__ = '0.59.1'\n", "1", "tested with Numba 0.60 to 0.68"),
        ("import numba; numba.__version__ = '0.69.0rc1'\n", "1", "tested with Numba 0.60 to 0.68"),
        (
            "from numba.core import compiler_machinery; del compiler_machinery.register_pass\n",
            "1",
            "Numba has no numba.core.compiler_machinery:register_pass",
        ),
        ("from numba.cpython import builtins; del builtins.do_minmax\n", "1", "None"),
    ],
    ids=["linked", "turned off", "older", "newer", "a name is gone", "without instructions"],
)
def test_kernels_are_right_without_linking(maxima, before, variable, reason):
    assert run(SMALL, before, NPSUBPIX_LINKING=variable) == [reason, maxima]


def test_linking_is_not_imported_where_it_is_off():
    """An import that fails in it must not take kernels down."""
    code = "import sys, npsubpix._cpu.compiler.jit; print('npsubpix._cpu.compiler.linking' in sys.modules)"
    assert run(code, NPSUBPIX_LINKING="0") == ["False"]
    assert run(code) == ["True"]


@pytest.mark.exhaustive  # which compiles in processes of their own
def test_linked_and_plain_kernels_are_apart_in_the_cache(tmp_path, maxima):
    """A kernel that was compiled with linking must not be what runs once it is turned off, nor the other way round."""
    counts = []
    for variable in ("0", "1", "0", "1"):
        assert run(SMALL, NPSUBPIX_LINKING=variable, NUMBA_CACHE_DIR=str(tmp_path))[1] == maxima
        counts.append(len(list(tmp_path.rglob("*.npsubpix"))))
    assert counts == [counts[0], 2 * counts[0], 2 * counts[0], 2 * counts[0]]
    assert counts[0] > 0


PARFORS = [name for name in internals.FUSED_LOOPS if "parfors" in name]


@pytest.mark.parametrize(
    "name", [PARFORS[0], *(pytest.param(name, marks=pytest.mark.exhaustive) for name in PARFORS[1:])]
)
def test_functions_of_windows_without_fused_loops(name):
    """Those of the names that Numba itself does without; NaN is not lost in extrema either way."""
    module, _, attribute = name.partition(":")
    image = np.random.default_rng(0).standard_normal((40, 41))
    image[3, 4] = np.nan
    want = ndi.generic_filter(image, lambda w: (2 * w - w.mean()).max(), 3, mode="nearest")
    found = run(MAPPED, f"import numba, {module}; del {module}.{attribute}\n")
    assert found == [f"9 {np.nansum(want).round(9)}"]


def _owners(name: str) -> tuple[list[object], str]:
    """Find the module, or the classes, that define a name."""
    module, _, path = name.partition(":")
    *parts, last = path.split(".")
    owner = pkgutil.resolve_name(":".join([module, ".".join(parts)]) if parts else module)
    return [c for c in getattr(owner, "__mro__", [owner]) if c is not object and last in vars(c)], last


@pytest.mark.parametrize("name", [*internals.LINKING, *internals.INSTRUCTIONS, *internals.FUSED_LOOPS])
def test_a_name_that_is_gone_is_missed(monkeypatch, name):
    assert internals.missing([name]) == []
    with monkeypatch.context() as patch:
        where, *attribute = name.split()
        owners, last = _owners(where)
        for owner in owners:
            if attribute:
                patch.setattr(owner, last, lambda: None)  # which sets no attribute
            else:
                patch.delattr(owner, last)
        assert internals.missing([name]) == [name]


def test_instructions_are_known_to_the_first_kernel_of_a_process():
    """Numba learns of functions when it begins to compile one, and this kernel calls a builtin itself."""
    code = """
from npsubpix._cpu.compiler.jit import Kernel

import numpy as np

def least(x, out):
    out[0] = min(x[0], x[1])

out = np.empty(1)
Kernel(least, "least", digest=None).run(0, np.array([2.0, 1.0]), out)
print(out[0])
"""
    assert run(code) == ["1.0"]


def test_all_that_linking_takes_from_numba_is_listed():
    """What is imported, what is called, set or read, and what is replaced in classes of Numba."""
    tree = ast.parse(Path(linking.__file__).read_text())
    listed = {part for name in internals.LINKING for part in name.replace(":", ".").replace(" ", ".").split(".")}
    modules = {name.partition(":")[0] for name in internals.LINKING}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("numba"):
            for alias in node.names:
                assert f"{node.module}:{alias.name}" in internals.LINKING
            assert node.module in modules
    own = {
        "_all",
        "items",
        "startswith",
        "format",
        "disable",
        "enable",
        "isenabled",
        "contextmanager",
        "cache",
        "fromkeys",
        "islice",
        "get",
        "left_out",
        "inlined",
        "_omits",
        "_late",
        "_kernel",
        "_library",
        "is_large",
        "preserve",
        "replace_builtins",
        "replace_allocations",
        "blocks",
        "instructions",
        "_processing",
        "append",
    }  # ours, Python's, and of llvmlite's functions
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords} - {
        "mutates_CFG",
        "analysis_only",
    }  # of register_pass
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.bases:
            used |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    assert used - own <= listed


def test_all_that_loops_take_from_numba_is_listed():
    tree = ast.parse(Path(loops.__file__).read_text())
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("numba.")]
    names = {f"{node.module}:{alias.name}" for node in taken for alias in node.names}
    modules = {"numba.core:cgutils", "numba.core:ir", "numba.core:types", "numba.extending:intrinsic"}
    assert names - modules <= set(internals.LINKING)


def test_all_that_instructions_take_from_numba_is_listed():
    tree = ast.parse(Path(instructions.__file__).read_text())
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("numba.")]
    names = {f"{node.module}:{alias.name}" for node in taken for alias in node.names}
    modules = {"numba.core:cgutils", "numba.core:ir", "numba.core:types", "numba.extending:intrinsic"}
    assert names - modules <= set(internals.INSTRUCTIONS)


def test_pages_and_the_terminal_say_when_kernels_are_linked():
    oldest, newest = (".".join(map(str, version)) for version in internals.TESTED)
    for page in ("docs/design.md", "CHANGELOG.md"):
        assert f"{oldest} to {newest}" in (ROOT / page).read_text()
    describe = "\nfrom npsubpix.cli.info import describe\nprint(describe())"
    for variable, text in (("0", "off: NPSUBPIX_LINKING=0"), ("1", "on")):
        line = next(line for line in run(describe, NPSUBPIX_LINKING=variable) if line.startswith("linking "))
        assert line.split(maxsplit=1)[1] == text
