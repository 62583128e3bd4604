"""The sums of the normal equations over a plane of a box, four pixels of a row at a time, as vector code.

Derivatives of the means of four neighbouring columns are lines along y times factors that the pixels of a column share.
So it is enough to sum weights times products of two lines over the rows, which stay in registers; factors follow once
for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.fitting.gaussian import BLOCK, slopes_of
from npsubpix._cpu.fitting.vectors import FOUR, NUMBER, WORD, Totals, Vector, address_of, load, repeated, times
from npsubpix._definitions.constants import FIT_LEAST_MEAN
from npsubpix._definitions.spot_models import Model

__all__ = ["plane_sums_of", "sums_of"]


def sums_of(model: Model) -> int:
    """Return how many sums there are: the lower triangle of the information, the gradient, and chi2."""
    count = model.parameters
    return count * (count + 1) // 2 + count + 1


def _pair(first: str, second: str) -> tuple[str, str]:
    return min(first, second), max(first, second)


class _ColumnSums:
    """Sums over rows of weights times products of two lines, of weighted residuals times lines, and chi2."""

    def __init__(self, builder: Any, names: Sequence[str]) -> None:
        self.names = names
        self.pairs = sorted({_pair(a, b) for a in names for b in names})
        self.totals = Totals(builder, [*self.pairs, *((name,) for name in names), ()])

    def add(self, lines: dict[str, Vector | None], weight: Vector, residual: Vector) -> None:
        """Add a row; the line of ones is None."""
        weighted = weight * residual
        scaled = {name: times(weight, lines[name]) for name in self.names}
        for a, b in self.pairs:
            self.totals.add((a, b), times(scaled[a], lines[b]))
        for name in self.names:
            self.totals.add((name,), times(weighted, lines[name]))
        self.totals.add((), weighted * residual)

    def add_to(self, builder: Any, sums: Any, slopes: Sequence[Sequence[tuple[str, Any]]]) -> None:
        """Add what the columns contribute to the information, to the gradient and to chi2."""
        place = 0
        for a, slope in enumerate(slopes):
            for other in slopes[: a + 1]:
                terms = [(times(c, d), self.totals[_pair(line, name)]) for line, c in slope for name, d in other]
                _add_terms(builder, sums, place, terms)
                place += 1
        for slope in slopes:
            _add_terms(builder, sums, place, [(c, self.totals[line,]) for line, c in slope])
            place += 1
        _add_terms(builder, sums, place, [(None, self.totals[()])])


def _add_terms(builder: Any, data: Any, place: int, terms: Sequence[tuple[Vector | None, Vector]]) -> None:
    """Add factors times sums to the four numbers of a sum."""
    address = address_of(builder, data, WORD(BLOCK * place))
    total = Vector(builder, builder.load(address, align=8))
    for factor, term in terms:
        total = total + (term if factor is None else factor * term)
    builder.store(total.value, address, align=8)


def plane_sums_of(model: Model, likelihood: bool) -> Callable[..., Any]:
    """Make the function that adds a plane of pixels to the sums.

    It takes the sums; the lines of all axes, and where those of y and x begin; the pixels and read variances, or
    weights, of the box; the first pixel of the plane, the number of its rows and their padded length; the flux, the
    integral along z and its derivatives, and the distance of the plane from the centre of the box; and the background
    in its centre, with its slopes along y and x.
    """
    names = sorted({name for slope in slopes_of(model, (None,) * 8) for name, _ in slope})

    @intrinsic  # type: ignore[untyped-decorator]
    def add_plane(
        typing_context: Any, sums: Any, lines: Any, y: Any, x: Any, data: Any, spread: Any, start: Any, rows: Any,
        padded: Any, columns: Any, flux: Any, along_z: Any, level: Any, tilts: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 1, 4, 5)]
            totals, table, pixels, spreads = arrays
            length = builder.sdiv(cgutils.unpack_tuple(builder, table.strides)[0], WORD(8))
            kinds = [table.data]
            for _ in range(2):
                kinds.append(builder.gep(kinds[-1], [length]))
            flux, level = repeated(builder, args[10]), repeated(builder, args[12])
            ez, dz, gz, from_z = (repeated(builder, value) for value in cgutils.unpack_tuple(builder, args[11]))
            tilt_y, tilt_x = (repeated(builder, value) for value in cgutils.unpack_tuple(builder, args[13]))
            half = Vector(builder, ir.Constant(NUMBER, 0.5))
            centre_y, centre_x = (
                half * Vector(builder, builder.sitofp(builder.sub(args[k], WORD(1)), NUMBER)) for k in (7, 9)
            )
            steps = Vector(builder, ir.Constant(FOUR, [float(k) for k in range(BLOCK)]))
            column = _ColumnSums(builder, names)
            with cgutils.for_range(builder, builder.sdiv(args[8], WORD(BLOCK))) as blocks:
                here = builder.mul(blocks.index, WORD(BLOCK))
                ex, dx, gx = (load(builder, line, builder.add(args[3], here)) for line in kinds)
                from_x = repeated(builder, builder.fsub(builder.sitofp(here, NUMBER), centre_x.value)) + steps
                value = flux * ez * ex
                background = level + tilt_x * from_x if model.plane else level
                shared = (
                    value,
                    flux * dz * ex,
                    flux * ez * dx,
                    flux * gz * ex,
                    flux * ez * gx,
                    ez * ex,
                    from_z,
                    from_x,
                )
                column.totals.clear()
                with cgutils.for_range(builder, args[7]) as loop:
                    pixel = builder.add(builder.add(args[6], here), builder.mul(loop.index, args[8]))
                    at = builder.add(args[2], loop.index)
                    ey, dy, gy = (repeated(builder, builder.load(builder.gep(line, [at]))) for line in kinds)
                    from_y = repeated(builder, builder.fsub(builder.sitofp(loop.index, NUMBER), centre_y.value))
                    mean = value * ey + background
                    if model.plane:
                        mean = mean + tilt_y * from_y
                    own, other = load(builder, pixels.data, pixel), load(builder, spreads.data, pixel)
                    weight = (mean + other).at_least(FIT_LEAST_MEAN).inverse() if likelihood else other
                    found = {"value": ey, "slope": dy, "spread": gy, "along": from_y, "one": None}
                    column.add(found, weight, own - mean)
                column.add_to(builder, totals.data, slopes_of(model, shared))
            return context.get_dummy_value()

        arguments = sums, lines, y, x, data, spread, start, rows, padded, columns, flux, along_z, level, tilts
        return types.void(*arguments), generate

    return add_plane  # type: ignore[no-any-return]
