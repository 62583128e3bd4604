"""Option ``--detect``: frames are filtered before peaks are sought in them."""

from __future__ import annotations

from typing import Any

__all__ = ["filtered"]


def filtered(frame: Any, options: dict[str, Any]) -> Any:
    """Return the image in which peaks are sought: the frame, or the filtered one, which the options then hold."""
    from npsubpix._detection import detected

    detect, width = options.pop("detect", None), options.pop("detect_sigma", None)
    if detect is None:
        return frame
    wrap = options.get("mode") == "wrap"
    options["detect"] = detected(frame, detect, width, mask=options.get("mask"), wrap=wrap, frame_axis=None)
    return options["detect"]
