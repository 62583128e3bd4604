"""Vector-Jacobian products for NumPy users: those that torch's autograd receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from npsubpix._arrays.library import Array
from npsubpix._dispatch.tape import Tape, tape

__all__ = ["vjp"]

Pullback: TypeAlias = Callable[..., dict[str, Array]]


def vjp(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Pullback]:
    """Call an operator, and return its results and the function that propagates gradients back through it.

    For a loss whose gradients with respect to the results are known, the pullback returns its gradients
    with respect to the arrays passed to the operator.

    Parameters
    ----------
    function : callable
        A differentiable operator of npsubpix, or an instance of its class.
    *args, **kwargs
        Arguments of the operator: NumPy or CuPy arrays, or JAX arrays on the host, and options.

    Returns
    -------
    results : array or tuple of arrays
        Results of the operator.
    pullback : callable
        Takes one array per result, of its shape: the gradient of a scalar with respect to it, or None if
        the scalar does not depend on it. Returns a dictionary from the name of each array argument to the
        gradient with respect to it, of the argument's shape. It can be called any number of times, as long
        as neither the arrays nor the results are modified.

    Raises
    ------
    TypeError
        If the function does not call exactly one differentiable operator, or takes torch tensors,
        which torch differentiates; or if an argument of the pullback is not an array of real numbers.
    ValueError
        If the pullback does not get one array per result, of its shape.

    Notes
    -----
    The gradients are exact derivatives of the computation, not finite differences. The order of results and
    pullback is that of ``jax.vjp``.

    Examples
    --------
    Move a peak to a target by gradient descent on the heat map:

    >>> import numpy as np
    >>> import npsubpix
    >>> heatmap = np.zeros((1, 1, 5, 7))
    >>> target = np.array([[[4.5, 1.0]]])  # x, y
    >>> for step in range(300):
    ...     coords, pullback = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, heatmap, normalized_coordinates=False)
    ...     heatmap -= pullback(coords - target)["input"]
    >>> npsubpix.spatial_soft_argmax2d(heatmap, normalized_coordinates=False).round(3)
    array([[[4.5, 1. ]]])
    """
    watching = Tape()
    token = tape.set(watching)
    try:
        results = function(*args, **kwargs)
    finally:
        tape.reset(token)
    records = watching.records
    if len(records) != 1 or not records[0].operation.differentiable:
        name = getattr(function, "__name__", type(function).__name__)
        if watching.saw_tensors:
            raise TypeError(
                f"vjp takes NumPy and JAX arrays; call {name} on the tensors, and backward() on what it gives"
            )
        if len(records) > 1:
            raise TypeError(f"vjp differentiates one call, and {name} makes {len(records)}: call vjp for each of them")
        raise TypeError(f"{name} is not a differentiable operator of npsubpix")
    visible = results if isinstance(results, tuple) else (results,)
    shapes = [tuple(result.shape) for result in visible]

    def pullback(*cotangents: Array | None) -> dict[str, Array]:
        if len(cotangents) != len(visible):
            raise ValueError(f"the pullback takes {len(visible)} arrays, one for each result, got {len(cotangents)}")
        answers: dict[str, Array] = records[0].pull_back(cotangents, shapes)
        return answers

    return results, pullback
