"""Whether residuals have a shape that spots of a model have not: see `_definitions/misfits.py`.

A shape in four columns of a box is a sum of lines along y, times factors of the columns. So it is enough to sum weights
times products of two lines, and times lines and residuals, over the rows; see `sums.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import device, inlined_fused, inlined_summing
from npsubpix._cpu.fitting.gaussian import BLOCK, edges_of
from npsubpix._cpu.fitting.products import line_sums
from npsubpix._cpu.fitting.vectors import FOUR, WORD, Totals, Vector, load, repeated
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.constants import (
    FIT_SHAPE,
    FIT_SHAPE_ELONGATED,
    FIT_SHAPE_ELONGATED_UNWEIGHTED,
    FIT_SHAPE_SIGNIFICANT,
    FIT_SHAPE_SIGNIFICANT_UNWEIGHTED,
    FIT_SHAPE_WIDTH,
)
from npsubpix._definitions.misfits import ELONGATED, MISFITS, flat_shapes

__all__ = ["is_misshapen"]

_SHAPES, _FLAT = len(MISFITS), flat_shapes()

#: Orders of Hermite's polynomials, each of which is a line.
_ORDERS = 5


@inlined_fused
def _write_places(places, centre, width):
    """Write the places of the pixels of an axis, in widths from the centre."""
    inverse = 1.0 / max(width, FIT_SHAPE_WIDTH)
    for k in range(places.size):
        places[k] = (k - centre) * inverse


@inlined_fused
def _write_lines(l0, l1, l2, l3, l4, places):
    """Write a Gaussian times Hermite's polynomials of orders 0 to 4."""
    for k in range(places.size):
        u = places[k]
        square = u * u
        g = exponential64(-0.5 * square)
        l0[k] = g
        l1[k] = g * u
        l2[k] = g * (square - 1.0)
        l3[k] = g * (square - 3.0) * u
        l4[k] = g * ((square - 6.0) * square + 3.0)


@inlined_summing
def _totals(weights, residuals, mean, background):
    """Return the weighted sums of squared residuals and of the squared signal, and the sum of the signal."""
    squares, power, signals = 0.0, 0.0, 0.0
    for k in range(weights.size):
        signal = mean[k] - background
        signal = signal if signal > 0.0 and weights[k] > 0.0 else 0.0
        squares += weights[k] * residuals[k] * residuals[k]
        power += weights[k] * signal * signal
        signals += signal
    return squares, power, signals


def _terms(volume: bool) -> list[dict[int, list[tuple[int, int, int]]]]:
    """Return, for each shape, the lines of y in it, each with its factors: a number, and orders along z and x."""
    found: list[dict[int, list[tuple[int, int, int]]]] = []
    for shape in MISFITS[: _SHAPES if volume else _FLAT]:
        lines: dict[int, list[tuple[int, int, int]]] = {}
        for number, z, y, x in shape:
            if volume or z == 0:
                lines.setdefault(y, []).append((number, z, x))
        found.append(lines)
    return found


def _factor(builder: Any, terms: Sequence[tuple[int, int, int]], along_z: Sequence[Any], along_x: Sequence[Any]) -> Any:
    """Return the factors of a line of y in a shape, in four columns."""
    total = None
    for number, z, x in terms:
        term = along_x[x]
        if along_z:
            term = term * along_z[z]
        if number != 1:
            term = term * Vector(builder, ir.Constant(FOUR, [float(number)] * BLOCK))
        total = term if total is None else total + term
    return total


def _adder(volume: bool, unweighted: bool) -> Callable[..., Any]:
    """Make the function that writes, for each shape, its product with residuals, its square, and that times the signal.

    It takes the sums; the lines, how long one is, and where those of y and x begin in it; weights, residuals and means;
    the background; and the depth, height and padded length of the box. Squares times the signal are for unweighted
    residuals alone.
    """
    shapes = _terms(volume)
    singles = sorted({y for shape in shapes for y in shape})
    pairs = sorted({(min(a, b), max(a, b)) for shape in shapes for a in shape for b in shape})
    weightings = ("own", "by_signal") if unweighted else ("own",)

    def add_columns(columns: Totals, totals: Totals, factors_of_shapes: Sequence[dict[int, Vector]]) -> None:
        for number, factors in enumerate(factors_of_shapes):
            for y, factor in factors.items():
                totals.add((number, "score"), factor * columns[y,])
            for weighting in weightings:
                for a in factors:
                    for b in factors:
                        if a <= b:
                            product = factors[a] * factors[b]
                            product = product if a == b else product + product
                            totals.add((number, weighting), product * columns[weighting, a, b])

    @intrinsic  # type: ignore[untyped-decorator]
    def add_box(
        typing_context: Any, out: Any, lines: Any, length: Any, y: Any, x: Any, weights: Any, residuals: Any, mean: Any,
        background: Any, depth: Any, height: Any, padded: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out, lines, weights, residuals, mean = (
                context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 1, 5, 6, 7)
            )
            length, y, x, background, depth, height, padded = (args[k] for k in (2, 3, 4, 8, 9, 10, 11))
            kinds = [builder.gep(lines, [builder.mul(length, WORD(order))]) for order in range(_ORDERS)]
            level = repeated(builder, background)
            totals = Totals(builder, [(n, kind) for n in range(len(shapes)) for kind in ("score", *weightings)])
            columns = Totals(builder, [*((y,) for y in singles), *((k, *pair) for k in weightings for pair in pairs)])
            with cgutils.for_range(builder, depth) as planes:
                start = builder.mul(builder.mul(planes.index, height), padded)
                along_z = [repeated(builder, builder.load(builder.gep(line, [planes.index]))) for line in kinds]
                with cgutils.for_range(builder, builder.sdiv(padded, WORD(BLOCK))) as blocks:
                    here = builder.mul(blocks.index, WORD(BLOCK))
                    along_x = [load(builder, line, builder.add(x, here)) for line in kinds]
                    columns.clear()
                    with cgutils.for_range(builder, height) as rows:
                        pixel = builder.add(builder.add(start, here), builder.mul(rows.index, padded))
                        at = builder.add(y, rows.index)
                        along_y = {n: repeated(builder, builder.load(builder.gep(kinds[n], [at]))) for n in singles}
                        weight, residual = load(builder, weights, pixel), load(builder, residuals, pixel)
                        scaled = {order: weight * along_y[order] for order in singles}
                        for order in singles:
                            columns.add((order,), scaled[order] * residual)
                        for a, b in pairs:
                            product = scaled[a] * along_y[b]
                            columns.add(("own", a, b), product)
                            if unweighted:
                                signal = (load(builder, mean, pixel) - level).at_least(0.0)
                                columns.add(("by_signal", a, b), product * signal)
                    factors = [
                        {y: _factor(builder, terms, along_z if volume else (), along_x) for y, terms in shape.items()}
                        for shape in shapes
                    ]
                    add_columns(columns, totals, factors)
            for number in range(len(shapes)):
                for k, kind in enumerate(("score", *weightings)):
                    total = totals[number, kind].sum()
                    builder.store(total.value, builder.gep(out, [WORD(3 * number + k)]))
            return context.get_dummy_value()

        arguments = out, lines, length, y, x, weights, residuals, mean, background, depth, height, padded
        return types.void(*arguments), generate

    @device
    def sums(out, lines, length, y, x, weights, residuals, mean, background, depth, height, padded):
        add_box(out, lines, length, y, x, weights, residuals, mean, background, depth, height, padded)

    return sums


def _adder_of_products() -> Callable[..., Any]:
    """Make the function of flat boxes whose pixels all have the same weight, and whose signal is a product of lines.

    It takes the sums; the lines, how long one is, and where those of x begin in it; weights and residuals; the lines of
    the model and its flux; and the height and the width of the box, also padded.
    """
    shapes = [[(number, y, x) for y, terms in shape.items() for number, _, x in terms] for shape in _terms(False)]
    pairs = [(s, t) for shape in shapes for s in shape for t in shape]
    names, products = sorted({y for shape in shapes for _, y, _ in shape}), {t[1:] for shape in shapes for t in shape}

    @intrinsic  # type: ignore[untyped-decorator]
    def add_box(
        typing_context: Any, out: Any, lines: Any, length: Any, x: Any, weights: Any, residuals: Any, model: Any,
        flux: Any, height: Any, width: Any, padded: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out, lines, weights, residuals, light = (
                context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 1, 4, 5, 6)
            )
            length, x, flux, height, width, padded = (args[k] for k in (2, 3, 7, 8, 9, 10))
            kinds = [builder.gep(lines, [builder.mul(length, WORD(order))]) for order in range(_ORDERS)]
            column, totals = Totals(builder, [(y,) for y in names]), Totals(builder, products)
            with cgutils.for_range(builder, builder.sdiv(padded, WORD(BLOCK))) as blocks:
                here = builder.mul(blocks.index, WORD(BLOCK))
                column.clear()
                with cgutils.for_range(builder, height) as rows:
                    pixel = builder.add(here, builder.mul(rows.index, padded))
                    weighted = load(builder, weights, pixel) * load(builder, residuals, pixel)
                    for y in names:
                        along = repeated(builder, builder.load(builder.gep(kinds[y], [rows.index])))
                        column.add((y,), weighted * along)
                for y, other in products:
                    totals.add((y, other), column[y,] * load(builder, kinds[other], builder.add(x, here)))
            along_y = line_sums(builder, kinds, light, WORD(0), height, {(s[1], t[1]) for s, t in pairs}, (0, 1))
            along_x = line_sums(builder, kinds, light, x, width, {(s[2], t[2]) for s, t in pairs}, (0, 1))
            weight = Vector(builder, builder.load(weights))

            def total(terms: Sequence[tuple[int, Vector]]) -> Vector:
                found = [term * Vector(builder, ir.Constant(term.value.type, float(n))) for n, term in terms]
                return functools.reduce(Vector.__add__, found)

            for number, shape in enumerate(shapes):
                results = [total([(n, totals[y, other].sum()) for n, y, other in shape])]
                for power in (0, 1):
                    terms = [
                        (n * m, along_y[power, a, b] * along_x[power, c, d]) for n, a, c in shape for m, b, d in shape
                    ]
                    results.append(weight * total(terms))
                results[2] = results[2] * Vector(builder, flux)
                for k, result in enumerate(results):
                    builder.store(result.value, builder.gep(out, [WORD(3 * number + k)]))
            return context.get_dummy_value()

        return types.void(out, lines, length, x, weights, residuals, model, flux, height, width, padded), generate

    return add_box  # type: ignore[no-any-return]


_add_products = _adder_of_products()
_add_flat, _add_flat_unweighted = _adder(False, False), _adder(False, True)
_add_volume, _add_volume_unweighted = _adder(True, False), _adder(True, True)


@device
def _add_box(sums, lines, length, y, x, weights, residuals, mean, background, box, padded, unweighted):
    depth, height = box[0], box[1]
    if depth > 1:
        if unweighted:
            _add_volume_unweighted(
                sums, lines, length, y, x, weights, residuals, mean, background, depth, height, padded
            )
        else:
            _add_volume(sums, lines, length, y, x, weights, residuals, mean, background, depth, height, padded)
    elif unweighted:
        _add_flat_unweighted(sums, lines, length, y, x, weights, residuals, mean, background, depth, height, padded)
    else:
        _add_flat(sums, lines, length, y, x, weights, residuals, mean, background, depth, height, padded)


@device
def is_misshapen(
    weights, residuals, mean, places, lines, sums, background, centre, width, box, padded, degrees, unweighted, alike,
    model, flux,
):  # fmt: skip
    """Whether residuals have a shape that the model has not.

    Residuals that are within the noise as a whole, or less than the least share of the signal, are not looked at, nor
    boxes of less than five rows. `lines` are five numbers for each edge of the pixels of all axes, and `sums` as many
    numbers as shapes have sums, at least. `alike` is whether all pixels of an unweighted flat box count, with a signal
    that is the flux times the product of the first lines of the model.
    """
    squares, power, signals = _totals(weights, residuals, mean, background)
    if squares <= FIT_SHAPE * FIT_SHAPE * power or not signals > 0.0 or weights.size < _ORDERS * padded:
        return False
    if degrees <= 0 or (not unweighted and squares <= degrees):
        return False
    y = edges_of(box[0]) if box[0] > 1 else 0
    x = y + edges_of(box[1])
    length = x + edges_of(box[2])
    if box[0] > 1:
        _write_places(places[:y], centre[0], width[0])
    _write_places(places[y:x], centre[1], width[1])
    _write_places(places[x:length], centre[2], width[2])
    _write_lines(
        lines[:length], lines[length : 2 * length], lines[2 * length : 3 * length], lines[3 * length : 4 * length],
        lines[4 * length : 5 * length], places[:length],
    )  # fmt: skip
    if alike:
        _add_products(sums, lines, length, x, weights, residuals, model, flux, box[1], box[2], padded)
    else:
        _add_box(sums, lines, length, y, x, weights, residuals, mean, background, box, padded, unweighted)
    significance, elongated, share = 0.0, 0.0, 0.0
    by_pixel, by_signal = squares / degrees, squares / signals
    for number in range(_SHAPES if box[0] > 1 else _FLAT):
        score, own = sums[3 * number], sums[3 * number + 1]
        if own > 0.0:
            share += score * score / own
            noise = max(own * by_pixel, sums[3 * number + 2] * by_signal) if unweighted else own
            significance += score * score / noise
            elongated += score * score / noise if number < ELONGATED else 0.0
    if share <= FIT_SHAPE * FIT_SHAPE * power:
        return False
    if unweighted:
        return significance > FIT_SHAPE_SIGNIFICANT_UNWEIGHTED or elongated > FIT_SHAPE_ELONGATED_UNWEIGHTED
    return significance > FIT_SHAPE_SIGNIFICANT or elongated > FIT_SHAPE_ELONGATED
