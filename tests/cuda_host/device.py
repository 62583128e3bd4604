"""The device of NumPy's arrays: kernels compiled by g++, launched through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._cuda.launch.catalogue import all_types
from npsubpix._cuda.launch.kernels import Kernel, options, text

SHIM = Path(__file__).with_name("cuda_host.h")
EXTRA_FLAGS = tuple(os.environ.get("NPSUBPIX_HOST_CUDA_FLAGS", "").split())
FLAGS = ("-O1", "-shared", "-fPIC", "-ffp-contract=off", "-Wall", "-Wno-unused-function", "-Wno-unknown-pragmas")

#: Bytes before and after an array that no kernel may write to. A sanitizer has its own.
GUARD = 0 if any("sanitize" in flag for flag in EXTRA_FLAGS) else 256
_CANARY = 0xA5


class HostDevice:
    """Arrays with guards around them, filled with what no result should be, and kernels on the host."""

    def __init__(self) -> None:
        self._guarded: list[np.ndarray] = []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memory = np.full(size + 2 * GUARD, _CANARY, np.uint8)
        self._guarded.append(memory)
        return memory[GUARD : GUARD + size].view(dtype).reshape(shape)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> np.ndarray:
        out = self.empty(shape, dtype)
        out.fill(value)
        return out

    def rows(self, x: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(x, shape), dtype)

    def get(self, x: np.ndarray) -> np.ndarray:
        return np.array(x)

    def put(self, x: Any) -> np.ndarray:
        return np.ascontiguousarray(x)

    def strided(self, x: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        return np.lib.stride_tricks.as_strided(x, shape, strides, subok=True)

    def stream(self) -> int:
        return 0

    def launch(self, kernel: Kernel, blocks: int, threads: int, args: tuple[Any, ...]) -> None:
        keep, pointers = [], []
        for value in args:
            keep.append(_pointed_at(value))
            pointers.append(ctypes.cast(ctypes.pointer(keep[-1]), ctypes.c_void_p))
        function = getattr(_library(kernel.file, kernel.types), f"launch_{kernel.name}")
        takes = function(blocks, threads, (ctypes.c_void_p * len(args))(*pointers), len(args))
        assert takes == len(args), f"{kernel.name} takes {takes} arguments, got {len(args)}"
        for memory in self._guarded:
            assert (memory[:GUARD] == _CANARY).all(), f"{kernel.name} wrote before an array"
            assert (memory[memory.size - GUARD :] == _CANARY).all(), f"{kernel.name} wrote behind an array"


def _pointed_at(value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(0)
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous, "kernels take arrays in C order"
        return ctypes.c_void_p(value.ctypes.data)
    by_type = {np.bool_: ctypes.c_bool, np.int64: ctypes.c_int64, np.float64: ctypes.c_double}
    return by_type[type(value)](value.item())


def kernels_of(file: str) -> list[str]:
    """Names of the kernels of a file."""
    return re.findall(r"^KERNEL (\w+)\(", text(file), re.MULTILINE)


@functools.cache
def _library(file: str, types: tuple[tuple[str, str], ...]) -> ctypes.CDLL:
    """Compile a file for some types, unless a process did before."""
    launchers = "\n".join(
        f'extern "C" int launch_{name}(unsigned blocks, unsigned threads, void** args, int count) '
        f"{{ return host::launch({name}, blocks, threads, args, count); }}"
        for name in kernels_of(file)
    )
    source = f'{SHIM.read_text()}\n#line 1 "{file}.cu"\n{text(file)}\n{launchers}\n'
    macros = [o for o in options(file, types) if o.startswith(("-D", "--std"))]
    command = ["g++", *macros, *FLAGS, *EXTRA_FLAGS]
    key = hashlib.sha256("\n".join([*command, source]).encode()).hexdigest()[:32]
    library = _cache() / f"{file}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as folder:
            made = Path(folder) / "made.so"
            subprocess.run([*command, "-x", "c++", "-", "-o", str(made)], input=source, text=True, check=True)
            made.replace(library)  # at once: other processes see all of it or nothing
    return ctypes.CDLL(str(library))


def _cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"npsubpix-host-cuda-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # code of others is not loaded
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def catalogue() -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every file with every choice of types."""
    return [(file, types) for file, choices in all_types().items() for types in choices]
