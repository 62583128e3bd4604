"""Sampling kernels: which pixels a position takes its value from, and what stands in for gradients."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from npsubpix._arrays.options import check_choice, check_positive
from npsubpix._definitions.sampling import METHODS, register_weight

__all__ = ["GradientAdaptive", "Nearest", "SamplingMethod", "WeightedNearest", "method_spec"]

_SMOOTH = METHODS[1:]
_TIES = {"up": "nearest", "down": "nearest_down", "even": "nearest_even"}
_WEIGHTS = ("linear", "smoothstep", "sigmoid", "gaussian")


@dataclass(frozen=True)
class Nearest:
    """Sampling that takes the nearest pixel.

    Parameters
    ----------
    ties : {"up", "down", "even"}, default "up"
        Which of two pixels that are equally near: that of the larger index, as ``scipy.ndimage`` has
        it, the smaller one, or the even one, as torch has it.
    surrogate : str, optional
        The gradient by the position is 0 wherever it exists. With the name of a smooth method, of
        which "linear" is the usual one, the gradient of that method stands in for it
        (straight-through estimator). The gradient by the image is the true one in any case.

    Raises
    ------
    ValueError
        If an option is not one of its names.

    See Also
    --------
    sample : Takes this as its method.

    References
    ----------
    Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons for
    conditional computation", arXiv:1308.3432 (2013), for the straight-through estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import Nearest, sample_with_gradient
    >>> image = np.array([0.0, 10.0, 30.0])
    >>> sample_with_gradient(image, [[0.5, 1.2]], method=Nearest(ties="down"))
    Sample(values=array([ 0., 10.]), gradient=array([[0., 0.]]))
    >>> sample_with_gradient(image, [[0.5, 1.2]], method=Nearest(surrogate="linear"))
    Sample(values=array([10., 10.]), gradient=array([[10., 20.]]))
    """

    ties: str = "up"
    surrogate: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.ties, "ties", tuple(_TIES))
        check_choice(self.surrogate, "surrogate", (None, *_SMOOTH))

    def _spec(self) -> str:
        return _write(_TIES[self.ties], self.surrogate)


@dataclass(frozen=True)
class WeightedNearest:
    r"""Sampling that blends the two nearest pixels along each axis by a function of their distances.

    Pixels at distances d and 1 - d get weights w(d) and w(1 - d), divided by their sum. Along several
    axes, weights are multiplied.

    Parameters
    ----------
    weight : str or callable, default "linear"
        A function w of the distance, from 0 to 1 pixel, or the name of one:

        * "linear": :math:`1 - d`;
        * "smoothstep": :math:`1 - 3 d^2 + 2 d^3`, whose gradient is continuous;
        * "sigmoid": :math:`1 / (1 + e^{10 (d - 1/2)})`, less its value at 1;
        * "gaussian": :math:`e^{-2 d^2}`, less its value at 1.

        A function takes one number and returns one. It is compiled by Numba, or has been, and stays
        compiled as long as the process. Where it raises, samples are NaN.
    derivative : callable, optional
        The derivative of a `weight` that is a function. Without it, gradients are made of
        differences of the weight over 2e-4 pixels.

    Raises
    ------
    TypeError
        If the weight is neither a name nor a function, or a derivative is given for a name.
    ValueError
        If the name is unknown.

    See Also
    --------
    sample : Takes this as its method.

    Notes
    -----
    The gradient is the derivative of the weights. With one of the names, a sample at the centre of
    a pixel is that pixel, and samples are continuous. With a function whose weight at distance 1 is
    not 0, they jump there; where both weights are 0, samples are NaN. Numba compiles arithmetic, the
    functions of ``math`` and those of NumPy for numbers, not SciPy's.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import WeightedNearest, sample
    >>> image = np.array([0.0, 10.0, 30.0])
    >>> sample(image, [[0.25, 1.0]], method=WeightedNearest("smoothstep"))
    array([ 1.5625, 10.    ])
    >>> sample(image, [[0.25, 1.0]], method=WeightedNearest(lambda d: (1 - d) ** 4)).round(4)
    array([ 0.122, 10.   ])
    """

    weight: str | Callable[[float], float] = "linear"
    derivative: Callable[[float], float] | None = None
    _key: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.weight, str):
            check_choice(self.weight, "weight", _WEIGHTS)
            if self.derivative is not None:
                raise TypeError("derivative must be None for a weight that has a name")
            return
        _check_function(self.weight, "weight")
        if self.derivative is not None:
            _check_function(self.derivative, "derivative")
        object.__setattr__(self, "_key", register_weight(self.weight, self.derivative))

    def __reduce__(self) -> Any:
        return WeightedNearest, (self.weight, self.derivative)

    def _spec(self) -> str:
        return self.weight if isinstance(self.weight, str) else _write("given", None, self._key)


@dataclass(frozen=True)
class GradientAdaptive:
    """Sampling that keeps edges crisp: one method where the image is steep, another elsewhere.

    Parameters
    ----------
    threshold : float
        Length of the gradient of the linear interpolant, in the units of the image per pixel, above
        which a position counts as steep; for several channels, that of any of them.
    inside : str or sampling kernel, default "nearest"
        Method where the image is steep.
    outside : str or sampling kernel, default "linear"
        Method elsewhere.
    surrogate : str, optional
        The gradient is that of the method that was used; where it changes from one to the other,
        there is none. With the name of a smooth method, the gradient by the position is that of it.

    Raises
    ------
    TypeError
        If a method is neither a name nor a kernel, or the threshold no number.
    ValueError
        If the threshold is not positive, or a name is unknown.

    See Also
    --------
    sample : Takes this as its method.

    Examples
    --------
    An edge stays as sharp as the pixels are, and a ramp is interpolated:

    >>> import numpy as np
    >>> from npsubpix import GradientAdaptive, sample
    >>> image = np.array([0.0, 1.0, 2.0, 3.0, 100.0, 100.0])
    >>> sample(image, [[0.5, 1.25, 3.25, 3.75]], method=GradientAdaptive(10))
    array([  0.5 ,   1.25,   3.  , 100.  ])
    """

    threshold: float
    inside: str | Nearest | WeightedNearest = "nearest"
    outside: str | Nearest | WeightedNearest = "linear"
    surrogate: str | None = None

    def __post_init__(self) -> None:
        check_positive(self.threshold, "threshold")
        check_choice(self.surrogate, "surrogate", (None, *_SMOOTH))
        self._spec()

    def _spec(self) -> str:
        parts = (
            method_spec(self.inside, "inside", adaptive=False),
            method_spec(self.outside, "outside", adaptive=False),
        )
        return _write((float(self.threshold), *parts), self.surrogate)


def _check_function(function: Any, name: str) -> None:
    code = getattr(getattr(function, "py_func", function), "__code__", None)
    if code is None:
        raise TypeError(f"{name} must be a plain function of one number, got {function!r}")
    try:
        inspect.signature(function).bind(0.5)
    except TypeError:
        raise TypeError(f"{name} must be a function of one number, got one of {inspect.signature(function)}") from None


SamplingMethod: TypeAlias = "str | Nearest | WeightedNearest | GradientAdaptive"


def _write(kind: Any, surrogate: str | None, weight: str = "") -> str:
    return json.dumps({"kind": kind, "surrogate": surrogate or "", "weight": weight})


def method_spec(method: Any, name: str, more: tuple[str, ...] = (), adaptive: bool = True) -> str:
    """Return a method as operations take it."""
    if isinstance(method, (Nearest, WeightedNearest)) or (adaptive and isinstance(method, GradientAdaptive)):
        return method._spec()
    if not isinstance(method, str):
        raise TypeError(f"{name} must be the name of a method or a sampling kernel, got {method!r}")
    check_choice(method, name, (*METHODS, *(m for m in more if m not in METHODS)))
    return method
