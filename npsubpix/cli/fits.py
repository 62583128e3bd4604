"""Options of ``npsubpix locate --fit`` as arguments of `fit_spots`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix.cli.terminal import UsageError

if TYPE_CHECKING:
    from npsubpix import Camera

__all__ = ["FIT_MODELS", "camera_of", "check_fit"]

#: Arguments of `fit_spots` for each model.
FIT_MODELS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "elliptical": {"width": "elliptical"},
    "rotated": {"width": "rotated"},
    "moffat": {"model": "moffat"},
}

_CAMERA = ("offset", "electrons_per_count", "read_variance", "em_gain")


def camera_of(options: dict[str, Any]) -> Camera | None:
    """Return the camera that options of the command line describe; None if none does."""
    from npsubpix import Camera

    numbers = {name: options[name] for name in _CAMERA if name in options}
    try:
        return Camera(**numbers) if numbers else None
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-')}") from error


def check_fit(wanted: bool, options: dict[str, Any]) -> dict[str, Any] | None:
    """Return arguments of `fit_spots`, or None if spots are not to be fitted."""
    others = {name: value for name, value in options.items() if name not in _CAMERA}
    if not wanted:
        for name in others:
            raise UsageError(f"--{name.replace('_', '-')} needs --fit")
        return None
    others = {name.removeprefix("fit_"): value for name, value in others.items()}
    others |= _width(others.pop("model", None), others.pop("curve", None))
    others |= _psf(others, others.pop("psf", None))
    return {**others, "camera": camera_of(options)}


def _width(model: str | None, path: Path | None) -> dict[str, Any]:
    """Return arguments of `fit_spots` for the name of a model, or the file of a curve of widths."""
    from npsubpix import AstigmaticCurve

    if path is not None:
        if model is not None:
            raise UsageError("--fit-curve is a model of its own: leave out --fit-model")
        try:
            return {"width": AstigmaticCurve.from_dict(json.loads(path.read_text("utf-8")))}
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"--fit-curve {path}: {error}") from error
    return FIT_MODELS[model or "gaussian"]


def _psf(others: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """Return the argument of `fit_spots` for the file of a measured point spread function."""
    from npsubpix.io import ImageError
    from npsubpix.io._frames import FrameSource

    if path is None:
        if "oversampling" in others:
            raise UsageError("--oversampling needs --psf")
        return {}
    clash = next((n for n in ("sigma", "width", "model") if n in others), None)
    if clash is not None:
        raise UsageError(f"--psf has the shape of a spot: leave out --fit-{'sigma' if clash == 'sigma' else 'model'}")
    try:
        with FrameSource(path) as images:
            if images.count != 1:
                raise UsageError(f"--psf {path}: has {images.count} frames, not one")
            return {"psf": np.array(next(images.frames))}
    except (OSError, ImageError) as error:
        raise UsageError(f"--psf {path}: {error}") from error
