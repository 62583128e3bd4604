"""The table of operations, the kernels of both backends and the public functions agree on names."""

from __future__ import annotations

import importlib
import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix._dispatch import call as dispatch
from npsubpix._dispatch.operation import Operation
from npsubpix._dispatch.operations import OPERATIONS
from tests.examples import BESIDES, EXAMPLES, arrays_of, bound, called_with

#: Public functions that run no kernels of their own: torch or NumPy does it, or other functions do.
WITHOUT_KERNELS = {
    "affine_grid", "apply_drift", "assess", "build_psf", "choose_conv_method", "cramer_rao", "drift_of",
    "estimate_camera", "fit_astigmatic_curve", "refine_corners", "sample_vjp", "simulate_spots", "transform_points",
    "vjp", "warmup",
}  # fmt: skip

#: Public functions of files, stores and arrays of any size.
OF_SOURCES = {"coadd", "locate", "open_image"}

FUNCTIONS = {name: operation for operation in OPERATIONS.values() for name in operation.functions}


def twin(operation: Operation, backend: str, suffix: str = "") -> inspect.Signature:
    module = importlib.import_module(f"npsubpix.{backend}.{operation.family}")
    return inspect.signature(getattr(module, operation.name + suffix))


def named(signature: inspect.Signature, *kinds: inspect._ParameterKind) -> list[str]:
    return [name for name, parameter in signature.parameters.items() if parameter.kind in kinds]


BY_POSITION = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL


@pytest.mark.parametrize("backend", ["_cpu", "_cuda"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_twins_take_the_arrays_and_the_options_of_the_table(operation, backend):
    """An option that is called otherwise in one place would be given to another parameter, or to none."""
    signature = twin(operation, backend)
    assert named(signature, *BY_POSITION) == [argument.name for argument in operation.arguments]
    assert named(signature, inspect.Parameter.KEYWORD_ONLY) == list(operation.option_names)
    if operation.differentiable:
        signature = twin(operation, backend, "_vjp")
        assert named(signature, *BY_POSITION) == ["cotangents", "arrays", "saved"]
        assert named(signature, inspect.Parameter.KEYWORD_ONLY) == list(operation.option_names)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS.values() if o.functions], ids=lambda o: o.name)
def test_public_functions_have_the_names_of_the_table(operation):
    """A caller gives arrays and options by the names that kernels know, but for those that are internal."""
    public = [set(inspect.signature(getattr(npsubpix, name)).parameters) for name in operation.functions]
    own = {argument.name for argument in operation.arguments} | set(operation.option_names)
    assert operation.internal <= own
    assert own - operation.internal <= set().union(*public)
    assert not operation.internal & set.intersection(*public)


def test_every_public_function_is_in_the_table_once():
    public = {name for name in npsubpix.__all__ if name[0].islower()}
    assert sum(len(operation.functions) for operation in OPERATIONS.values()) == len(FUNCTIONS)
    assert set(FUNCTIONS) == public - WITHOUT_KERNELS - OF_SOURCES


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_options_that_torch_traces_have_types(operation):
    typed = [len(option.split()) == 2 for option in operation.options]
    assert all(typed) if operation.shapes is not None else not any(typed)


def test_every_public_function_has_an_example():
    public = {name for name in npsubpix.__all__ if name[0].islower()}
    assert {*EXAMPLES, *BESIDES} == public - {"vjp", "warmup", "apply_drift"} - OF_SOURCES  # apply_drift takes tables
    assert all(arrays_of(name) for name in (*EXAMPLES, *BESIDES))


# Values that are no arrays of numbers

NAMES = sorted([*EXAMPLES, *BESIDES])


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((1, 2, 4, 7, 8))


def replaced(name: str, argument: str, value: Any) -> dict[str, Any]:
    """Return a value for an argument, or for the first of any number."""
    parameter = inspect.signature(getattr(npsubpix, name)).parameters[argument]
    return {argument: (value,) if parameter.kind is parameter.VAR_POSITIONAL else value}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", NAMES)
def test_strings_and_objects_are_type_errors(name, x, wrap):
    """That name the argument, whichever it is; not errors about shapes, or of NumPy."""
    for argument in arrays_of(name):
        for value in ("cells.tif", Path("cells.tif"), np.array([["a"]]), np.array([None, 1.0]), np.datetime64("2026")):
            if argument in ("init", "detect") and isinstance(value, str):
                continue  # the name of a method
            with pytest.raises(TypeError, match=rf"^{argument} must "):
                called_with(name, wrap(x), **replaced(name, argument, value))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["cells.tif", Path("cells.tif")])
def test_the_name_of_a_file_as_an_image_says_how_to_read_it(name, path, x):
    argument = arrays_of(name)[1 if name == "sample_vjp" else 0]
    hint = r", got 'cells\.tif': read it first: npsubpix\.open_image\(path\)\.read\(\)"
    if argument in ("mean", "coords", "theta", "matrix", "kernel", "found", "flux", "table"):
        hint = r", got 'cells\.tif'$"
    with pytest.raises(TypeError, match=f"{argument} must be an array{hint}"):
        called_with(name, x, **replaced(name, argument, path))


@pytest.mark.exhaustive  # which compiles for all readers
def test_what_the_hint_says_works(tmp_path):
    np.save(tmp_path / "spot.npy", np.eye(5)[:1] + np.eye(5)[::2, :1])
    image = npsubpix.open_image(tmp_path / "spot.npy").read()
    assert len(npsubpix.find_peaks(image, exclude_border=False)) == 1


@pytest.mark.parametrize(
    ("operator", "options"),
    [
        ("NonMaximaSuppression2d", [(3, 3)]), ("NonMaximaSuppression3d", [(3, 3, 3)]), ("ConvQuadInterp3d", []),
        ("IterativeQuadInterp3d", []), ("AdaptiveQuadInterp3d", []), ("ConvSoftArgmax2d", []),
        ("ConvSoftArgmax3d", []), ("SpatialSoftArgmax2d", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("module", ["", "nn"])
def test_operators_say_it_too(operator, options, module):
    from npsubpix import nn

    apply = getattr(nn if module else npsubpix, operator)(*options)
    with pytest.raises(TypeError, match=r"input must be an array, got 'cells\.tif': read it first"):
        apply("cells.tif")


@pytest.mark.parametrize("name", sorted({*NAMES} - {"align_stack"}))  # which takes a sequence of images
def test_results_of_several_arrays_are_no_array(name, x):
    """NumPy would stack values and gradient."""
    pair = npsubpix.Sample(x[0, 0, 0], x[0, 0, 0])
    with pytest.raises(TypeError, match="must be an array, got a Sample: pass one of its fields, values, gradient"):
        called_with(name, x, **replaced(name, arrays_of(name)[0], pair))


# Booleans


class Reached(Exception):
    """The arrays with which kernels would be called."""


@pytest.fixture
def stop_at_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise `Reached` instead of running a kernel, so that none is compiled."""
    from npsubpix._dispatch import autograd

    def reach(*arrays: Any, **_: Any) -> None:
        raise Reached(*arrays)

    for module in (dispatch, autograd):
        monkeypatch.setattr(module, "function_of", lambda *_: reach)


#: The dtype in which functions take images of booleans; all others refuse them. kornia's are as in kornia, where the
#: other operators raise.
OF_BOOLEANS = dict.fromkeys(
    ["fit_spots", "fit_patches", "build_psf", "find_blobs", "find_peaks", "refine_peaks", "refine_corners",
     "sample", "sample_with_gradient", "sample_vjp", "warp",
     "measure_spots",
     "spline_filter", "align", "align_stack", "window_map", "window_sum", "window_mean", "window_var", "window_std",
     "window_centroid", "window_min", "window_max", "window_range", "window_median", "window_percentile",
     "laplacian_of_gaussian", "difference_of_gaussians", "nms3d_minmax", "spatial_softmax2d", "spatial_soft_argmax2d",
     "spatial_softmax", "spatial_expectation", "spatial_soft_argmax", "spatial_moments"],
    np.uint8,
)  # fmt: skip
OF_BOOLEANS |= {
    "scale_space": np.float32,
    "convolve": np.float32,
    "correlate": np.float32,
    "convolve_separable": np.float32,
}
OF_BOOLEANS |= {"choose_conv_method": np.float64, "nms2d": np.int64, "nms3d": np.int64}


@pytest.mark.usefixtures("backend", "stop_at_kernels")
@pytest.mark.parametrize("name", NAMES)
def test_images_of_booleans_are_0_and_1_or_refused(name, x, wrap):
    argument = "image" if name == "sample_vjp" else arrays_of(name)[0]
    first = bound(name, x).arguments[argument]
    image = np.asarray(first[0] if isinstance(first, tuple) else first) > 0
    library = np.asarray if name == "sample_vjp" else wrap
    changes = replaced(name, argument, library(image))
    if name not in OF_BOOLEANS:
        with pytest.raises(TypeError, match=rf"^{argument} .*bool"):
            called_with(name, library(x), **changes)
        return
    with pytest.raises(Reached) as reached:
        called_with(name, library(x), **changes)
    taken = np.asarray(reached.value.args[1][0] if name == "sample_vjp" else reached.value.args[0])
    assert taken.dtype == OF_BOOLEANS[name]
    want = image[0] if name == "align_stack" else image
    np.testing.assert_array_equal(taken.reshape(want.shape), want)


@pytest.mark.exhaustive  # which compiles for booleans of four families
@pytest.mark.usefixtures("backend")
def test_what_a_mask_gives(wrap):
    """Fractions of windows, not numbers that are rounded or saturate, and centres of blobs."""
    mask = np.zeros((12, 13), bool)
    mask[3:6, 4:8] = True
    box = np.ones((3, 3), bool)
    np.testing.assert_allclose(
        np.asarray(npsubpix.correlate(wrap(mask), np.ones((3, 3)) / 9))[4, 3:6], [1 / 3, 2 / 3, 1]
    )
    assert float(npsubpix.correlate(wrap(np.ones((40, 40), bool)), np.ones((31, 31)))[20, 20]) == 961
    assert float(npsubpix.correlate(wrap(mask), wrap(box))[4, 5]) == 9
    assert float(npsubpix.window_mean(wrap(mask), 3)[4, 4]) == pytest.approx(2 / 3)
    centre = npsubpix.refine_peaks(wrap(mask), [[4, 5]], method="centroid", radius=6, n_iters=50)
    np.testing.assert_allclose(np.asarray(centre.coords), [[4.0, 5.5]], atol=0.02)


# Arrays that are not in memory


#: Arguments that are images.
IMAGES = {"image", "images", "input", "fixed", "moving", "patches", "bright", "dark", "beads"}


class Lazy:
    """An array of chunks, as dask and zarr have them, which counts how often it is loaded."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.times = data, 0
        self.shape, self.ndim, self.dtype, self.chunks = data.shape, data.ndim, data.dtype, data.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.times += 1
        return self._data.astype(dtype) if dtype else self._data


@pytest.mark.usefixtures("stop_at_kernels")
@pytest.mark.parametrize("name", sorted({*NAMES} - {"align_stack"}))  # which takes one frame at a time
def test_lazy_arrays_are_refused_before_they_are_loaded(name, x):
    """An array in a file may be larger than memory: the error names what reads it in parts."""
    for argument in arrays_of(name):
        value = bound(name, x).arguments.get(argument)
        if value is None or argument == "kernels":
            continue
        lazy = Lazy(np.asarray(value[0] if isinstance(value, tuple | list) and argument == "images" else value))
        with pytest.raises(TypeError, match=f"^{argument} is an array of tests, of shape") as caught:
            called_with(name, x, **replaced(name, argument, lazy))
        assert f"np.asarray({argument}) loads it" in str(caught.value)
        assert ("npsubpix.locate" in str(caught.value)) == (argument in IMAGES)
        assert "\n" not in str(caught.value)
        assert lazy.times == 0


@pytest.mark.exhaustive  # which compiles all functions
def test_tensors_are_not_lazy(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        npsubpix.window_mean(torch.from_numpy(x[0, 0, 0]), 3)
        npsubpix.window_mean(x[0, 0, 0], 3)
