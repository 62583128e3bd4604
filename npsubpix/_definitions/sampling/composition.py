"""Samples and cotangents of composite methods: surrogates, which replace gradients, and blends of two methods."""

from __future__ import annotations

from typing import Protocol, TypeVar

from npsubpix._definitions.sampling.methods import Blend, Method, Weighting, parse

__all__ = ["Sampler", "cotangents_of", "samples_of"]

Array = TypeVar("Array")

_LINEAR = Weighting("linear")


class Sampler(Protocol[Array]):
    """Images (B, C, ...) and N positions in each, in one backend, with a border extension.

    Values and cotangents of them have shape (B, C, N), gradients and cotangents of them (B, A, C, N), for A axes.
    """

    def sample(self, weighting: Weighting, with_gradient: bool) -> tuple[Array, Array | None]:
        """Return values and, if wanted, gradients."""

    def pull_back(
        self, weighting: Weighting, values_cotangent: Array | None, gradient_cotangent: Array | None
    ) -> tuple[Array, Array]:
        """Return the cotangents of images and positions."""

    def is_longer(self, gradient: Array, threshold: float) -> Array:
        """Return whether the gradient of any channel is longer than a threshold: (B, N), computed in float64."""

    def choose(self, condition: Array, inside: Array | None, outside: Array | None) -> Array | None:
        """Take (B, ..., N) from one array or the other by a condition (B, N), 0 for one that is None."""


def samples_of(sampler: Sampler[Array], method: Method, with_gradient: bool) -> tuple[Array, Array | None]:
    """Return values and, if wanted, gradients: with a surrogate, values of the base and gradients of the surrogate."""
    base = method.base
    if method.surrogate and with_gradient:
        values, _ = samples_of(sampler, Method(base), False)
        return values, samples_of(sampler, parse(method.surrogate), True)[1]
    if isinstance(base, Weighting):
        return sampler.sample(base, with_gradient)
    steep = _is_steep(sampler, base)
    inside, outside = (samples_of(sampler, parse(spec), with_gradient) for spec in (base.inside, base.outside))
    blended = sampler.choose(steep, inside[0], outside[0])
    assert blended is not None
    return blended, sampler.choose(steep, inside[1], outside[1])


def cotangents_of(
    sampler: Sampler[Array], method: Method, values_cotangent: Array | None, gradient_cotangent: Array | None
) -> tuple[Array, Array]:
    """Return the cotangents of images and positions.

    With a surrogate, the values pull back to images through the base, and to positions through the surrogate; the
    gradient, which is that of the surrogate, pulls back through it alone.
    """
    base = method.base
    if method.surrogate:
        surrogate = parse(method.surrogate)
        image_cotangent, _ = cotangents_of(sampler, Method(base), values_cotangent, None)
        of_surrogate, coords_cotangent = cotangents_of(sampler, surrogate, values_cotangent, gradient_cotangent)
        if gradient_cotangent is None:
            return image_cotangent, coords_cotangent
        if values_cotangent is not None:
            of_surrogate, _ = cotangents_of(sampler, surrogate, None, gradient_cotangent)
        return _sum(image_cotangent, of_surrogate), coords_cotangent
    if isinstance(base, Weighting):
        return sampler.pull_back(base, values_cotangent, gradient_cotangent)
    steep = _is_steep(sampler, base)
    cotangents = values_cotangent, gradient_cotangent
    inside = cotangents_of(sampler, parse(base.inside), *(sampler.choose(steep, c, None) for c in cotangents))
    outside = cotangents_of(sampler, parse(base.outside), *(sampler.choose(steep, None, c) for c in cotangents))
    return _sum(inside[0], outside[0]), _sum(inside[1], outside[1])


def _is_steep(sampler: Sampler[Array], blend: Blend) -> Array:
    """Return where the gradient of the linear interpolant is longer than the threshold."""
    _, gradient = sampler.sample(_LINEAR, True)
    assert gradient is not None
    return sampler.is_longer(gradient, blend.threshold)


def _sum(a: Array, b: Array) -> Array:
    return a + b  # type: ignore[operator, no-any-return]
