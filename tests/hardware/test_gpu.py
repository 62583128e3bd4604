"""On a GPU, where there is one: arrays of CuPy and torch, their streams, devices and memory.

Elsewhere this file is not collected; what it asks of hardware cannot be asked of anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cupy
import numpy as np
import pytest
import torch

import npsubpix
from benchmarks import __main__ as benchmarks
from npsubpix._dispatch.backends import has_gpu_kernels
from npsubpix._dispatch.operations import OPERATIONS
from tests.assertions import assert_same, on_host
from tests.examples import EXAMPLES
from tests.test_operators_detector import agree
from tests.witness.detectors import CASES, RECORDING, recalled

GRADIENTS = [
    name for o in OPERATIONS.values() if o.differentiable and has_gpu_kernels(o.family) for name in o.functions
]


@pytest.fixture
def volume(rng) -> np.ndarray:
    return rng.uniform(1, 9, (2, 1, 5, 40, 37))


def check(results: Any, wanted: Any) -> None:
    """Results on the GPU are those on the host."""
    for result, want in zip(*((r if isinstance(r, tuple) else (r,)) for r in (results, wanted)), strict=True):
        got = result.cpu() if isinstance(result, torch.Tensor) else on_host(result)
        assert_same(got, want, "hardware", source=got)


@pytest.mark.parametrize("name", EXAMPLES)
def test_cupy(volume, name):
    """Results are those of the CPU."""
    results = EXAMPLES[name](cupy.asarray(volume))
    check(results, EXAMPLES[name](volume))


@pytest.mark.parametrize("name", EXAMPLES)
def test_torch_on_a_stream(volume, name):
    """What torch has begun on its current stream is waited for, and what it begins next waits."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        source = torch.zeros(volume.shape, dtype=torch.float64, device="cuda")
        torch.cuda._sleep(10_000_000)
        source += torch.from_numpy(volume).cuda(non_blocking=True)
        results = EXAMPLES[name](source)
        results = tuple(
            r.clone() if isinstance(r, torch.Tensor) else r
            for r in (results if isinstance(results, tuple) else (results,))
        )
    stream.synchronize()
    check(results, EXAMPLES[name](volume))


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_torch(volume, name):
    """backward() on the GPU gives what it gives on the host."""
    grads = []
    for device in ("cpu", "cuda"):
        source = torch.from_numpy(volume).to(device).requires_grad_()
        results = EXAMPLES[name](source)
        sum((r * r).sum() for r in (results if isinstance(results, tuple) else (results,))).backward()
        grads.append(source.grad.cpu().numpy())
    scale = np.abs(grads[0]).max()
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-8, atol=1e-8 * scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(volume, dtype):
    source = torch.from_numpy(volume).to(dtype)
    for name in ("nms3d", "conv_soft_argmax3d", "spatial_moments"):
        check(EXAMPLES[name](source.cuda()), EXAMPLES[name](source))


def test_compiled(volume):
    function = torch.compile(lambda x: npsubpix.spatial_soft_argmax2d(x[:, 0]), fullgraph=True)
    source = torch.from_numpy(volume).cuda().requires_grad_()
    function(source).sum().backward()
    assert source.grad.isfinite().all()


def test_layouts(volume):
    """Fortran order, and negative strides, which torch does not have."""
    want = npsubpix.nms3d(volume, (3, 3, 3))
    for source in (cupy.asfortranarray(cupy.asarray(volume)), cupy.asarray(volume[..., ::-1].copy())[..., ::-1]):
        np.testing.assert_array_equal(cupy.asnumpy(npsubpix.nms3d(source, (3, 3, 3))), want)


def test_alignment_by_the_phase():
    """Functions of NumPy that are given CuPy's arrays run there; a mean of frames is made there."""
    y, x = np.mgrid[:60, :70]
    frames = np.stack([np.sin((y + d) / 5) * np.cos((x - d) / 7) + np.sin((x + y) / 9) for d in (0.0, 0.4)])
    want = npsubpix.align(*frames, init="phase_correlation").matrix
    found = npsubpix.align(*cupy.asarray(frames), init="phase_correlation").matrix
    np.testing.assert_allclose(found, want, atol=1e-4)
    for stack in (cupy.asarray(frames), torch.from_numpy(frames).cuda()):
        results = npsubpix.align_stack(stack, reference="mean")
        wanted = npsubpix.align_stack(frames, reference="mean")
        for a, b in zip(results, wanted, strict=True):
            np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_detectors(case, library):
    """Features, masks and their order stay on the GPU, and are those of kornia."""
    to_gpu = cupy.asarray if library == "cupy" else lambda x: torch.from_numpy(x).cuda()
    mask = None if case.mask is None else to_gpu(case.mask)
    results = case.made(npsubpix, strict_maxima_bonus=0.0)(to_gpu(case.images), mask)
    assert all(r.is_cuda if library == "torch" else isinstance(r, cupy.ndarray) for r in results)
    with np.load(RECORDING) as stored:
        wanted = recalled(case, stored)
    agree([r.cpu().numpy() if library == "torch" else r.get() for r in results], wanted)


def test_out_of_memory():
    """A clear error; nothing is kept, and the next call works."""
    pool = cupy.get_default_memory_pool()
    source = cupy.zeros((1, 1, 1000, 1000), np.float32)
    used = pool.used_bytes()
    huge = cupy.lib.stride_tricks.as_strided(source, (1, 1, 2**21, 2**21), (0, 0, 0, 0))
    with pytest.raises(MemoryError):
        npsubpix.nms2d(huge, (3, 3))
    assert pool.used_bytes() == used
    assert not npsubpix.nms2d(source, (3, 3)).any()


def test_benchmarks(tmp_path: Path):
    """Every operation is compared with the CPU, and timed on small images, and the page has the name of the GPU."""
    options = "--backend", "cuda", "--quick", "--output", str(tmp_path / "out.json"), "--markdown"
    assert benchmarks.main([*options, str(tmp_path / "page.md")]) == 0
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    assert properties["name"].decode() in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_more_pixels_than_32_bits_count():
    """Indices have 64 bits."""
    image = cupy.zeros((1, 1, 2**16, 2**15 + 64), np.uint8)
    image[0, 0, -3, -3] = image[0, 0, 5, 5] = 7
    assert cupy.argwhere(npsubpix.nms2d(image, (3, 3), mask_only=True)).tolist() == [
        [0, 0, 5, 5],
        [0, 0, 2**16 - 3, 2**15 + 61],
    ]


@pytest.mark.parametrize("number", range(cupy.cuda.runtime.getDeviceCount()))
def test_every_device(volume, number):
    """Work runs where the array is, whichever device is current."""
    with cupy.cuda.Device(number):
        source = cupy.asarray(volume)
    with cupy.cuda.Device(0):
        values = npsubpix.nms3d(source, (3, 3, 3))
    assert values.device.id == number
    np.testing.assert_array_equal(cupy.asnumpy(values), npsubpix.nms3d(volume, (3, 3, 3)))
