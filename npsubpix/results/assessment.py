"""How well found positions agree with true ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Assessment", "PhaseBias"]

Floats = npt.NDArray[np.float64]

#: Weights of root mean square errors, per nanometre, against a Jaccard index in percent.
_PER_NM_LATERAL, _PER_NM_AXIAL = 1.0, 0.5


class PhaseBias(NamedTuple):
    """Mean errors by the position of a spot within its pixel.

    Attributes
    ----------
    phase : array of shape (bins,)
        Centres of the bins: distance of the true position from the centre of its pixel, from -0.5 to 0.5.
    bias : array of shape (ndim, bins)
        Mean error along each axis of the spots of a bin of that axis, in pixels. NaN for an empty bin.
    bias_std : array of shape (ndim, bins)
        Standard error of the bias. NaN for fewer than two spots.
    counts : array of shape (ndim, bins)
        Number of spots.
    """

    phase: Floats
    bias: Floats
    bias_std: Floats
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Assessment:
    """Agreement of found positions with true ones: detection, errors, bias, and errors in units of their bounds.

    Attributes
    ----------
    found_rows, truth_rows : arrays of shape (K,), int64
        Rows of both tables that were matched, in the order of `truth_rows`.
    errors : array of shape (K, ndim), float64
        Found less true position of each match, in pixels.
    truth : array of shape (K, ndim), float64
        True position of each match.
    n_found, n_truth : int
        Number of found and of true positions.
    n_ignored : int
        Number of rows of the found table without a finite position, which are not among `n_found`.
    radius : tuple of floats
        Greatest error of a match along each axis.
    errors_std : array of shape (K, ndim), float64, or None
        Standard errors that the found table gives.
    bound : array of shape (K, ndim), float64, or None
        Cramér–Rao bounds, if they were given.
    pixel_size : tuple of floats or None
        Size of a pixel along each axis in nanometres.

    See Also
    --------
    assess : Compare positions.
    npsubpix.plotting.plot_assessment : Draw errors, bias and standard errors.
    """

    found_rows: npt.NDArray[np.int64]
    truth_rows: npt.NDArray[np.int64]
    errors: Floats
    truth: Floats
    n_found: int
    n_truth: int
    n_ignored: int
    radius: tuple[float, ...]
    errors_std: Floats | None = None
    bound: Floats | None = None
    pixel_size: tuple[float, ...] | None = None

    @property
    def n_matched(self) -> int:
        """Number of matches: true positives."""
        return len(self.errors)

    @property
    def recall(self) -> float:
        """Share of true positions that were found. NaN if there are none."""
        return _ratio(self.n_matched, self.n_truth)

    @property
    def precision(self) -> float:
        """Share of found positions that are true. NaN if there are none."""
        return _ratio(self.n_matched, self.n_found)

    @property
    def jaccard(self) -> float:
        """Matches, divided by all true and found positions that are counted once each: TP / (TP + FP + FN)."""
        return _ratio(self.n_matched, self.n_found + self.n_truth - self.n_matched)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return _ratio(2 * self.n_matched, self.n_found + self.n_truth)

    @property
    def rmse(self) -> Floats:
        """Root mean square error along each axis, in pixels. NaN without matches."""
        return _mean(self.errors**2) ** 0.5

    @property
    def bias(self) -> Floats:
        """Mean error along each axis, in pixels."""
        return _mean(self.errors)

    @property
    def bias_std(self) -> Floats:
        """Standard error of the bias along each axis, in pixels. NaN for fewer than two matches."""
        return _standard_error(self.errors)

    @property
    def rms_over_bound(self) -> Floats | None:
        """Root mean square of errors divided by their bounds, along each axis; None without bounds.

        1 for the best possible method, whose standard errors are the bounds.
        """
        return None if self.bound is None else _mean((self.errors / self.bound) ** 2) ** 0.5

    @property
    def error_over_std(self) -> Floats | None:
        """Standard deviation of errors divided by their standard errors, along each axis; None without these.

        1 if standard errors are the scatter. Errors without a finite standard error do not count.
        """
        if self.errors_std is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            pulls = self.errors / self.errors_std
        return np.array([_std(column[np.isfinite(column)]) for column in pulls.T])

    @property
    def rmse_lateral(self) -> float:
        """Root mean squared distance along the last two axes, in nanometres. NaN without a pixel size."""
        return self._rmse_in_nm(slice(-2, None))

    @property
    def rmse_axial(self) -> float:
        """Root mean square error along z, in nanometres. NaN without a pixel size, and in images."""
        return self._rmse_in_nm(slice(0, 1)) if self.errors.shape[1] == 3 else math.nan

    @property
    def efficiency(self) -> float:
        """Efficiency of the single-molecule localization microscopy challenge, in percent; 100 is perfect.

        100 - sqrt((100 - J)² + (α RMSE)²), with the Jaccard index J in percent, and the root mean squared distance in
        the plane in nanometres, α being 1 per nanometre; in volumes the mean of this and of that along z, with α of 0.5
        per nanometre. NaN without a pixel size.
        """
        lateral = self._efficiency(self.rmse_lateral, _PER_NM_LATERAL)
        if self.errors.shape[1] < 3:
            return lateral
        return (lateral + self._efficiency(self.rmse_axial, _PER_NM_AXIAL)) / 2

    def phase_bias(self, bins: int = 10) -> PhaseBias:
        """Return the mean error by the position of a spot within its pixel.

        Parameters
        ----------
        bins : int, default 10
            Number of intervals of equal length from -0.5 to 0.5 pixels.

        Returns
        -------
        PhaseBias
            Bins, mean errors, their standard errors and numbers of spots.
        """
        from npsubpix._arrays.options import check_count

        bins = check_count(bins, "bins", 1)
        places = np.minimum(((self._phase() + 0.5) * bins).astype(int), bins - 1)
        shape = self.errors.shape[1], bins
        bias, spread, count = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64)
        for axis in range(shape[0]):
            for k in range(bins):
                chosen = self.errors[places[:, axis] == k, axis]
                count[axis, k] = len(chosen)
                bias[axis, k], spread[axis, k] = _mean(chosen[:, None])[0], _standard_error(chosen[:, None])[0]
        return PhaseBias((np.arange(bins) + 0.5) / bins - 0.5, bias, spread, count)

    @property
    def pixel_locking(self) -> Floats:
        """Amplitude along each axis of the error that repeats with the pixels, in pixels.

        That of the sine of one pixel's period, of any phase, that fits best. See `pixel_locking_std` for the amplitude
        that noise alone has.
        """
        turn = 2 * np.pi * self._phase()
        parts = [2 * _mean((self.errors - self.bias) * wave(turn)) for wave in (np.sin, np.cos)]
        return np.asarray(np.hypot(*parts))

    @property
    def pixel_locking_std(self) -> Floats:
        """Standard error of `pixel_locking` along each axis, in pixels."""
        return math.sqrt(2) * _standard_error(self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Return numbers by name, one per axis where they differ between axes, as plain numbers and lists."""
        numbers: dict[str, Any] = {
            name: getattr(self, name) for name in ("n_found", "n_truth", "n_matched", "n_ignored")
        }
        for name in ("recall", "precision", "jaccard", "f1", "rmse", "bias", "bias_std", "pixel_locking",
                     "pixel_locking_std", "rms_over_bound", "error_over_std"):  # fmt: skip
            value = getattr(self, name)
            numbers[name] = value.tolist() if isinstance(value, np.ndarray) else value
        if self.pixel_size is not None:
            numbers |= {name: getattr(self, name) for name in ("rmse_lateral", "rmse_axial", "efficiency")}
        return numbers | {"radius": list(self.radius)}

    def __repr__(self) -> str:
        """Show the numbers that there are, on a few lines."""
        ignored = f", {self.n_ignored} rows without a position" if self.n_ignored else ""
        radius = ", ".join(f"{r:g}" for r in sorted(set(self.radius)))
        head = f"Assessment: {self.n_matched} of {self.n_truth} true positions found within {radius} pixels, "
        lines = [
            head + f"{self.n_found - self.n_matched} of {self.n_found} found are false{ignored}",
            f" recall {self.recall:.4g}, precision {self.precision:.4g}, Jaccard {self.jaccard:.4g}",
            f" rmse {_listed(self.rmse)}, bias {_listed(self.bias, self.bias_std)} pixels",
            f" pixel locking {_listed(self.pixel_locking, self.pixel_locking_std)} pixels",
        ]
        for value, name in ((self.rms_over_bound, "rms / bound"), (self.error_over_std, "std(error / standard error)")):
            if value is not None:
                lines.append(f" {name} {_listed(value)}")
        if self.pixel_size is not None:
            axial = "" if math.isnan(self.rmse_axial) else f", axial {self.rmse_axial:.4g} nm"
            lines.append(f" lateral rmse {self.rmse_lateral:.4g} nm{axial}, efficiency {self.efficiency:.4g} %")
        return "\n".join(lines)

    def _phase(self) -> Floats:
        """Return the distances of true positions from the centres of their pixels, from -0.5 on, below 0.5."""
        return np.asarray(self.truth - np.floor(self.truth + 0.5))

    def _rmse_in_nm(self, axes: slice) -> float:
        if self.pixel_size is None:
            return math.nan
        return float(np.sum((self.rmse * self.pixel_size)[axes] ** 2) ** 0.5)

    def _efficiency(self, rmse: float, per_nm: float) -> float:
        return 100 - math.hypot(100 - 100 * self.jaccard, per_nm * rmse)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _mean(rows: Floats) -> Floats:
    return np.asarray(rows.mean(axis=0)) if len(rows) else np.full(rows.shape[1], np.nan)


def _std(values: Floats) -> float:
    return float(values.std()) if len(values) > 1 else math.nan


def _standard_error(rows: Floats) -> Floats:
    count = len(rows)
    return np.asarray(rows.std(axis=0, ddof=1) / count**0.5) if count > 1 else np.full(rows.shape[1], np.nan)


def _listed(values: Floats, errors: Floats | None = None) -> str:
    if errors is None:
        return f"({', '.join(f'{v:.4g}' for v in values)})"
    return f"({', '.join(f'{v:.2g} ± {e:.1g}' for v, e in zip(values, errors, strict=True))})"
