"""All that a machine with a GPU is asked, in one command and little time: ``make gpu``.

In turn: the machine; tests of the hardware; tests of kernels on the GPU; compute-sanitizer, where it is installed; the
benchmarks. Each part is a process of its own that ends in its time, or is ended, and writes what it has as it goes; one
that fails stops no other. Packages that the machine lacks are taken from a folder of wheels, without an index.

Only the standard library is imported here: the others may come from that folder.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cuda.parts import FILES, Part, parts_of
from benchmarks.cuda.summary import summary_of

__all__ = ["main"]

ROOT = Path(__file__).parents[2]

#: Packages without which nothing runs.
_NEEDED = ("numpy", "scipy", "numba", "array_api_compat", "torch", "pytest")

#: Seconds that a part may take to end by itself, after its time is over; and of the budget for the summary.
_GRACE = 8.0

#: How often a part is taken up again that lost the GPU, and the status that says so.
_TRIES, LOST = 5, 3


class Log:
    """Prints lines, and appends them to a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, time.monotonic()
        path.write_text("", encoding="utf-8")

    def __call__(self, text: str) -> None:
        print(text, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def part(self, text: str) -> None:
        """Say something with the seconds since the start ahead of it."""
        self(f"[{time.monotonic() - self.start:5.0f} s] {text}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a part failed, 2 if there is no GPU."""
    options = _parser().parse_args(arguments)
    why = _no_gpu()
    if why:
        print(f"nothing is run: {why}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the part that runs is ended too
    _empty(options.output)
    log = Log(options.output / FILES[0])
    with tempfile.TemporaryDirectory() as folder:
        installed = _install(options.wheels, Path(folder), log)
        lacking = [name for name in _NEEDED if not (importlib.util.find_spec(name) or (Path(folder) / name).is_dir())]
        if lacking:
            log(f"nothing is run: {', '.join(lacking)} not installed; where there is an index: make gpu-wheels")
            return 1
        path = [str(ROOT), *([folder] if installed else []), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        try:
            parts = [p for p in parts_of(options, environment) if any(w in p.name for w in options.only.split(","))]
            return run(parts, options.output, log, 60 * options.minutes)
        finally:
            while _RUNNING:
                _RUNNING[-1].kill()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.cuda.session", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it, default 8")
    parser.add_argument("--output", type=Path, default=ROOT / "gpu_results", help="folder, default gpu_results")
    parser.add_argument("--wheels", type=Path, default=ROOT / ".wheels", help="folder, default .wheels")
    parser.add_argument("--only", metavar="PARTS", default="", help="with these words in their names, between commas")
    parser.add_argument("--keyword", metavar="EXPRESSION", default="", help="only these tests, as -k of pytest")
    parser.add_argument("--select", metavar="SUBSTRING", default="", help="only these benchmarks")
    parser.add_argument("--quick", action="store_true", help="tiny images in the benchmarks")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of tests, by xdist")
    return parser


def _no_gpu() -> str:
    """Say why there is no GPU, nothing if there is one."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "CuPy is not installed"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no GPU that it can use: {error}"
    return "" if count else "CuPy finds no GPU that it can use: there is none"


def _empty(folder: Path) -> None:
    """Make a folder, without the files of an earlier session."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _install(wheels: Path, folder: Path, log: Log) -> list[str]:
    """Install the wheels whose package, in that version, is not there; one that does not fit is left out."""
    installed = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if importlib.metadata.version(name) == version:
                continue
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(wheel)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            log(f"{wheel.name} is left out: {(process.stderr.strip().splitlines() or ['pip failed'])[-1]}")
        else:
            installed.append(f"{name} {version}")
    log(f"taken from {wheels.name}: {', '.join(installed) or 'nothing'}")
    return installed


def run(parts: Sequence[Part], output: Path, log: Log, seconds: float) -> int:
    """Run parts one after the other; the time that a part does not need is for the next ones."""
    left, failed, beside = [], [], []
    for part in parts:
        until = log.start + part.until * (seconds - 2 * _GRACE)
        remaining = until - time.monotonic()
        path = output / part.log
        _end(beside, log, failed)
        if part.missing:
            log.part(f"{part.name}: left out, {part.missing}")
        elif remaining < part.least:
            left.append(f"{part.name}: all of it")
        elif part.beside:
            log.part(f"{part.name}: begins, beside the next parts")
            beside.append((part, Process(part, part.commands[0], path, until)))
        else:
            log.part(f"{part.name}: begins, with {remaining:.0f} s")
            if _run(part, path, until, log):
                failed.append(part.name)
                log(_tail(path))
    _end(beside, log, failed, last=True)
    log("")
    log(summary_of(output, left, failed))
    return int(bool(failed))


def _run(part: Part, path: Path, until: float, log: Log) -> int:
    """Run the commands of a part; return the status of the first that failed, 0 for one whose time was over."""
    first, count = 0, len(part.commands)
    written = path.stat().st_size if path.exists() else 0
    for number, command in enumerate(part.commands):
        end = time.monotonic() + (until - time.monotonic()) / (count - number)
        for _ in range(_TRIES if part.resumable else 1):
            status = Process(part, command, path, end).wait()
            if status is None or (status >= 0 and status != LOST) or time.monotonic() > end:
                break
        log.part(f"{part.name}: {_outcome(status)}")
        first = first or status or 0
    if part.shown:
        print(path.read_bytes()[written:].decode(errors="replace").rstrip(), flush=True)
    return first


def _end(beside: list[tuple[Part, Process]], log: Log, failed: list[str], *, last: bool = False) -> None:
    """Note which of those that run beside others are over; at last, end them."""
    for part, process in list(beside):
        if last or process.process.poll() is not None:
            process.end = time.monotonic() - _GRACE
            status = process.wait()
            log.part(f"{part.name}: {_outcome(status)}")
            failed += [part.name] * bool(status)
            beside.remove((part, process))


def _outcome(status: int | None) -> str:
    return "ended, its time was over" if status is None else f"status {status}" if status else "done"


class Process:
    """A process with its output in a file, which is to be over at some time."""

    def __init__(self, part: Part, command: Sequence[str], path: Path, end: float) -> None:
        self.end = end
        seconds = max(end - time.monotonic(), 1.0)
        words = [word.replace("{minutes}", f"{seconds / 60:.3f}") for word in command]
        environment = {**part.environment, "NPSUBPIX_TESTS_END": str(time.time() + seconds)}
        with path.open("a", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                words, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,  # which is ended as a whole
            )  # fmt: skip
        _RUNNING.append(self)

    def wait(self) -> int | None:
        """Return its status; None if it took too long, and was ended with all that it began."""
        try:
            return self.process.wait(max(self.end + _GRACE - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        _RUNNING.remove(self)


#: Processes to end if this one is ended.
_RUNNING: list[Process] = []


def _tail(path: Path, count: int = 12) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    return "\n".join(f"    {line[:200]}" for line in lines[-count:])


if __name__ == "__main__":
    raise SystemExit(main())
