"""Filter banks by tiles of results that stay in registers: a few filters at a few pixels of a row.

For each weight of its filters, a tile loads the pixels once, and multiplies them by one weight per filter. A matrix of
windows, as large as the images times the pixels of a window, would be written and read again for the same products.

The tiles are vectors of LLVM: loops over pixels inside of loops over weights would keep their sums in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import Kernel, device, kernel

__all__ = ["FILTERS", "LANES", "filter_kernels"]

#: Filters of a tile. With three vectors of pixels, their sums, the pixels and a weight fill 16 registers.
FILTERS = 4

#: Pixels of a vector: 32 bytes.
LANES: dict[np.dtype[Any], int] = {np.dtype(np.float32): 8, np.dtype(np.float64): 4}

#: Rows that a thread computes one after the other.
_BAND = 16


def _tile(vectors: int, lanes: int) -> Callable[..., Any]:
    """Make the function (pixels, offsets, weights, bias, out, places) of the sums of a tile, of flat arrays.

    `pixels` begin at the first pixel under the first weight, `offsets` lead from it to those under each weight, and
    `places` from the beginning of `out` to the first result of each filter.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def sum_tile(
        typing_context: Any, pixels: Any, begin: Any, offsets: Any, weights: Any, bias: Any, out: Any, places: Any
    ) -> Any:
        if any(array.layout != "C" for array in (pixels, offsets, weights, bias, out)):
            return None  # not to be compiled

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3, 4, 5)]
            first, taps, factors, constants, results = (a.data for a in arrays)
            count, first = cgutils.unpack_tuple(builder, arrays[1].shape)[0], builder.gep(first, [args[1]])
            number, index = context.get_value_type(pixels.dtype), ir.IntType(64)
            vector = ir.VectorType(number, lanes)
            size = context.get_abi_sizeof(number)

            def at(pointer: Any, k: int) -> Any:
                return builder.bitcast(builder.gep(pointer, [index(k * lanes)]), vector.as_pointer())

            def spread(value: Any) -> Any:
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
                return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))

            begins = [spread(builder.load(builder.gep(constants, [index(c)]))) for c in range(FILTERS)]
            before, loop = builder.block, builder.append_basic_block("taps")
            after = builder.append_basic_block("sums")
            builder.branch(loop)
            builder.position_at_end(loop)
            tap = builder.phi(index)
            sums = [builder.phi(vector) for _ in range(FILTERS * vectors)]
            here = builder.gep(first, [builder.load(builder.gep(taps, [tap]))])
            loaded = [builder.load(at(here, k), align=size) for k in range(vectors)]
            added = []
            for c in range(FILTERS):
                place = builder.add(builder.mul(tap, index(FILTERS)), index(c))
                weight = spread(builder.load(builder.gep(factors, [place])))
                for k in range(vectors):
                    product = builder.fmul(weight, loaded[k], flags=("contract",))
                    added.append(builder.fadd(sums[c * vectors + k], product, flags=("contract",)))
            following = builder.add(tap, index(1))
            builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
            tap.add_incoming(index(0), before)
            tap.add_incoming(following, loop)
            for n, total in enumerate(sums):
                total.add_incoming(begins[n // vectors], before)
                total.add_incoming(added[n], loop)
            builder.position_at_end(after)
            for c, place in enumerate(cgutils.unpack_tuple(builder, args[6])):
                row = builder.gep(results, [place])
                for k in range(vectors):
                    builder.store(added[c * vectors + k], at(row, k), align=size)
            return context.get_dummy_value()

        return types.void(pixels, begin, offsets, weights, bias, out, places), generate

    return sum_tile  # type: ignore[no-any-return]


def _filter_kernel(name: str, lanes: int) -> Kernel:
    one, two, three = (_tile(vectors, lanes) for vectors in (1, 2, 3))

    @device
    def filter_row(pixels, begin, offsets, weights, bias, out, places, columns):
        """Sum a row of results, the last ones twice where no vector ends with the row."""
        j = 0
        while j < columns:
            left = columns - j
            start = min(j, columns - lanes)
            o, p, q, r = places
            at = (o + start, p + start, q + start, r + start)
            if left >= 3 * lanes:
                three(pixels, begin + start, offsets, weights, bias, out, at)
                j += 3 * lanes
            elif left >= 2 * lanes:
                two(pixels, begin + start, offsets, weights, bias, out, at)
                j += 2 * lanes
            else:
                one(pixels, begin + start, offsets, weights, bias, out, at)
                j += lanes

    @device
    def filter_rows(pixels, pixels_at, step, offsets, weights, bias, filters, results, rows_at, begin, end, columns):
        """Sum rows of the results of an image.

        `pixels_at` is the place of its first pixel, and the number of pixels per group of channels; `rows_at` that of
        the first row of its results, and the number of rows per filter.
        """
        groups, fours = weights.shape[:2]
        for g in range(groups):
            for k in range(fours):
                first, last = g * filters + FILTERS * k, (g + 1) * filters - 1
                for i in range(begin, end):
                    row, rows = rows_at[0] + i, rows_at[1]
                    places = (
                        (row + first * rows) * columns,
                        (row + min(first + 1, last) * rows) * columns,
                        (row + min(first + 2, last) * rows) * columns,
                        (row + min(first + 3, last) * rows) * columns,
                    )
                    pixel = pixels_at[0] + g * pixels_at[1] + i * step
                    filter_row(pixels, pixel, offsets, weights[g, k], bias[g, k], results, places, columns)

    @kernel(f"filter_bank_{name}")
    def filter_images(pixels, image, step, offsets, weights, bias, filters, out):
        """Correlate images with groups of filters, four at a time.

        Of `pixels`, flat, an image has `image` per group of channels, and rows of results begin `step` apart. `weights`
        have shape (groups, fours, weights of a filter, 4), `bias` (groups, fours, 4), and a group has `filters`.
        """
        images, made, rows, columns = out.shape
        bands = (rows + _BAND - 1) // _BAND
        results = out.reshape(out.size)
        for t in prange(images * bands):
            n, begin = t // bands, t % bands * _BAND
            pixels_at, rows_at = (n * weights.shape[0] * image, image), (n * made * rows, rows)
            end = min(begin + _BAND, rows)
            filter_rows(pixels, pixels_at, step, offsets, weights, bias, filters, results, rows_at, begin, end, columns)

    return filter_images


filter_kernels = {dtype: _filter_kernel(f"f{dtype.itemsize}", lanes) for dtype, lanes in LANES.items()}
