"""Sums over the box of a flat spot that is a product of lines: of residuals, and of products of derivatives.

The mean of a pixel is the flux times a number of its row and one of its column, and so is each derivative, see
`gaussian.py`. Where all pixels have the same weight, sums of products of derivatives are therefore products of sums
over rows and over columns. Only residuals are summed pixel by pixel, times lines along y while their columns stay in
registers, see `sums.py`; and with the second derivatives of means, which are products of lines too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.linear import Numbers
from npsubpix._cpu.fitting.vectors import FOUR, NUMBER, WORD, Totals, Vector, load, repeated, times
from npsubpix._definitions.spot_models import Model

__all__ = ["LINES", "information_of", "line_sums", "residual_sums_of"]

#: Lines of an axis that are kept: the integral of a Gaussian over each pixel, its derivatives with respect to the
#: position and to the width, and, over the width, those of the latter with respect to both.
LINES = 5

#: A line of ones, and that of distances from the centre.
_ONE, _ALONG = LINES, LINES + 1

#: The derivatives of lines, and whether they are over the width. A Gaussian obeys the equation of heat: its derivative
#: with respect to the width is the width times its second derivative with respect to the position.
_BY_PLACE = {0: (1, 0), 1: (2, 1), 2: (3, 1)}
_BY_WIDTH = {0: (2, 0), 1: (3, 1), 2: (4, 1)}


class _Term(NamedTuple):
    """A product of lines along y and x, times the flux or not, and over powers of the widths along y and x."""

    flux: int
    over_y: int
    over_x: int
    y: int
    x: int


_SPOT = _Term(1, 0, 0, 0, 0)


def _along_y(term: _Term, table: dict[int, tuple[int, int]]) -> list[_Term]:
    line, over = table.get(term.y, (_ONE, 0))
    return [] if line == _ONE else [term._replace(y=line, over_y=term.over_y + over)]


def _along_x(term: _Term, table: dict[int, tuple[int, int]]) -> list[_Term]:
    line, over = table.get(term.x, (_ONE, 0))
    return [] if line == _ONE else [term._replace(x=line, over_x=term.over_x + over)]


def _derivative(terms: Iterable[_Term], parameter: str) -> list[_Term]:
    """Return the derivative of a sum of terms with respect to a parameter of the spot."""
    found: list[_Term] = []
    for term in terms:
        if parameter == "flux" and term.flux:
            found.append(term._replace(flux=0))
        if parameter == "y":
            found += _along_y(term, _BY_PLACE)
        if parameter == "x":
            found += _along_x(term, _BY_PLACE)
        if parameter in ("sigma", "sigma_y"):
            found += _along_y(term, _BY_WIDTH)
        if parameter in ("sigma", "sigma_x"):
            found += _along_x(term, _BY_WIDTH)
    return found


def _parameters_of(model: Model) -> list[str]:
    widths = {"free": ["sigma"], "elliptical": ["sigma_y", "sigma_x"]}
    return ["y", "x", "flux", *widths.get(model.width, [])]


def _slopes_of(model: Model) -> list[list[_Term]]:
    """Return the derivatives of means with respect to all parameters."""
    slopes = [_derivative([_SPOT], parameter) for parameter in _parameters_of(model)]
    if model.plane:
        slopes += [[_Term(0, 0, 0, _ALONG, _ONE)], [_Term(0, 0, 0, _ONE, _ALONG)]]
    return [*slopes, [_Term(0, 0, 0, _ONE, _ONE)]]


def _curves_of(model: Model) -> list[list[list[_Term]]]:
    """Return the second derivatives of means, those below the diagonal and on it."""
    parameters, count = _parameters_of(model), model.parameters
    curves: list[list[list[_Term]]] = [[[] for _ in range(a + 1)] for a in range(count)]
    for a, parameter in enumerate(parameters):
        for b in range(a + 1):
            curves[a][b] = _derivative(_derivative([_SPOT], parameters[b]), parameter)
    return curves


def _factor(term: _Term, numbers: Sequence[Vector]) -> Vector | None:
    """Return what a term is times: the flux, and one over the widths."""
    product = None
    for number, power in zip(numbers, term[:3], strict=True):
        for _ in range(power):
            product = times(product, number)
    return product


def _total(builder: Any, terms: Iterable[Vector | None]) -> Vector:
    total = None
    for term in terms:
        assert term is not None
        total = term if total is None else total + term
    return Vector(builder, ir.Constant(NUMBER, 0.0)) if total is None else total


def _kinds(context: Any, builder: Any, array_type: Any, array: Any) -> list[Any]:
    """Return where the lines of each order begin."""
    table = context.make_array(array_type)(context, builder, array)
    length = builder.sdiv(cgutils.unpack_tuple(builder, table.strides)[0], WORD(8))
    kinds = [table.data]
    for _ in range(LINES - 1):
        kinds.append(builder.gep(kinds[-1], [length]))
    return kinds


def _places(builder: Any, here: Any) -> Vector:
    steps = Vector(builder, ir.Constant(FOUR, [float(k) for k in range(BLOCK)]))
    return repeated(builder, builder.sitofp(here, NUMBER)) + steps


def _middle(builder: Any, count: Any) -> Any:
    """Return the distance of the first pixel of an axis from the centre."""
    half = ir.Constant(NUMBER, 0.5)
    return builder.fmul(half, builder.sitofp(builder.sub(count, WORD(1)), NUMBER))


def line_sums(
    builder: Any, kinds: Sequence[Any], light: Any, first: Any, count: Any, pairs: Iterable[tuple[int, int]],
    powers: Sequence[int],
) -> dict[tuple[int, int, int], Vector]:  # fmt: skip
    """Return sums over the pixels of an axis of products of pairs of lines, times powers of a line of light."""
    pairs = sorted(set(pairs))
    totals = Totals(builder, [(power, *pair) for power in powers for pair in pairs])
    most, middle = repeated(builder, builder.sitofp(count, NUMBER)), repeated(builder, _middle(builder, count))
    one, none = (ir.Constant(FOUR, [value] * BLOCK) for value in (1.0, 0.0))
    blocks = builder.sdiv(builder.add(count, WORD(BLOCK - 1)), WORD(BLOCK))
    with cgutils.for_range(builder, blocks) as loop:
        here = builder.mul(loop.index, WORD(BLOCK))
        at, places = builder.add(first, here), _places(builder, here)
        inside = builder.fcmp_ordered("<", places.value, most.value)
        weight = Vector(builder, builder.select(inside, one, none))
        lines: dict[int, Vector | None] = {k: load(builder, kinds[k], at) for pair in pairs for k in pair if k < LINES}
        lines[_ONE], lines[_ALONG] = None, places - middle
        for power in range(max(powers) + 1):
            if power > 0:
                weight = weight * load(builder, light, at)
            if power in powers:
                scaled = {k: times(weight, line) for k, line in lines.items()}
                for a, b in pairs:
                    product = times(scaled[a], lines[b])
                    totals.add((power, a, b), product)
    return {(power, a, b): totals[power, a, b].sum() for power in powers for a, b in pairs}


def _pair(a: int, b: int) -> tuple[int, int]:
    return min(a, b), max(a, b)


def information_of(model: Model, power: int) -> Callable[..., Any]:
    """Make the function that writes the information of a box whose pixels have as weight a power of their signal.

    It takes the matrix, of which it writes the lower triangle; the lines, and where those of x begin; the rows and
    columns of the box, the flux, and a number that all weights are times.
    """
    slopes = _slopes_of(model)
    pairs = [(s, t) for slope in slopes for other in slopes for s in slope for t in other]

    @intrinsic  # type: ignore[untyped-decorator]
    def write(
        typing_context: Any, matrix: Any, lines: Any, x: Any, rows: Any, columns: Any, flux: Any, weight: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out = Numbers(context, builder, signature.args[0], args[0], model.parameters)
            kinds, none = _kinds(context, builder, signature.args[1], args[1]), WORD(0)
            along_y = line_sums(builder, kinds, kinds[0], none, args[3], {_pair(s.y, t.y) for s, t in pairs}, (power,))
            along_x = line_sums(
                builder, kinds, kinds[0], args[2], args[4], {_pair(s.x, t.x) for s, t in pairs}, (power,)
            )
            flux, shared = Vector(builder, args[5]), Vector(builder, args[6])
            for _ in range(power):
                shared = shared * flux
            for a, slope in enumerate(slopes):
                for b, other in enumerate(slopes[: a + 1]):
                    terms = []
                    for s in slope:
                        for t in other:
                            (a_y, b_y), (a_x, b_x) = _pair(s.y, t.y), _pair(s.x, t.x)
                            product = along_y[power, a_y, b_y] * along_x[power, a_x, b_x]
                            for _ in range(s.flux + t.flux):
                                product = product * flux
                            terms.append(product)
                    out[a, b] = shared * _total(builder, terms)
            return context.get_dummy_value()

        return types.void(matrix, lines, x, rows, columns, flux, weight), generate

    return write  # type: ignore[no-any-return]


def residual_sums_of(model: Model) -> Callable[..., Any]:
    """Make the function that writes sums of weighted residuals times derivatives of means, and returns chi2.

    It writes the lower triangle of those with second derivatives, and then the gradient. It takes both; the lines, and
    where those of x begin; the pixels and weights of a box, its rows, their padded and their own length; the flux, the
    widths along y and x, and the background in the centre of the box, with its slopes along y and x.
    """
    slopes, curves = _slopes_of(model), _curves_of(model)
    every = [term for terms in (*slopes, *(terms for row in curves for terms in row)) for term in terms]
    names, products = sorted({t.y for t in every}), sorted({(t.y, t.x) for t in every})

    @intrinsic  # type: ignore[untyped-decorator]
    def add(
        typing_context: Any, curved: Any, gradient: Any, lines: Any, x: Any, data: Any, spread: Any, rows: Any,
        padded: Any, columns: Any, flux: Any, widths: Any, level: Any, tilts: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            second, first = (Numbers(context, builder, signature.args[k], args[k], model.parameters) for k in range(2))
            kinds = _kinds(context, builder, signature.args[2], args[2])
            pixels, weights = (context.make_array(signature.args[k])(context, builder, args[k]).data for k in (4, 5))
            x, rows, padded, columns = args[3], args[6], args[7], args[8]
            flux, level = repeated(builder, args[9]), repeated(builder, args[11])
            tilt_y, tilt_x = (repeated(builder, value) for value in cgutils.unpack_tuple(builder, args[12]))
            middle_y, middle_x = _middle(builder, rows), repeated(builder, _middle(builder, columns))
            totals, column = Totals(builder, [*products, ()]), Totals(builder, [(name,) for name in names])
            with cgutils.for_range(builder, builder.sdiv(padded, WORD(BLOCK))) as blocks:
                here = builder.mul(blocks.index, WORD(BLOCK))
                across: dict[int, Vector | None] = {
                    k: load(builder, kinds[k], builder.add(x, here)) for k in {0, *(t.x for t in every)} if k < LINES
                }
                from_x = _places(builder, here) - middle_x
                across[_ONE], across[_ALONG] = None, from_x
                value = times(flux, across[0])
                background = level + tilt_x * from_x if model.plane else level
                column.clear()
                with cgutils.for_range(builder, rows) as loop:
                    pixel = builder.add(here, builder.mul(loop.index, padded))
                    along: dict[int, Vector | None] = {
                        k: repeated(builder, builder.load(builder.gep(kinds[k], [loop.index])))
                        for k in names if k < LINES
                    }  # fmt: skip
                    from_y = repeated(builder, builder.fsub(builder.sitofp(loop.index, NUMBER), middle_y))
                    along[_ONE], along[_ALONG] = None, from_y
                    mean = times(value, along[0])
                    mean = mean + background
                    if model.plane:
                        mean = mean + tilt_y * from_y
                    residual = load(builder, pixels, pixel) - mean
                    weighted = load(builder, weights, pixel) * residual
                    for name in names:
                        product = times(weighted, along[name])
                        column.add((name,), product)
                    totals.add((), weighted * residual)
                for y, other in products:
                    product = times(column[y,], across[other])
                    totals.add((y, other), product)
            sums = {place: totals[place].sum() for place in products}
            widths = (Vector(builder, value).inverse() for value in cgutils.unpack_tuple(builder, args[10]))
            numbers = Vector(builder, args[9]), *widths

            def total(terms: Iterable[_Term]) -> Vector:
                return _total(builder, (times(_factor(term, numbers), sums[term.y, term.x]) for term in terms))

            for a, slope in enumerate(slopes):
                first[0, a] = total(slope)
                for b in range(a + 1):
                    second[a, b] = total(curves[a][b])
            return totals[()].sum().value

        arguments = curved, gradient, lines, x, data, spread, rows, padded, columns, flux, widths, level, tilts
        return types.float64(*arguments), generate

    return add  # type: ignore[no-any-return]
