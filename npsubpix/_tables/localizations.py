"""Fits as other programs take them: lateral widths, and positions along z in nanometres."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import to_numpy
from npsubpix._arrays.options import check_choice, check_finite, check_lengths, check_positive
from npsubpix._tables import ORIGINS, OutputError

__all__ = ["Localizations", "Parts", "check_origin", "check_packages", "lateral_widths", "localizations", "package"]

Numbers = npt.NDArray[Any]

#: Distributions whose name is not that of their package.
_DISTRIBUTIONS = {"yaml": "PyYAML"}


@dataclass(frozen=True)
class Localizations:
    """Columns of spots; lengths along y and x are in pixels from the centre of the first pixel."""

    frame: Numbers | None
    coords: Numbers  # (N, 2)
    coords_std: Numbers  # (N, 2)
    z: Numbers | None  # nm
    z_std: Numbers | None
    flux: Numbers
    flux_std: Numbers
    background: Numbers
    background_std: Numbers
    sigma: Numbers  # (N, 2)
    sigma_std: Numbers  # (N, 2)
    chi2: Numbers
    n_iters: Numbers
    flux_unit: str | None
    frame_shape: tuple[int, ...] | None  # (height, width)
    n_slices: int | None = None  # of a volume, whose z is that of slices
    slice_spacing: float | None = None  # nm

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.coords)


#: Reads a table of any length, part by part: at least one part, each in the order of frames, and after those before.
Parts = Callable[[], Iterable[Localizations]]


def localizations(fits: Any, pixel_size: Any, z_unit: float) -> Localizations:
    """Return fits as columns; z is that of a volume in units of its pixel size, or that of astigmatism."""
    coords, errors = to_numpy(fits.coords), to_numpy(fits.coords_std)
    sigma, sigma_std = lateral_widths(fits)
    z, z_std, spacing = None, None, None
    if fits.ndim == 3:
        if pixel_size is None:
            raise ValueError("pixel_size is needed for fits in a volume: z is written in nanometres")
        spacing = check_lengths(pixel_size, 3, "pixel_size")[0]
        z, z_std = coords[:, 0] * spacing, errors[:, 0] * spacing
    elif fits.z is not None:
        factor = check_positive(check_finite(z_unit, "z_unit"), "z_unit")
        z, z_std = to_numpy(fits.z) * factor, to_numpy(fits.z_std) * factor
    shape = fits.image_shape
    return Localizations(
        frame=None if fits.frame is None else to_numpy(fits.frame),
        coords=coords[:, -2:],
        coords_std=errors[:, -2:],
        z=z,
        z_std=z_std,
        flux=to_numpy(fits.flux),
        flux_std=to_numpy(fits.flux_std),
        background=to_numpy(fits.background),
        background_std=to_numpy(fits.background_std),
        sigma=sigma,
        sigma_std=sigma_std,
        chi2=to_numpy(fits.chi2),
        n_iters=to_numpy(fits.n_iters),
        flux_unit=fits.flux_unit,
        frame_shape=None if shape is None else tuple(shape[-2:]),
        n_slices=shape[0] if shape is not None and len(shape) == 3 else None,
        slice_spacing=spacing,
    )


def lateral_widths(fits: Any) -> tuple[Numbers, Numbers]:
    """Return the widths along y and x, of a rotated Gaussian the standard deviations of its projections."""
    sigma, errors = to_numpy(fits.sigma), to_numpy(fits.sigma_std)
    if sigma.ndim == 1:
        return np.column_stack([sigma] * 2), np.column_stack([errors] * 2)
    if fits.angle is None:
        return sigma[:, -2:], errors[:, -2:]
    cos, sin = np.cos(to_numpy(fits.angle)), np.sin(to_numpy(fits.angle))
    major, minor = sigma.T
    projected = np.column_stack([np.hypot(major * cos, minor * sin), np.hypot(major * sin, minor * cos)])
    return projected, np.full(projected.shape, np.nan)


def check_origin(origin: str) -> float:
    """Return the coordinate of the centre of the first pixel in an origin."""
    check_choice(origin, "origin", tuple(ORIGINS))
    return ORIGINS[origin]


def check_packages(path: Any, *names: str) -> None:
    """Refuse to write a file whose format needs a package that is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise OutputError(
                f"{path}: this format needs {_DISTRIBUTIONS.get(name, name)}: pip install 'npsubpix[app]'"
            )


def package(name: str, purpose: str, extra: str) -> Any:
    """Import a package; if there is none, say which extra installs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
        needed = _DISTRIBUTIONS.get(name, name)
        raise ModuleNotFoundError(f"{purpose} needs {needed}: pip install 'npsubpix[{extra}]'", name=name) from None
