"""The base of operators, which checks options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar

from npsubpix._arrays import options as checks
from npsubpix._arrays.checks import check_temperature_option

__all__ = ["MODES", "Operator"]

#: Modes of `AdaptiveQuadInterp3d`.
MODES = ("patch", "conv", "auto")

#: Kernels of second derivatives of `BlobHessian`.
GRADIENTS = ("sobel", "diff")


def _check_callable(value: Any, name: str) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    if isinstance(value, type):
        raise TypeError(f"{name} must be an instance, got the class {value.__name__}: call it first")


#: The check of each option, in any operator.
_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "aff_module": _check_callable,
    "allow_scale_steps": checks.check_bool,
    "dilation_radius": checks.check_count,
    "double_image": checks.check_bool,
    "eps": checks.check_finite,
    "extra_levels": lambda value, name: checks.check_count(value, name, 1),
    "grads_mode": lambda value, name: checks.check_choice(value, name, GRADIENTS),
    "init_sigma": checks.check_positive,
    "max_candidates": checks.check_count,
    "max_subpixel_shift": checks.check_positive,
    "min_size": checks.check_count,
    "minima_are_also_good": checks.check_bool,
    "mode": lambda value, name: checks.check_choice(value, name, MODES),
    "mr_size": checks.check_positive,
    "n_iters": checks.check_count,
    "n_levels": lambda value, name: checks.check_count(value, name, 1),
    "normalized_coordinates": checks.check_bool,
    "num_features": checks.check_count,
    "ori_module": _check_callable,
    "output_value": checks.check_bool,
    "resp_module": _check_callable,
    "scale_pyr_module": _check_callable,
    "scale_space_response": checks.check_bool,
    "strict_maxima_bonus": checks.check_finite,
    "subpix_module": _check_callable,
    "temperature": lambda value, _: check_temperature_option(value),
    "unbiased_sizes": checks.check_bool,
}


class Operator:
    """Base of operators: checks options, as far as that needs no array."""

    _window_axes: ClassVar[int] = 0

    def __post_init__(self) -> None:
        options = self._options()
        for field in fields(self):  # type: ignore[arg-type]
            value = options[field.name]
            if field.name in _CHECKS and not (value is None and field.default is None):
                _CHECKS[field.name](value, field.name)
        if "kernel_size" in options:
            window = checks.check_window(options["kernel_size"], self._window_axes, "kernel_size")
            checks.check_per_axis(options.get("stride", 1), self._window_axes, "stride", 1)
            # A map of the size of the window has room for it; other maps are checked in calls.
            checks.check_padding(options.get("padding", 0), window, window)

    def _options(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
