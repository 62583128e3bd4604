"""The rules that hold the tree together."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import npsubpix

PACKAGE = Path(npsubpix.__file__).parent
TESTS = Path(__file__).parent


def test_numba_is_called_in_one_place():
    """A bare njit would escape the rules on threads, forks and the cache."""
    for path in PACKAGE.rglob("*.py"):
        if path.name != "jit.py":
            names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            names |= {
                a.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
                for a in node.names
            }
            of_gpu = {"jit"} if path.name == "numba_loops.py" else set()  # numba.cuda has none of these rules
            assert not names & ({"njit", "jit", "vectorize", "guvectorize"} - of_gpu), path


def test_each_family_has_its_twin_and_its_pages():
    root = PACKAGE.parent
    for family in ("nms", "quad_interp", "peaks", "background", "soft_argmax", "spatial", "gaussian", "sampling"):
        for path in (
            PACKAGE / f"{family}.py",
            PACKAGE / "_cpu" / f"{family}.py",
            TESTS / f"test_{family}.py",
            TESTS / "reference" / f"{family}.py",
            root / "docs" / "api" / f"{family}.md",
        ):
            assert path.exists(), path


def test_every_public_name_is_in_the_documentation():
    pages = "\n".join(path.read_text() for path in (PACKAGE.parent / "docs" / "api").glob("*.md"))
    for name in npsubpix.__all__:
        assert re.search(rf"\b{name}\b", pages), name


def test_files_stay_small():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path
