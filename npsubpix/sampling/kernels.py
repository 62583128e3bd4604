"""Sampling kernels: the weights of pixels in a sample, and surrogates of gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from npsubpix._arrays.checks import check_numbers, check_reals
from npsubpix._arrays.library import Array, is_array, is_tracing
from npsubpix._arrays.options import check_choice, check_count, check_positive
from npsubpix._definitions.sampling.methods import (
    METHODS,
    MOST_REACH,
    TABLE_WEIGHT,
    TIES,
    USER_WEIGHT,
    WEIGHT_NAMES,
    Blend,
    UserWeight,
    Weighting,
    register_weight,
    reserve_weight,
    write,
)
from npsubpix._definitions.user_functions import values_of_library

__all__ = ["GradientAdaptive", "Nearest", "SamplingMethod", "WeightedNearest", "method_spec", "tables_of"]

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


@dataclass(frozen=True, eq=False)
class WeightedNearest:
    r"""Weighted mean of the nearest pixels along each axis, with weights that depend on the distance.

    The `reach` pixels before a position and as many after it have weights w(d), where d is the distance of a pixel
    along the axis, divided by their sum. Weights of several axes are multiplied.

    Parameters
    ----------
    weight : str or callable, default "linear"
        Function w of the distance, from 0 to `reach` pixels, or the name of a function of u, the distance divided by
        `reach`:

        * "linear": :math:`1 - u`;
        * "smoothstep": :math:`1 - 3 u^2 + 2 u^3`, whose gradient is continuous;
        * "sigmoid": :math:`1 / (1 + e^{10 (u - 1/2)})` minus its value at 1;
        * "gaussian": :math:`e^{-2 u^2}` minus its value at 1.

        A callable takes the distance in pixels, and `args`, and returns a single number. Numba compiles it, unless it
        is compiled already, and it stays in memory until the process ends. Samples are NaN where it raises. In a
        function that torch.compile compiles, use an object that was made outside.
    derivative : callable, optional
        Derivative of a callable `weight`, which takes the same arguments. By default, gradients use finite differences
        of the weight over 2e-4 pixels, on the side of the pixel where the position is.
    args : tuple, optional
        Numbers, and arrays of numbers, that a callable takes after the distance, all in float64. Other values do not
        compile it again.
    reach : int, default 1
        Pixels on each side of the position, per axis: 1 to 8.
    table : array of shape (n,), optional
        Samples of w at n >= 2 equal distances, the first at 0 and the last at `reach`, in place of `weight`. Between
        them, w is interpolated linearly. An array of the library of the image, on its device. Values and gradients are
        differentiable with respect to it: a tensor that requires a gradient is a kernel that a network learns.

    Raises
    ------
    TypeError
        If the weight is neither a name nor a function, or has a derivative or args without being a function, or beside
        a table; or if it is a function of torch: pass a table of its values.
    ValueError
        If the name is unknown, the reach is out of range, or the table does not have a shape (n,) with n >= 2.

    See Also
    --------
    sample : Sample an image; accepts this as its method.

    Notes
    -----
    As weights are divided by their sum, two functions w whose values at the distances of the same pixels, such as d and
    1 - d, differ by one factor are the same kernel: compare samples, not tables that were learned.

    Gradients follow from the derivatives of the weights. With a named weight, samples are continuous; with one of
    reach 1, a sample at the centre of a pixel equals that pixel. With a function that is not 0 at the distance `reach`,
    samples jump at pixel centres, where the pixel at that distance on the right counts. Where the sum of the weights of
    an axis is 0, samples are NaN. Beyond the image, pixels are those of the border extension. Numba compiles
    arithmetic, the functions of ``math`` and scalar functions of NumPy, but not those of SciPy.

    At a sample of the table, its slope changes: the derivative with respect to a position is that towards the next
    pixel, as for "linear"; see `sample_with_gradient`. Cotangents of a table are summed in float64, in an order that
    does not depend on the number of threads. Samples whose cotangents are 0 add nothing to it, even if they are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import WeightedNearest, sample
    >>> image = np.array([0.0, 10.0, 30.0, 20.0])
    >>> sample(image, [[0.25, 1.0]], method=WeightedNearest("smoothstep"))
    array([ 1.5625, 10.    ])
    >>> sample(image, [[0.25, 1.0]], method=WeightedNearest(lambda d, n: (1 - d) ** n, args=(4,))).round(4)
    array([ 0.122, 10.   ])
    >>> sample(image, [[0.25, 1.0]], method=WeightedNearest(table=np.array([1.0, 0.5, 0.0]), reach=2))
    array([ 5. , 12.5])
    """

    weight: str | Callable[..., float] = "linear"
    derivative: Callable[..., float] | None = None
    args: tuple[Any, ...] = ()
    reach: int = 1
    table: Array | None = None

    def __post_init__(self) -> None:
        if check_count(self.reach, "reach", 1) > MOST_REACH:
            raise ValueError(f"reach must be at most {MOST_REACH}, got {self.reach}")
        if not isinstance(self.args, (tuple, list)):
            raise TypeError(
                f"args must be a tuple, got {type(self.args).__name__}: write args=(value,) for a single value"
            )
        if isinstance(self.weight, str):
            check_choice(self.weight, "weight", WEIGHT_NAMES)
            if self.derivative is not None or len(self.args) > 0:
                raise TypeError("derivative and args are for a weight that is a function, and must be left out")
            if self.table is not None:
                _check_table(self.table)
            return
        if self.table is not None:
            raise TypeError("weight must be left out if there is a table")
        object.__setattr__(self, "args", tuple(_checked(value, f"args[{k}]") for k, value in enumerate(self.args)))
        _check_function(self.weight, "weight", self.args)
        if self.derivative is not None:
            _check_function(self.derivative, "derivative", self.args)
        object.__setattr__(self, "_key", reserve_weight(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeightedNearest) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> Any:
        return WeightedNearest, (self.weight, self.derivative, self.args, self.reach, self.table)

    def _identity(self) -> tuple[Any, ...]:
        """Return what is equal for equal kernels: tables are equal if they are one array."""
        args = tuple((value.shape, value.tobytes()) if is_array(value) else value for value in self.args)
        return self.weight, self.derivative, args, self.reach, None if self.table is None else id(self.table)

    def _spec(self, place: int = 0) -> str:
        """Return the method as operations take it; `place` is that of its table among those of a call."""
        if self.table is not None:
            return write(Weighting(TABLE_WEIGHT, reach=self.reach, table=place))
        if isinstance(self.weight, str):
            return write(Weighting(self.weight, reach=self.reach))
        if is_tracing():
            return write(Weighting(USER_WEIGHT, vars(self)["_key"], self.reach))
        key, values = self.current()
        return write(Weighting(USER_WEIGHT, key, self.reach, values=values))

    def current(self) -> tuple[str, tuple[float, ...]]:
        """Return the key of the functions, and the numbers that they take.

        At each use, since a value that a function takes from elsewhere may be another one by now.
        """
        assert not isinstance(self.weight, str)
        shapes = tuple(value.shape if is_array(value) else None for value in self.args)
        values = [float(v) for value in self.args for v in (value.ravel() if is_array(value) else (value,))]
        return register_weight(UserWeight(self.weight, self.derivative, shapes)), tuple(values)


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
        outside = method_spec(self.outside, "outside", adaptive=False, place=1)
        return write(Blend(float(self.threshold), inside, outside), self.surrogate)


def _checked(value: Any, name: str) -> Any:
    number = check_numbers(value, name)
    if not is_array(number):
        return number
    if not isinstance(number, (np.ndarray, np.generic)):
        raise TypeError(f"{name} must be a number or an array of NumPy, got a {type(value).__name__}")
    return np.array(number, np.float64) if number.ndim else float(number)


def _check_table(table: Any) -> None:
    samples = check_reals(table, "table")
    if samples.ndim != 1 or samples.shape[0] < 2:
        raise ValueError(f"table must have shape (n,) with n >= 2, got {tuple(samples.shape)}")


def _check_function(function: Any, name: str, args: tuple[Any, ...]) -> None:
    if (found := values_of_library(function, "torch")) is not None:
        raise TypeError(
            f"{name} must be a function that Numba compiles, got one of torch, {found}: pass table=…, a tensor of its "
            "values at equal distances from 0 to reach, which may require a gradient"
        )
    code = getattr(getattr(function, "py_func", function), "__code__", None)
    what = f"one number and {len(args)} args" if args else "one number"
    if code is None:
        raise TypeError(f"{name} must be a plain function of {what}, got {function!r}")
    try:
        inspect.signature(function).bind(0.5, *args)
    except TypeError:
        raise TypeError(f"{name} must be a function of {what}, got one of {inspect.signature(function)}") from None


SamplingMethod: TypeAlias = "str | Nearest | WeightedNearest | GradientAdaptive"


def method_spec(method: Any, name: str, aliases: tuple[str, ...] = (), adaptive: bool = True, place: int = 0) -> str:
    """Return a method as operations take it.

    `aliases` are names that the caller translates, and `place` is that of the method's table among those of a call.
    """
    if isinstance(method, WeightedNearest):
        return method._spec(place)
    if isinstance(method, Nearest) or (adaptive and isinstance(method, GradientAdaptive)):
        return method._spec()
    if not isinstance(method, str):
        raise TypeError(f"{name} must be the name of a method or a sampling kernel, got {method!r}")
    check_choice(method, name, (*METHODS, *(m for m in aliases if m not in METHODS)))
    return method


def tables_of(method: Any) -> tuple[Array | None, Array | None]:
    """Return the tables of a method, at the places that its specification has of them."""
    if isinstance(method, GradientAdaptive):
        return tables_of(method.inside)[0], tables_of(method.outside)[0]
    if isinstance(method, WeightedNearest) and method.table is not None:
        return check_reals(method.table, "table"), None
    return None, None
