"""Fits of spots."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix._definitions.flags import FIT_NOT_OK, FitFlags
from npsubpix.results.table import AXES, Table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fits"]


@dataclass(frozen=True, eq=False, repr=False)
class Fits(Table):
    """Spots of an image with standard errors: positions, fluxes, backgrounds and widths, one row per spot.

    The arrays are of the library and on the device of the image. Indexing with a slice, or with an array of booleans
    or integers, selects rows and returns Fits. A spot that could not be fitted keeps the position at which it
    started; its other columns, errors included, are NaN, and its flags give the reason.

    Attributes
    ----------
    coords, coords_std : arrays of shape (N, ndim), float64
        Positions in pixels in array order, (y, x) or (z, y, x), and their standard errors. The centre of the first
        pixel is 0.
    flux, flux_std : arrays of shape (N,), float64
        The integral of the spot: in electrons with a `Camera`, else in units of the image.
    background, background_std : arrays of shape (N,), float64
        Background per pixel, in the same unit, at the centre of the box.
    sigma, sigma_std : arrays of shape (N,), or (N, K) with several widths, float64
        Standard deviation of the Gaussian in pixels, or one per axis; of a rotated Gaussian, those along the major and
        the minor axis. Of a Moffat function, the full width at half maximum over 2.3548. Its error is 0 where it is
        fixed.
    chi2 : array of shape (N,), float64
        Reduced chi-squared: sum of squared residuals in units of the noise, per degree of freedom. Without knowledge
        of the noise (``estimator="lsq"``) the variance of the residuals, in squared units of the image.
    log_likelihood : array of shape (N,), float64
        Logarithm of the likelihood of the fit, less that of a model that equals the data: never positive. With
        ``estimator="lsq"``, that of Gaussian noise of the variance of the residuals, up to a constant.
    n_iters : array of shape (N,), int32
        Number of iterations; on an astigmatic curve, that of both starts.
    indices : array of shape (N, ndim), int64
        Pixel at the centre of the box; -1 for a start that was not finite.
    flags : array of shape (N,), int32
        Bits of `FitFlags`.
    covariance : array of shape (N, P, P), float64, or None
        Covariance of the parameters, if it was asked for: positions, flux, widths that are fitted, angle, beta or z,
        slopes of the background, and background.
    angle, angle_std : arrays of shape (N,), float64, or None
        With ``width="rotated"``, the angle of the major axis in radians, from the y axis towards the x axis, from -π/2
        to π/2. Its error is π/√12 = 0.907, that of an angle of which nothing is known, where the difference of the
        axes is not three times its standard error, as of round spots.
    beta, beta_std : arrays of shape (N,), float64, or None
        Exponent of a Moffat function. Its error is 0 where it is fixed.
    z, z_std : arrays of shape (N,), float64, or None
        With an `AstigmaticCurve`, the position along z in the unit of the curve.
    frame : array of shape (N,), int64, or None
        Index of the image in its stack; None without a stack.
    image_shape : tuple of ints or None
        Shape of the image, or of one frame of a stack; None if it is not known.
    flux_unit : str or None
        Unit of fluxes and backgrounds: "electron" with a camera, else None, the unit of the image.

    See Also
    --------
    fit_spots : Fit spots of an image.
    FitFlags : The meaning of the flags.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = npsubpix.render_spots([[6.2, 7.9]], (15, 16), std=1.2, amplitude=900, integrate=True)
    >>> image = np.random.default_rng(0).poisson(image + 4.0)
    >>> fits = npsubpix.fit_spots(image, [[6, 8]], camera=npsubpix.Camera())
    >>> fits.coords.round(2), fits.coords_std.round(2)
    (array([[6.22, 7.89]]), array([[0.05, 0.05]]))
    >>> fits.flux.round(), fits.flux_std.round(), bool(fits.ok[0])
    (array([862.]), array([37.]), True)
    """

    coords: Array
    coords_std: Array
    flux: Array
    flux_std: Array
    background: Array
    background_std: Array
    sigma: Array
    sigma_std: Array
    chi2: Array
    log_likelihood: Array
    n_iters: Array
    indices: Array
    flags: Array
    covariance: Array | None = None
    angle: Array | None = None
    angle_std: Array | None = None
    beta: Array | None = None
    beta_std: Array | None = None
    z: Array | None = None
    z_std: Array | None = None
    frame: Array | None = None
    image_shape: tuple[int, ...] | None = None
    flux_unit: str | None = None

    _NOT_OK = int(FIT_NOT_OK)
    _FLAGS = FitFlags
    _OF_TABLE = ("image_shape", "flux_unit")
    _BRIGHTNESS = ("flux", "flux_std", "background", "background_std")
    _HIDDEN = ("log_likelihood", "n_iters")

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the fits to a dictionary of NumPy arrays, one per column.

        The columns are ``frame`` (in stacks), ``z`` (in volumes), ``y``, ``x``, their errors ``y_std`` and so on,
        ``flux``, ``background`` and ``sigma`` (``sigma_y`` and so on with one width per axis, ``sigma_major`` and
        ``sigma_minor`` with an angle), ``angle``, ``beta`` and ``z`` where the model has them, each followed by its
        error, ``chi2``, ``log_likelihood``, ``n_iters``, ``z_index`` (in volumes), ``y_index``, ``x_index``, ``ok``,
        ``flags`` and ``flag_names``.
        """
        axes = AXES[-self.ndim :]
        coords, errors, indices = (to_numpy(column) for column in (self.coords, self.coords_std, self.indices))
        columns = {} if self.frame is None else {"frame": to_numpy(self.frame)}
        columns |= {axis: coords[:, k] for k, axis in enumerate(axes)}
        columns |= {f"{axis}_std": errors[:, k] for k, axis in enumerate(axes)}
        for name in ("flux", "background"):
            columns |= {n: to_numpy(getattr(self, n)) for n in (name, f"{name}_std")}
        columns |= self._widths(axes)
        for name in ("angle", "beta", "z"):
            if getattr(self, name) is not None:
                columns |= {n: to_numpy(getattr(self, n)) for n in (name, f"{name}_std")}
        columns |= {n: to_numpy(getattr(self, n)) for n in ("chi2", "log_likelihood", "n_iters")}
        columns |= {f"{axis}_index": indices[:, k] for k, axis in enumerate(axes)}
        return columns | self._flag_columns()

    def _widths(self, axes: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of widths and of their errors."""
        sigma, errors = to_numpy(self.sigma), to_numpy(self.sigma_std)
        if sigma.ndim == 1:
            return {"sigma": sigma, "sigma_std": errors}
        columns: dict[str, npt.NDArray[Any]] = {}
        for k, axis in enumerate(axes if self.angle is None else ("major", "minor")):
            columns |= {f"sigma_{axis}": sigma[:, k], f"sigma_{axis}_std": errors[:, k]}
        return columns

    def to_picasso(
        self,
        path: str | Path,
        *,
        shape: tuple[int, ...] | None = None,
        pixel_size: float | tuple[float, ...] | None = None,
        z_unit: float = 1.0,
        origin: str = "center",
        ok_only: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an HDF5 file that picasso opens, and the YAML file beside it.

        Parameters
        ----------
        path : str or Path
            A ``.hdf5`` file, ``.h5`` too. The YAML file has the same name with ``.yaml`` for the ending. Files that
            exist are replaced.
        shape : tuple of ints, optional
            Shape of the movie, (frames, height, width), or of a frame. By default that of the table, with frames up
            to the last that has a row.
        pixel_size : float or tuple of floats, optional
            Size of a pixel in nanometres, for the metadata. Fits of volumes need one per axis, (z, y, x).
        z_unit : float, default 1.0
            Nanometres in the unit of ``Fits.z``, the positions along z of an `AstigmaticCurve`.
        origin : {"center", "corner", "fits"}, default "center"
            Origin of the positions in the file: the centre of the first pixel is 0, as picasso.localize has it; its
            outer corner is 0; its centre is 1.
        ok_only : bool, default True
            Leave out rows that are not `ok`, as the file has no flags. A warning and the metadata say how many.
        metadata : mapping of str to str, number, list or dict, optional
            Further metadata.

        Raises
        ------
        OutputError
            If the name or the disk does not allow it, or h5py or PyYAML is not installed.
        ValueError
            If fluxes are not in electrons, no shape is known, or an argument is out of range.

        Warns
        -----
        UserWarning
            If rows are left out, or picasso will drop rows when it opens the file: those that have NaN, a negative
            flux or, in `origin`, a position below 0.

        See Also
        --------
        npsubpix.io.read_picasso : Read such a file.
        to_thunderstorm : Write a CSV file.

        Notes
        -----
        The table ``locs`` has the columns ``frame``, ``x``, ``y``, ``z`` (in nm, where there is one), ``photons``,
        ``sx``, ``sy``, ``bg``, ``lpx`` and ``lpy``: the widths, the background per pixel, and the standard errors of
        x and y. Those of the others follow where all are known, in the names of picasso 0.11: ``photons_unc``,
        ``bg_unc``, ``sx_unc``, ``sy_unc``, ``lpz``; then ``chi2`` and ``iterations``. Numbers are float32; rows are
        in the order of frames. Photons are electrons that the camera detected. Of a rotated Gaussian the widths are
        those of its projections.
        """
        from npsubpix._tables import picasso
        from npsubpix._tables.localizations import localizations

        table, left_out = self._kept(ok_only, "picasso's files")
        spots = localizations(table, pixel_size, z_unit)
        picasso.write(
            path,
            lambda: [spots],
            shape=shape,
            pixel_size=pixel_size,
            origin=origin,
            left_out=left_out,
            metadata=metadata,
        )

    def to_thunderstorm(
        self,
        path: str | Path,
        *,
        pixel_size: float | tuple[float, ...],
        z_unit: float = 1.0,
        origin: str = "corner",
        first_frame: int = 1,
        ok_only: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a CSV file that ThunderSTORM imports, and its metadata beside it.

        Parameters
        ----------
        path : str or Path
            A ``.csv`` file. One that exists is replaced. Its metadata are in a file of the same name with ``.json``
            after it.
        pixel_size : float or tuple of floats
            Size of a pixel in nanometres, or one per axis: (y, x), in volumes (z, y, x).
        z_unit : float, default 1.0
            Nanometres in the unit of ``Fits.z``, the positions along z of an `AstigmaticCurve`.
        origin : {"center", "corner", "fits"}, default "corner"
            Origin of the positions along y and x: the centre of the first pixel is 0; its outer corner is 0, as
            ThunderSTORM has it; its centre is one pixel size. Positions along z of volumes are from the centre of the
            first slice.
        first_frame : int, default 1
            Number of the first frame: 1 in ThunderSTORM.
        ok_only : bool, default True
            Leave out rows that are not `ok`, as the file has no flags. A warning and the metadata say how many.
        metadata : mapping of str to str, number, list or dict, optional
            Further metadata.

        Raises
        ------
        OutputError
            If the name or the disk does not allow it.
        ValueError
            If an argument is out of range.

        Warns
        -----
        UserWarning
            If rows are left out.

        See Also
        --------
        npsubpix.io.read_thunderstorm : Read such a file.
        to_picasso : Write an HDF5 file.

        Notes
        -----
        The columns are ``id``, ``frame``, ``x [nm]``, ``y [nm]``, ``sigma [nm]``, ``intensity [photon]``,
        ``offset [photon]``, the background per pixel, ``bkgstd [photon]``, the square root of the background, which
        is the noise of its photons, and ``uncertainty_xy [nm]``, the root mean square of the standard errors of x and
        y. With widths that differ between the axes, or ``z [nm]``, ``sigma1 [nm]`` along x and ``sigma2 [nm]`` along
        y stand for ``sigma [nm]``, and ``uncertainty_z [nm]`` is the last. Without a camera, ThunderSTORM's unit
        ``ADU`` stands for ``photon``, and there is no ``bkgstd``. Photons are electrons that the camera detected.
        """
        from npsubpix._tables import thunderstorm
        from npsubpix._tables.localizations import localizations

        table, left_out = self._kept(ok_only, "ThunderSTORM's files")
        spots = localizations(table, pixel_size, z_unit)
        thunderstorm.write(
            path,
            lambda: [spots],
            pixel_size=pixel_size,
            origin=origin,
            first_frame=operator.index(first_frame),
            left_out=left_out,
            metadata=metadata,
        )

    def _trackpy_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the flux as mass, and in 2-D the radius of gyration, the height and the eccentricity of the spot."""
        from npsubpix._tables.localizations import lateral_widths

        mass, errors = to_numpy(self.flux), to_numpy(self.coords_std)
        columns = {"mass": mass}
        if self.ndim == 2:
            columns |= _moments(mass, lateral_widths(self)[0])
        return {**columns, "ep": np.sqrt((errors**2).mean(axis=1))}


def _moments(mass: npt.NDArray[Any], sigma: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return trackpy's columns of Gaussians, of which one width for both axes does not tell the eccentricity."""
    minor, major = np.sort(sigma, axis=1).T
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {"size": np.hypot(major, minor)}
        if not np.array_equal(major, minor, equal_nan=True):
            columns["ecc"] = (major - minor) / (major + minor)
        return {**columns, "signal": mass / (2 * np.pi * major * minor)}
