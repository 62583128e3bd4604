"""Coefficients of splines: what made them, by which a sampling method of another spline is rejected."""

from __future__ import annotations

from typing import Any, NamedTuple

from npsubpix._arrays.notes import note_of
from npsubpix._definitions.sampling.methods import Method, Weighting, parse
from npsubpix._definitions.sampling.splines import filter_rule, spline_degree

__all__ = ["Filtered", "check_coefficients"]


class Filtered(NamedTuple):
    """What made coefficients of a spline."""

    order: int
    mode: str


def check_coefficients(image: Any, options: dict[str, Any]) -> None:
    """Require that coefficients which `spline_filter` returned are sampled by the spline that they are of."""
    filtered = note_of(image)
    if not isinstance(filtered, Filtered):
        return
    degrees = _degrees(parse(options["method"]))
    if degrees and options["prefilter"]:
        raise ValueError("image holds coefficients from spline_filter: pass prefilter=False, or the image itself")
    if degrees - {filtered.order}:
        raise ValueError(
            f"method must be 'bspline{filtered.order}' for coefficients from spline_filter of order {filtered.order}, "
            f"got {options['method']!r}"
        )
    if degrees and filter_rule(filtered.mode) != filter_rule(options["mode"]):
        raise ValueError(
            f"mode must be that of the coefficients, which spline_filter computed with mode={filtered.mode!r}, "
            f"got {options['mode']!r}: pass mode={options['mode']!r} to spline_filter"
        )


def _degrees(method: Method) -> set[int]:
    """Return the degrees of the splines that a method consists of."""
    if isinstance(method.base, Weighting):
        degrees = {spline_degree(method.base.name)}
    else:
        degrees = _degrees(parse(method.base.inside)) | _degrees(parse(method.base.outside))
    return (degrees | (_degrees(parse(method.surrogate)) if method.surrogate else set())) - {0}
