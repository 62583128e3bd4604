"""Every model of spots, for tests that run the kernels of all."""

from __future__ import annotations

from npsubpix._definitions.spot_models import Model

ALL_MODELS = [
    Model(axes, width, plane)
    for axes in (2, 3)
    for width in ("free", "fixed", "elliptical")
    for plane in (False, True)
] + [
    Model(2, width, plane, shape)
    for width, shape in (
        ("rotated", "gaussian"), ("astigmatic", "gaussian"), ("free", "moffat"), ("fixed", "moffat"),
        ("free", "moffat_beta"), ("fixed", "moffat_beta"),
    )
    for plane in (False, True)
]  # fmt: skip


def numbers_of(model: Model) -> tuple[float, ...]:
    """An exponent, or a curve of widths for z from -500 to 500."""
    if model.width == "astigmatic":
        return -500.0, 500.0, 1.2, -200.0, 350.0, 0.0, 0.1, 1.3, 220.0, 380.0, 0.1, 0.0
    return (3.0,) if model.shape == "moffat_beta" else ()
