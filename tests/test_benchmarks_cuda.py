"""The benchmarks of a GPU, without one: what is compared, how inputs take turns, what is reported."""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda.bindings import nvrtc

import npsubpix
from benchmarks import __main__ as benchmarks
from benchmarks.cuda import cases, check, gpu, rivals, run
from benchmarks.cuda.cases import Case, all_cases, functions_on_gpu, noise
from benchmarks.cuda.rotation import Inputs, copies_for
from benchmarks.timing import Pace, interleave
from tests.cuda_host import fake_cupy
from tests.cuda_host.fake_cupy import FakeCuPyDevice, gpu_array

MIB = 2**20


class HostGpu:
    """What `Gpu` is where there is one: arrays that go to the kernels of the GPU, compiled for the host."""

    cache = 1000
    array = staticmethod(gpu_array)
    measure = launch = staticmethod(interleave)

    def describe(self) -> str:
        return "no GPU at all"

    def copy_of(self, size: int):
        source, target = np.ones(size // 2, np.uint8), np.ones(size // 2, np.uint8)
        return lambda: np.copyto(target, source)

    def release(self) -> None:
        pass

    def alive(self) -> bool:
        return True

    def launches_of(self, call) -> int:
        before = len(FakeCuPyDevice.launches)
        call()
        return len(FakeCuPyDevice.launches) - before


@pytest.mark.parametrize(
    ("module", "why"),
    [(None, "CuPy, which is not installed"), (fake_cupy.make(0), "CuPy finds no GPU")],
)
def test_without_a_gpu_it_says_so(monkeypatch, capsys, module, why):
    """In one line, and with a status of its own."""
    monkeypatch.setitem(sys.modules, "cupy", module)
    assert benchmarks.main(["--backend", "cuda"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("nothing is measured: ")
    assert why in printed.err
    assert printed.err.count("\n") == 1


def test_every_function_has_a_case():
    """Of its own, or the example of the table of operations."""
    every = all_cases()
    names = [case.name for case in every]
    assert len(names) == len(set(names))
    assert {case.function for case in every} == functions_on_gpu()
    assert set(rivals.COPY_TARGETS) | set(rivals._RIVALS) <= set(names)


def test_targets():
    """What is meant to be reached, by the names of functions."""
    shares = {}
    for name, share in rivals.COPY_TARGETS.items():
        shares.setdefault(share, set()).add(name.split()[0])
    maps = {"spatial_soft_argmax", "spatial_soft_argmax2d"}
    drawn = {"render_gaussian", "render_gaussian2d", "render_spots"}
    assert shares == {0.7: {"nms2d", "nms3d"}, 0.6: maps | drawn | {"window_sum"}, 0.4: {"conv_soft_argmax2d"}}
    by_name = {case.name: case for case in all_cases()}
    for name in ("nms2d 3×3", "nms3d 3×3×3"):
        case = by_name[name]
        (array,) = case.arrays(0, (5, 7), "float32")
        assert array.nbytes // 35 * case.side**2 == 2**30
    assert by_name["iterative_quad_interp3d 6 slices"].side == 2048
    assert rivals.HOST_TARGET == 25e-6


@pytest.mark.exhaustive
@pytest.mark.usefixtures("cupy")
def test_every_case_on_the_gpu_agrees():
    """The comparison of every operation that has kernels, here by those that g++ compiled."""
    chosen = [case for case in all_cases() if case.function in functions_on_gpu()]
    found = check.verdicts(chosen, gpu_array, 20260101, ("float64",))
    assert len(found) == len(chosen)
    assert {v.case: v.difference for v in found if v.difference} == {}


@pytest.mark.parametrize(
    ("call", "difference"),
    [
        (lambda x: x + (np.arange(x.size) == 7).reshape(x.shape), "1 of 1924 differ"),
        (lambda x: x * (1 + 1e-12), ""),
        (lambda x: np.where(x > 3, np.nan, x), "differ"),
        (lambda x: x[..., 1:], "float64 of shape (1, 37, 51), on the CPU float64 of (1, 37, 52)"),
        (lambda x: x.astype(np.float32), "float32 of shape"),
        (lambda x: (x, x), "2 results, 1 on the CPU"),
        (lambda x: x.size / (x.ndim - 3), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_difference_is_noticed(cupy, call, difference):
    """Of a value, NaN, shape, dtype or number of results; and an error does not end the run."""
    case = Case("f", "", noise(1), lambda x: call(x) if type(x) is not np.ndarray else x, 10)
    (verdict,) = check.verdicts([case], gpu_array, 1, ("float64",))
    assert difference in verdict.difference
    assert bool(verdict.difference) == bool(difference)
    lines = check.as_markdown([verdict], 1)
    assert ("all agree" in lines[0]) == (not difference)


def test_inputs_take_turns():
    """Between two visits to an input, more passes than the cache holds."""
    for size, cache in ((1, 50 * MIB), (3 * MIB, 50 * MIB), (199 * MIB, 50 * MIB)):
        assert (copies_for(size, cache) - 1) * size >= 4 * cache
    assert copies_for(2**30, 50 * MIB) == 1
    inputs = Inputs([np.arange(100.0), np.arange(20)], cache=1000)
    assert len(inputs.sets) == copies_for(960, 1000)
    seen = []
    call = inputs.turns(lambda a, b: seen.append((a, b)))
    for _ in range(2 * len(inputs.sets)):
        call()
    assert len({a.ctypes.data for a, _ in seen}) == len(inputs.sets)
    for a, b in seen:
        np.testing.assert_array_equal(a, np.arange(100))
        np.testing.assert_array_equal(b, np.arange(20))
    tensors = inputs.turns(lambda *arrays: arrays, rivals._tensors)
    first = tensors()
    assert all(isinstance(t, torch.Tensor) for t in first)
    for _ in inputs.sets:
        again = tensors()
    assert [t.data_ptr() for t in again] == [t.data_ptr() for t in first]  # adopted once


def chosen(select: str, folder: Path, **options) -> argparse.Namespace:
    usual = {"quick": True, "threads": 2, "seed": None, "minutes": None, "resume": False}
    files = {"output": folder / "out.json", "markdown": folder / "page.md"}
    return argparse.Namespace(**usual | files | {"select": select} | options)


@pytest.mark.usefixtures("cupy")
def test_a_run_with_little_time_can_be_resumed(tmp_path, monkeypatch):
    """The most important come first; each row is in the files before the next begins; one that fails, or that took the
    GPU, is named, and what was not begun."""
    first, second = (Case(f"nms2d {n}", "", noise(1, 1), lambda x: npsubpix.nms2d(x, (3, 3)), 64) for n in "ab")
    broken = Case("broken", "", noise(1, 1), lambda x: 1 / 0 if x.shape[-1] == 64 else x, 64)
    last = Case("last", "", noise(1, 1), lambda x: x, 64)
    monkeypatch.setattr(run, "_choose", lambda _: [last, second, broken, first])
    monkeypatch.setattr(cases, "IMPORTANT", ("nms2d a", "broken", "nms2d b"))
    before = {}

    class Watched(HostGpu):
        def release(self) -> None:
            document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
            before[document["begun"][-1]] = [row["benchmark"] for row in document["rows"]], document["left"]

        def alive(self) -> bool:
            document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
            return document["running"] != "nms2d b"

    options = chosen("", tmp_path, minutes=5, resume=True)
    assert run.measure(Watched(), options, "command") == run.LOST
    assert list(before) == ["device copy", "nms2d a", "broken"]
    assert before["nms2d a"] == (["device copy", "nms2d a"], ["broken", "nms2d b", "last"])
    path = tmp_path / "out.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["failed"] == {"broken": "ZeroDivisionError: division by zero"}
    path.write_text(json.dumps(document | {"running": "nms2d b"}), encoding="utf-8")  # as if the process had ended
    assert run.measure(HostGpu(), chosen("", tmp_path, minutes=1e-9, resume=True), "command") == 1
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "No time for:\n\n- last\n" in page
    assert "- broken: ZeroDivisionError: division by zero\n- nms2d b: the process ended\n" in page
    assert run.measure(HostGpu(), options, "command") == 1
    ended = json.loads(path.read_text(encoding="utf-8"))
    assert [row["benchmark"] for row in ended["rows"]] == ["device copy", "nms2d a", "nms2d b", "last"]
    assert ended["rows"][:3] == document["rows"]
    assert (ended["seed"], ended["left"], ended["running"]) == (document["seed"], [], "")


def test_kornia_is_compiled_where_there_is_a_target_in_a_hurry(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f: lambda *a: f(*a))
    by_name = {case.name: case for case in all_cases()}
    inputs = Inputs([np.ones((1, 1, 6, 8, 8), np.float32)], cache=1)
    names = [p.name for p in rivals.rivals_of(by_name["iterative_quad_interp3d 6 slices"], inputs, hurried=True)]
    assert names == ["kornia", "kornia, compiled"]
    for hurried in (True, False):
        names = [p.name for p in rivals.rivals_of(by_name["nms3d_minmax"], inputs, hurried)]
        assert ("kornia, compiled" in names) == (not hurried)


def test_what_is_important_is_a_case():
    assert set(cases.IMPORTANT) | set(run._LAUNCHED) <= {case.name for case in all_cases()}
    assert len(set(cases.IMPORTANT)) == len(cases.IMPORTANT)
    aimed = set(rivals.COPY_TARGETS) | {"iterative_quad_interp3d 6 slices", "conv_quad_interp3d 6 slices"}
    assert set(cases.IMPORTANT[: len(aimed)]) == aimed


@pytest.mark.usefixtures("cupy")
def test_a_run_writes_the_page(tmp_path, monkeypatch, capsys):
    """With a device copy, other libraries, targets, and the name of the GPU; a case that differs is not timed."""
    monkeypatch.setattr(torch, "compile", lambda f: f)
    wrong = Case("nms2d", "that differs", noise(1, 1), lambda x: x + (type(x) is not np.ndarray), 64)
    monkeypatch.setattr(run, "all_cases", lambda: [*all_cases(), wrong])
    options = chosen("nms2d 3×3,that differs,iterative", tmp_path)
    assert run.measure(HostGpu(), options, "python -m benchmarks --backend cuda") == 1
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    rows = {(row["benchmark"], row["peer"]): row for row in document["rows"]}
    copy = rows["nms2d 3×3", "device copy"]
    assert copy["unit"] == "B/s"
    assert copy["target"] == {"limit": 0.7, "at_least": True, "of_ratio": True}
    assert copy["ratio"] == pytest.approx(copy["ours"]["median"] / copy["theirs"]["median"])
    refined = [rows["iterative_quad_interp3d 6 slices", name] for name in ("kornia", "kornia, compiled")]
    assert [row["target"]["limit"] for row in refined] == [20, 5]
    assert rows["nms2d 3×3", "kornia"]["agrees"] == "yes"
    assert rows["nms2d 3×3", "torch max_pool2d"]["ratio"] > 0
    assert rows["nms2d 3×3", "ndimage.maximum_filter"]["theirs"] is None
    host = rows["host time a launch, nms2d 3×3", ""]
    assert (host["unit"], host["target"]["limit"], host["target"]["at_least"]) == ("s", 25e-6, False)
    assert host["work"] == "32², 1 launch"
    assert next(iter(rows)) == ("device copy", "")
    assert not [name for name, _ in rows if "that differs" in name]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("# Benchmarks on a GPU\n")
    assert "- GPU: no GPU at all" in page
    assert f"seed {document['seed']}" in page
    assert "nms2d that differs, float32: 1924 of 1924 differ" in page
    assert "GB/s" in page
    assert "no GPU at all" in capsys.readouterr().out


def test_an_unknown_selection_lists_what_there_is():
    with pytest.raises(SystemExit, match="no case has 'no such thing' in its name; there are\n  nms2d 3×3\n"):
        run._choose("no such thing")


class Events:
    """A CuPy that notes what is put into the queue of a stream."""

    def __init__(self) -> None:
        queue = self.queue = []
        clock = self.clock = iter(range(1000))

        class Event:
            def record(self) -> None:
                self.at = next(clock)
                queue.append("event")

        device = types.SimpleNamespace(
            id=0, attributes={"L2CacheSize": MIB, "ClockRate": 1000}, synchronize=lambda: queue.append("wait")
        )
        self.cuda = types.SimpleNamespace(
            Device=lambda: device, Event=Event, get_elapsed_time=lambda start, stop: stop.at - start.at
        )

    def RawKernel(self, code: str, name: str):
        assert name in code
        return lambda *call: self.queue.append(f"{name} {call[-1][0] > 0}")


def test_calls_are_timed_between_events(monkeypatch):
    """After a warm call, behind work that keeps the GPU busy until all of them wait in its queue."""
    module = Events()
    monkeypatch.setattr(gpu, "require_cupy", lambda: module)
    seconds = gpu.Gpu().measure({"a": lambda: module.queue.append("call")}, Pace(rounds=1, visit=0.0, pause=0))
    assert seconds == {"a": [1e-3]}
    assert module.queue == ["wait", "call", "wait", "hold True", "event", "call", "event", "wait"]
    seconds = gpu.Gpu().measure({"a": lambda: None}, Pace(rounds=2, visit=1.0, pause=0))
    assert len(seconds["a"]) == 2 * gpu._MOST_CALLS


def test_the_kernel_that_holds_compiles():
    text = Path(gpu.__file__).with_name("hold.cu").read_bytes()
    _, program = nvrtc.nvrtcCreateProgram(text, b"hold.cu", 0, [], [])
    assert nvrtc.nvrtcCompileProgram(program, 0, [])[0].name == "NVRTC_SUCCESS"
    nvrtc.nvrtcDestroyProgram(program)
