"""The drift of a sample during a movie, from the table of its localizations."""

from __future__ import annotations

import numpy as np

from npsubpix._arrays.library import Array
from npsubpix._arrays.options import check_choice, check_count, check_lengths, check_positive
from npsubpix.drift.localizations import Localizations, localizations_of
from npsubpix.drift.segments import correlated_drift, default_segments
from npsubpix.drift.tracks import drift_of_tracks
from npsubpix.results.drift import Drift

__all__ = ["drift_of"]

_METHODS = ("rcc", "tracks")
_REFERENCES = ("mean", "first")

#: Largest drift by default: a share of the image, and pixels.
_SHARE, _FARTHEST = 0.25, 32.0


def drift_of(
    table: Array,
    /,
    *,
    method: str = "rcc",
    frame: Array | None = None,
    coords_std: Array | None = None,
    axes: str | None = None,
    reference: str = "mean",
    n_segments: int | None = None,
    width: float | tuple[float, ...] | None = None,
    max_shift: float | None = None,
    radius: float = 1.0,
    memory: int = 3,
    min_presence: float = 0.5,
) -> Drift:
    r"""Measure how a sample drifted during a movie, from its localizations.

    Parameters
    ----------
    table : Fits, Peaks, Measurements, or array of shape (N, 2) or (N, 3)
        Localizations in pixels, (y, x) or (z, y, x). Rows that are not `ok` or have no position are left out; frames
        need not be in order. The ``z`` of an `AstigmaticCurve` is a third axis, in its unit.
    method : {"rcc", "tracks"}, default "rcc"
        "rcc" finds the drift from molecules that are seen again: redundant cross-correlation [1]_ of segments of the
        movie. "tracks" takes the mean motion of beads that stay.
    frame : array of ints of shape (N,), optional
        Frame of each row, for an array or a table without.
    coords_std : array of the shape of the positions, optional
        Standard errors of the positions; those of the table by default.
    axes : {"yx", "zyx"}, optional
        Axes along which the drift is measured. By default, all that the table has.
    reference : {"mean", "first"}, default "mean"
        Place from which the drift is measured: the mean place of the sample, over localizations or, of beads, over
        frames; or that in the first frame, whose own error, the largest of all, is then part of all others.
    n_segments : int, optional
        Number of segments, at least 2, of "rcc". By default, one per 600 localizations, at most 200. Choose more if
        the sample moves by more than about three pixels within a segment.
    width : float or tuple of floats, optional
        Standard deviation of the Gaussian by which localizations are compared, for all axes or per axis, for "rcc". By
        default twice the median standard error along each axis, or 0.3 pixels if there are none.
    max_shift : float, optional
        Largest drift along y and x between two segments of "rcc", in pixels. By default, a quarter of the image, at
        most 32.
    radius : float, default 1.0
        Greatest distance that a bead moves between its frames, in pixels, for "tracks". Choose less than half of the
        distance of beads.
    memory : int, default 3
        Number of frames in which a bead may be missing without the end of its track.
    min_presence : float, default 0.5
        Least length of a track as a share of the frames, above 0 and at most 1.

    Returns
    -------
    Drift
        The displacement in every frame, with standard errors and flags. Where it could not be found, it is NaN and
        flagged.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If no frames are known, there is only one, shapes do not match, or an option is out of range.

    See Also
    --------
    apply_drift : Subtract the drift from a table.
    align_stack : Shifts of the frames themselves, where each shows the whole sample.

    Notes
    -----
    "rcc" divides the movie into segments of equal numbers of localizations, renders each as an image, and correlates
    the images of pairs. Maxima that do not stand out from the noise of the correlation, and pairs that contradict the
    others, are left out. The drift of segments that remains is where the fit begins: the drift is a cubic spline over
    frames, with as many coefficients as there are segments, and the sum

    .. math::
        \sum_{a < b} \exp\Bigl(-\tfrac12 \sum_i \bigl((x_{bi} - d_i(t_b) - x_{ai} + d_i(t_a)) / w_i\bigr)^2\Bigr)

    over pairs of localizations x of the frames t, whose maximum is that of the correlation of images without pixels, is
    maximised over its coefficients. The number of coefficients is doubled as long as this changes the drift by more
    than noise, down to 100 localizations per coefficient; frames in which it still does are flagged ``MISFIT``.
    Standard errors are those of an M-estimator with sums over cells of the image as independent contributions, and
    hence include molecules that are seen many times.

    "tracks" links nearest neighbours of consecutive frames, which must be each other's nearest. Positions of beads and
    drift of frames are found by weighted least squares, in which each bead has a noise of its own if there are at least
    5, and residuals of more than 4.5 standard deviations are left out. Each frame is measured for itself.

    Pairs are found with a k-d tree. If there are more than eight million, localizations are thinned out: see
    ``Drift.n_used``. Arrays on a GPU are copied to the host.

    References
    ----------
    .. [1] Y. Wang et al., "Localization events-based sample drift correction for localization microscopy with redundant
       cross-correlation algorithm", Optics Express 22 (2014), 15982-15991.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> rng = np.random.default_rng(0)
    >>> molecules = rng.uniform(0, 64, (300, 2))
    >>> frame = np.sort(rng.integers(0, 1000, 3000))
    >>> moved = np.stack([0.002 * frame, np.sin(frame / 300)], axis=1)
    >>> found = molecules[rng.integers(0, 300, 3000)] + moved + rng.normal(0, 0.1, (3000, 2))
    >>> drift = npsubpix.drift_of(found, frame=frame, width=0.2, reference="first")
    >>> bool(drift.ok.all()), drift.shift[[0, 500, 999]].round(1) + 0.0
    (True, array([[ 0. ,  0. ],
           [ 1. ,  1. ],
           [ 2. , -0.2]]))
    """
    check_choice(method, "method", _METHODS)
    check_choice(reference, "reference", _REFERENCES)
    loc = localizations_of(table, frame, coords_std, axes)
    if method == "tracks":
        share = check_positive(min_presence, "min_presence")
        if share > 1:
            raise ValueError(f"min_presence must be at most 1, got {share}")
        reach, gap = check_positive(radius, "radius"), check_count(memory, "memory")
        return drift_of_tracks(loc, radius=reach, memory=gap, min_presence=share, reference=reference)
    segments = default_segments(loc) if n_segments is None else check_count(n_segments, "n_segments", 2)
    widths = loc.widths() if width is None else np.asarray(check_lengths(width, len(loc.axes), "width"))
    farthest = _farthest(loc) if max_shift is None else check_positive(max_shift, "max_shift")
    return correlated_drift(loc, n_segments=segments, widths=widths, max_shift=farthest, reference=reference)


def _farthest(loc: Localizations) -> float:
    """Return the largest drift that is sought by default."""
    extent = np.ptp(loc.points[:, -2:], axis=0).max() if len(loc.points) else 0.0
    return float(np.clip(_SHARE * extent, 4.0, _FARTHEST))
