"""Samples between pixels against SciPy, OpenCV and torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest

_COUNT = 1000  # positions along each axis of the ordered set


def _positions(side: int, ordered: bool) -> np.ndarray:
    count = min(_COUNT, side)
    if ordered:
        line = np.linspace(3, side - 4, count)
        return np.stack(np.meshgrid(line, line, indexing="ij")).astype(np.float32)
    return np.random.default_rng(1).uniform(3, side - 4, (2, count, count)).astype(np.float32)


def _work(coords: np.ndarray, side: int, ordered: bool) -> str:
    return f"{coords[0].size:,} {'ordered' if ordered else 'random'} points, {side}²"


def _first(differs: Callable[[Any, Any], str]) -> Callable[[Any, Any], str]:
    return lambda ours, theirs: differs(ours[0], theirs)


def _gradient(side: int, ordered: bool, method: str, order: int, target: float) -> Contest:
    image, coords = data.noise(side, side), _positions(side, ordered)
    return Contest(
        _work(coords, side, ordered),
        lambda: npsubpix.sample_with_gradient(image, coords, method=method, mode="mirror", prefilter=False),
        [
            Peer(
                f"map_coordinates order {order}, value alone",
                lambda: ndimage.map_coordinates(image, coords, order=order, mode="mirror", prefilter=False),
                target,
                _first(close(1e-4)),
            ),
            Peer(
                "ours, value alone",
                lambda: npsubpix.sample(image, coords, method=method, mode="mirror", prefilter=False),
                1 / 1.5,
                _first(close(1e-5)),
                is_library=False,
            ),
        ],
    )


@contest("sample_with_gradient linear", side=2048)
def linear_ordered(side: int) -> Contest:
    return _gradient(side, True, "linear", 1, 20)


@contest("sample_with_gradient linear, random", side=2048)
def linear_random(side: int) -> Contest:
    return _gradient(side, False, "linear", 1, 12)


@contest("sample_with_gradient bspline3", side=2048)
def cubic_ordered(side: int) -> Contest:
    return _gradient(side, True, "bspline3", 3, 5)


@contest("sample_with_gradient bspline3, random", side=2048)
def cubic_random(side: int) -> Contest:
    return _gradient(side, False, "bspline3", 3, 4)


def _value(side: int, ordered: bool) -> Contest:
    cv2 = peers.load("cv2")
    image, coords = data.noise(side, side), _positions(side, ordered)
    rows, columns = (np.ascontiguousarray(c) for c in coords)
    theirs = None if cv2 is None else lambda: cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
    return Contest(
        _work(coords, side, ordered),
        lambda: npsubpix.sample(image, coords, method="linear"),
        [Peer("cv2.remap", theirs, 1, close(0.1))],  # OpenCV rounds positions to 1/32 pixel
    )


@contest("sample linear", side=2048)
def value_ordered(side: int) -> Contest:
    return _value(side, True)


@contest("sample linear, random", side=2048)
def value_random(side: int) -> Contest:
    return _value(side, False)


@contest("spline_filter, order 3", side=2048)
def prefilter(side: int) -> Contest:
    image = data.noise(side, side)
    return Contest(
        f"{side}², noise",
        lambda: npsubpix.spline_filter(image, 3, mode="mirror"),
        [Peer("ndimage.spline_filter", lambda: ndimage.spline_filter(image, 3), 8, close(1e-4))],
    )


@contest("sample_vjp linear", side=2048)
def vjp(side: int) -> Contest:
    torch = peers.load("torch")
    image, coords = data.noise(side, side), _positions(side, True)
    cotangent = np.random.default_rng(2).standard_normal(coords.shape[1:]).astype(np.float32)
    theirs = None
    if torch is not None:
        tensor = torch.from_numpy(image)[None, None].requires_grad_()
        grid = torch.from_numpy(np.stack([coords[1], coords[0]], -1) * 2 / (side - 1) - 1)[None].requires_grad_()
        values = torch.nn.functional.grid_sample(tensor, grid, padding_mode="reflection", align_corners=True)
        seed = torch.from_numpy(cotangent)[None, None]

        def theirs() -> np.ndarray:
            return torch.autograd.grad(values, (tensor, grid), seed, retain_graph=True)[0][0, 0].numpy()

    return Contest(
        _work(coords, side, True),
        lambda: npsubpix.sample_vjp(cotangent, image, coords, method="linear", mode="mirror"),
        [Peer("torch grid_sample backward", theirs, 4, _first(close(1e-2)))],  # positions of torch are rounded
    )


def _with_backward(side: int, samples: Sequence[float] | None) -> Contest:
    """Compare two pixels per axis, forward and backward in torch: linear interpolation, or a table of its weights."""
    torch = peers.load("torch")
    image, coords = data.noise(side, side), _positions(side, True)
    work = _work(coords, side, True)
    if torch is None:
        return Contest(work, None)
    seed = torch.from_numpy(np.random.default_rng(2).standard_normal(coords.shape[1:]).astype(np.float32))
    tensor, positions = (torch.from_numpy(x).requires_grad_() for x in (image, coords))
    grid = torch.from_numpy(np.stack([coords[1], coords[0]], -1) * 2 / (side - 1) - 1)[None].requires_grad_()
    table = None if samples is None else torch.tensor(samples, requires_grad=True)
    method = "linear" if table is None else npsubpix.WeightedNearest(table=table)
    inputs = (tensor, positions) if table is None else (tensor, positions, table)

    def ours() -> np.ndarray:
        values = npsubpix.sample(tensor, positions, method=method, mode="mirror")
        return torch.autograd.grad(values, inputs, seed)[0].numpy()

    def theirs() -> np.ndarray:
        values = torch.nn.functional.grid_sample(
            tensor[None, None], grid, padding_mode="reflection", align_corners=True
        )
        return torch.autograd.grad(values, (tensor, grid), seed[None, None])[0].numpy()

    # positions of torch are rounded
    return Contest(work, ours, [Peer("torch grid_sample, bilinear", theirs, 1 / 2, close(1e-2))])


@contest("sample linear, with backward", side=2048)
def linear_with_backward(side: int) -> Contest:
    return _with_backward(side, None)


@contest("sample table of 2, with backward", side=2048)
def table_with_backward(side: int) -> Contest:
    return _with_backward(side, (1.0, 0.0))


@contest("sample table of 17, with backward", side=2048)
def long_table_with_backward(side: int) -> Contest:
    return _with_backward(side, tuple(np.linspace(1, 0, 17)))
