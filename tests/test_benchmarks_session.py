"""A session on a GPU, without one: parts in their order and time, what they leave behind, what is said in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cuda import parts, session, summary
from benchmarks.cuda.parts import FILES, Part
from tests.cuda_host import fake_cupy

ROOT = Path(__file__).parents[1]
STAND_IN = ROOT / "tests" / "cuda_host" / "stand_in"
PYTHON = sys.executable


#: Environment without what tells a process of xdist that it is one: tests here run pytest by itself.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}


def part(name: str, *codes: str, until: float = 1.0, **options) -> Part:
    return Part(name, until, f"{name}.log", [[PYTHON, "-c", code] for code in codes], os.environ, **options)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run parts in some seconds; return the status and the lines of the log."""
    monkeypatch.setattr(session, "_GRACE", 0.5)

    def run(*several: Part, seconds: float = 20.0) -> tuple[int, list[str]]:
        log = session.Log(tmp_path / FILES[0])
        status = session.run(several, tmp_path, log, seconds)
        return status, (tmp_path / FILES[0]).read_text(encoding="utf-8").splitlines()

    return run


@pytest.mark.parametrize(
    ("module", "why"),
    [(None, "CuPy is not installed"), (fake_cupy.make(0), "there is none"), (fake_cupy.make(-1), "driver is too old")],
)
def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys, module, why):
    """In one line, with a status of its own; nothing is installed, nothing written."""
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(session, "_install", lambda *_: pytest.fail("installs"))
    assert session.main(["--output", str(tmp_path / "results")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("nothing is run: ")
    assert why in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_failing_part_stops_no_other(run, tmp_path):
    """Parts run in order; of one that failed, the end of what it printed is shown."""
    appends = "open({!r}, 'a').write({!r})"
    order = str(tmp_path / "order")
    status, lines = run(
        part("first", appends.format(order, "1")),
        part("second", appends.format(order, "2") + "; print('why'); raise SystemExit(7)", appends.format(order, "3")),
        part("absent", "raise SystemExit(9)", missing="it is not installed"),
        part("third", appends.format(order, "4")),
    )
    assert status == 1
    assert Path(order).read_text() == "1234"
    assert "    why" in lines
    text = "\n".join(lines)
    for said in ("first: done", "second: status 7", "absent: left out, it is not installed", "third: done"):
        assert said in text
    assert "parts that failed: 1\n  second" in text
    assert (tmp_path / "second.log").read_text() == "why\n"


def test_a_part_that_takes_too_long_is_ended(run, tmp_path):
    """With all processes that it began; it does not fail, and what it has written is there. What remains is named."""
    beats = tmp_path / "beats"
    child = f"import time\nwhile True: open({str(beats)!r}, 'a').write('x'); time.sleep(0.02)"
    code = f"import subprocess, sys; print('begun', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    status, lines = run(part("slow", code, until=0.1, least=0), part("next", "", least=30), seconds=6)
    assert status == 0
    assert any("slow: ended, its time was over" in line for line in lines)
    assert lines[-2:] == ["no time for: 1", "  next: all of it"]
    assert (tmp_path / "slow.log").read_text() == "begun\n"
    size = beats.stat().st_size
    time.sleep(0.2)
    assert beats.stat().st_size == size


def test_a_part_runs_beside_others(run, tmp_path):
    """It is noted when it is over, and ended with the last of them."""
    status, lines = run(
        part("beside", "import time; time.sleep(60)", beside=True),
        part("short", "raise SystemExit(3)", beside=True),
        part("other", "import time; time.sleep(0.3)"),
        part("another", ""),
    )
    assert status == 1
    said = [line.partition("] ")[2] for line in lines if line.startswith("[")]
    assert said[:2] == ["beside: begins, beside the next parts", "short: begins, beside the next parts"]
    assert said[-1] == "beside: ended, its time was over"
    assert {"short: status 3", "other: done", "another: done"} <= set(said)


def test_a_lost_gpu_is_followed_by_another_process(run, tmp_path):
    """Which goes on; not without end."""
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('x'); import os; os.kill(os.getpid(), 11)"
    assert run(part("crashes", code, resumable=True))[0] == 1
    assert len(count.read_text()) == session._TRIES
    code = f"open({str(count)!r}, 'a').write('y'); raise SystemExit(3 if open({str(count)!r}).read()[-2] == 'x' else 0)"
    assert run(part("is lost", code, resumable=True))[0] == 0
    assert count.read_text().count("y") == 2


def test_the_summary_says_what_is_there(tmp_path):
    """Of whole lines; a file that is missing, or that an ended process left, stops nothing."""
    assert summary.summary_of(tmp_path, [], []) == "tests: none\ncompared with the CPU: 0 calls"
    lines = [
        {"test": "tests/a.py::x", "outcome": "passed", "seconds": 1, "why": ""},
        {"test": "tests/a.py::y", "outcome": "failed", "seconds": 1, "why": "assert 0"},
        {"test": "tests/b.py::z", "outcome": "no time", "seconds": 0, "why": "no time"},
    ]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "tests.jsonl").write_text(text + '\n{"test": "tests/a.p')
    stats = {"median": 30e-6}
    row = {"peer": "device copy", "agrees": "", "ours": stats}
    rows = [
        {**row, "benchmark": "a", "ratio": 0.72, "met": True, "target": _target(0.7)},
        {**row, "benchmark": "b", "ratio": None, "met": None, "target": _target(5)},
        {**row, "benchmark": "c", "ratio": 2.0, "met": None, "target": None, "agrees": "no: 3 of 9 differ"},
        {**row, "benchmark": "host", "ratio": None, "met": False,
         "target": {"limit": 25e-6, "at_least": False, "of_ratio": False}},
    ]  # fmt: skip
    document = {"rows": rows, "compared": [], "failed": {"d": "MemoryError: "}, "left": ["f"], "running": "e"}
    (tmp_path / "benchmarks.json").write_text(json.dumps(document))
    assert summary.summary_of(tmp_path, ["last: all of it"], ["tests"]).splitlines() == [
        "tests: 1 passed, 1 failed, 1 no time",
        "failed tests: 1", "  tests/a.py::y: assert 0",
        "compared with the CPU: 0 calls",
        "results that differ: 1", "  c: device copy: no: 3 of 9 differ",
        "benchmarks that failed: 1", "  d: MemoryError: ",
        "parts that failed: 1", "  tests",
        "targets: 3",
        "  met: a: 0.72× device copy, wanted ≥ 0.7× device copy",
        "  not measured: b: nothing, wanted ≥ 5× device copy",
        "  missed: host: 30 µs, wanted ≤ 25 µs",
        "no time for: 4", "  last: all of it", "  1 tests of tests/b.py", "  e, which was begun", "  f",
    ]  # fmt: skip


def _target(limit: float) -> dict[str, object]:
    return {"limit": limit, "at_least": True, "of_ratio": True}


def test_wheels_that_are_needed_are_installed(tmp_path, monkeypatch):
    """Not one that is there in that version; one that does not fit is left out, and the others are not."""
    commands = []

    def pip(command, **_):
        commands.append(command)
        bad = command[-1].endswith("bad-2.0-py3-none-any.whl")
        return subprocess.CompletedProcess(command, bad, "", "ERROR: no wheel\n" if bad else "")

    monkeypatch.setattr(session.subprocess, "run", pip)
    for name in (f"pytest-{pytest.__version__}", "absent_one-1.0", "bad-2.0"):
        (tmp_path / f"{name}-py3-none-any.whl").touch()
    log = session.Log(tmp_path / "log")
    assert session._install(tmp_path, tmp_path / "folder", log) == ["absent_one 1.0"]
    assert [Path(command[-1]).name.partition("-")[0] for command in commands] == ["absent_one", "bad"]
    assert all("--no-index" in command and "--no-deps" in command for command in commands)
    assert "bad-2.0-py3-none-any.whl is left out: ERROR: no wheel" in log.path.read_text()


def test_every_family_is_seen_early(tmp_path):
    """Tests run in rounds of a few of each file, the most important families first, and fits last; when the time is
    over, no test is begun, and each has a line that says so."""
    tests = tmp_path / "tests"
    (tests / "hardware").mkdir(parents=True)
    many = "import pytest\n@pytest.mark.device\n@pytest.mark.parametrize('n', range({}))\ndef test_it(n): {}\n"
    for name, count, body in (
        ("test_cuda_nms", 14, "pass"), ("test_windows", 2, "pass"), ("test_cuda_windows", 1, "assert 0"),
        ("test_fitting", 1, "pass"), ("test_zebra", 2, "pass"),
    ):  # fmt: skip
        (tests / f"{name}.py").write_text(many.format(count, body))
    (tests / "hardware" / "test_gpu.py").write_text("def test_benchmarks(): pass\ndef test_card(): pass\n")
    (tests / "test_zebra.py").write_text(
        "import pytest\n@pytest.mark.device\n@pytest.mark.exhaustive\ndef test_long(): pass\ndef test_host(): pass\n"
        "@pytest.mark.device\ndef test_it(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    device\n    exhaustive\n")
    command = [PYTHON, "-m", "pytest", "-q", "-p", "tests.cuda_host.in_turn", "-p", "no:cacheprovider", str(tests)]

    def outcomes(end: float) -> list[tuple[str, str]]:
        record = tmp_path / f"{end}.jsonl"
        environment = {
            **ENVIRONMENT, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "NPSUBPIX_TESTS_END": str(end), "NPSUBPIX_TESTS_RECORD": str(record),
        }  # fmt: skip
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        found = [json.loads(line) for line in record.read_text().splitlines()]
        return [(Path(t["test"].partition("::")[0]).stem, t["outcome"]) for t in found]

    wanted = ["test_gpu"] + 12 * ["test_cuda_nms"] + ["test_cuda_windows"] + 2 * ["test_windows"] + ["test_zebra"]
    wanted += 2 * ["test_cuda_nms"] + ["test_fitting"]
    ended = outcomes(time.time() + 60)
    assert [name for name, _ in ended] == wanted
    assert {name for name, outcome in ended if outcome == "failed"} == {"test_cuda_windows"}
    assert outcomes(1.0) == [(name, "no time") for name in wanted]


def test_files_of_kernels_are_found():
    names = {path.name for path in parts.files_of_kernels()}
    assert {"test_cuda_nms.py", "test_nms.py", "test_operations.py", "test_fitting.py"} <= names
    assert not {"test_io.py", "test_cuda_compile.py", "test_benchmarks_cuda.py", Path(__file__).name} & names


def simulated(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    """Begin a session where CuPy is a stand-in, whose kernels g++ compiles."""
    path = os.pathsep.join([str(STAND_IN), str(ROOT)])
    environment = {**ENVIRONMENT, "PYTHONPATH": path, "NPSUBPIX_CUDA_TESTS": "host"}
    command = [PYTHON, "-m", "benchmarks.cuda.session", "--output", str(tmp_path / "results"), "--quick", *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.exhaustive
def test_a_whole_session(tmp_path):
    """With a few tests and benchmarks of each part."""
    keyword = "test_gpu and test_cupy and nms2d or test_nms and cuda and ties"
    process = simulated(tmp_path, "--select", "nms2d 3×3", "--keyword", keyword, "--workers", "2")
    printed, _ = process.communicate()
    results = tmp_path / "results"
    assert process.returncode == 0, printed
    assert "GPU: no GPU at all" in printed
    tests = [json.loads(line) for line in (results / "tests.jsonl").read_text().splitlines()]
    assert {t["outcome"] for t in tests} == {"passed"}
    assert {t["test"].partition("::")[0] for t in tests} >= {"tests/hardware/test_gpu.py"}
    document = json.loads((results / "benchmarks.json").read_text(encoding="utf-8"))
    assert [row["benchmark"] for row in document["rows"]][:2] == ["device copy", "host time a launch, nms2d 3×3"]
    assert (results / "benchmarks_cuda.md").read_text(encoding="utf-8").startswith("# Benchmarks on a GPU\n")
    assert "wanted ≥ 0.7× device copy" in (results / "session.log").read_text(encoding="utf-8")
    assert {path.name for path in results.iterdir()} <= set(FILES)


@pytest.mark.exhaustive
def test_a_session_that_is_ended_leaves_what_it_has(tmp_path):
    """Files that can be read, and no process that goes on."""
    process = simulated(tmp_path, "--only", "benchmarks")
    measured = tmp_path / "results" / "benchmarks.json"
    while process.poll() is None and not (measured.exists() and len(json.loads(measured.read_text())["rows"]) > 1):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    document = json.loads(measured.read_text(encoding="utf-8"))
    assert document["rows"][0]["benchmark"] == "device copy"
    assert document["left"]
    assert "benchmarks: begins" in (tmp_path / "results" / "session.log").read_text(encoding="utf-8")
    assert f"{tmp_path}" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
