"""The design page describes the tree and the layers as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import npsubpix
from tests.test_architecture import FAMILIES, OTHERS

PACKAGE = Path(npsubpix.__file__).parent
ROOT = PACKAGE.parent
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


def modules(folder: Path) -> set[str]:
    """Names of the modules and packages in a folder, without those that begin with an underscore."""
    files = {path.stem for path in folder.glob("*.py")}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return {name for name in files | packages if not name.startswith("_")}


def listed(heading: str, column: str = "") -> set[str]:
    """Names in the first column of the table below a heading, of the rows that mention `column`."""
    section = re.search(rf"^### {re.escape(heading)}\n(.*?)^##", PAGE, re.DOTALL | re.MULTILINE)
    assert section, f"the design page has no section {heading}"
    rows = re.findall(r"^\| `(\w+)` \|(.*)", section[1], re.MULTILINE)
    assert len(rows) == len(dict(rows)), f"a name is listed twice below {heading}"
    return {name for name, cells in rows if column in cells}


def test_public_modules_that_are_no_family_are_listed():
    assert listed("Other public modules") == OTHERS


@pytest.mark.parametrize("backend", ["_cpu", "_cuda"])
def test_what_kernels_share_is_listed(backend):
    assert listed("Shared by kernels", f"`{backend}`") == modules(PACKAGE / backend) - set(FAMILIES)


@pytest.mark.parametrize("folder", ["_dispatch", "_arrays", "_definitions"])
def test_shared_folders_are_listed(folder):
    assert listed(f"`{folder}`") == modules(PACKAGE / folder)


def test_layers_are_those_that_are_checked():
    """The layers on the page are the contract of import-linter, line by line."""
    contract = re.search(r"^layers = (\[.*?^\])", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    shown = re.search(r"^## Layers\n.*?```text\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert contract
    assert shown
    families = " | ".join(sorted([*set(FAMILIES) - {"alignment", "blobs", "peaks", "photometry"}, "gradients"]))
    layers = [families if layer == "(families) | gradients" else layer for layer in shown[1].splitlines()]
    assert layers == ast.literal_eval(contract[1])
