"""The benchmarks run and report; how fast anything is does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = {"benchmark", "work", "unit", "ours", "peer", "theirs", "target", "agrees", "ratio", "met"}
STATS = {"least", "lower_quartile", "median", "upper_quartile", "most", "count"}


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(folder / "out.json"), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One quick run of everything: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("benchmarks")
    done = run(folder, "--figure", str(folder / "out.png"), "--markdown", str(folder / "out.md"))
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_run_writes_every_row_and_its_machine(finished):
    document = json.loads((finished[0] / "out.json").read_text(encoding="utf-8"))
    assert set(document) == {"command", "quick", "machine", "rows", "sizes"}
    assert {"cpu", "cores", "threads", "memory_gib", "os", "python", "versions"} <= set(document["machine"])
    assert {"numpy", "numba", "npsubpix", "kornia", "cv2"} <= set(document["machine"]["versions"])
    assert all(set(row) == ROW and set(row["ours"]) == STATS for row in document["rows"])
    assert all(row["theirs"] is None or set(row["theirs"]) == STATS for row in document["rows"])
    families = {row["benchmark"].partition(":")[0].split()[0].rstrip(",") for row in document["rows"]}
    assert families == {
        "nms2d", "nms3d", "nms3d_minmax", "iterative_quad_interp3d", "conv_quad_interp3d",
        "find_peaks", "refine_peaks", "small", "memory", "start",
    }  # fmt: skip


def test_results_agree_with_the_peers_that_are_installed(finished):
    rows = json.loads((finished[0] / "out.json").read_text(encoding="utf-8"))["rows"]
    compared = [row for row in rows if row["agrees"]]
    assert {row["agrees"] for row in compared} == {"yes"}
    assert "skimage peak_local_max" in {row["peer"] for row in compared}


def test_times_over_sizes_are_drawn(finished):
    folder, _ = finished
    sizes = json.loads((folder / "out.json").read_text(encoding="utf-8"))["sizes"]
    assert {"npsubpix", "skimage peak_local_max"} <= {point["library"] for point in sizes}
    assert {point["side"] for point in sizes} == {64, 128}
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_the_table_the_machine_and_the_command(finished):
    folder, printed = finished
    page = (folder / "out.md").read_text(encoding="utf-8")
    assert "python -m benchmarks --quick" in page
    assert "(out.png)" in page
    for part in ("refine_peaks quadratic", "CPU: "):
        assert part in page
        assert part in printed


def test_an_unknown_selection_lists_what_there_is(tmp_path):
    done = run(tmp_path, "--select", "no such thing")
    assert done.returncode != 0
    assert "nms2d 3×3, mask" in done.stderr
    assert not (tmp_path / "out.json").exists()
