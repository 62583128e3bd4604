"""Detectors in scale space against kornia 0.9.0, recorded and live, and against blobs of known size."""

from __future__ import annotations

import ast
import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import npsubpix
from npsubpix import nn, operators
from npsubpix._arrays import namespace
from tests.assertions import assert_same
from tests.cuda_host.fake_cupy import FakeCuPyDevice
from tests.witness.detectors import (
    CASES,
    DOG,
    RECORDING,
    SEED_PYRAMID,
    Detection,
    detected_by_kornia,
    kornia_package,
    recalled,
)

Arrays = list[np.ndarray]


@pytest.fixture
def kornia() -> SimpleNamespace:
    """Classes of kornia 0.9.0, where it is installed."""
    package = pytest.importorskip("kornia")
    if package.__version__ != "0.9.0":
        pytest.skip(f"kornia is {package.__version__}, not 0.9.0")
    return kornia_package()


def detected(case: Detection, library: str = "numpy") -> Arrays:
    """Return frames and responses of a case for arrays of a library."""
    if library == "numpy":
        return list(case.made(operators, strict_maxima_bonus=0.0)(case.images, case.mask))
    detector = case.made(nn, strict_maxima_bonus=0.0)
    mask = None if case.mask is None else torch.from_numpy(case.mask)
    return [result.numpy() for result in detector(torch.from_numpy(case.images), mask)]


def agree(ours: Arrays, theirs: Arrays) -> None:
    """Assert that frames and responses are the same features, in the order of their responses.

    Rounding of the levels moves a feature by about 1e-5 pixels, and exchanges two whose responses are that close. The
    weights of kornia's Gaussians are rounded to float32 for images of float64 too.
    """
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=4e-6 * np.abs(theirs[1]).max())
    for a, b in zip(ours[0], theirs[0], strict=True):
        distance = np.abs(a[:, None] - b).max((2, 3))
        assert distance.min(0).max() < 1e-3
        assert distance.min(1).max() < 1e-3


CASES_OF_NAMES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.exhaustive] * (case.images.dtype != np.float32))
    for case in CASES
]


@pytest.mark.parametrize("case", CASES_OF_NAMES)
@pytest.mark.parametrize("library", ["numpy", "nn"])
def test_recorded(case, library):
    """A pipeline that has the detector of kornia finds the same features with this one."""
    with np.load(RECORDING) as stored:
        agree(detected(case, library), recalled(case, stored))


def test_recordings_are_of_these_cases():
    with np.load(RECORDING) as stored:
        about = ast.literal_eval(str(stored["about"]))
    assert about["kornia"] == "0.9.0"
    assert about["inputs"] == {case.name: case.digest() for case in CASES}


@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize(
    "case", [CASES[0], *(pytest.param(c, marks=pytest.mark.exhaustive) for c in CASES[1:])], ids=lambda c: c.name
)
def test_live(case):
    """What the installed kornia computes on this machine, with this torch."""
    agree(detected(case), detected_by_kornia(case))


@pytest.mark.exhaustive  # photographs
@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize(
    ("photograph", "options"),
    [("camera", DOG | {"scale_pyr_module": SEED_PYRAMID}), ("moon", {})],
    ids=["dog", "hessian"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_photographs(photograph, options, dtype):
    """The strongest 1000 features of a photograph are kornia's, but for a few at a limit in float32."""
    import skimage.data

    image = getattr(skimage.data, photograph)()[None, None].astype(dtype) / dtype(255)
    case = Detection(photograph, image, options | {"num_features": 1000})
    ours, theirs = (
        np.column_stack([frames[0, :, :, 2], frames[0, :, 0, 0]])
        for frames, _ in (detected(case), detected_by_kornia(case))
    )
    for a, b in ((ours, theirs), (theirs, ours)):
        distances = cKDTree(a).query(b)[0]
        assert np.median(distances) < 3e-4
        assert (distances < (0.03 if dtype == np.float32 else 1e-3)).sum() >= (998 if dtype == np.float32 else 1000)


@pytest.mark.usefixtures("backend")
def test_both_backends():
    """A detector for arrays on a GPU runs the same operations there."""
    case = CASES[0]
    with np.load(RECORDING) as stored:
        agree(detected(case), recalled(case, stored))


def test_arrays_of_cupy(cupy, monkeypatch):
    """Kernels work on the device of the array, and whatever they return stays there."""
    import array_api_compat.numpy

    functions = vars(array_api_compat.numpy) | {
        "asarray": lambda x, dtype, device: cupy.asarray(x, dtype),  # noqa: ARG005
        "concat": lambda parts: cupy.asarray(np.concatenate(parts)),  # which makes NumPy's arrays of others
        "stack": lambda parts, axis=0: cupy.asarray(np.stack(parts, axis)),
    }
    monkeypatch.setattr(namespace.api, "array_namespace", lambda _: SimpleNamespace(**functions))
    case = CASES[6]
    with cupy.cuda.Device(1):
        images, mask = cupy.asarray(case.images), cupy.asarray(case.mask)
    FakeCuPyDevice.launches.clear()
    results = case.made(operators, strict_maxima_bonus=0.0)(images, mask)
    assert FakeCuPyDevice.launches
    assert all(devices[-1] == 1 for devices, _ in FakeCuPyDevice.launches)
    assert all(type(result) is cupy.ndarray for result in results)
    with np.load(RECORDING) as stored:
        agree([result.get() for result in results], recalled(case, stored))


EXAMPLE = """
detector = ScaleSpaceDetector(
    num_features=2000,
    resp_module=BlobDoG(),
    # default — auto-selects conv on CUDA, patch on CPU:
    subpix_module=AdaptiveQuadInterp3d(strict_maxima_bonus=0.0),
    scale_pyr_module=ScalePyramid(3, 1.6, 32, double_image=True),
    scale_space_response=True,
    minima_are_also_good=True,
)
"""


@pytest.mark.parametrize("package", [operators, nn], ids=["plain", "nn"])
def test_the_example_of_the_documentation_of_kornia(package):
    """Word for word, but for imports; there are fewer features than it asks for."""
    names = {name: getattr(package, name) for name in package.__all__}
    exec(EXAMPLE, names)
    images = CASES[0].images if package is operators else torch.from_numpy(CASES[0].images)
    frames, responses = names["detector"](images)
    assert tuple(frames.shape) == (2, 2000, 2, 3)
    assert tuple(responses.shape) == (2, 2000)
    with np.load(RECORDING) as stored:
        best = recalled(CASES[0], stored)[1][0][:100]
    np.testing.assert_allclose(np.asarray(responses)[0, :100], best, rtol=1e-5)
    empty = np.asarray(responses) == 0
    assert empty.any(axis=1).all()
    assert not np.asarray(frames)[empty].any()


# Parts


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 3, 40, 33), {}),
        ((1, 1, 36, 41), {"double_image": True, "min_size": 20, "n_levels": 2, "init_sigma": 1.2}),
        ((1, 1, 30, 21), {"init_sigma": 0.3, "min_size": 4, "extra_levels": 2}),
        ((1, 2, 11, 7), {"min_size": 2}),  # smaller than the windows
        ((1, 1, 1, 6), {"min_size": 0, "double_image": True}),
        ((1, 1, 3, 2), {"min_size": 0}),
    ],
)
def test_pyramids_are_those_of_kornia(kornia, rng, shape, options):
    """Levels of all octaves, their scales, and the distances of their pixels.

    Torch interpolates at positions of float32, which are wrong by up to 4e-6 pixels, between pixels that differ by 3.
    """
    x = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    theirs, ours = kornia.ScalePyramid(**options)(x), nn.ScalePyramid(**options)(x)
    for a, b in zip(ours, theirs, strict=True):
        assert len(a) == len(b)
        for level, want in zip(a, b, strict=True):
            torch.testing.assert_close(level, want, rtol=1e-6, atol=1e-5)
    made = nn.ScalePyramid(**options), kornia.ScalePyramid(**options)
    for name in ("n_levels", "extra_levels", "init_sigma", "min_size", "border", "sigma_step", "double_image"):
        assert getattr(made[0], name) == getattr(made[1], name)


def test_responses_are_those_of_kornia(kornia, rng):
    images = torch.from_numpy(rng.standard_normal((3, 2, 9, 12)).astype(np.float32))
    sigmas = torch.tensor([0.5, 1.0, 2.0])
    for mode in ("sobel", "diff"):
        for more in ((), (sigmas,)):
            want = kornia.BlobHessian(mode)(images, *more)
            torch.testing.assert_close(nn.BlobHessian(mode)(images, *more), want, rtol=1e-5, atol=1e-5)
    levels = images.reshape(1, 2, 3, 9, 12)
    torch.testing.assert_close(nn.BlobDoG()(levels, sigmas), kornia.BlobDoG()(levels, sigmas))


@pytest.mark.parametrize("name", ["BlobDoG", "BlobHessian", "ScalePyramid", "ScaleSpaceDetector"])
def test_signatures(kornia, name):
    """Arguments by position and by name mean what they mean in kornia; `unbiased_sizes` comes by name."""
    for at in ("__init__", "forward", "detect") if name == "ScaleSpaceDetector" else ("__init__", "forward"):
        ours, theirs = (inspect.signature(getattr(getattr(p, name), at)).parameters for p in (nn, kornia))
        shown = [(p.name, p.default) for p in ours.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        assert shown == [(p.name, p.default) for p in theirs.values()]
    plain = inspect.signature(getattr(operators, name)).parameters
    made = inspect.signature(getattr(nn, name)).parameters
    assert {p: v.default for p, v in plain.items()} == {p: v.default for p, v in made.items() if p != "compile_modules"}


@pytest.mark.exhaustive  # six detectors
def test_parts_are_exchanged_with_those_of_kornia(kornia):
    """Either detector takes the pyramid, the response and the refinement of the other, and checkpoints of either."""
    case = CASES[0]
    image = torch.from_numpy(case.images)

    def parts(package: Any) -> dict[str, Any]:
        return case.options | {
            "resp_module": package.BlobDoG(),
            "scale_pyr_module": package.ScalePyramid(3, 1.6, 32, double_image=True),
            "subpix_module": package.AdaptiveQuadInterp3d(**{"strict_maxima_bonus": 0.0} if package is nn else {}),
        }

    with torch.no_grad():
        want = [result.numpy() for result in kornia.ScaleSpaceDetector(**parts(kornia))(image)]
        agree([result.numpy() for result in nn.ScaleSpaceDetector(**parts(kornia))(image)], want)
        agree([result.numpy() for result in kornia.ScaleSpaceDetector(**parts(nn))(image)], want)
    nn.ScaleSpaceDetector(**parts(nn)).load_state_dict(kornia.ScaleSpaceDetector(**parts(kornia)).state_dict())


@pytest.mark.parametrize("package", [operators, nn])
def test_differences_of_levels_without_levels_name_the_option(package):
    """The response of one image at a time has no other level to subtract."""
    detector = package.ScaleSpaceDetector(10, resp_module=package.BlobDoG())
    with pytest.raises(ValueError, match="pass scale_space_response=True"):
        detector(CASES[0].images if package is operators else torch.from_numpy(CASES[0].images))


def test_shapes_and_orientations_of_frames():
    """Modules for them get frames and images; frames that are not filled stay so."""
    case = CASES[1]
    called = []

    def turned(frames: Any, images: Any) -> Any:
        called.append((frames.shape, images.shape))
        return frames[..., ::-1, :] / (frames != 0).any((2, 3), keepdims=True)

    detector = operators.ScaleSpaceDetector(200, resp_module=operators.BlobDoG(), scale_space_response=True)
    frames, responses = detector(case.images)
    detector.aff_module = turned
    with np.errstate(invalid="ignore"):
        other, same = detector(case.images)
    assert called == [((2, 200, 2, 3), case.images.shape)]
    assert (frames == 0).all((2, 3)).any()
    np.testing.assert_array_equal(other, frames[..., ::-1, :])
    np.testing.assert_array_equal(same, responses)


@pytest.mark.exhaustive  # torch.compile
def test_compiled_parts():
    images = torch.from_numpy(CASES[0].images)
    options = {"resp_module": nn.BlobDoG(), "scale_space_response": True, "minima_are_also_good": True}
    with torch.no_grad():
        want = nn.ScaleSpaceDetector(50, **options)(images)
        agree(
            [r.numpy() for r in nn.ScaleSpaceDetector(50, compile_modules=["resp", "subpix"], **options)(images)],
            [r.numpy() for r in want],
        )
    with pytest.raises(ValueError, match="compile_modules must be among scale_pyr, resp, subpix, ori, aff, got 'nms'"):
        nn.ScaleSpaceDetector(compile_modules=["nms"])


# Sizes


def blobs(widths: tuple[float, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright Gaussian blobs of some widths in a row each, and positions (x, y) and widths."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:192, : 96 * len(widths)]
    truth, image = [], np.zeros(rows.shape)
    for k, width in enumerate(widths):
        x, y = 96 * k + 48 + rng.uniform(-0.5, 0.5), 96 + rng.uniform(-0.5, 0.5)
        image += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
        truth.append((x, y, width))
    return image.astype(np.float32), np.array(truth)


@pytest.mark.parametrize(
    ("response", "double_image", "widths"),
    [
        ("dog", True, (1.3, 2.0, 3.1, 4.7, 7.0)),
        ("dog", False, (3.1, 4.7, 7.0)),
        ("sobel", True, (1.5, 3.1, 4.7, 7.0)),
        ("diff", False, (2.0, 3.1, 4.7)),
    ],
)
def test_unbiased_sizes(response, double_image, widths):
    """A frame is as large as its blob: within 1 %, where those of kornia differ by 11 % and more for DoG."""
    errors, biased = [], []
    for seed in range(3):
        image, truth = blobs(widths, seed)
        detector = operators.ScaleSpaceDetector(
            len(widths),
            1.0,
            operators.ScalePyramid(3, 1.6, 15, double_image),
            operators.BlobDoG() if response == "dog" else operators.BlobHessian(response),
            minima_are_also_good=response == "dog",
            scale_space_response=response == "dog",
        )
        plain = detector(image[None, None])
        detector.unbiased_sizes = True
        frames, responses = detector(image[None, None])
        np.testing.assert_array_equal(responses, plain[1])
        np.testing.assert_array_equal(frames[..., 2], plain[0][..., 2])
        order = np.argsort(frames[0, :, 0, 2])
        assert np.abs(frames[0, order, :, 2] - truth[:, :2]).max() < 0.15  # in octaves of up to 4 pixels per pixel
        sizes, others = (np.sqrt(f[0, order, 0, 0] * f[0, order, 1, 1]) for f in (frames, plain[0]))
        errors.append(np.log(sizes / truth[:, 2]))
        biased.append(np.log(others / truth[:, 2]))
    assert np.abs(np.mean(errors, 0)).max() < 0.01
    if response == "dog":
        assert np.mean(biased, 0).max() < -0.11


def test_unbiased_sizes_need_to_know_the_parts():
    image = np.zeros((1, 1, 40, 40))
    with pytest.raises(TypeError, match="unbiased_sizes needs a resp_module with a method size_relation, got <ufunc"):
        operators.ScaleSpaceDetector(resp_module=np.add, unbiased_sizes=True)(image)
    with pytest.raises(TypeError, match="unbiased_sizes needs a scale_pyr_module with the attributes of ScalePyramid"):
        operators.ScaleSpaceDetector(scale_pyr_module=operators.ScalePyramid(3).__call__, unbiased_sizes=True)(image)


# Arrays


@pytest.mark.exhaustive  # kernels of gradients, in float64
def test_gradients():
    """Frames and responses of tensors pass gradients back to the image."""
    generator = torch.Generator().manual_seed(0)
    image, _ = blobs((3.0,), 0)
    x = torch.tensor(image[None, None, 50:140], dtype=torch.float64, requires_grad=True)
    detector = nn.ScaleSpaceDetector(2, 1.0, minima_are_also_good=True, unbiased_sizes=True)
    weights = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)

    def loss(x: torch.Tensor) -> torch.Tensor:
        frames, responses = detector(x)
        return (frames * weights).sum() + responses.sum()

    (gradient,) = torch.autograd.grad(loss(x), x)
    step = torch.randn(x.shape, generator=generator, dtype=torch.float64) * (x.detach() > 0.1)
    with torch.no_grad():
        slope = (loss(x + 1e-5 * step) - loss(x - 1e-5 * step)) / 2e-5
    torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_dtypes(dtype, wrap):
    """Frames have at least float32, in which pixels of large images can be told apart; responses that of the image."""
    image = (200 * blobs((4.0,), 0)[0]).round()[None, None]
    want = operators.ScaleSpaceDetector(1)(image)
    frames, responses = operators.ScaleSpaceDetector(1)(wrap(image.astype(dtype)))
    assert str(responses.dtype).removeprefix("torch.") == ("float16" if dtype == "float16" else "float32")
    assert str(frames.dtype).removeprefix("torch.") == "float32"
    np.testing.assert_allclose(frames, want[0], atol=0.3 if dtype == "float16" else 0)


@pytest.mark.parametrize("shape", [(0, 1, 40, 40), (2, 1, 40, 50), (1, 1, 1, 30), (1, 1, 30, 1), (1, 1, 1, 1)])
def test_images_without_features(shape, wrap):
    """Images of one value, of a single row or column, and none at all: frames of zeros."""
    for options in ({}, {"resp_module": operators.BlobDoG(), "scale_space_response": True}):
        frames, responses = operators.ScaleSpaceDetector(7, **options)(wrap(np.full(shape, 3.7, np.float32)))
        assert_same(frames, wrap(np.zeros((shape[0], 7, 2, 3), np.float32)))
        assert_same(responses, wrap(np.zeros((shape[0], 7), np.float32)))


def test_nan_hides_its_surroundings_alone():
    """A dead pixel costs the features whose windows contain it, and no other."""
    image, truth = blobs((2.0, 3.0), 0)
    image[96, 30] = np.nan
    frames, _ = operators.ScaleSpaceDetector(5)(image[None, None])
    assert np.isfinite(frames).all()
    assert np.abs(frames[0, :, :, 2] - truth[1, :2]).max(1).min() < 0.1


def test_masks():
    """Booleans, integers and floats of 0 hide features; weights weaken others and never strengthen one."""
    image, truth = blobs((3.0, 4.0), 0)
    detector = operators.ScaleSpaceDetector(2, 1.0)
    frames, responses = detector(image[None, None])
    assert set(frames[0, :, 0, 2].round()) == set(truth[:, 0].round())
    half = np.ones((1, 1, *image.shape), bool)
    half[..., :96] = False
    for mask in (half, half * np.uint8(255), half * np.float32(2)):
        kept, _ = detector(image[None, None], mask)
        assert np.abs(kept[0, 0] - frames[0, frames[0, :, 0, 2] > 96]).max() == 0
        assert not kept[0, 1].any()
    weak = np.where(half, 0.25, 1.0)
    _, weaker = detector(image[None, None], weak)
    np.testing.assert_allclose(sorted(weaker[0]), sorted(responses[0] * np.where(frames[0, :, 0, 2] > 96, 0.25, 1)))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.zeros((40, 40)),), ValueError, r"img must have 4 dimensions, \(B, C, H, W\), got shape \(40, 40\)"),
        ((np.zeros((1, 1, 40, 40), complex),), TypeError, "img must hold real numbers"),
        ((np.zeros((1, 1, 40, 0)),), ValueError, "x must have at least one pixel along each axis"),
        ((np.zeros((1, 2, 40, 40)),), ValueError, r"resp_module must return one map per image, \(5, 1, 40, 40\)"),
        (("cells.tif",), TypeError, "img must be an array, got 'cells.tif'"),
        (
            (np.zeros((1, 1, 40, 40)), np.ones((1, 1, 40, 41))),
            ValueError,
            r"mask must have shape \(1, 1, 40, 40\) or \(1, 1, 40, 40\), got \(1, 1, 40, 41\)",
        ),
    ],
)
def test_wrong_arrays(arguments, error, words):
    with pytest.raises(error, match=words):
        npsubpix.ScaleSpaceDetector()(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_features": -1}, ValueError, "num_features must be at least 0, got -1"),
        ({"mr_size": 0}, ValueError, "mr_size must be positive, got 0"),
        ({"resp_module": operators.BlobDoG}, TypeError, "resp_module must be an instance, got the class BlobDoG"),
        ({"subpix_module": "conv"}, TypeError, "subpix_module must be callable, got 'conv'"),
        ({"minima_are_also_good": 1}, TypeError, "minima_are_also_good must be True or False, got 1"),
    ],
)
@pytest.mark.parametrize("package", [operators, nn], ids=["plain", "nn"])
def test_wrong_options(package, options, error, words):
    with pytest.raises(error, match=words):
        package.ScaleSpaceDetector(**options)
