"""Tensors that require gradients, and torch.compile: every operator, by one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix._dispatch import autograd  # registers the operators
from npsubpix._dispatch.operations import OPERATIONS
from tests.examples import EXAMPLES

Call = Callable[..., Any]


def tensor(*shape: int, seed: int = 0, low: float = -1.0) -> torch.Tensor:
    values = np.random.default_rng(seed).uniform(low, 1.0, shape)
    return torch.from_numpy(values)


def bumps(*shape: int) -> torch.Tensor:
    """A smooth volume: its maxima stay where they are when a voxel moves a little."""
    z, y, x = np.indices(shape)
    values = np.zeros(shape)
    for k, (c, i, j) in enumerate([(2.2, 3.1, 4.3), (2.7, 8.4, 9.2)]):
        values += (1 + 0.3 * k) * np.exp(-((z - c) ** 2 + (y - i) ** 2 + (x - j) ** 2) / 4)
    return torch.from_numpy(values)[None, None]


SOME = tensor(4, 5, low=0.1)

#: Name, call of tensors that require gradients, and those tensors.
CASES: dict[str, tuple[Call, tuple[torch.Tensor, ...]]] = {
    "nms": (lambda x: npsubpix.nms2d(x, (3, 3)), (tensor(2, 1, 7, 8),)),
    "nms 5 × 4 × 3": (lambda x: npsubpix.nms3d(x, (5, 4, 3)), (tensor(1, 2, 6, 7, 8),)),
    "quad_interp3d": (lambda x: npsubpix.iterative_quad_interp3d(x), (bumps(6, 12, 13),)),
    "quad_interp3d, radius": (
        lambda x: npsubpix.conv_quad_interp3d(x, strict_maxima_bonus=0.0),
        (bumps(6, 12, 13),),
    ),
    "conv_soft_argmax": (
        lambda x, t: npsubpix.conv_soft_argmax2d(x, (3, 4), (1, 2), (1, 2), t, output_value=True),
        (tensor(2, 3, 6, 7), tensor(3, seed=1, low=0.5)),
    ),
    "conv_soft_argmax, positions alone": (
        lambda x, t: npsubpix.conv_soft_argmax2d(x, temperature=t, normalized_coordinates=False),
        (tensor(1, 2, 5, 6), tensor(1, 2, seed=1, low=0.5)),
    ),
    "conv_soft_argmax, 3-D": (
        lambda x, t: npsubpix.conv_soft_argmax3d(x, stride=(1, 2, 1), temperature=t, strict_maxima_bonus=3.0),
        (tensor(1, 2, 4, 5, 6), torch.tensor(0.7, dtype=torch.float64)),
    ),
    "spatial_softmax": (npsubpix.spatial_softmax2d, (tensor(2, 3, 4, 5), tensor(2, 1, seed=1, low=0.5))),
    "spatial_softmax, weights": (
        lambda x: npsubpix.spatial_softmax(x, 0.5, spatial_axes=1, weights=torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0])),
        (tensor(3, 5),),
    ),
    "spatial_expectation": (npsubpix.spatial_expectation2d, (tensor(2, 3, 4, 5),)),
    "spatial_expectation, weights": (
        lambda x: npsubpix.spatial_expectation(x, spatial_axes=3, weights=SOME > 0.5),
        (tensor(3, 4, 5),),
    ),
    "spatial_moments": (npsubpix.spatial_soft_argmax2d, (tensor(2, 3, 4, 5), tensor(3, seed=1, low=0.5))),
    "spatial_moments, covariance": (
        lambda x, t: npsubpix.spatial_moments(x, t, weights=SOME, normalized_coordinates=True),
        (tensor(2, 4, 5), torch.tensor(0.6, dtype=torch.float64)),
    ),
    "spatial_moments, 3-D": (
        lambda x: npsubpix.spatial_moments(x, 0.7, spatial_axes=3),
        (tensor(2, 3, 4, 5),),
    ),
}

CASES |= {
    "render_gaussian2d": (
        lambda mean, std: npsubpix.render_gaussian2d(mean, std, (5, 6)),
        (tensor(3, 2), tensor(1, 2, seed=1, low=0.4)),
    ),
    "render_gaussian": (
        lambda mean, std: npsubpix.render_gaussian(3 * mean, std, (5, 6), normalization="peak"),
        (tensor(2, 2), torch.tensor(0.8, dtype=torch.float64)),
    ),
    "render_spots": (
        lambda coords, std, amplitude: npsubpix.render_spots(4 + 3 * coords, (9, 9), std=std, amplitude=amplitude),
        (tensor(4, 2), torch.tensor(0.8, dtype=torch.float64), tensor(4, seed=1)),
    ),
}

#: Positions away from pixels and from the middles between them, where derivatives jump.
PLACES = torch.tensor([[0.3, 2.7, -0.8, 4.6, 1.2], [1.4, 3.3, 0.7, 5.9, -0.6]], dtype=torch.float64)

CASES |= {
    "sample": (lambda x, c: npsubpix.sample(x, c, method="linear"), (tensor(6, 7), PLACES)),
    "sample, spline and gradient": (
        lambda x, c: npsubpix.sample_with_gradient(x, c, method="bspline3", mode="mirror"),
        (tensor(6, 7), PLACES),
    ),
    "sample, channels": (
        lambda x, c: npsubpix.sample_with_gradient(x, c, method="bspline3", mode="reflect", channel_axis=-1),
        (tensor(6, 7, 3), PLACES),
    ),
    "sample, weights": (
        lambda x, c: npsubpix.sample(x, c, method=npsubpix.WeightedNearest("sigmoid"), mode="nearest"),
        (tensor(6, 7), PLACES),
    ),
    "grid_sample": (npsubpix.grid_sample, (tensor(2, 3, 5, 6), 0.9 * tensor(2, 4, 2, seed=1))),
    "grid_sample, volume": (
        lambda x, g: npsubpix.grid_sample(x, g, "bspline3", "reflection", True),
        (tensor(1, 2, 4, 5, 6), tensor(1, 3, 2, 3, seed=1)),
    ),
    "spline_filter": (lambda x: npsubpix.spline_filter(x, 5, mode="reflect"), (tensor(5, 6),)),
    "spline_filter, mirror": (
        lambda x: npsubpix.spline_filter(x, 3, mode="mirror", channel_axis=0),
        (tensor(2, 5, 6),),
    ),
    "correlate": (npsubpix.correlate, (tensor(6, 7), tensor(3, 4, low=0.2, seed=1))),
    "correlate, volume": (
        lambda x, k: npsubpix.convolve(x, k, border="shrink", stride=2, channel_axis=0),
        (tensor(2, 4, 5, 6), tensor(2, 3, 3, low=0.2, seed=1)),
    ),
    "conv2d": (
        lambda x, w, b: npsubpix.conv2d(x, w, b, stride=2, padding=1, groups=2),
        (tensor(2, 4, 5, 6), tensor(4, 2, 3, 2, seed=1), tensor(4, seed=2)),
    ),
}


#: A smooth volume of the shape that examples of the table of operations take.
SMOOTH = torch.cat([bumps(4, 7, 8), 0.7 * bumps(4, 7, 8).flip(-1)], 1) + 0.01 * tensor(1, 2, 4, 7, 8)

#: Public functions whose gradients the table of operations promises.
DIFFERENTIABLE = [name for operation in OPERATIONS.values() if operation.differentiable for name in operation.functions]

for _operation in OPERATIONS.values():
    if _operation.differentiable and not any(case.startswith(_operation.name) for case in CASES):
        CASES |= {name: (EXAMPLES[name], (SMOOTH,)) for name in _operation.functions}


#: Those that compile the same kernels as others, for other numbers of axes or other weights.
RARE = (
    "sample, weights",
    "quad_interp3d, radius",
    "grid_sample, volume",
    "conv_soft_argmax, 3-D",
    "spatial_moments, 3-D",
)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.exhaustive] * (name in RARE)) for name in CASES])
def case(request: pytest.FixtureRequest) -> tuple[Call, tuple[torch.Tensor, ...]]:
    call, tensors = CASES[request.param]
    return call, tuple(t.clone().requires_grad_() for t in tensors)


def outputs(call: Call, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    result = call(*tensors)
    return tuple(result) if isinstance(result, tuple) else (result,)


@pytest.mark.exhaustive  # whose kernels are those of other dimensions than `test_gradcheck` has
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_the_examples(name):
    """Of every function that the table of operations calls differentiable."""
    x = SMOOTH.clone().requires_grad_()
    assert any(result.requires_grad for result in outputs(EXAMPLES[name], (x,)))
    assert torch.autograd.gradcheck(EXAMPLES[name], x, fast_mode=True)


def test_gradcheck(case):
    """Gradients are those of finite differences, with respect to every input."""
    assert torch.autograd.gradcheck(*case)


def test_compile_in_one_graph(case):
    """torch.compile follows the call without a break, and its results and gradients are the same."""
    call, tensors = case
    eager = outputs(call, tensors)
    seeds = [torch.rand_like(r) for r in eager]
    want = torch.autograd.grad(eager, tensors, seeds)
    torch.compiler.reset()
    compiled = outputs(torch.compile(call, fullgraph=True, backend="aot_eager"), tensors)
    for got, expected in zip(compiled, eager, strict=True):
        assert torch.equal(got, expected)
    for got, expected in zip(torch.autograd.grad(compiled, tensors, seeds), want, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.exhaustive  # which compiles with a C++ compiler
def test_inductor():
    """The default backend too."""
    x = tensor(1, 2, 6, 7).float().requires_grad_()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return npsubpix.spatial_soft_argmax2d(npsubpix.conv_soft_argmax2d(x)[:, :, 0]).square().sum()

    torch.compiler.reset()
    torch.compile(loss, fullgraph=True)(x).backward()
    want = torch.autograd.grad(loss(x), x)[0]
    torch.testing.assert_close(x.grad, want)


@pytest.mark.exhaustive  # torch.compile
@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (lambda x: npsubpix.conv_soft_argmax2d(x, output_value=True), [(1, 2, 8, 9), (2, 3, 10, 11)]),
        (npsubpix.spatial_soft_argmax2d, [(1, 2, 8, 9), (2, 3, 10, 11)]),
        (
            lambda x: npsubpix.spatial_soft_argmax(x, x[:, :, 0, 0].exp(), weights=x[0, 0].exp()),
            [(1, 2, 8, 9), (2, 3, 10, 11)],
        ),
        (npsubpix.iterative_quad_interp3d, [(1, 2, 5, 8, 9), (2, 3, 6, 10, 11)]),
        (lambda x: npsubpix.nms2d(x, (3, 3)), [(1, 2, 8, 9), (2, 3, 10, 11)]),
        (lambda x: npsubpix.grid_sample(x, x[:, 0, :, :2, None].expand(-1, -1, -1, 2)), [(1, 2, 8, 9), (2, 3, 10, 11)]),
        (lambda x: npsubpix.sample(x, x[0, :2], method="linear", channel_axis=0), [(1, 8, 9), (3, 10, 11)]),
    ],
)
def test_dynamic_shapes(call, shapes):
    """One graph serves maps of any size, and options that are traced as symbols."""
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in shapes:
        x = tensor(*shape)
        for got, want in zip(outputs(compiled, (x,)), outputs(call, (x,)), strict=True):
            assert torch.equal(got, want)


def test_gradients_of_any_layout(case):
    """Expanded, transposed and strided incoming gradients, and one output used alone."""
    call, tensors = case
    results = outputs(call, tensors)
    for k, result in enumerate(results):
        if not result.requires_grad:
            continue
        expanded = torch.ones((), dtype=result.dtype).expand(result.shape)
        full = torch.autograd.grad(result, tensors, torch.ones_like(result), retain_graph=True, allow_unused=True)
        for got, want in zip(
            torch.autograd.grad(result, tensors, expanded, retain_graph=True, allow_unused=True), full, strict=True
        ):
            torch.testing.assert_close(got, want, rtol=0, atol=0)
        seed = torch.rand_like(result)
        strided = torch.stack([seed, -seed], -1)[..., 0]
        got = torch.autograd.grad(result, tensors, strided, retain_graph=True, allow_unused=True)
        want = torch.autograd.grad(result, tensors, seed, retain_graph=True, allow_unused=True)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
        assert k < 2


def test_second_derivatives_are_refused(case):
    call, tensors = case
    result = sum(r.square().sum() for r in outputs(call, tensors))
    gradient = torch.autograd.grad(result, tensors[0], create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="npsubpix has no second derivative of"):
        gradient.sum().backward()


def test_no_graph_without_need(case):
    call, tensors = case
    for result in outputs(call, tuple(t.detach() for t in tensors)):
        assert not result.requires_grad
    with torch.no_grad():
        for result in outputs(call, tensors):
            assert not result.requires_grad
    for result, alone in zip(outputs(call, tensors), outputs(call, tuple(t.detach() for t in tensors)), strict=True):
        assert torch.equal(result, alone)


@pytest.mark.exhaustive  # which compiles adjoints once more, in single precision
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_keep_the_precision_of_their_tensor(case, dtype):
    call, tensors = case
    low = tuple(t.detach().to(dtype).requires_grad_() for t in tensors)
    results = outputs(call, low)
    assert all(r.dtype == dtype for r in results)
    seeds = [torch.linspace(-1, 1, r.numel()).reshape(r.shape).to(dtype) for r in results]
    got = torch.autograd.grad(results, low, seeds)
    for gradient, t in zip(got, low, strict=True):
        assert gradient.dtype == dtype
        assert gradient.shape == t.shape
    exact = tuple(t.detach().double().requires_grad_() for t in low)
    want = torch.autograd.grad(outputs(call, exact), exact, [seed.double() for seed in seeds])
    eps = torch.finfo(dtype).eps
    for a, b in zip(got, want, strict=True):
        scale = b.abs().max().clamp(min=1e-3)
        assert (a.double() - b).abs().max() <= 40 * eps * scale


def arguments_of_example(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Return what the example of the table gives to an operator of torch, for operations that need nothing special."""
    seen: list[tuple[Any, ...]] = []
    operator = autograd._OPERATORS[name]

    def run(*arguments: Any) -> Any:
        seen.append(arguments)
        return operator(*arguments)

    monkeypatch.setitem(autograd._OPERATORS, name, run)
    for example in OPERATIONS[name].functions.values():
        example(npsubpix, tensor(1, 2, 4, 7, 8).requires_grad_())
    return tuple(a.detach().clone() if isinstance(a, torch.Tensor) else a for a in seen[0])


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.shapes is not None])
def test_operators_are_registered_as_torch_wants_them(name, monkeypatch):
    """Schemas, shapes of traced results and autograd pass torch's own checks."""
    arguments = {
        "nms": (tensor(1, 2, 5, 6), (3, 3)),
        "nms_mask": (tensor(1, 2, 5, 6), (3, 3)),
        "nms3d_minmax": (tensor(1, 2, 3, 5, 6),),
        "quad_interp3d": (bumps(6, 12, 13), None, 5, 0.0, 0.6, 9, True, None),
        "conv_soft_argmax": (tensor(1, 2, 5, 6), tensor(2, low=0.5), (3, 3), (1, 1), (1, 1), True, 0.0, True),
        "spatial_softmax": (tensor(1, 2, 5, 6), tensor(2, low=0.5), None, 2),
        "spatial_expectation": (tensor(1, 2, 5, 6), None, 2, True, True),
        "spatial_moments": (tensor(1, 2, 5, 6), tensor(2, low=0.5), tensor(5, 6, low=0.1), 2, True, True, True),
        "render_gaussian": (tensor(3, 2), tensor(1, 2, low=0.5), (5, 6), True, True, False),
        "render_spots": (3 + tensor(4, 2), tensor(2, low=0.5), tensor(4), (5, 6), False, True, 6.0),
        "sample": (tensor(6, 7), PLACES, None, None, "linear", "mirror", 0.0, None, True, True),
        "grid_sample": (tensor(1, 2, 5, 6), 0.9 * tensor(1, 3, 2), None, None, "bspline3", "border", False),
        "spline_filter": (tensor(5, 6), 3, "mirror", None),
        "correlate": (
            tensor(5, 6),
            tensor(3, 3, low=0.2),
            True,
            "full",
            "wrap",
            0.0,
            (1, 2),
            (2, 1),
            (0, 0),
            None,
            False,
            "auto",
            "",
        ),
        "conv2d": (tensor(1, 2, 5, 6), tensor(2, 1, 3, 2), tensor(2), (1, 2), (0, 0, 1, 1), (1, 1), 2),
    }.get(name)
    if arguments is None:
        arguments = arguments_of_example(name, monkeypatch)
    needs = [a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
    torch.library.opcheck(getattr(torch.ops.npsubpix, name), tuple(needs))


def test_a_temperature_is_learned():
    """A parameter of another dtype than the input gets a gradient of its own."""
    temperature = torch.nn.Parameter(torch.tensor(2.0))
    x = tensor(1, 1, 9, 9)
    start = npsubpix.spatial_soft_argmax2d(x, temperature).square().sum()
    start.backward()
    assert temperature.grad.dtype == torch.float32
    assert temperature.grad.shape == ()
    with torch.no_grad():
        temperature -= 0.1 * temperature.grad.sign()
    assert npsubpix.spatial_soft_argmax2d(x, temperature).square().sum() < start


def test_a_number_serves_calls_of_any_mode():
    """A number becomes a tensor once: also where that is in inference mode, autograd can save it later."""
    maps = tensor(1, 1, 5, 6)
    with torch.inference_mode():
        want = npsubpix.spatial_soft_argmax2d(maps, temperature=0.6251)
    with torch.device("meta"):
        npsubpix.spatial_soft_argmax2d(maps, temperature=0.6252)
    for temperature in (0.6251, 0.6252):
        got = npsubpix.spatial_soft_argmax2d(maps.requires_grad_(), temperature=temperature)
        torch.testing.assert_close(got.detach(), want.clone(), rtol=0, atol=1e-3)
        assert torch.autograd.grad(got.sum(), maps)[0].abs().sum() > 0


def test_weights_that_require_a_gradient_are_refused():
    weights = tensor(4, 5, low=0.1).requires_grad_()
    with pytest.raises(TypeError, match="weights requires a gradient, which this operation does not pass on"):
        npsubpix.spatial_soft_argmax(tensor(4, 5), weights=weights)


def test_masks_have_no_gradient():
    x = tensor(1, 1, 5, 6, 7).requires_grad_()
    assert not npsubpix.nms3d(x, (3, 3, 3), mask_only=True).requires_grad
    assert not any(mask.requires_grad for mask in npsubpix.nms3d_minmax(x))
    masks = torch.compile(lambda x: npsubpix.nms3d_minmax(x), fullgraph=True, backend="aot_eager")(x)
    for got, want in zip(masks, npsubpix.nms3d_minmax(x), strict=True):
        assert torch.equal(got, want)


def test_transforms_and_modes_reach_the_operator():
    """vmap works, one element after the other; torch.func and forward mode raise, and drop no gradient."""
    x = tensor(1, 1, 5, 6)

    def total(x: torch.Tensor) -> torch.Tensor:
        return npsubpix.spatial_soft_argmax2d(x).sum()

    with pytest.raises(RuntimeError, match="functorch"):
        torch.func.grad(total)(x)
    with pytest.raises(NotImplementedError, match="npsubpix has no forward-mode derivative of spatial_moments"):
        torch.func.jvp(total, (x,), (torch.ones_like(x),))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward-mode"):
        npsubpix.spatial_soft_argmax2d(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
    stack = tensor(3, 1, 1, 5, 6)
    want = torch.stack([npsubpix.spatial_soft_argmax2d(x) for x in stack])
    assert torch.equal(torch.vmap(npsubpix.spatial_soft_argmax2d)(stack), want)
    with torch._subclasses.FakeTensorMode() as mode:
        fake = npsubpix.spatial_soft_argmax2d(mode.from_tensor(x))
    assert fake.shape == (1, 1, 2)


def test_gradients_of_batches_and_of_changed_tensors():
    """Cotangents of a batch reach the operator; a tensor that was changed after the call has no gradient."""
    x = tensor(1, 2, 5, 6).requires_grad_()
    seeds = tensor(3, 1, 2, 2)
    result = npsubpix.spatial_soft_argmax2d(x)
    batch = torch.autograd.grad(result, x, seeds, is_grads_batched=True, retain_graph=True)[0]
    for gradient, seed in zip(batch, seeds, strict=True):
        torch.testing.assert_close(gradient, torch.autograd.grad(result, x, seed, retain_graph=True)[0])
    with torch.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_a_list_beside_a_tensor():
    """Numbers and lists given with a tensor take part in its graph."""
    x = tensor(1, 2, 5, 6).requires_grad_()
    npsubpix.spatial_soft_argmax2d(x, [0.5, 2.0]).sum().backward()
    assert x.grad.abs().sum() > 0
    locked = np.array([2.0, 0.5])[::-1]
    locked.setflags(write=False)
    assert torch.equal(npsubpix.spatial_soft_argmax2d(x, locked), npsubpix.spatial_soft_argmax2d(x, [0.5, 2.0]))
