"""Which arrays go to the GPU, how they get there and back, and what the table of capabilities claims."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix._dispatch import backends
from npsubpix._dispatch.capabilities import NUMBERS, table
from npsubpix._dispatch.operations import OPERATIONS
from tests.cuda_host import fake_cupy
from tests.cuda_host.fake_cupy import FakeArray, FakeCuPyDevice, gpu_array
from tests.examples import EXAMPLES

PACKAGE = Path(npsubpix.__file__).parent


# Twins


def public_modules(package: str) -> set[str]:
    shared = {"compiler", "formulas", "launch", "quadratic"}
    return {path.stem for path in (PACKAGE / package).iterdir() if not path.stem.startswith("_")} - shared


def test_families_on_the_gpu_are_those_of_the_table():
    assert public_modules("_cuda") == {operation.family for operation in OPERATIONS.values()}
    assert public_modules("_cuda") <= public_modules("_cpu")


# The table

#: Functions whose results are on the host, wherever the arrays are.
ON_HOST = ("align", "align_stack")

CLAIMS = [(name, dtype) for name in EXAMPLES for dtype in NUMBERS]


def of_dtype(x: np.ndarray, dtype: str, library: str) -> Any:
    return torch.from_numpy(x).to(getattr(torch, dtype)) if library == "torch" else x.astype(dtype)


def dtype_of_result(name: str, dtype: str) -> str:
    """What a function returns for a dtype; booleans are left out."""
    if name.endswith(("peaks", "blobs")) or name in ("fit_spots", "fit_patches", "measure_spots", "window_centroid"):
        return "float64"
    if name == "scale_space":
        return "float32"
    if "int" in dtype and name == "window_sum":
        return "uint64" if dtype == "uint64" else "int64"
    if "int" in dtype and name == "window_range":
        return f"uint{dtype.removeprefix('u').removeprefix('int')}"
    if name in ("window_map", "window_min", "window_max", "window_median", "window_percentile"):
        return dtype
    if "int" not in dtype or name.startswith(("nms", "convolve", "correlate")):
        return dtype
    return np.result_type(dtype, np.float32).name


@pytest.mark.parametrize(("name", "dtype"), CLAIMS)
@pytest.mark.usefixtures("host_device")
def test_what_the_table_claims_runs(rng, name, dtype, monkeypatch):
    """Each function on arrays of each dtype: results as of float64 on the CPU, of that library and dtype."""
    x = rng.integers(0, 12, (1, 2, 4, 7, 8)).astype(float)
    wanted = EXAMPLES[name](x)
    monkeypatch.setitem(backends._PACKAGES, "host", "npsubpix._cuda")
    backends._load.cache_clear()
    for source_library in ("torch",) if dtype == "bfloat16" else ("numpy", "torch"):
        if (
            source_library == "torch"
            and name in ("render_gaussian2d", "convolve", "correlate", "convolve_separable", "conv2d")
            and dtype in ("uint16", "uint32", "uint64")
        ):
            continue  # the example multiplies, which torch does not with these
        source = of_dtype(x, dtype, source_library)
        results = EXAMPLES[name](source)
        for result, want in zip(*((r if isinstance(r, tuple) else (r,)) for r in (results, wanted)), strict=True):
            assert type(result) is (np.ndarray if name in ON_HOST else type(source))
            if want.dtype != bool and name not in ON_HOST:
                assert str(result.dtype).removeprefix("torch.") == dtype_of_result(name, dtype)
            values = np.asarray(result.double() if isinstance(result, torch.Tensor) else result, float)
            rough = {"bfloat16": 2e-2, "float16": 2e-3}.get(dtype, 1e-5)
            np.testing.assert_allclose(values, want, rtol=rough, atol=rough)
    monkeypatch.undo()
    backends._load.cache_clear()


def test_the_documentation_has_the_table():
    """It is what the command prints, letter by letter."""
    printed = subprocess.run(
        [sys.executable, "-m", "npsubpix._dispatch.capabilities"], capture_output=True, text=True, check=True
    ).stdout
    assert printed == table()
    page = PACKAGE.parent.joinpath("docs", "gpu.md").read_text()
    found = re.search(r"_dispatch.capabilities` prints -->\n\n(.*?)\n<!-- end -->", page, re.DOTALL)
    assert found
    assert found[1] == printed


# Arrays


@pytest.fixture
def image(rng):
    return rng.standard_normal((2, 1, 12, 13))


def test_cupy_arrays_stay_where_they_are(cupy, image):
    """Results are of CuPy, and made on the device of the array, whichever is current."""
    source = gpu_array(image, number=1)
    values = npsubpix.nms2d(source, (3, 3))
    assert type(values) is FakeArray
    np.testing.assert_array_equal(values, npsubpix.nms2d(image, (3, 3)))
    assert FakeCuPyDevice.launches == [([1], [])]
    mask = npsubpix.nms2d(source, (3, 3), mask_only=True)
    coords, _ = npsubpix.iterative_quad_interp3d(source[None], precomputed_nms_mask=mask[None])
    assert type(coords) is FakeArray
    want = npsubpix.iterative_quad_interp3d(image[None], precomputed_nms_mask=np.asarray(mask)[None])[0]
    np.testing.assert_array_equal(coords, want)
    half = npsubpix.conv_soft_argmax2d(source.astype(np.float16))
    assert half.dtype == np.float16


def test_cupy_arrays_are_no_images_in_files(cupy):
    """They were read frame by frame until CuPy refused; `find_peaks` takes them as they are."""
    movie = gpu_array(np.zeros((3, 8, 9), np.float32), number=1)
    for function in (npsubpix.open_image, npsubpix.locate):
        with pytest.raises(
            TypeError, match=r"array: is on GPU 1, and images are read on the host: find_peaks .* x\.get"
        ):
            function(movie)


def test_cupy_gradients(cupy, image):
    """By `vjp`, also of a number beside the array; a cotangent of the host is refused."""
    source = gpu_array(image)
    coords, pullback = npsubpix.vjp(npsubpix.conv_soft_argmax2d, source, temperature=0.5)
    incoming = gpu_array(np.ones(coords.shape))
    grads = pullback(incoming)
    want = npsubpix.vjp(npsubpix.conv_soft_argmax2d, image, temperature=0.5)[1](np.ones(coords.shape))
    assert type(grads["input"]) is FakeArray
    np.testing.assert_allclose(grads["input"], want["input"], atol=1e-12)
    np.testing.assert_allclose(grads["temperature"], want["temperature"], rtol=1e-10)
    with pytest.raises(
        TypeError, match="a gradient is on the host and its result on GPU 0: both must be on one device"
    ):
        pullback(np.ones(coords.shape))


def test_layouts(cupy, image):
    """Fortran order and negative strides are copied to C order, on the device."""
    want = npsubpix.nms2d(image, (3, 3))
    for source in (gpu_array(image).copy(order="F"), gpu_array(image[..., ::-1])[..., ::-1]):
        np.testing.assert_array_equal(npsubpix.nms2d(source, (3, 3)), want)


def test_warps_and_samples_of_cupy_arrays(cupy, image):
    """Matrices may be on the host, as they are small; grids are made on the device; `sample_vjp` runs there."""
    source = gpu_array(image)
    matrix = [[1, 0.1, 0.5], [0, 0.9, -0.25], [0, 0.01, 1]]
    warped = npsubpix.warp(source[0, 0], matrix, (5, 6))
    assert type(warped) is FakeArray
    np.testing.assert_allclose(warped, npsubpix.warp(image[0, 0], matrix, (5, 6)), atol=1e-12)
    theta = np.array([[[0.5, 0.1, 0.2], [0.0, 0.7, 0.1]]] * 2)
    grid = npsubpix.affine_grid(gpu_array(theta), (2, 1, 4, 5))
    assert type(grid) is FakeArray
    np.testing.assert_allclose(grid, npsubpix.affine_grid(theta, (2, 1, 4, 5)), atol=1e-14)
    coords, options = gpu_array(np.full((2, 3), 4.25)), {"method": "linear"}
    by_image, by_coords = npsubpix.sample_vjp(gpu_array(np.ones(3)), source[0, 0], coords, **options)
    assert type(by_image) is type(by_coords) is FakeArray
    np.testing.assert_allclose(by_image[4:6, 4:6], 3 * np.outer([0.75, 0.25], [0.75, 0.25]))
    with pytest.raises(TypeError, match="coords is on the host and image on GPU 0: both must be on one device"):
        npsubpix.sample(source[0, 0], [[1.0], [2.0]], **options)
    with pytest.raises(TypeError, match="a gradient is on the host and its result on GPU 0"):
        npsubpix.sample_vjp(np.ones(3), source[0, 0], coords, **options)


def test_alignment_of_cupy_arrays(cupy, image):
    """Images and masks stay on their device, matrices are on the host."""
    y, x = np.mgrid[:40, :50]
    fixed, moving = (np.sin(y / 3 + d) * np.cos(x / 4) for d in (0.0, 0.1))
    mask = np.zeros(fixed.shape, bool)
    mask[3, 4] = True
    on_gpu = gpu_array(fixed, 1), gpu_array(moving, 1)
    result = npsubpix.align(*on_gpu, mask=gpu_array(mask, 1), init="phase_correlation")
    np.testing.assert_allclose(result.matrix, npsubpix.align(fixed, moving, mask=mask).matrix, atol=1e-4)
    assert type(result.matrix) is np.ndarray
    stack = gpu_array(np.stack([fixed, moving]))
    shifts = [a.matrix[:2, 2] for a in npsubpix.align_stack(stack, reference="mean")]
    np.testing.assert_allclose(shifts[1] - shifts[0], [-0.3, 0], atol=0.01)
    for arguments, options, message in (
        ((on_gpu[0], moving), {}, "moving is on the host and fixed on GPU 1: both must be on one device"),
        (on_gpu, {"mask": mask}, "mask is on the host and fixed on GPU 1: both must be on one device"),
        (on_gpu, {"init": gpu_array(np.eye(3))}, "init is on GPU 0: matrices are on the host"),
    ):
        with pytest.raises(TypeError, match=message):
            npsubpix.align(*arguments, **options)


def test_footprints_and_weights_of_windows(cupy, image):
    """Of the host or of the device of the image, where they are not looked into; of no other."""
    source, form = gpu_array(image[0, 0]), np.eye(3, dtype=bool)
    want = npsubpix.window_max(image[0, 0], footprint=form)
    for given in (form, gpu_array(form)):
        found = npsubpix.window_max(source, footprint=given)
        assert type(found) is FakeArray
        np.testing.assert_array_equal(found, want)
    spread = npsubpix.window_std(source, weights=gpu_array(np.full((3, 3), np.nan)))
    assert np.isnan(spread).all()
    with pytest.raises(TypeError, match="footprint is on GPU 1 and image on GPU 0: both must be on one device"):
        npsubpix.window_max(source, footprint=gpu_array(form, number=1))
    with pytest.raises(TypeError, match="weights is on GPU 0 and image on the host"):
        npsubpix.window_sum(image[0, 0], weights=gpu_array(np.ones((3, 3))))
    with pytest.raises(
        TypeError, match=r"images\[1\] is on GPU 1 and images\[0\] on GPU 0: both must be on one device"
    ):
        npsubpix.window_map(max, source, gpu_array(image[0, 0], number=1), size=3)
    rounded = npsubpix.window_mean(source * 1e3, 3, dtype=np.int16)
    assert type(rounded) is FakeArray
    np.testing.assert_array_equal(rounded, npsubpix.window_mean(image[0, 0] * 1e3, 3, dtype=np.int16))


def test_devices_are_not_mixed(cupy, image):
    """Two GPUs, or a GPU and the host: an error that names both, and no copy."""
    first, other = gpu_array(image[None]), gpu_array(np.ones((1, 2, 1, 12, 13), bool), number=1)
    refine = npsubpix.iterative_quad_interp3d
    with pytest.raises(TypeError, match="precomputed_nms_mask is on GPU 1 and input on GPU 0: both must be on one"):
        refine(first, precomputed_nms_mask=other)
    with pytest.raises(TypeError, match="precomputed_nms_mask is on the host and input on GPU 0"):
        refine(first, precomputed_nms_mask=np.asarray(other))
    with pytest.raises(TypeError, match="precomputed_nms_mask is on GPU 1 and input on the host"):
        refine(image[None], precomputed_nms_mask=other)
    assert not FakeCuPyDevice.launches
    npsubpix.conv_soft_argmax2d(gpu_array(image), temperature=np.array(2.0))  # a number may be on the host


def test_tables_of_peaks_are_on_the_gpu(cupy, image):
    """Each column, also of what was found in a stack with a mask and a background of it."""
    stack, mask = image[:, 0], image[:, 0] > 1.7
    level, noise = 0.1 * stack, np.full(stack.shape[1:], 0.5)
    options = {"frame_axis": 0, "threshold_abs": 0.2, "plateau": "first", "num_peaks": 3, "threshold_rel": 0.01}
    arrays = {"background": level, "sigma": noise, "mask": mask}
    there = {name: gpu_array(array, 1) for name, array in arrays.items()}
    want = npsubpix.find_peaks(stack, **options, **arrays)
    got = npsubpix.find_peaks(gpu_array(stack, 1), **options, **there)
    assert len(want) == 6
    refined = npsubpix.refine_peaks(gpu_array(stack, 1), got.coords, frame=got.frame, frame_axis=0, mask=there["mask"])
    again = npsubpix.refine_peaks(stack, want.coords, frame=want.frame, frame_axis=0, mask=mask)
    for a, b in ((got, want), (refined, again), (got[got.ok], want[want.ok])):
        for name in ("coords", "values", "indices", "flags", "frame"):
            assert type(getattr(a, name)) is FakeArray
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    moved = npsubpix.find_peaks(gpu_array(np.moveaxis(stack, 0, 2)), frame_axis=-1, mask=gpu_array(mask[0]))
    np.testing.assert_array_equal(moved.coords, npsubpix.find_peaks(stack, frame_axis=0, mask=mask[0]).coords)
    listed = npsubpix.refine_peaks(gpu_array(stack[0]), [[4, 5.2], [3, 3]], method=None)  # lists are copied there
    assert listed.coords.tolist() == [[4, 5], [3, 3]]
    assert repr(got).startswith("Peaks: 6 in 2-D, 2 frames")


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({}, 3),
        ({"plateau": "drop", "duplicates": "flag"}, 1),
        ({"num_peaks": 2, "threshold_rel": 0.1}, 3),
        ({"plateau": "centroid", "size": 5, "minima": True}, 2),
        ({"min_distance": 3}, 4),
    ],
)
def test_the_host_waits_where_it_has_to_know_the_length_of_a_list(cupy, image, options, waits):
    """For candidates, for plateaus to refine, for peaks kept apart, and for those that are merged; never to refine."""
    source = gpu_array(image[:, 0])
    FakeArray.waits = 0
    found = npsubpix.find_peaks(source, frame_axis=0, **options)
    assert FakeArray.waits == waits
    npsubpix.refine_peaks(source, found.coords, frame=found.frame, frame_axis=0)
    assert FakeArray.waits == waits


def test_backgrounds_are_where_the_image_is(cupy, image):
    """They are made without a wait, for which `find_peaks` takes them as they are."""
    stack, there = image[:, 0], gpu_array(image[:, 0], 1)
    mask = stack[0] > 1.7
    FakeArray.waits = 0
    found = npsubpix.local_background(there, 6, mask=gpu_array(mask, 1), frame_axis=0)
    assert FakeArray.waits == 0
    assert {type(array) for array in found} == {FakeArray}
    assert {array.number for array in found} == {1}
    want = npsubpix.local_background(stack, 6, mask=mask, frame_axis=0)
    np.testing.assert_allclose(found, want, atol=1e-12)
    options = {"frame_axis": 0, "threshold_abs": 0.5}
    peaks = npsubpix.find_peaks(there, background=found, **options)
    assert FakeArray.waits == 3
    assert len(peaks) > 2
    np.testing.assert_array_equal(peaks.indices, npsubpix.find_peaks(stack, background=want, **options).indices)
    doubled = npsubpix.find_peaks(there, background=found, sigma=2 * found.noise, frame_axis=0, threshold_abs=0.25)
    np.testing.assert_array_equal(doubled.coords, peaks.coords)
    with pytest.raises(TypeError, match="mask is on the host and image on GPU 1: both must be on one device"):
        npsubpix.local_background(there, mask=mask, frame_axis=0)
    with pytest.raises(TypeError, match="background is on GPU 1 and image on GPU 0: both must be on one device"):
        npsubpix.find_peaks(gpu_array(stack), background=found, **options)


def test_what_is_beside_an_image_is_on_its_device(cupy, image):
    x, there = image[0, 0], gpu_array(image[0, 0])
    for name, value in (("mask", x > 0), ("background", x), ("sigma", gpu_array(x, 1))):
        with pytest.raises(TypeError, match=rf"{name} is on (the host|GPU 1) and image on GPU 0: both must be on one"):
            npsubpix.find_peaks(there, **{name: value})
    with pytest.raises(TypeError, match="coords is on the host and image on GPU 0"):
        npsubpix.refine_peaks(there, np.ones((1, 2)))
    with pytest.raises(TypeError, match="coords is on GPU 0 and image on the host"):
        npsubpix.refine_peaks(x, gpu_array(np.ones((1, 2))))
    with pytest.raises(TypeError, match="frame is on the host and image on GPU 0"):
        npsubpix.refine_peaks(there[None], gpu_array(np.ones((1, 2))), frame=np.zeros(1, int), frame_axis=0)
    with pytest.raises(TypeError, match="mask is on GPU 0 and image on the host: both must be on one device"):
        npsubpix.find_peaks(x, mask=gpu_array(x > 0))


def test_numbers_of_the_host_are_checked_beside_an_image_on_a_gpu(cupy, image):
    """They cost no wait, so a noise that is not positive is no peak less, but an error."""
    for sigma in (-1.0, np.float64(-1.0), np.array(0.0)):
        with pytest.raises(ValueError, match="sigma must be positive"):
            npsubpix.find_peaks(gpu_array(image[0, 0]), sigma=sigma)


def test_adaptive_refinement_chooses_by_device(cupy):
    """With a radius on a GPU, without one on the host, unless a mode says otherwise."""
    x = np.random.default_rng(10).standard_normal((1, 1, 5, 12, 13))  # in which a maximum moves by two voxels
    adapt = npsubpix.AdaptiveQuadInterp3d
    pairs = [("auto", npsubpix.conv_quad_interp3d), ("patch", npsubpix.iterative_quad_interp3d)]
    for mode, function in pairs:
        launched = len(FakeCuPyDevice.launches)
        np.testing.assert_array_equal(adapt(mode)(gpu_array(x))[0], function(x)[0])
        assert len(FakeCuPyDevice.launches) > launched
    np.testing.assert_array_equal(adapt()(x)[0], npsubpix.iterative_quad_interp3d(x)[0])
    assert (npsubpix.conv_quad_interp3d(x)[0] != npsubpix.iterative_quad_interp3d(x)[0]).any()


@pytest.mark.parametrize("dtype", ["bool", "complex64", "U3"])
def test_wrong_dtypes(cupy, image, dtype):
    with pytest.raises(
        TypeError, match=f"input must hold integers or floats of up to 64 bits, got dtype .*{dtype[:4]}"
    ):
        npsubpix.conv_soft_argmax2d(gpu_array(image.astype(dtype)))


@pytest.mark.usefixtures("cuda_tensors")
def test_tensors_run_on_torchs_stream(image):
    """They come and go by DLPack, masks as booleans, on the stream that torch works on."""
    tensor = torch.from_numpy(image).float()
    values = npsubpix.nms2d(tensor, (3, 3))
    assert isinstance(values, torch.Tensor)
    np.testing.assert_array_equal(values.numpy(), npsubpix.nms2d(tensor.numpy(), (3, 3)))
    assert npsubpix.nms2d(tensor, (3, 3), mask_only=True).dtype == torch.bool
    assert FakeCuPyDevice.launches == [([None], [4711])] * 2
    assert not fake_cupy.FakeStreams.current


@pytest.mark.usefixtures("cuda_tensors")
def test_autograd_of_tensors(image):
    """backward() runs the kernels of the GPU, and a number on the host gets its gradient there."""
    tensor = torch.from_numpy(image).float().requires_grad_()
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    npsubpix.spatial_soft_argmax2d(tensor, temperature).square().sum().backward()
    assert len(FakeCuPyDevice.launches) == 4
    assert all(streams == [4711] for _, streams in FakeCuPyDevice.launches)
    plain, scale = torch.from_numpy(image).requires_grad_(), temperature.detach().clone().requires_grad_()
    npsubpix.spatial_soft_argmax2d(plain, scale).square().sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), plain.grad.numpy(), atol=1e-6)
    np.testing.assert_allclose(temperature.grad.numpy(), scale.grad.numpy(), rtol=1e-4)


@pytest.mark.usefixtures("cuda_tensors")
def test_a_spatial_transformer_of_tensors(rng):
    """Gradients by images and grids, on the stream of torch; a matrix may be on the host."""
    image, grid = rng.standard_normal((2, 3, 8, 9)), rng.uniform(-1.1, 1.1, (2, 4, 5, 2))
    grads = []
    for dtype in (torch.float32, torch.float64):
        x, g = (torch.from_numpy(a).to(dtype).requires_grad_() for a in (image, grid))
        npsubpix.grid_sample(x, g).square().sum().backward()
        grads.append((x.grad.double().numpy(), g.grad.double().numpy()))
    for single, double in zip(*grads, strict=True):
        np.testing.assert_allclose(single, double, atol=1e-4 * np.abs(double).max())
    assert {tuple(streams) for _, streams in FakeCuPyDevice.launches} == {(4711,)}


# What is missing


@pytest.mark.usefixtures("cuda_tensors")
def test_families_without_kernels_say_so(image, monkeypatch):
    """Never a copy to the host in silence."""
    monkeypatch.setattr(backends, "has_gpu_kernels", lambda family: family != "background")  # all have some
    tensor = torch.from_numpy(image).float()
    for source, move in ((tensor, r"x\.cpu\(\)"), (gpu_array(image), r"x\.get\(\)")):
        with pytest.raises(TypeError, match=rf"no background kernels for CUDA arrays yet, got a \w+ array .* {move}"):
            npsubpix.local_background(source[0, 0])


@pytest.mark.usefixtures("cuda_tensors")
def test_without_cupy(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"through CuPy, which is not installed: pip install 'npsubpix\[cuda13\]'"):
        npsubpix.nms2d(torch.from_numpy(image).float(), (3, 3))


@pytest.mark.usefixtures("cuda_tensors")
@pytest.mark.parametrize(("count", "why"), [(0, "there is none"), (-1, "cudaErrorInsufficientDriver")])
def test_cupy_without_a_gpu(image, monkeypatch, count, why):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy.make(count))
    with pytest.raises(RuntimeError, match=f"CuPy finds no GPU that it can use: {why}"):
        npsubpix.nms2d(torch.from_numpy(image).float(), (3, 3))


def test_nothing_of_the_gpu_is_loaded_on_the_host():
    """Without CuPy, the library and all that runs on the CPU do not notice."""
    code = (
        "import sys; sys.modules['cupy'] = None\n"
        "import numpy as np, npsubpix\n"
        "npsubpix.nms2d(np.zeros((1, 1, 5, 5)), (3, 3))\n"
        "assert not [m for m in sys.modules if m.startswith('npsubpix._cuda')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
