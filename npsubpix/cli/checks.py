"""Numbers among the options of ``npsubpix locate``: out of range, they are refused before any file is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["check_numbers"]


def check_numbers(options: dict[str, Any]) -> None:
    """Require options that are numbers to be in the range of the arguments they stand for."""
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
            check(options[name], "--threshold" if name == "threshold_abs" else f"--{name.replace('_', '-')}")
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
