"""Arrays in, arrays out: libraries, dtypes, devices, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix._arrays import adoption


@pytest.fixture
def image(rng):
    return rng.standard_normal((1, 1, 20, 21)).astype(np.float32)


def test_torch_is_not_copied(image):
    """The kernels read the tensor's own memory."""
    tensor = torch.from_numpy(image)
    assert adoption.adopt(tensor, "input").ctypes.data == tensor.data_ptr()
    assert adoption.adopt(image, "input").ctypes.data == image.ctypes.data
    locked = image.view()
    locked.setflags(write=False)
    assert adoption.adopt(locked, "input").ctypes.data == image.ctypes.data


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back(image, dtype):
    tensor = torch.from_numpy(image).to(dtype)
    values = npsubpix.nms2d(tensor, (3, 3))
    assert values.dtype == dtype
    exact = npsubpix.nms2d(tensor.float(), (3, 3))
    assert torch.equal(values.float(), exact)
    coords, y = npsubpix.iterative_quad_interp3d(tensor[:, :, None].expand(1, 1, 3, 20, 21))
    assert coords.dtype == y.dtype == dtype
    peaks = npsubpix.find_peaks(tensor[0, 0])
    assert peaks.coords.dtype == torch.float64


@pytest.mark.parametrize("call", [
    lambda x: npsubpix.find_peaks(x[0, 0]).coords,
    lambda x: npsubpix.refine_peaks(x[0, 0], torch.tensor([[5.0, 5.0]])).coords,
])  # fmt: skip
def test_tensor_that_requires_a_gradient(image, call):
    """A gradient is refused, never lost in silence; without gradients the tensor is read."""
    tensor = torch.from_numpy(image).requires_grad_()
    with pytest.raises(TypeError, match=r"requires a gradient.*detach\(\)"):
        call(tensor)
    with torch.no_grad():
        assert not call(tensor).requires_grad
    assert torch.equal(call(tensor.detach()), call(torch.from_numpy(image)))


def test_tensors_that_cannot_be_taken(image):
    with pytest.raises(TypeError, match="device meta"):
        npsubpix.nms2d(torch.from_numpy(image).to("meta"), (3, 3))
    with pytest.raises(TypeError, match="dense tensor"):
        npsubpix.nms2d(torch.from_numpy(image).to_sparse(), (3, 3))
    with pytest.raises(TypeError, match="integers or floats"):
        npsubpix.conv_soft_argmax2d(torch.from_numpy(image) > 0)
    with pytest.raises(TypeError, match="integers or floats"):
        npsubpix.nms2d(torch.from_numpy(image).to(torch.complex64), (3, 3))


def test_lazy_tensors(image):
    """A negation that torch has only noted, and zeros without memory, are what they say."""
    tensor = torch.from_numpy(image)
    lazy = torch.complex(torch.zeros_like(tensor), tensor).conj().imag
    assert lazy.is_neg()
    assert torch.equal(npsubpix.nms2d(lazy, (3, 3)), npsubpix.nms2d(-tensor, (3, 3)))
    zeros = torch._efficientzerotensor(9, 9)
    assert len(npsubpix.find_peaks(zeros, exclude_border=False, plateau="first")) == 0


def test_strided_tensors(image):
    tensor = torch.from_numpy(np.repeat(image, 2, axis=3))[..., ::2]
    assert torch.equal(npsubpix.nms2d(tensor, (3, 3)), npsubpix.nms2d(torch.from_numpy(image), (3, 3)))
    turned = torch.from_numpy(image).transpose(2, 3)
    want = npsubpix.nms2d(torch.from_numpy(image), (3, 3)).transpose(2, 3)
    assert torch.equal(npsubpix.nms2d(turned, (3, 3)), want)


def test_jax_arrays_come_back_as_jax_arrays(image):
    """On the host, in JAX's own precision: 32 bits unless it is told otherwise."""
    import jax.numpy as jnp

    source = jnp.asarray(image)
    values = npsubpix.nms2d(source, (3, 3))
    assert type(values) is type(source)
    np.testing.assert_array_equal(np.asarray(values), npsubpix.nms2d(image, (3, 3)))
    assert npsubpix.nms2d(source.astype(jnp.bfloat16), (3, 3)).dtype == jnp.bfloat16
    peaks, want = npsubpix.find_peaks(source[0, 0]), npsubpix.find_peaks(image[0, 0])
    assert type(peaks.coords) is type(source)
    np.testing.assert_allclose(np.asarray(peaks.coords), want.coords, rtol=1e-6)
    assert peaks.flag_names() == want.flag_names()
    assert len(peaks[peaks.ok]) == want.ok.sum()


@pytest.mark.parametrize("library", ["zarr", "h5py", "dask", "xarray of dask", "xarray of a file"])
def test_arrays_in_files_are_not_loaded_whole(image, library, tmp_path):
    """Frames that are asked for one by one are read."""
    movie = np.repeat(image[0], 60, axis=0)
    if library == "zarr":
        import zarr

        stack = zarr.create_array(str(tmp_path / "movie.zarr"), data=movie, chunks=(1, 20, 21))
    elif library == "h5py":
        import h5py

        with h5py.File(tmp_path / "movie.h5", "w") as file:
            file["movie"] = movie  # not chunked
        stack = h5py.File(tmp_path / "movie.h5")["movie"]
    elif library == "dask":
        stack = pytest.importorskip("dask.array").from_array(movie, chunks=(1, 20, 21))
    else:
        xarray, dask = pytest.importorskip("xarray"), pytest.importorskip("dask.array")
        stack = xarray.DataArray(dask.from_array(movie, chunks=(1, 20, 21)), dims=("t", "y", "x"))
        if library == "xarray of a file":
            pytest.importorskip("scipy")
            xarray.Dataset({"movie": (("t", "y", "x"), movie)}).to_netcdf(tmp_path / "movie.nc", engine="scipy")
            stack = xarray.open_dataset(tmp_path / "movie.nc", engine="scipy")["movie"]
    name = library.partition(" ")[0]
    message = (
        rf"image is an array of {name}, of shape \(60, 20, 21\) and dtype .*float32, which .*, 101 kB: npsubpix\.locate"
    )
    with pytest.raises(TypeError, match=message):
        npsubpix.find_peaks(stack, frame_axis=0)
    want = npsubpix.find_peaks(movie, frame_axis=0)
    np.testing.assert_array_equal(npsubpix.find_peaks(np.asarray(stack), frame_axis=0).coords, want.coords)
    np.testing.assert_array_equal(npsubpix.locate(stack).coords, want.coords)
    assert len(npsubpix.align_stack(stack[:3])) == 3
    assert [a.flags for a in npsubpix.align_stack(stack, n_iters=1)] == [
        a.flags for a in npsubpix.align_stack(movie, n_iters=1)
    ]


def test_positions_in_data_frames_are_known_by_name():
    """Tables of other programs have x before y, which would exchange the axes in silence."""
    pandas = pytest.importorskip("pandas")
    image = np.zeros((2, 30, 50))
    image[1, 10, 40] = 9.0
    table = pandas.DataFrame({"mass": [1.0], "x": [40.0], "y": [10.0], "frame": [1]})
    peaks = npsubpix.refine_peaks(image, table, frame_axis=0)
    np.testing.assert_array_equal(peaks.indices, [[10, 40]])
    assert peaks.frame.tolist() == [1]
    with pytest.raises(ValueError, match=r"coords must have the columns y and x.*got mass, x"):
        npsubpix.refine_peaks(image, table[["mass", "x"]], frame_axis=0)
