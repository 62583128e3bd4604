"""The rules that hold the tree together."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import npsubpix
from npsubpix._dispatch.operations import OPERATIONS

PACKAGE = Path(npsubpix.__file__).parent
TESTS = Path(__file__).parent


#: Public modules that are no family: what they hold runs no kernels of its own.
OTHERS = {
    "assessment", "camera", "cli", "corners", "drift", "gradients", "io", "movies", "nn", "operators", "plotting",
    "results",
    "simulation", "warming",
}  # fmt: skip

#: Folders of kernels that are no family.
SHARED = {"compiler", "formulas", "launch", "quadratic"}


def names(folder: Path) -> set[str]:
    """Names of the public modules and packages in a folder."""
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return {name for name in modules if not name.startswith("_")}


FAMILIES = sorted(names(PACKAGE) - OTHERS)


def attributes_and_imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    return imported | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_numba_is_called_in_one_place():
    """A bare njit would escape the rules on threads, forks and the cache."""
    for path in PACKAGE.rglob("*.py"):
        if path.name != "jit.py":
            of_gpu = {"jit"} if path.name == "numba_loops.py" else set()  # numba.cuda has none of these rules
            assert not attributes_and_imports(path) & ({"njit", "jit", "vectorize", "guvectorize"} - of_gpu), path


def test_arrays_go_one_way():
    """Only `_arrays` and `_dispatch` ask which library an array is of, adopt it, choose a backend, or call kernels."""
    questions = {
        "adopt", "adopt_mask", "give_back", "implementation", "is_on_gpu", "kind_of", "place_of", "require_cupy",
        "working_on",
    }  # fmt: skip
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in ("_arrays", "_dispatch"):
            tree = ast.parse(path.read_text())
            imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            assert not {a.name for node in imports for a in node.names} & questions, path
            if place.parts[0] not in ("_cpu", "_cuda") and place.as_posix() != "cli/info.py":
                kernels = ("npsubpix._cpu", "npsubpix._cuda")
                assert not [node.module for node in imports if str(node.module).startswith(kernels)], path


def test_operations_are_called_with_all_their_arrays():
    """Those that are absent are None: an operation that takes another array is called with it everywhere."""
    calls = 0
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "call"):
                continue
            if node.args and isinstance(node.args[0], ast.Constant):
                arguments = OPERATIONS[node.args[0].value].arguments
                given = node.args[1:]
                calls += 1
                if any(isinstance(array, ast.Starred) for array in given):
                    assert len(given) - 1 <= len(arguments), f"{path}:{node.lineno}"
                elif not arguments[-1].repeated:
                    assert len(given) == len(arguments), f"{path}:{node.lineno}"
    assert calls > 30


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_twins_its_tests_and_its_pages(family):
    """Whoever looks for a family finds all of it under its name."""
    root = PACKAGE.parent
    for folder in (PACKAGE / "_cpu", PACKAGE / "_cuda"):
        assert family in names(folder)
    assert list(TESTS.glob(f"test_{family}*.py"))
    for path in (
        TESTS / "reference" / f"{family}.py",
        root / "benchmarks" / f"bench_{family}.py",
        root / "docs" / "api" / f"{family}.md",
    ):
        assert path.exists(), path


@pytest.mark.parametrize("folder", ["_cpu", "_cuda"])
def test_kernels_are_of_a_family_or_shared(folder):
    assert names(PACKAGE / folder) - SHARED == set(FAMILIES)


@pytest.mark.parametrize("folder", ["tests", "tests/reference", "benchmarks", "docs/api"])
def test_nothing_is_left_under_another_name(folder):
    """A file of a family that was renamed, or split, would not be found."""
    root = PACKAGE.parent / folder
    if folder == "tests":
        found = {p.stem.removeprefix("test_").removeprefix("cuda_") for p in root.glob("test_*.py")}
        whole = {"accuracy", "architecture", "arrays", "bad_input", "benchmarks", "benchmarks_cuda",
                 "benchmarks_session", "cli",
                 "coming_from", "compile", "core", "design_page", "dispatch", "docs_site",
                 "internals", "io", "kornia", "lending", "linking", "memory", "operations", "release", "runtime",
                 "torch", "torch_state", *OTHERS}  # fmt: skip
        families = (*FAMILIES, "arrays", "cli", "drift", "io", "movies", "operators", "outputs", "results")
        found = {n for n in found - whole if not any(n == f or n.startswith(f"{f}_") for f in families)}
    elif folder == "benchmarks":
        found = {p.stem.removeprefix("bench_") for p in root.glob("bench_*.py")}
        found -= {"memory", "movies", "small", "start", *FAMILIES}
    else:
        found = {p.stem for p in root.glob("*.*") if not p.stem.startswith("_")} - {"index"} - OTHERS - set(FAMILIES)
    assert not found


def test_public_names_stand_once():
    """The stub is what type checkers read, and what names are loaded from."""
    stub = (PACKAGE / "__init__.pyi").read_text()
    assert len(re.findall(r"^from \S+ import (\w+) as \1$", stub, re.MULTILINE)) == len(npsubpix.__all__)
    for name in npsubpix.__all__:
        assert getattr(npsubpix, name).__name__ == name


def test_no_public_name_is_that_of_a_module():
    """The module would take its place as soon as it is imported: a family is called otherwise than its functions."""
    assert not set(npsubpix.__all__) & names(PACKAGE)


def test_every_public_name_is_in_the_documentation():
    pages = "\n".join(path.read_text() for path in (PACKAGE.parent / "docs" / "api").glob("*.md"))
    for name in npsubpix.__all__:
        assert re.search(rf"\b{name}\b", pages), name


def test_files_stay_small():
    for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.cu*")):
        assert len(path.read_text().splitlines()) <= 400, path
