"""Models of spots, as callers choose them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._arrays.options import check_choice, check_positive
from npsubpix._definitions.spot_models import BACKGROUNDS, MODELS, WIDTHS, Model
from npsubpix.fitting.astigmatism import AstigmaticCurve
from npsubpix.fitting.measured import MeasuredPsf

__all__ = ["check_model", "widths_of"]

#: Exponent of a Moffat function above which it has a flux.
_LEAST_BETA = 1.0


def check_model(
    model: Any, width: Any, sigma: tuple[float, ...] | None, beta: Any, background: Any, ndim: int,
    psf: MeasuredPsf | None = None,
) -> tuple[Model, tuple[float, ...]]:  # fmt: skip
    """Require a model that there is; return it, and the numbers that it needs."""
    check_choice(model, "model", MODELS)
    check_choice(background, "background", BACKGROUNDS)
    plane = background == "plane"
    if psf is not None:
        return _measured(psf, model, width, sigma, beta, plane, ndim)
    if model == "psf":
        raise ValueError("psf must be given with model='psf'")
    if isinstance(width, AstigmaticCurve):
        return _astigmatic(model, width, sigma, beta, plane, ndim)
    if not isinstance(width, str) or width not in WIDTHS:
        names = ", ".join(map(repr, WIDTHS))
        raise ValueError(f"width must be one of {names}, or an AstigmaticCurve, got {width!r}")
    if width == "fixed" and sigma is None:
        raise ValueError("sigma must be given with width='fixed': it is the width")
    if width == "rotated" and ndim == 3:
        raise ValueError("width='rotated' is for images, got a volume")
    if model != "moffat":
        if beta is not None:
            raise ValueError(f"beta is for model='moffat', got model={model!r}")
        return Model(ndim, width, plane), ()
    if ndim == 3:
        raise ValueError("model='moffat' is for images, got a volume")
    if width not in ("free", "fixed"):
        raise ValueError(f"width must be 'free' or 'fixed' with model='moffat', whose spots are round, got {width!r}")
    if sigma is not None and len(set(sigma)) > 1:
        raise ValueError(f"sigma must be one number with model='moffat', whose spots are round, got {sigma!r}")
    if beta is None:
        return Model(ndim, width, plane, "moffat"), ()
    if not _LEAST_BETA < check_positive(beta, "beta") < math.inf:
        raise ValueError(f"beta must be above 1, so that a spot has a flux, and finite, got {beta!r}")
    return Model(ndim, width, plane, "moffat_beta"), (float(beta),)


def _astigmatic(
    model: str, curve: AstigmaticCurve, sigma: tuple[float, ...] | None, beta: Any, plane: bool, ndim: int
) -> tuple[Model, tuple[float, ...]]:
    """Require a Gaussian in an image, whose widths are those of the curve alone."""
    if ndim == 3:
        raise ValueError("width must not be an AstigmaticCurve for volumes, which have z themselves")
    if model != "gaussian":
        raise ValueError(f"model must be 'gaussian' with an AstigmaticCurve for width, got {model!r}")
    if sigma is not None:
        raise ValueError(f"sigma must be None with an AstigmaticCurve for width, which has the widths, got {sigma!r}")
    if beta is not None:
        raise ValueError("beta is for model='moffat', got model='gaussian'")
    return Model(ndim, "astigmatic", plane), curve._numbers()


def _measured(
    psf: MeasuredPsf, model: str, width: Any, sigma: tuple[float, ...] | None, beta: Any, plane: bool, ndim: int
) -> tuple[Model, tuple[float, ...]]:
    """Require no options of shapes that are formulas; defaults are those of a signature."""
    if model not in ("psf", "gaussian"):
        raise ValueError(f"model must be 'psf' with psf, got {model!r}")
    if width not in ("free", "fixed"):
        raise ValueError(f"width must be left out with psf, whose width is that of its samples, got {width!r}")
    if sigma is not None:
        raise ValueError(f"sigma must be None with psf, whose width is that of its samples, got {sigma!r}")
    if beta is not None:
        raise ValueError("beta is for model='moffat', got model='psf'")
    return Model(ndim, "fixed", plane, "psf"), psf.numbers


def widths_of(width: Any, sigma: tuple[float, ...] | None, psf: MeasuredPsf | None = None) -> tuple[float, ...] | None:
    """Return the widths by which a box is chosen: on a curve, their means over its range."""
    if psf is not None:
        return psf.widths
    if not isinstance(width, AstigmaticCurve):
        return sigma
    y, x = width.sigma(np.linspace(*width.z_range, 101)).mean(axis=0)
    return float(y), float(x)
