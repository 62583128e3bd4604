"""Transforms of frames from a table, for ``npsubpix align --apply``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._definitions.flags import AlignmentFlags
from npsubpix.alignment import Alignment

__all__ = ["read_shifts"]

_ENTRIES = tuple(f"m{i}{j}" for i in range(3) for j in range(3))


def read_shifts(path: Path, count: int, shape: tuple[int, ...]) -> list[Alignment]:
    """Read one alignment per frame: a table that ``npsubpix align --table`` wrote, or one of drift."""
    from npsubpix.io.tables import read_table

    columns, _ = read_table(path)
    matrices = _matrices(path, columns)
    if len(matrices) != count:
        raise ValueError(f"{path}: has {len(matrices)} rows; needed is one for each of the {count} frames to align")
    centre = 0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1)
    flags = np.asarray(columns.get("flags", np.zeros(count)), np.int64)
    if "flags" not in columns and "ok" in columns:
        flags = np.where(columns["ok"], 0, int(AlignmentFlags.POOR_FIT))
    numbers = {name: _numbers(columns, name, count) for name in ("rms", "noise", "correlation", "overlap")}
    gain, bias = _numbers(columns, "gain", count, 1.0), _numbers(columns, "bias", count, 0.0)
    errors = [_numbers(columns, name, count) for name in ("dy_error", "dx_error")]
    return [
        Alignment(
            matrix=matrix,
            covariance=_before(matrix, centre, np.diag([errors[0][k] ** 2, errors[1][k] ** 2])),
            rms=numbers["rms"][k],
            overlap=numbers["overlap"][k],
            n_iters=0,
            converged=not flags[k],
            flags=AlignmentFlags(int(flags[k])),
            gain=gain[k],
            bias=bias[k],
            centre=centre,
            correlation=numbers["correlation"][k],
            noise=numbers["noise"][k],
        )
        for k, matrix in enumerate(matrices)
    ]


def _matrices(path: Path, columns: Mapping[str, Any]) -> Any:
    if set(_ENTRIES) <= columns.keys():
        return np.stack([np.asarray(columns[name], np.float64) for name in _ENTRIES], 1).reshape(-1, 3, 3)
    for names in (("dy", "dx"), ("y", "x")):
        if {"frame", *names} <= columns.keys():
            order = np.argsort(columns["frame"], kind="stable")
            frames = np.asarray(columns["frame"])[order]
            if not np.array_equal(frames, np.arange(len(frames))):
                raise ValueError(f"{path}: frames must be 0 to {len(frames) - 1}, each once, got others")
            matrices = np.tile(np.eye(3), (len(order), 1, 1))
            matrices[:, :2, 2] = np.stack([np.asarray(columns[name], np.float64)[order] for name in names], 1)
            return matrices
    raise ValueError(
        f"{path}: has no transforms; needed are columns m00 to m22, as npsubpix align --table writes them, or frame, y "
        f"and x of a drift, got {', '.join(columns)}"
    )


def _before(matrix: Any, centre: tuple[float, float], covariance: Any) -> Any:
    """Return the covariance of a shift before a matrix, from that of the shift after it."""
    moved = matrix @ (*centre, 1.0)
    linear = (matrix[:2, :2] - np.outer(moved[:2] / moved[2], matrix[2, :2])) / moved[2]
    inverse = np.linalg.pinv(linear)
    return inverse @ covariance @ inverse.T


def _numbers(columns: Mapping[str, Any], name: str, count: int, missing: float = float("nan")) -> list[float]:
    return [float(value) for value in columns.get(name, np.full(count, missing))]
