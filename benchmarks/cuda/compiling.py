"""Compile every kernel for the GPU in several processes: ``python -m benchmarks.cuda.compiling [processes]``.

CuPy keeps them on the disk, where tests and benchmarks find them. Those that take a minute begin first.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

from npsubpix._cuda.launch.catalogue import all_types
from npsubpix._cuda.launch.kernels import text

__all__ = ["main"]

Types = tuple[tuple[str, str], ...]


def compiled(choice: tuple[str, Types]) -> str:
    """Compile a file for some types; return a line, which says so or what was wrong."""
    from npsubpix._cuda.launch.cupy_device import _module

    file, types = choice
    start = time.perf_counter()
    try:
        _module(file, types).compile()
    except Exception as error:
        return f"{file} {types} failed: {type(error).__name__}: {error}"
    return f"{file} {', '.join(name for _, name in types)}: {time.perf_counter() - start:.1f} s"


def main(processes: int) -> int:
    """Return 1 if a kernel does not compile."""
    choices = [(file, types) for file, several in all_types().items() for types in several]
    choices.sort(key=lambda choice: len(text(choice[0])), reverse=True)
    failed = 0
    os.nice(10)  # what needs kernels has the processors first
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for line in pool.imap_unordered(compiled, choices):
            print(line, flush=True)
            failed += " failed: " in line
    print(f"{len(choices)} choices of types, {failed} failed", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else multiprocessing.cpu_count()))
