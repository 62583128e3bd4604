"""Numbers among the options of ``locate`` and ``blobs``: out of range, they are refused before any file is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["check_numbers"]


def check_numbers(options: dict[str, Any], task: str) -> None:
    """Require options that are numbers to be in the range of the arguments they stand for."""
    if task == "blobs":
        _check_blobs(options)
        return
    from npsubpix._arrays.options import (
        check_count,
        check_finite,
        check_lengths,
        check_per_axis,
        check_positive,
        check_widths,
    )

    def length(value: Any) -> int:
        return len(value) if isinstance(value, tuple) else 2

    checks: dict[str, Callable[[Any, str], Any]] = {
        "size": lambda value, name: check_per_axis(value, length(value), name, 1),
        "min_distance": lambda value, name: check_lengths(value, length(value), name),
        "threshold_abs": check_finite,
        "threshold_rel": check_finite,
        "num_peaks": check_count,
        "n_iters": lambda value, name: check_count(value, name, 1),
        "max_shift": check_positive,
        "radius": lambda value, name: check_lengths(value, length(value), name),
        "detect_sigma": lambda value, name: check_widths(value, length(value), name),
    }
    for name, check in checks.items():
        if name in options:
            check(options[name], _typed(name))
    if (options.get("detect") is None) != ("detect_sigma" not in options):
        raise ValueError("--detect and --detect-sigma need each other: a filter, and its width")
    border = options.get("exclude_border", True)
    if not isinstance(border, bool):
        check_per_axis(border, length(border), "--exclude-border")
    for name, value in (("--level", options.get("background")), ("--sigma", options.get("sigma"))):
        if isinstance(value, float):
            check_finite(value, name)
    if isinstance(options.get("sigma"), float):
        check_positive(options["sigma"], "--sigma")


def _check_blobs(options: dict[str, Any]) -> None:
    """Require the numbers that do not depend on the image."""
    from npsubpix._arrays.options import check_count, check_finite, check_lengths, check_positive
    from npsubpix.blobs.options import check_scales

    names = ("min_sigma", "max_sigma", "spacing")
    axes = max(len(value) if isinstance(value := options.get(name), tuple) else 2 for name in names)
    for name in names:
        if name in options:
            check_lengths(options[name], axes, _typed(name))
    try:
        check_scales(
            options["min_sigma"],
            options["max_sigma"],
            options.get("scales_per_octave", 3),
            options.get("method", "log"),
            options.get("spacing"),
            (0,) * axes,
        )
    except ValueError as error:
        raise ValueError(f"--{str(error).replace('_', '-')}") from error
    for name in ("threshold_abs", "threshold_rel", "threshold_snr", "noise"):
        if isinstance(options.get(name), float) and check_finite(options[name], _typed(name)) < 0:
            raise ValueError(f"{_typed(name)} must be at least 0, got {options[name]}")
    if "num_blobs" in options:
        check_count(options["num_blobs"], "--num-blobs")
    if not 0 <= check_finite(options.get("overlap", 0.5), "--overlap") <= 1:
        raise ValueError(f"--overlap must be from 0 to 1, got {options['overlap']}")
    if options.get("edge_ratio") is not None and check_positive(options["edge_ratio"], "--edge-ratio") < 1:
        raise ValueError(f"--edge-ratio must be at least 1, got {options['edge_ratio']}")


def _typed(name: str) -> str:
    """Return an argument as it is typed."""
    return "--threshold" if name == "threshold_abs" else f"--{name.replace('_', '-')}"
