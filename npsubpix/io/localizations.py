"""Read the tables of localizations that other programs write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._tables import picasso, thunderstorm
from npsubpix._tables.localizations import Localizations
from npsubpix.results import Fits

__all__ = ["read_picasso", "read_thunderstorm"]


def read_picasso(path: str | Path, *, origin: str | None = None) -> Fits:
    """Read the localizations of a picasso HDF5 file.

    Parameters
    ----------
    path : str or Path
        The ``.hdf5`` file. The ``.yaml`` file beside it, or else the metadata in it, say the size of a frame.
    origin : {"center", "corner", "fits"}, optional
        Origin of the positions in the file: the centre of the first pixel is 0, as in picasso.localize; its outer
        corner is 0; its centre is 1. Without it, that of the metadata, which `Fits.to_picasso` writes, or "center".

    Returns
    -------
    Fits
        One row per localization, in pixels from the centre of the first pixel, with ``photons`` as flux and ``lpx``
        and ``lpy`` as standard errors. What the file does not hold is NaN; columns that `Fits` does not have are not
        read. A column ``z`` is ``Fits.z``, in nanometres, or the first axis of positions if `Fits.to_picasso` wrote
        fits of volumes. All flags are 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If h5py, or PyYAML for the file beside it, is not installed.
    ValueError
        If the file has no table ``locs`` with columns ``x`` and ``y``.

    See Also
    --------
    npsubpix.Fits.to_picasso : Write such a file.
    read_thunderstorm : Read a CSV file of ThunderSTORM.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import npsubpix
    >>> from npsubpix.io import read_picasso
    >>> patch = npsubpix.render_spots([[3.2, 2.9]], (7, 7), std=1.1, amplitude=1000, integrate=True) + 2
    >>> fits = npsubpix.fit_patches(patch[None], camera=npsubpix.Camera())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fits.to_picasso(Path(folder) / "locs.hdf5", shape=(7, 7), pixel_size=100)
    ...     again = read_picasso(Path(folder) / "locs.hdf5")
    >>> again.coords.round(3), again.image_shape
    (array([[3.2, 2.9]]), (7, 7))
    """
    return _fits(picasso.read(path, origin))


def read_thunderstorm(
    path: str | Path, *, pixel_size: Any = None, origin: str | None = None, first_frame: int | None = None
) -> Fits:
    r"""Read the localizations of a ThunderSTORM CSV file.

    Parameters
    ----------
    path : str or Path
        The ``.csv`` file. Columns in nm, µm and pixels are read, and the errors ``uncertainty_xy`` of new and
        ``uncertainty`` of old versions.
    pixel_size : float or (float, float), optional
        Size of a pixel in nanometres, or one per axis (y, x). It may be left out if `Fits.to_thunderstorm` wrote the
        file, and its metadata are beside it.
    origin : {"center", "corner", "fits"}, optional
        Origin of the positions in the file: the centre of the first pixel is 0; its outer corner is 0; its centre is
        one pixel size. Without it, that of the metadata, or "corner", as ThunderSTORM has it.
    first_frame : int, optional
        Number of the first frame. Without it, that of the metadata, or 1, as ThunderSTORM has it.

    Returns
    -------
    Fits
        One row per localization, in pixels from the centre of the first pixel. ``intensity`` is the flux, and
        ``offset`` the background per pixel; their unit is the electron if the file says photon. What the file does
        not hold is NaN. A column ``z`` is ``Fits.z``, in nanometres, or the first axis of positions if
        `Fits.to_thunderstorm` wrote fits of volumes. All flags are 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If no size of a pixel is known, there are no columns ``x`` and ``y``, or cells are no numbers.

    See Also
    --------
    npsubpix.Fits.to_thunderstorm : Write such a file.
    read_picasso : Read an HDF5 file of picasso.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from npsubpix.io import read_thunderstorm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "spots.csv"
    ...     _ = path.write_text('"id","frame","x [nm]","y [nm]","intensity [photon]"\n1,1,250,150,900\n')
    ...     fits = read_thunderstorm(path, pixel_size=100)
    >>> fits.coords, fits.frame, fits.flux
    (array([[1., 2.]]), array([0]), array([900.]))
    """
    spots, _ = thunderstorm.read(path, pixel_size=pixel_size, origin=origin, first_frame=first_frame)
    return _fits(spots)


def _fits(spots: Localizations) -> Fits:
    """Return localizations as fits: of a volume, if z is that of slices."""
    coords, errors, depth = spots.coords, spots.coords_std, spots.slice_spacing
    shape: tuple[int, ...] | None = spots.frame_shape
    z, z_std = spots.z, spots.z_std
    sigma, sigma_std = spots.sigma, spots.sigma_std
    if depth is not None and z is not None and z_std is not None:
        coords, errors = np.column_stack([z / depth, coords]), np.column_stack([z_std / depth, errors])
        unknown = np.full(len(spots), np.nan)
        sigma, sigma_std = np.column_stack([unknown, sigma]), np.column_stack([unknown, sigma_std])
        shape = None if shape is None or spots.n_slices is None else (spots.n_slices, *shape)
        z, z_std = None, None
    elif np.array_equal(sigma[:, 0], sigma[:, 1], equal_nan=True):
        sigma, sigma_std = sigma[:, 0], sigma_std[:, 0]
    finite = np.isfinite(coords).all(axis=1, keepdims=True)
    return Fits(
        coords=coords,
        coords_std=errors,
        flux=spots.flux,
        flux_std=spots.flux_std,
        background=spots.background,
        background_std=spots.background_std,
        sigma=sigma,
        sigma_std=sigma_std,
        chi2=spots.chi2,
        log_likelihood=np.full(len(spots), np.nan),
        n_iters=spots.n_iters,
        indices=np.where(finite, np.rint(coords), -1).astype(np.int64),
        flags=np.zeros(len(spots), np.int32),
        z=z,
        z_std=z_std,
        frame=spots.frame,
        image_shape=shape,
        flux_unit=spots.flux_unit,
    )
