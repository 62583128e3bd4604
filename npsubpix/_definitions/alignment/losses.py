"""Loss functions of residuals, as the weights of pixels in sums over an image.

Source: Holland and Welsch, "Robust regression using iteratively reweighted least-squares", Communications in
Statistics A 6 (1977), for the weights of Huber and Tukey and their constants.
"""

from __future__ import annotations

__all__ = ["LOSSES", "SCORES", "SENSITIVITY", "STEP", "TUNING_CONSTANTS", "weight_of"]

#: Numbers by which kernels know a loss function.
LOSSES = {"least_squares": 0, "huber": 1, "tukey": 2}

#: Tuning constant of a loss function: residual at which it begins to down-weight, in units of the residual scale.
TUNING_CONSTANTS = {"least_squares": 1.0, "huber": 1.345, "tukey": 4.685}

#: Uses of a weight. With psi, the derivative of the loss function with respect to a residual r, in units in which r
#: is 1 at the scale: psi / r, for the steps; psi squared, for the scatter of the sums that are zero at the solution;
#: and the derivative of psi, for the sensitivity of these sums to the parameters.
STEP, SCORES, SENSITIVITY = 0, 1, 2


def weight_of(residual: float, scale: float, loss: int, use: int) -> float:
    """Return the weight of a pixel with this residual, for a use."""
    u = abs(residual) / scale
    if loss == 0:
        return u * u if use == SCORES else 1.0
    if loss == 1:
        if use == SCORES:
            v = min(u, 1.0)
            return v * v
        if u <= 1.0:
            return 1.0
        return 1.0 / u if use == STEP else 0.0
    if u >= 1.0:
        return 0.0
    v = 1.0 - u * u
    if use == SCORES:
        return v * v * u * v * v * u
    return v * v if use == STEP else v * (1.0 - 5.0 * u * u)
