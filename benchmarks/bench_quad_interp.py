"""Dense quadratic refinement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import npsubpix
from benchmarks import data
from benchmarks.agreement import close
from benchmarks.bench_nms import on_tensor
from benchmarks.registry import Contest, Peer, contest

Maps: TypeAlias = tuple[Any, Any]  # positions and values
Differs: TypeAlias = Callable[[Maps, Maps], str]

#: kornia computes in float32: nearly singular fits, few of them, come out further apart.
_agree = close(1e-3, share=0.995)


def _contest(function: str, side: int, target: float, differs: Differs = _agree) -> Contest:
    volume = data.smooth_volume(side)[None, None]
    run = getattr(npsubpix, function)
    return Contest(
        f"5×{side}², smooth",
        lambda: run(volume, strict_maxima_bonus=0.0),  # kornia 0.9.0 has no bonus
        [
            Peer("kornia", on_tensor(function, volume), target, differs),
            _fill(side),
        ],
    )


def _fill(side: int) -> Peer:
    """Allocate and fill arrays of the sizes of the outputs, by NumPy on one thread."""

    def fill() -> None:
        np.full((3, 5, side, side), 1, np.float32)
        np.full((5, side, side), 1, np.float32)

    return Peer("fill of the outputs", fill, is_library=False)


@contest("iterative_quad_interp3d", side=1024, sweep_bytes=200)
def iterative_quad_interp3d(side: int) -> Contest:
    return _contest("iterative_quad_interp3d", side, 4.5)


@contest("conv_quad_interp3d", side=1024)
def conv_quad_interp3d(side: int) -> Contest:
    volume = data.smooth_volume(side)[None, None]

    def differs(ours: Maps, theirs: Maps) -> str:
        # kornia lets a maximum move beyond the radius where it meets the neighbourhood of another one, about
        # one in a thousand: compare where ours is refined, and everywhere that neither is.
        (coords, values), (their_coords, their_values) = ours, map(np.asarray, theirs)
        alike = (values != volume) | (their_values == volume)
        if np.mean(~alike) > 1e-5:
            return f"{np.count_nonzero(~alike)} maxima are refined by kornia alone"
        places = np.broadcast_to(alike[:, :, None], coords.shape)
        return _agree((coords[places], values[alike]), (their_coords[places], their_values[alike]))

    return _contest("conv_quad_interp3d", side, 8, differs)
