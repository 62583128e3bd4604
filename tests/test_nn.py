"""The modules of torch: what kornia's can do, and what torch does with modules."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import npsubpix
from npsubpix import nn, operators
from tests.assertions import assert_same
from tests.test_runtime import run

Tensors = tuple[torch.Tensor, ...]


def heat(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


MAPS, VOLUMES = heat(2, 3, 11, 14), heat(2, 3, 5, 11, 14)

#: Name, options that are none of the defaults, input.
MODULES: dict[str, tuple[dict[str, Any], torch.Tensor]] = {
    "SpatialSoftArgmax2d": ({"temperature": 0.5, "normalized_coordinates": False}, MAPS),
    "ConvSoftArgmax2d": (
        {
            "kernel_size": (5, 4),
            "stride": (2, 1),
            "padding": (2, 2),
            "temperature": 0.5,
            "normalized_coordinates": False,
            "eps": 1e-6,
            "output_value": True,
        },
        MAPS,
    ),
    "ConvSoftArgmax3d": (
        {
            "kernel_size": (3, 5, 4),
            "stride": (1, 2, 1),
            "padding": (0, 2, 2),
            "temperature": 0.5,
            "normalized_coordinates": True,
            "eps": 1e-6,
            "output_value": False,
            "strict_maxima_bonus": 3.0,
        },
        VOLUMES,
    ),
    "ConvQuadInterp3d": (
        {
            "n_iters": 2,
            "strict_maxima_bonus": 3.0,
            "max_subpixel_shift": 0.4,
            "dilation_radius": 2,
            "allow_scale_steps": False,
        },
        VOLUMES,
    ),
    "IterativeQuadInterp3d": (
        {
            "n_iters": 2,
            "strict_maxima_bonus": 3.0,
            "max_subpixel_shift": 0.4,
            "allow_scale_steps": False,
            "max_candidates": 3,
        },
        VOLUMES,
    ),
    "AdaptiveQuadInterp3d": (
        {
            "mode": "conv",
            "n_iters": 2,
            "strict_maxima_bonus": 3.0,
            "max_subpixel_shift": 0.4,
            "dilation_radius": 2,
            "allow_scale_steps": False,
            "max_candidates": 3,
        },
        VOLUMES,
    ),
    "NonMaximaSuppression2d": ({"kernel_size": (5, 4)}, MAPS),
    "NonMaximaSuppression3d": ({"kernel_size": (3, 5, 4)}, VOLUMES),
}


@pytest.fixture(params=list(MODULES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def module(name: str) -> torch.nn.Module:
    return getattr(nn, name)(**MODULES[name][0])


@pytest.fixture
def x(name: str) -> torch.Tensor:
    return MODULES[name][1]


def test_all_classes_are_modules():
    detectors = {"BlobDoG", "BlobHessian", "ScalePyramid", "ScaleSpaceDetector"}  # of test_operators_detector.py
    assert set(nn.__all__) == set(operators.__all__) == set(MODULES) | detectors


def test_all_options_are_used(name, module, x):
    """A module computes what the plain class of the same options computes; with other options something else."""
    options = MODULES[name][0]
    plain = getattr(npsubpix, name)(**options)
    assert all(getattr(module, option) == value for option, value in options.items())
    assert_same(module(x), plain(x))
    if not name.startswith("NonMaxima"):
        default = getattr(nn, name)()(x)
        first, second = ((r if isinstance(r, tuple) else (r,))[0] for r in (module(x), default))
        assert first.shape != second.shape or not torch.equal(first, second)


def test_signatures(name):
    """Arguments, their order and defaults are those of the plain class and, but for the bonus, of kornia 0.9.0."""
    ours = inspect.signature(getattr(nn, name)).parameters
    plain = inspect.signature(getattr(operators, name)).parameters
    assert list(ours) == list(plain)
    assert [p.default for p in ours.values()] == [p.default for p in plain.values()]
    subpix = pytest.importorskip("kornia.geometry.subpix")
    theirs = inspect.signature(getattr(subpix, name)).parameters
    assert list(ours) == list(theirs)
    for option in set(ours) - {"strict_maxima_bonus"}:  # None there, which stands for 0.8.3's
        assert ours[option].default == theirs[option].default
    forward = (inspect.signature(getattr(package, name).forward).parameters for package in (nn, subpix))
    names, defaults = zip(*((list(p), [q.default for q in p.values()]) for p in forward), strict=True)
    assert names[0] == names[1]
    assert defaults[0] == defaults[1]


def test_masks_are_passed_on():
    mask = npsubpix.nms3d(VOLUMES, (3, 3, 3), mask_only=True)
    mask[0] = False
    for name in ("ConvQuadInterp3d", "IterativeQuadInterp3d", "AdaptiveQuadInterp3d"):
        values = getattr(nn, name)(strict_maxima_bonus=100.0)(VOLUMES, precomputed_nms_mask=mask)[1]
        assert (values > 50).any()
        assert not (values > 50)[~mask].any()
    assert nn.NonMaximaSuppression2d((3, 3))(MAPS, mask_only=True).dtype == torch.bool
    assert nn.NonMaximaSuppression3d((3, 3, 3))(VOLUMES, mask_only=True).dtype == torch.bool


def test_repr():
    assert repr(nn.ConvSoftArgmax2d(temperature=0.5)) == (
        "ConvSoftArgmax2d(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), temperature=0.5, "
        "normalized_coordinates=True, eps=1e-08, output_value=False)"
    )
    assert repr(nn.AdaptiveQuadInterp3d("patch", max_candidates=9)) == (
        "AdaptiveQuadInterp3d(mode='patch', n_iters=5, strict_maxima_bonus=10.0, max_subpixel_shift=0.6, "
        "dilation_radius=1, allow_scale_steps=True, max_candidates=9)"
    )
    assert "temperature=tensor(0.5000)" in repr(nn.SpatialSoftArgmax2d(torch.tensor(0.5)))


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("NonMaximaSuppression2d", {"kernel_size": 3}, TypeError, "kernel_size must be a tuple of 2 integers, got 3"),
        ("NonMaximaSuppression2d", {"kernel_size": (3, 3, 3)}, ValueError, "kernel_size must hold 2 integers"),
        ("NonMaximaSuppression3d", {"kernel_size": (3, 0, 3)}, ValueError, "kernel_size must be at least 1, got 0"),
        ("SpatialSoftArgmax2d", {"temperature": -1.0}, ValueError, "temperature must be positive"),
        ("SpatialSoftArgmax2d", {"temperature": "hot"}, TypeError, "temperature must be a number"),
        ("SpatialSoftArgmax2d", {"normalized_coordinates": 1}, TypeError, "normalized_coordinates must be True or"),
        ("ConvSoftArgmax2d", {"kernel_size": (3, 3, 3)}, ValueError, "kernel_size must hold 2 integers"),
        ("ConvSoftArgmax2d", {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ("ConvSoftArgmax2d", {"padding": (1, 2)}, ValueError, "padding must be at most half of kernel_size"),
        ("ConvSoftArgmax2d", {"temperature": np.inf}, ValueError, "temperature must be finite, got inf"),
        ("ConvSoftArgmax2d", {"eps": np.nan}, ValueError, "eps must be finite"),
        ("ConvSoftArgmax3d", {"stride": (1, 2)}, ValueError, "stride must be one integer or 3 of them"),
        ("ConvSoftArgmax3d", {"padding": -1}, ValueError, "padding must be at least 0"),
        ("ConvSoftArgmax3d", {"output_value": None}, TypeError, "output_value must be True or False"),
        ("ConvSoftArgmax3d", {"strict_maxima_bonus": np.inf}, ValueError, "strict_maxima_bonus must be finite"),
        ("ConvQuadInterp3d", {"dilation_radius": -1}, ValueError, "dilation_radius must be at least 0, got -1"),
        ("ConvQuadInterp3d", {"n_iters": None}, TypeError, "n_iters must be an integer, got None"),
        ("IterativeQuadInterp3d", {"max_candidates": 2.5}, TypeError, "max_candidates must be an integer, got 2.5"),
        ("IterativeQuadInterp3d", {"max_subpixel_shift": 0}, ValueError, "max_subpixel_shift must be positive"),
        ("AdaptiveQuadInterp3d", {"mode": "fast"}, ValueError, "mode must be one of 'patch', 'conv', 'auto'"),
        ("AdaptiveQuadInterp3d", {"allow_scale_steps": "no"}, TypeError, "allow_scale_steps must be True or False"),
    ],
)
def test_wrong_options(name, options, error, words):
    """Plain classes and modules refuse a wrong option when they are made, not at the first array."""
    for package in (npsubpix, nn):
        with pytest.raises(error, match=words):
            getattr(package, name)(**options)


def test_options_can_be_changed():
    """The next call goes by an attribute that was set, as with kornia's modules."""
    refine = nn.IterativeQuadInterp3d()
    refine.strict_maxima_bonus, refine.max_candidates = 100.0, 0
    assert refine(VOLUMES)[1].max() < 50
    refine.max_candidates = None
    assert refine(VOLUMES)[1].max() > 50
    locate = nn.SpatialSoftArgmax2d()
    locate.temperature = 0.1
    assert_same(locate(MAPS), npsubpix.spatial_soft_argmax2d(MAPS, 0.1))


@pytest.mark.exhaustive  # which compiles adjoints of all layers
@pytest.mark.parametrize("made", [nn.SpatialSoftArgmax2d, nn.ConvSoftArgmax2d, nn.ConvSoftArgmax3d])
def test_temperature_as_parameter(made):
    """A parameter is learned, saved, moved and copied with its module."""
    x = VOLUMES if made is nn.ConvSoftArgmax3d else MAPS
    module = made(temperature=torch.nn.Parameter(torch.tensor([0.5, 1.0, 2.0])))
    assert [name for name, _ in module.named_parameters()] == ["temperature"]
    assert list(module.state_dict()) == ["temperature"]
    assert not list(module.buffers())

    def loss(module: torch.nn.Module) -> torch.Tensor:
        result = module(x)
        return (result[0] if isinstance(result, tuple) else result).square().mean()

    before = loss(module)
    before.backward()
    assert module.temperature.grad.abs().min() > 0
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        loss(module).backward()
        optimizer.step()
    assert loss(module) < before

    double = copy.deepcopy(module).to(torch.float64)
    assert double.temperature.dtype == torch.float64
    assert module.temperature.dtype == torch.float32
    assert loss(double).item() == pytest.approx(loss(module).item(), rel=1e-6)
    other = made(temperature=torch.nn.Parameter(torch.ones(3)))
    other.load_state_dict(module.state_dict())
    assert_same(other(x), module(x))


def test_temperature_as_tensor():
    """A tensor is moved and saved, and not learned."""
    module = nn.ConvSoftArgmax2d(temperature=torch.tensor(0.25))
    assert [name for name, _ in module.named_buffers()] == ["temperature"]
    assert not list(module.parameters())
    assert module.half().temperature.dtype == torch.float16
    assert_same(module(MAPS), npsubpix.conv_soft_argmax2d(MAPS, temperature=0.25))
    other = nn.ConvSoftArgmax2d(temperature=torch.tensor(1.0))
    other.load_state_dict(module.state_dict())
    assert other.temperature == 0.25
    with pytest.raises(ValueError, match="temperature must be positive and finite, got 0"):
        nn.ConvSoftArgmax2d(temperature=torch.tensor(0.0))(MAPS)


def test_temperature_as_number():
    module = nn.ConvSoftArgmax2d(temperature=0.25)
    assert not module.state_dict()
    assert module.double().temperature == 0.25
    assert nn.SpatialSoftArgmax2d().temperature is None


def test_states_of_kornia_can_be_loaded():
    """Checkpoints of a network that had kornia's modules: a parameter, a tensor, and the windows of 0.8.3."""
    subpix = pytest.importorskip("kornia.geometry.subpix")

    def network(package: Any, seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3),
            package.NonMaximaSuppression2d((3, 3)),
            package.ConvSoftArgmax2d(temperature=torch.tensor(0.5)),
            torch.nn.Flatten(1, 2),
            package.SpatialSoftArgmax2d(torch.nn.Parameter(torch.tensor(0.5 + seed))),
        )

    theirs, ours = network(subpix, 1), network(nn, 2)
    state = theirs.state_dict()
    assert "4.temperature" in state
    assert "2.temperature" not in state
    ours.load_state_dict({**state, "1.kernel": torch.eye(9).reshape(9, 1, 3, 3)})
    images = heat(2, 1, 12, 13)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-6, rtol=0)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({name: value for name, value in state.items() if name != "4.temperature"})


def test_copies(name, module, x):
    """Pickled, copied and saved modules compute the same, and show the same."""
    want = module(x)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for other in (
        pickle.loads(pickle.dumps(module)),
        copy.deepcopy(module),
        torch.load(buffer, weights_only=False),
    ):
        assert repr(other) == repr(module)
        assert_same(other(x), want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(module, x, dtype):
    """Moving a module to another dtype, with its network, changes none of its options."""
    before = repr(module)
    result = module.to(dtype)(x.to(dtype))
    assert repr(module) == before
    assert (result[0] if isinstance(result, tuple) else result).dtype == dtype


@pytest.mark.exhaustive  # torch.compile
def test_compile(name, module, x):
    """torch.compile follows a module without a break in the graph, and learns through it."""
    torch.compiler.reset()
    want = module(x)
    assert_same(torch.compile(module, fullgraph=True, backend="aot_eager")(x), want)
    if "Soft" in name:
        learned = getattr(nn, name)(**MODULES[name][0] | {"temperature": torch.nn.Parameter(torch.tensor(0.5))})
        compiled = torch.compile(learned, fullgraph=True, backend="aot_eager")
        gradients = []
        for call in (learned, compiled):
            result = call(x)
            (result[0] if isinstance(result, tuple) else result).square().sum().backward()
            gradients.append(learned.temperature.grad.clone())
            learned.temperature.grad = None
        torch.testing.assert_close(*gradients)
        assert gradients[0] != 0


def test_a_network_learns_through_a_module():
    """Gradients reach the layers before a module: a network learns to put its peak where it should be."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 1, 3, padding=1),
        nn.SpatialSoftArgmax2d(torch.nn.Parameter(torch.tensor(1.0)), normalized_coordinates=False),
    )
    rng = np.random.default_rng(0)
    targets = torch.from_numpy(rng.uniform(3, 8, (16, 1, 2)).astype(np.float32))
    images = npsubpix.render_gaussian2d(targets, torch.full((16, 1, 2), 1.5), (12, 12), False)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (network(images) - targets).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0], losses


@pytest.mark.exhaustive  # as in test_runtime.py, with modules
def test_data_loader_workers():
    """Workers that were forked after their parent used the modules get its results."""
    code = """
    import numpy as np, torch, warnings
    from npsubpix import nn
    warnings.simplefilter("ignore")
    find = torch.nn.Sequential(nn.NonMaximaSuppression2d((3, 3)), nn.ConvSoftArgmax2d((5, 5), padding=(2, 2)))
    refine = nn.AdaptiveQuadInterp3d()
    class Frames(torch.utils.data.Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, i):
            x = torch.from_numpy(np.random.default_rng(i).standard_normal((1, 4, 200, 200)).astype(np.float32))
            return [find(x), *refine(x[None])]
    parent = [Frames()[i] for i in range(4)]
    loader = torch.utils.data.DataLoader(Frames(), num_workers=2, batch_size=None, multiprocessing_context="fork")
    print(all(torch.equal(a, b) for x, y in zip(loader, parent, strict=True) for a, b in zip(x, y, strict=True)))
    """
    assert run(code, NUMBA_NUM_THREADS="2") == "True"


def test_import():
    """Torch is imported with the modules, and not before."""
    code = """
    import sys, npsubpix
    npsubpix.ConvSoftArgmax2d, npsubpix.AdaptiveQuadInterp3d
    before = "torch" in sys.modules
    from npsubpix import nn
    print(before, "torch" in sys.modules, npsubpix.nn is nn)
    """
    assert run(code) == "False True True"


@pytest.mark.exhaustive  # photographs
@pytest.mark.parametrize("photograph", ["camera", "coins"])
def test_in_a_detector_of_kornia(photograph):
    """kornia's detector finds the same 500 keypoints of a photograph with either sub-pixel module.

    Positions differ by 3e-5 pixels at most and responses by 2e-7 of themselves, the rounding of
    float32. A shift on a threshold could fall on its other side, which none did on these
    photographs and five others; one keypoint may.
    """
    pytest.importorskip("kornia")
    import skimage.data
    from kornia.feature import ScaleSpaceDetector
    from kornia.feature.responses import BlobDoG
    from kornia.geometry.subpix import AdaptiveQuadInterp3d
    from kornia.geometry.transform import ScalePyramid

    image = torch.from_numpy(getattr(skimage.data, photograph)() / np.float32(255))[None, None]

    def detect(module: torch.nn.Module) -> Tensors:
        detector = ScaleSpaceDetector(
            num_features=500,
            resp_module=BlobDoG(),
            subpix_module=module,
            scale_pyr_module=ScalePyramid(3, 1.6, 32, double_image=True),
            scale_space_response=True,
            minima_are_also_good=True,
        )
        with torch.no_grad():
            frames, responses = detector(image)
        return frames[0].double(), responses[0].double()

    theirs, ours = detect(AdaptiveQuadInterp3d()), detect(nn.AdaptiveQuadInterp3d(strict_maxima_bonus=0.0))
    assert theirs[0].shape == ours[0].shape == (500, 2, 3)
    assert (theirs[1] > 0).sum() > 490
    distance = torch.cdist(ours[0].flatten(1), theirs[0].flatten(1))
    own, other = linear_sum_assignment(distance)  # some are there twice
    ratio = ours[1][own] / theirs[1][other]
    assert ((distance[own, other] < 2e-4) & ((ratio - 1).abs() < 1e-6)).sum() >= 499
