"""The benchmarks run and report; how fast anything is does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measuring
from benchmarks.figure import fastest_peers
from benchmarks.registry import Benchmark, Row, Run, Stats

ROOT = Path(__file__).parent.parent
ROW = {"benchmark", "work", "unit", "ours", "peer", "theirs", "target", "agrees", "is_library", "ratio", "met"}
STATS = {"least", "lower_quartile", "median", "upper_quartile", "most", "count"}
FAMILIES = {
    "nms2d", "nms3d", "nms3d_minmax", "iterative_quad_interp3d", "conv_quad_interp3d",
    "render_gaussian2d", "render_spots",
    "conv_soft_argmax2d", "conv_soft_argmax3d", "spatial_soft_argmax2d", "spatial_softmax2d",
    "spatial_moments",
    "find_peaks", "refine_peaks", "local_background", "sample", "sample_with_gradient", "sample_vjp", "spline_filter",
    "align",
    "correlate", "convolve_separable", "window_map", "window_sum", "window_var", "window_max", "window_median",
    "difference_of_gaussians", "find_blobs", "conv2d", "fit_patches", "fit_spots", "measure_spots",
    "locate", "small", "memory", "start",
}  # fmt: skip


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(folder / "out.json"), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("options", "families"),
    [
        pytest.param(("--select", "find_peaks 2-D"), {"find_peaks", "memory"}, id="sample"),
        pytest.param((), FAMILIES, id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_a_quick_run_writes_the_rows_and_draws_the_sizes(tmp_path, options, families):
    done = run(tmp_path, *options, "--figure", str(tmp_path / "out.png"), "--markdown", str(tmp_path / "out.md"))
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert set(document) == {"command", "quick", "machine", "rows", "sizes"}
    check_machine(document["machine"])
    check_rows(document["rows"], families)
    check_sizes(document["sizes"])
    pictures = ("out.png", "out_sizes.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    page = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "python -m benchmarks --quick" in page
    assert all(f"({name})" in page for name in pictures)
    assert all("find_peaks 2-D" in text and "CPU: " in text for text in (page, done.stdout))


def check_machine(machine):
    assert {"date", "cpu", "cores", "threads", "memory_gib", "os", "python", "versions"} <= set(machine)
    assert {"numpy", "numba", "npsubpix", "kornia", "cv2"} <= set(machine["versions"])


def check_rows(rows, families):
    assert all(set(row) == ROW and set(row["ours"]) == STATS for row in rows)
    assert all(row["theirs"] is None or set(row["theirs"]) == STATS for row in rows)
    assert {row["benchmark"].partition(":")[0].split()[0].rstrip(",") for row in rows} == families
    compared = {row["peer"]: row["agrees"] for row in rows if row["agrees"]}
    assert set(compared.values()) == {"yes"}
    assert "skimage peak_local_max" in compared  # the other peers are optional


def check_sizes(sizes):
    assert all(set(point) == {"benchmark", "library", "side", "seconds"} for point in sizes)
    assert {"npsubpix", "skimage peak_local_max"} <= {point["library"] for point in sizes}
    assert {point["side"] for point in sizes} == {64, 128}


def test_the_chart_compares_with_the_fastest_library():
    """Bounds, such as a copy, are no libraries, and peers that are not installed have no time."""

    def row(benchmark, peer, theirs, **options):
        return Row(benchmark, "work", "s", Stats.of([1.0]), peer, theirs and Stats.of([theirs]), **options)

    rows = [
        row("a", "slow", 9.0),
        row("a", "fast", 3.0),
        row("a", "copy", 0.5, is_library=False),
        row("a", "missing", None),
        row("b", "faster than ours", 0.5),
        row("c", "fill", 2.0, is_library=False),
    ]
    assert [(row.peer, row.ratio) for row in fastest_peers(rows)] == [("faster than ours", 0.5), ("fast", 3.0)]


def test_what_fails_costs_the_rows_of_its_module_alone(monkeypatch, capsys):
    row = Row("works", "work", "s", Stats.of([1.0]))
    entries = [Benchmark("fails", "math", lambda _: 1 / 0), Benchmark("works", "json", lambda _: [row])]
    monkeypatch.setattr(measuring, "REGISTRY", entries)
    assert measuring.measure(entries, Run(quick=True, threads=1), with_sizes=True) == ([row], [], False)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_rows_come_from_processes_of_their_own(tmp_path):
    """Those of a quick run do not, and nothing else here would notice a row that cannot be handed over."""
    command = [sys.executable, "-m", "benchmarks", "--select", "small call: spatial_soft_argmax2d", "--no-sizes"]
    subprocess.run([*command, "--output", str(tmp_path / "out.json")], cwd=ROOT, capture_output=True, check=True)
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]
    assert {row["benchmark"] for row in rows} == {"small call: spatial_soft_argmax2d"}


def test_an_unknown_selection_lists_what_there_is(tmp_path):
    done = run(tmp_path, "--select", "no such thing")
    assert done.returncode != 0
    assert "nms2d 3×3, mask" in done.stderr
    assert not (tmp_path / "out.json").exists()
