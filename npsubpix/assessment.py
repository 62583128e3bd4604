"""Compare found positions with true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_frames_of, check_positions, check_reals
from npsubpix._arrays.library import Array, as_array, to_numpy
from npsubpix._arrays.options import check_lengths
from npsubpix.results import Assessment

__all__ = ["assess"]

#: Distance between frames, in units of the radius: positions of two frames never match.
_BETWEEN_FRAMES = 4.0


def assess(
    found: Array,
    truth: Array,
    /,
    radius: float | tuple[float, ...],
    *,
    frame: Array | None = None,
    truth_frame: Array | None = None,
    coords_std: Array | None = None,
    bound: float | Array | None = None,
    pixel_size: float | tuple[float, ...] | None = None,
) -> Assessment:
    r"""Match found positions to true ones, and measure detection, errors, bias and the quality of standard errors.

    As many pairs as possible are matched, each position once; of all ways to do so, that with the least sum of squared
    distances is taken.

    Parameters
    ----------
    found, truth : arrays of shapes (N, ndim) and (M, ndim), or tables such as Peaks
        Positions in pixels, (y, x) or (z, y, x). All rows of `found` with a finite position count: pass
        ``found[found.ok]`` for those that are valid. Tables also supply their frames, and `found` its ``coords_std``.
    radius : float or tuple of floats
        Greatest distance of a match in pixels; with one number per axis, the semi-axes of an ellipsoid. About the
        half-width of a spot, but less than half of the distance of spots.
    frame, truth_frame : arrays of ints of shapes (N,) and (M,), optional
        Frames of the positions, between which there are no matches. Required for both or for neither.
    coords_std : array of shape (N, ndim), optional
        Standard errors of the found positions.
    bound : float or array that broadcasts to (M, ndim), optional
        Least possible standard error of each true position along each axis, such as the Cramér–Rao bound.
    pixel_size : float or tuple of floats, optional
        Size of a pixel in nanometres, one for all axes or one per axis, for the efficiency of the localization
        microscopy challenge [1]_.

    Returns
    -------
    Assessment
        Matches and errors, and all that follows from them. Arrays are of NumPy.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If shapes do not match, a true position is not finite, a bound is not positive, or frames are known of one
        table alone.

    See Also
    --------
    simulate_spots : Images of spots whose positions are known.
    npsubpix.plotting.plot_assessment : Draw the result.

    Notes
    -----
    Pairs within the radius are found with a k-d tree. Groups of positions that such pairs connect are assigned one by
    one with ``scipy.optimize.linear_sum_assignment``. Arrays on a GPU are copied to the host.

    References
    ----------
    .. [1] D. Sage et al., "Super-resolution fight club: assessment of 2D and 3D single-molecule localization microscopy
       software", Nature Methods 16 (2019), 387-395.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.uniform(8, 248, (60, 2))
    >>> image = npsubpix.simulate_spots((256, 256), truth, flux=3000, sigma=1.3, background=10, rng=rng)
    >>> peaks = npsubpix.find_peaks(image, threshold_abs=60, refine="centroid", radius=4)
    >>> result = npsubpix.assess(peaks, truth, 1.0)
    >>> result.n_matched, round(result.recall, 2), round(result.precision, 2)
    (58, 0.97, 0.97)
    >>> result.rmse.round(2)
    array([0.1 , 0.08])
    """
    points, exact = (_positions(x, name) for x, name in ((found, "found"), (truth, "truth")))
    ndim = exact.shape[1] if len(exact) or not len(points) else points.shape[1]
    points, exact = (x.reshape(0, ndim) if not len(x) else x for x in (points, exact))
    if points.shape[1] != ndim:
        raise ValueError(
            f"found and truth must have the same number of coordinates, got shapes {points.shape} and {exact.shape}"
        )
    if not np.isfinite(exact).all():
        raise ValueError(f"truth must be finite, got {int((~np.isfinite(exact).all(axis=1)).sum())} rows that are not")
    limits = check_lengths(radius, ndim, "radius")
    frames = _frames(found, frame, "frame", len(points)), _frames(truth, truth_frame, "truth_frame", len(exact))
    if (frames[0] is None) != (frames[1] is None) and len(points) and len(exact):
        known, other = ("found", "truth") if frames[1] is None else ("truth", "found")
        raise ValueError(f"frames must be known of both tables or of neither, got those of {known} and none of {other}")
    stds = getattr(found, "coords_std", None) if coords_std is None else coords_std
    finite = np.asarray(np.isfinite(points).all(axis=1))
    rows, truth_rows = _match(points, exact, frames, np.asarray(limits), finite)
    return Assessment(
        rows,
        truth_rows,
        points[rows] - exact[truth_rows],
        exact[truth_rows],
        n_found=int(finite.sum()),
        n_truth=len(exact),
        n_ignored=int((~finite).sum()),
        radius=limits,
        errors_std=None if stds is None else _per_position(stds, "coords_std", points.shape)[rows],
        bound=None if bound is None else _bounds(bound, exact.shape)[truth_rows],
        pixel_size=None if pixel_size is None else check_lengths(pixel_size, ndim, "pixel_size"),
    )


def _positions(table: Any, name: str) -> npt.NDArray[np.float64]:
    points = np.asarray(to_numpy(check_reals(check_positions(table, name), name)), np.float64)
    if points.size == 0:
        return points.reshape(0, points.shape[1] if points.ndim == 2 else 2)
    if points.ndim != 2 or points.shape[1] not in (1, 2, 3):
        raise ValueError(
            f"{name} must have shape (N, ndim), one position of 1 to 3 coordinates per row, got {points.shape}"
        )
    return points


def _frames(table: Any, frame: Any, name: str, count: int) -> npt.NDArray[np.float64] | None:
    """Return the frame of each position, None if there are none."""
    known = check_frames_of(table, frame)
    if known is None:
        return None
    frames = to_numpy(as_array(known, name))
    if frames.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), one number per position, got {frames.shape}")
    if count and frames.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {frames.dtype}")
    return frames.astype(np.float64)


def _per_position(values: Any, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    numbers = np.asarray(to_numpy(check_reals(values, name)), np.float64)
    if numbers.shape != shape:
        raise ValueError(f"{name} must have the shape of the positions, {shape}, got {numbers.shape}")
    return numbers


def _bounds(bound: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    numbers = np.asarray(to_numpy(check_reals(bound, "bound")), np.float64)
    try:
        bounds = np.broadcast_to(numbers, shape)
    except ValueError:
        raise ValueError(
            f"bound must be a number or broadcast to the shape of truth, {shape}, got shape {numbers.shape}"
        ) from None
    if not (bounds > 0).all():
        raise ValueError(f"bound must be positive, got {bounds[~(bounds > 0)].flat[0]}")
    return bounds


def _match(
    points: npt.NDArray[np.float64],
    exact: npt.NDArray[np.float64],
    frames: tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None],
    limits: npt.NDArray[np.float64],
    finite: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of the most pairs within the radius, of those the nearest."""
    from scipy.spatial import cKDTree

    if not finite.any() or not len(exact):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    own = np.flatnonzero(finite)
    places = [_in_space(x / limits, f) for x, f in ((points[own], _of(frames[0], own)), (exact, frames[1]))]
    trees = [cKDTree(x) for x in places]
    pairs = trees[0].sparse_distance_matrix(trees[1], 1.0, output_type="ndarray")
    i, j = _assign(pairs["i"], pairs["j"], pairs["v"], len(own), len(exact))
    order = np.argsort(j)
    return own[i[order]], j[order]


def _of(frames: npt.NDArray[np.float64] | None, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
    return None if frames is None else frames[rows]


def _in_space(points: npt.NDArray[np.float64], frames: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    """Add an axis along which frames are apart."""
    return points if frames is None else np.column_stack([_BETWEEN_FRAMES * frames, points])


def _assign(
    i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], distance: npt.NDArray[np.float64], n: int, m: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose among pairs the most that share no position, and of those the least sum of squared distances."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(i), np.int8), (i, n + j)), (n + m, n + m))
    group = connected_components(graph, directed=False)[1][i]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    parts = np.split(order, starts[1:]) if len(order) else []
    chosen = [part for part in parts if len(part) == 1]
    for part in parts:
        if len(part) > 1:
            (rows, a), (columns, b) = (np.unique(x[part], return_inverse=True) for x in (i, j))
            # No sum of distances within the radius, which are at most 1, is worth one pair fewer
            cost = np.full((len(rows), len(columns)), min(len(rows), len(columns)) + 1.0)
            pair = np.full(cost.shape, -1)
            cost[a, b], pair[a, b] = distance[part] ** 2, part
            best = pair[linear_sum_assignment(cost)]
            chosen.append(best[best >= 0])
    taken = np.concatenate(chosen) if chosen else np.empty(0, np.int64)
    return i[taken], j[taken]
