"""Sampling kernels: the weights of pixels in a sample, and surrogates of gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from npsubpix._arrays.library import is_tracing
from npsubpix._arrays.options import check_choice, check_positive
from npsubpix._definitions.sampling.methods import (
    METHODS,
    TIES,
    USER_WEIGHT,
    WEIGHT_NAMES,
    Blend,
    Weighting,
    register_weight,
    reserve_weight,
    write,
)

__all__ = ["GradientAdaptive", "Nearest", "SamplingMethod", "WeightedNearest", "method_spec"]

_SMOOTH = METHODS[1:]


@dataclass(frozen=True)
class Nearest:
    """Nearest-neighbour sampling.

    Parameters
    ----------
    ties : {"up", "down", "even"}, default "up"
        Rule for two equally near pixels: the larger index, as in ``scipy.ndimage``, the smaller
        index, or the even index, as in torch.
    surrogate : str, optional
        Name of a smooth method, usually "linear", whose gradient with respect to the positions
        replaces that of this method (straight-through estimator), which is 0 wherever it exists. The
        gradient with respect to the image is always exact.

    Raises
    ------
    ValueError
        If an option is not one of the names above.

    See Also
    --------
    sample : Sample an image; accepts this as its method.

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
        check_choice(self.ties, "ties", tuple(TIES))
        check_choice(self.surrogate, "surrogate", (None, *_SMOOTH))

    def _spec(self) -> str:
        return write(Weighting(TIES[self.ties]), self.surrogate)


@dataclass(frozen=True)
class WeightedNearest:
    r"""Weighted mean of the two nearest pixels along each axis, with weights that depend on the distance.

    Pixels at distances d and 1 - d have weights w(d) and w(1 - d), divided by their sum. Weights of
    several axes are multiplied.

    Parameters
    ----------
    weight : str or callable, default "linear"
        Function w of the distance, from 0 to 1 pixel, or the name of such a function:

        * "linear": :math:`1 - d`;
        * "smoothstep": :math:`1 - 3 d^2 + 2 d^3`, whose gradient is continuous;
        * "sigmoid": :math:`1 / (1 + e^{10 (d - 1/2)})` minus its value at 1;
        * "gaussian": :math:`e^{-2 d^2}` minus its value at 1.

        A callable takes and returns a single number. Numba compiles it, unless it is compiled already,
        and it stays in memory until the process ends. Samples are NaN where it raises. In a function that
        torch.compile compiles, use an object that was made outside.
    derivative : callable, optional
        Derivative of a callable `weight`. By default, gradients use finite differences of the
        weight over 2e-4 pixels.

    Raises
    ------
    TypeError
        If the weight is neither a name nor a function, or has both a name and a derivative.
    ValueError
        If the name is unknown.

    See Also
    --------
    sample : Sample an image; accepts this as its method.

    Notes
    -----
    Gradients follow from the derivatives of the weights. With a named weight, samples are continuous,
    and a sample at the centre of a pixel equals that pixel. With a function that is not 0 at distance
    1, samples jump at pixel centres; where both weights are 0, samples are NaN. Numba compiles
    arithmetic, the functions of ``math`` and scalar functions of NumPy, but not those of SciPy.

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

    def __post_init__(self) -> None:
        if isinstance(self.weight, str):
            check_choice(self.weight, "weight", WEIGHT_NAMES)
            if self.derivative is not None:
                raise TypeError("derivative must be None for a weight that has a name")
            return
        _check_function(self.weight, "weight")
        if self.derivative is not None:
            _check_function(self.derivative, "derivative")
        object.__setattr__(self, "_key", reserve_weight(self))

    def __reduce__(self) -> Any:
        return WeightedNearest, (self.weight, self.derivative)

    def _spec(self) -> str:
        if isinstance(self.weight, str):
            return write(Weighting(self.weight))
        if is_tracing():
            return write(Weighting(USER_WEIGHT, vars(self)["_key"]))
        # at each use, since a value that the function takes from elsewhere may be another one by now
        return write(Weighting(USER_WEIGHT, register_weight(self.weight, self.derivative)))


@dataclass(frozen=True)
class GradientAdaptive:
    """Edge-preserving sampling: one method where the image is steep, another elsewhere.

    Parameters
    ----------
    threshold : float
        A position is steep where the gradient of the linear interpolant is longer than this, in
        units of the image per pixel; with several channels, where that of any channel is.
    inside : str or sampling kernel, default "nearest"
        Method where the image is steep.
    outside : str or sampling kernel, default "linear"
        Method elsewhere.
    surrogate : str, optional
        Name of a smooth method whose gradient with respect to the positions replaces that of the
        blend. By default, the gradient is that of the method in use, which ignores the jump
        between both methods.

    Raises
    ------
    TypeError
        If a method is neither a name nor a sampling kernel, or the threshold is not a number.
    ValueError
        If the threshold is not positive, or a name is unknown.

    See Also
    --------
    sample : Sample an image; accepts this as its method.

    Examples
    --------
    The edge stays sharp, and the ramp is interpolated:

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
        inside = method_spec(self.inside, "inside", adaptive=False)
        outside = method_spec(self.outside, "outside", adaptive=False)
        return write(Blend(float(self.threshold), inside, outside), self.surrogate)


def _check_function(function: Any, name: str) -> None:
    code = getattr(getattr(function, "py_func", function), "__code__", None)
    if code is None:
        raise TypeError(f"{name} must be a plain function of one number, got {function!r}")
    try:
        inspect.signature(function).bind(0.5)
    except TypeError:
        raise TypeError(f"{name} must be a function of one number, got one of {inspect.signature(function)}") from None


SamplingMethod: TypeAlias = "str | Nearest | WeightedNearest | GradientAdaptive"


def method_spec(method: Any, name: str, aliases: tuple[str, ...] = (), adaptive: bool = True) -> str:
    """Return a method as operations take it; `aliases` are names that the caller translates."""
    if isinstance(method, (Nearest, WeightedNearest)) or (adaptive and isinstance(method, GradientAdaptive)):
        return method._spec()
    if not isinstance(method, str):
        raise TypeError(f"{name} must be the name of a method or a sampling kernel, got {method!r}")
    check_choice(method, name, (*METHODS, *(m for m in aliases if m not in METHODS)))
    return method
