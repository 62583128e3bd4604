"""Fits of ``npsubpix locate --fit``: columns of the table, and positions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix._arrays.library import to_numpy
from npsubpix._definitions.flags import FIT_REJECTED
from npsubpix.cli.terminal import UsageError

if TYPE_CHECKING:
    from npsubpix.results import Peaks

__all__ = ["check_fit", "fitted"]

_CAMERA = ("offset", "electrons_per_count", "read_variance", "em_gain")


def check_fit(wanted: bool, options: dict[str, Any]) -> dict[str, Any] | None:
    """Return arguments of `fit_spots`, or None if spots are not to be fitted."""
    if not wanted:
        for name in options:
            raise UsageError(f"--{name.replace('_', '-')} needs --fit")
        return None
    from npsubpix import Camera

    numbers = {name: options[name] for name in _CAMERA if name in options}
    others = {name.removeprefix("fit_"): value for name, value in options.items() if name not in _CAMERA}
    try:
        return {**others, "camera": Camera(**numbers) if numbers else None}
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-')}") from error


def fitted(frame: Any, peaks: Peaks, options: dict[str, Any], mask: Any) -> tuple[Peaks, dict[str, Any]]:
    """Return peaks at the positions of fits, where these succeeded, and the columns of fits."""
    from npsubpix import fit_spots

    fits = fit_spots(frame, peaks, mask=mask, **options)
    accepted = (to_numpy(fits.flags) & int(FIT_REJECTED)) == 0
    coords = np.where(accepted[:, None], to_numpy(fits.coords), to_numpy(peaks.coords))
    table = fits.to_dict()
    names = [f"{axis}_std" for axis in "zyx"[-fits.ndim :]]
    columns = {name: table[name] for name in (*names, "flux", "flux_std")}
    wide = [name for name in table if name.startswith(("sigma", "angle", "beta"))]
    columns |= {f"fit_{name}": table[name] for name in ("background", "background_std", *wide)}
    columns |= {"chi2": table["chi2"], "fit_ok": table["ok"], "fit_flags": table["flag_names"]}
    return dataclasses.replace(peaks, coords=coords), columns
