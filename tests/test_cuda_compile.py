"""Kernels for the GPU: NVRTC takes each for every generation of hardware, and launches cover all their work."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cuda.bindings import nvrtc

from npsubpix._cuda.launch import kernels
from npsubpix._cuda.launch.catalogue import all_types
from npsubpix._cuda.launch.devices import blocks_for, run
from npsubpix._cuda.launch.kernels import Kernel, options, text
from tests.cuda_host.device import HostDevice, catalogue, kernels_of

ARCHITECTURES = (75, 80, 90, 100)

#: Files that take a minute or more to compile: one choice of types, which only says how a pixel is read, for one
#: architecture.
LONG = {"fitting", "fitting_models", "crowds", "crowds_models"}

#: Each file with one choice of types for every architecture, and with every other choice for one of them; the sample of
#: `make test` is one of these.
COMPILATIONS = [
    pytest.param(
        *(file, types, architecture),
        id="-".join((file, *(name for _, name in types[:1]), str(architecture))),
        marks=pytest.mark.exhaustive if number or architecture != 90 else (),
    )
    for number, (file, types) in enumerate(catalogue())
    for architecture in ARCHITECTURES
    if (architecture == 90 and file not in LONG)
    or (types == all_types()[file][0] and (architecture == 90 or file not in LONG))
]


def compile_with_nvrtc(file: str, types: tuple[tuple[str, str], ...], architecture: int) -> tuple[str, str, bytes]:
    """Compile as CuPy would; return the result, what the compiler says, and the assembly."""
    _, program = nvrtc.nvrtcCreateProgram(text(file).encode(), f"{file}.cu".encode(), 0, [], [])
    flags = (*options(file, types), "-ftz=true", f"--gpu-architecture=compute_{architecture}")
    (result,) = nvrtc.nvrtcCompileProgram(program, len(flags), [flag.encode() for flag in flags])
    log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
    nvrtc.nvrtcGetProgramLog(program, log)
    assembly = b""
    if result == nvrtc.nvrtcResult.NVRTC_SUCCESS:
        assembly = b" " * nvrtc.nvrtcGetPTXSize(program)[1]
        nvrtc.nvrtcGetPTX(program, assembly)
    nvrtc.nvrtcDestroyProgram(program)
    return result.name, log.decode().strip("\0 \n"), assembly


@pytest.mark.parametrize(("file", "types", "architecture"), COMPILATIONS)
def test_every_kernel_compiles_without_a_warning(file, types, architecture):
    result, log, assembly = compile_with_nvrtc(file, types, architecture)
    assert (result, log) == ("NVRTC_SUCCESS", "")
    entries = re.findall(r"\.entry (\w+)\(", assembly.decode())
    assert sorted(entries) == sorted(kernels_of(file))


def test_a_wrong_kernel_does_not_compile(monkeypatch):
    """The compiler is really asked."""
    monkeypatch.setitem(globals(), "text", lambda _: "KERNEL f() { wrong; }")
    result, log, _ = compile_with_nvrtc("nms", all_types()["nms"][0], 75)
    assert result == "NVRTC_ERROR_COMPILATION"
    assert log


def test_blocks_cover_the_work():
    """Also where indices need more than 32 bits; and a grid has its limit."""
    assert blocks_for(0) == 0
    assert blocks_for(1) == 1
    assert blocks_for(256) == 1
    assert blocks_for(257) == 2
    assert blocks_for(2**31 + 1) == 2**23 + 1
    assert blocks_for(3 * 2**31, each=1) == 2**31 - 1  # and threads stride over the rest


def test_nothing_is_launched_for_nothing():
    class Forbidden(HostDevice):
        def launch(self, *_):
            raise AssertionError("launched")

    run(Forbidden(), Kernel.of("nms", "nms_keep", Pixel=np.float32), 0)


def test_numbers_get_the_types_of_kernels():
    """True is no Index, and an int no double."""
    seen = []

    class Watching(HostDevice):
        def launch(self, *call):
            seen.extend(map(type, call[-1]))

    run(Watching(), Kernel.of("nms", "nms_keep", Pixel=np.float32), 1, True, 2**40, 1.5, None)
    assert seen == [np.bool_, np.int64, np.float64, type(None)]


def test_types_outside_the_catalogue_are_refused():
    """What can be launched is what these tests compile."""
    with pytest.raises(TypeError, match="no kernel nms_keep for Pixel=bool"):
        Kernel.of("nms", "nms_keep", Pixel=np.bool_)


def test_wrong_number_of_arguments(monkeypatch):
    """The host takes what the kernel takes, no more and no less."""
    with pytest.raises(AssertionError, match="nms_keep takes 4 arguments, got 1"):
        HostDevice().launch(Kernel.of("nms", "nms_keep", Pixel=np.float32), 1, 1, (np.int64(1),))


@pytest.mark.parametrize("offset", [-1, 4])
def test_writes_beyond_an_array_are_noticed(offset):
    """The device of these tests has guards around its arrays."""
    device = HostDevice()
    out = device.empty((4,), np.float32)
    inside = out[1:]
    mask, x = np.ones(1, bool), np.ones(1, np.float32)
    keep = Kernel.of("nms", "nms_keep", Pixel=np.float32)
    device.launch(keep, 1, 1, (mask, x, inside[:1], np.int64(1)))
    assert out[1] == 1
    beyond = np.lib.stride_tricks.as_strided(device._guarded[0][256 + 4 * offset :].view(np.uint8)[:4])
    with pytest.raises(AssertionError, match="nms_keep wrote b"):
        device.launch(keep, 1, 1, (mask, x, beyond.view(np.float32), np.int64(1)))


def test_headers_are_in_the_text():
    """CuPy's cache looks at the text alone, so a header that changes must change it."""
    assert "#include" not in kernels.text("nms")
    assert "first_thread()" in kernels.text("nms")
