"""Hints for a command that found no peaks, or no blobs: the options that would find them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["hints_for_no_blobs", "hints_for_no_peaks"]


def hints_for_no_peaks(image: Any, options: Mapping[str, Any]) -> list[str]:
    """Return lines on what an image without peaks holds, with the options of `find_peaks` that it was searched with.

    The options are tried one by one, in the order in which they are likely to be the reason.
    """
    if plain := _without_structure(image, options):
        return plain
    finite = np.asarray(image)[np.isfinite(image)]
    low, high = finite.min(), finite.max()
    every = {**options, "threshold_abs": None, "threshold_rel": None}
    lines = []
    for changed, base, text in (
        ({"plateau": "refine"}, options, "{count} found with --plateau refine: they are plateaus of equal pixels"),
        ({"threshold_abs": None}, options, "{count} found without --threshold, the highest of {value:g}"),
        ({"threshold_rel": None}, options, "{count} found without --threshold-rel, the highest of {value:g}"),
        ({"exclude_border": False}, options, "{count} at the border, where the window is not whole"),
        ({"mask": None}, options, "{count} found without --mask"),
        ({"minima": True}, options, "{count} found with --minima"),
        ({"size": 3}, every, "{count} found with --size 3 and without thresholds"),
    ):
        if all(_equal(base.get(name), value) for name, value in changed.items()):
            continue
        count, value = _found(image, {**base, **changed})
        if count:
            peaks = "1 peak is" if count == 1 else f"{count} peaks are"
            lines.append(text.format(count=peaks, value=value) + ".")
    return lines or [f"No pixel of the image is greater than its neighbours; it goes from {low:g} to {high:g}."]


def hints_for_no_blobs(image: Any, options: Mapping[str, Any]) -> list[str]:
    """Return lines on what an image without blobs holds, with the options of `find_blobs` that it was searched with."""
    from npsubpix import find_blobs

    if plain := _without_structure(image, options):
        return plain
    lines = []
    for changed, text in (
        ({"threshold_abs": None}, "found without --threshold, the highest amplitude {amplitude:.4g}"),
        ({"threshold_rel": None}, "found without --threshold-rel"),
        ({"threshold_snr": None}, "found without --threshold-snr, of up to {snr:.3g} times the noise"),
        ({"mask": None}, "found without --mask"),
        ({"exclude_border": False}, "at the border"),
        ({"dark": "both"}, "found with --dark both"),
        ({"edge_ratio": None}, "found with --edge-ratio none: they are ridges"),
        ({"threshold_abs": 0.0}, "found with --threshold 0, the highest amplitude {amplitude:.4g}"),
    ):
        if all(_equal(options.get(name, False if name == "dark" else None), value) for name, value in changed.items()):
            continue
        blobs = find_blobs(image, **{**options, **changed, "refine": "quadratic", "num_blobs": None})
        if len(blobs):
            found = "1 blob is" if len(blobs) == 1 else f"{len(blobs)} blobs are"
            best = {"amplitude": max(blobs.amplitude.tolist(), key=abs), "snr": max(blobs.snr.tolist())}
            lines.append(f"{found} {text.format(**best)}.")
    return lines or ["No blob of these sizes is in the image."]


def _without_structure(image: Any, options: Mapping[str, Any]) -> list[str]:
    """Say that an image holds nothing that could be found, if so."""
    finite = np.asarray(image)[np.isfinite(image)]
    if finite.size == 0:
        return ["The image holds no finite pixels."]
    low, high = finite.min(), finite.max()
    if low == high:
        return [f"All pixels of the image are {low:g}."]
    if options.get("mask") is not None and np.all(options["mask"]):
        return ["All pixels of the image are masked: those at which the image of --mask is not 0 are ignored."]
    return []


def _equal(a: Any, b: Any) -> bool:
    """Say whether two values are the same; a mask is an array, and no other value is one."""
    return bool(np.array_equal(a, b))


def _found(image: Any, options: Mapping[str, Any]) -> tuple[int, float]:
    """Return how many peaks there are with other options, and the greatest value of one."""
    from npsubpix import find_peaks

    peaks = find_peaks(image, **{**options, "refine": None, "num_peaks": None})
    return len(peaks), max(peaks.values.tolist(), default=0.0)
