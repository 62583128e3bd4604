"""Libraries that a GPU is timed beside, and the targets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import peers
from benchmarks.agreement import close, same
from benchmarks.cuda.cases import Case
from benchmarks.cuda.rotation import Inputs
from benchmarks.registry import Peer
from npsubpix._arrays.library import to_numpy

__all__ = ["COPY_TARGETS", "HOST_TARGET", "rivals_of"]

#: By the names of cases: the share of the rate of a device copy that is meant to be reached.
COPY_TARGETS = {
    "nms2d 3×3": 0.7,
    "nms3d 3×3×3": 0.7,
    "spatial_soft_argmax 256 maps": 0.6,
    "spatial_soft_argmax2d 256 maps": 0.6,
    "render_gaussian a map a pixel of the side": 0.6,
    "render_gaussian2d a map a pixel of the side": 0.6,
    "render_spots one for 200 pixels": 0.6,
    "window_sum 7×7": 0.6,
    "conv_soft_argmax2d 3×3": 0.4,
}

#: Seconds of the host that one launch on a small image may take.
HOST_TARGET = 25e-6

Differs = Callable[[Any, Any], str]
Make = Callable[[Inputs, bool], Sequence[Peer]]


def rivals_of(case: Case, inputs: Inputs, hurried: bool = False) -> list[Peer]:
    """Return the same work by other libraries, on the same input; `hurried` leaves out what takes long to compile."""
    return [peer for make in _RIVALS.get(case.name, ()) for peer in make(inputs, hurried)]


def _on_host(differs: Differs) -> Differs:
    def compare(ours: Any, theirs: Any) -> str:
        return differs(*(tuple(map(to_numpy, r)) if isinstance(r, tuple) else to_numpy(r) for r in (ours, theirs)))

    return compare


def _tried(name: str, call: Callable[[], Any]) -> Callable[[], Any] | None:
    """Return a call that works; None, and a line, of one that does not: it ends no comparison of the others."""
    try:
        call()
    except Exception as error:
        print(f"{name} is left out: {type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return None
    return call


def _peer(
    name: str, run: Any, inputs: Inputs, adopt: Any = None, target: float | None = None, differs: Differs | None = None
) -> Peer:
    call = None if run is None else _tried(name, inputs.turns(run, adopt))
    return Peer(name, call, target, _on_host(differs) if differs else None)


def _tensors(*arrays: Any) -> tuple[Any, ...]:
    torch = peers.load("torch")
    return tuple(torch.from_dlpack(a) for a in arrays)  # type: ignore[union-attr]


def _kornia(
    function: str,
    *args: Any,
    differs: Differs | None = None,
    targets: tuple[float | None, float | None] = (None, None),
    adopt: Any = _tensors,
) -> Make:
    """Compare with kornia, as it is and by ``torch.compile``: in a hurry, only where there is a target for that."""

    def make(inputs: Inputs, hurried: bool) -> list[Peer]:
        run = getattr(peers.load("kornia.geometry.subpix"), function, None)
        compiled = None if run is None else peers.load("torch").compile(run)  # type: ignore[union-attr]
        return [
            _peer(name, f and (lambda *a, f=f: f(*a, *args)), inputs, adopt, target, differs)
            for name, f, target in (("kornia", run, targets[0]), ("kornia, compiled", compiled, targets[1]))
            if not (hurried and f is compiled and target is None)
        ]

    return make


def _ndimage(function: str, *args: Any, differs: Differs | None = None, **options: Any) -> Make:
    """Compare with ``cupyx.scipy.ndimage``."""

    def make(inputs: Inputs, _: bool) -> list[Peer]:
        run = getattr(peers.load("cupyx.scipy.ndimage"), function, None)
        call = run and (lambda *a: run(*a, *args, **options))
        return [_peer(f"ndimage.{function}", call, inputs, None, None, differs)]

    return make


def _torch(
    function: str, *args: Any, adopt: Any = _tensors, target: float | None = None, differs: Differs | None = None,
    **options: Any,
) -> Make:  # fmt: skip
    """Compare with ``torch.nn.functional``, whose products of float32 are not rounded to fewer bits."""

    def make(inputs: Inputs, _: bool) -> list[Peer]:
        torch = peers.load("torch")
        if torch is None:
            return [Peer(f"torch {function}", None)]
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        run = getattr(torch.nn.functional, function)
        return [_peer(f"torch {function}", lambda *a: run(*a, *args, **options), inputs, adopt, target, differs)]

    return make


def _images(*arrays: Any) -> tuple[Any, ...]:
    """Tensors with axes of a batch and of channels."""
    return tuple(t[None, None] for t in _tensors(*arrays))


def _grid(image: Any, places: Any) -> tuple[Any, ...]:
    """Make the grid of torch, in units of the image, of positions in pixels."""
    tensor, rows = _tensors(image, places)
    torch = peers.load("torch")
    height, width = tensor.shape
    grid = torch.stack([2 * rows[1] / (width - 1) - 1, 2 * rows[0] / (height - 1) - 1], -1)  # type: ignore[union-attr]
    return tensor[None, None], grid[None]


def _standard_deviations(mean: Any) -> tuple[Any, ...]:
    (tensor,) = _tensors(mean)
    side = len(tensor)
    return tensor, tensor[:1] * 0 + 1.5, (side, side), False


def _values(differs: Differs) -> Differs:
    """Compare the values alone with what a batch of one image has."""
    return lambda ours, theirs: differs(ours[0] if isinstance(ours, tuple) else ours, theirs.reshape(theirs.shape[2:]))


_MAPS = close(1e-3, share=0.995)  # kornia computes in float32: nearly singular fits come out further apart

_RIVALS: dict[str, tuple[Make, ...]] = {
    "nms2d 3×3": (
        _kornia("nms2d", (3, 3), differs=same), _ndimage("maximum_filter", (1, 1, 3, 3)),
        _torch("max_pool2d", 3, 1, 1),
    ),
    "nms2d 15×15": (_kornia("nms2d", (15, 15), differs=same), _torch("max_pool2d", 15, 1, 7)),
    "nms3d 3×3×3": (_kornia("nms3d", (3, 3, 3), differs=same), _ndimage("maximum_filter", (1, 1, 3, 3, 3))),
    "nms3d_minmax": (_kornia("nms3d_minmax", differs=same),),
    "conv_quad_interp3d 6 slices": (_kornia("conv_quad_interp3d", targets=(None, 5)),),
    "iterative_quad_interp3d 6 slices": (_kornia("iterative_quad_interp3d", differs=_MAPS, targets=(20, 5)),),
    "conv_soft_argmax2d 3×3": (_kornia("conv_soft_argmax2d", differs=close(1e-2)),),
    "conv_soft_argmax3d 3×3×3, 6 slices": (_kornia("conv_soft_argmax3d"),),
    "spatial_softmax2d 256 maps": (_kornia("spatial_softmax2d", differs=close(1e-5)),),
    "spatial_expectation2d 256 maps": (_kornia("spatial_expectation2d"),),
    "spatial_soft_argmax2d 256 maps": (_kornia("spatial_soft_argmax2d", differs=close(1e-4)),),
    "render_gaussian2d a map a pixel of the side": (_kornia("render_gaussian2d", adopt=_standard_deviations),),
    "correlate 3×3": (
        _ndimage("correlate", differs=close(1e-3)), _torch("conv2d", adopt=_images, padding="same"),
    ),
    "correlate 7×7": (
        _ndimage("correlate", differs=close(1e-3)), _torch("conv2d", adopt=_images, padding="same"),
    ),
    "correlate 31×31": (_ndimage("correlate", differs=close(1e-2)),),
    "convolve 15×15": (_ndimage("convolve", differs=close(1e-2)),),
    "conv2d 16 to 32 channels, 4 images": (_torch("conv2d", differs=close(1e-2)),),
    "laplacian_of_gaussian": (_ndimage("gaussian_laplace", 1.5, differs=close(1e-3)),),
    "window_mean 7×7": (_ndimage("uniform_filter", 7),),
    "window_max 7×7": (_ndimage("maximum_filter", 7),),
    "window_min 7×7": (_ndimage("minimum_filter", 7),),
    "window_median 7×7": (_ndimage("median_filter", 7),),
    "window_percentile 7×7": (_ndimage("percentile_filter", 25, 7),),
    "sample linear, as many points as pixels": (_ndimage("map_coordinates", order=1, mode="mirror"),),
    "sample bspline3, as many points as pixels": (_ndimage("map_coordinates", order=3, mode="mirror"),),
    "sample_with_gradient linear, as many points as pixels": (
        _torch("grid_sample", adopt=_grid, align_corners=True, target=2, differs=_values(close(1e-2))),
    ),
    "spline_filter cubic": (_ndimage("spline_filter", output="float32", mode="reflect", differs=close(1e-3)),),
    "grid_sample bilinear, 2 images of 4 channels": (
        _torch("grid_sample", align_corners=False, differs=close(1e-3)),
    ),
}  # fmt: skip
