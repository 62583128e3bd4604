"""The wheel: all that an installed package needs, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import npsubpix

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel as `make release` does; the build needs hatchling, which pip fetches."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    (path,) = folder.glob("npsubpix-*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


@pytest.mark.exhaustive
def test_the_wheel_has_the_sources_of_the_package_and_of_its_gpu_kernels(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = [
        path
        for path in (ROOT / "npsubpix").rglob("*")
        if path.suffix in (".py", ".pyi", ".cu", ".cuh", ".h") or path.name == "py.typed"
    ]
    assert {path.relative_to(ROOT).as_posix() for path in sources} == packed
    for suffix in (".cu", ".cuh", ".pyi", "py.typed"):
        assert any(name.endswith(suffix) for name in packed), suffix
    assert {name.split("/")[0] for name in packed} == {"npsubpix"}, "tests and benchmarks are no part of it"


@pytest.mark.exhaustive
def test_its_metadata_are_those_of_the_package(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == npsubpix.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_payload().startswith("# npsubpix")
    assert not re.findall(r"\]\((?![a-z]+:)[^)]*\)", metadata.get_payload()), "an index has no files of the repository"
    needed = {text.split(">")[0] for text in metadata.get_all("Requires-Dist") if "extra" not in text}
    assert needed == {"numpy", "scipy", "numba", "array-api-compat"}
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "npsubpix = npsubpix.cli.app:main" in wheel.read(entry).decode()


def test_the_version_is_the_same_everywhere():
    version = npsubpix.__version__
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
