"""Operations that Numba's arrays lack: prefetch a pixel, lend an array uncounted, take windows of known size.

Or not cheaply: an assignment of an array can fail, with a message that takes seconds to compile.

A function that is called with an array counts one reference up and down again, atomically. For a
function of a few pixels that takes longer than its work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import device, inlined

__all__ = [
    "arguments_at",
    "converted",
    "copy_to",
    "count_bits",
    "keep",
    "lend",
    "lend_all",
    "lend_to_read",
    "on_stack",
    "prefetch",
    "prefetch_line",
    "shaped",
    "trailing_zeros",
    "values_from",
    "window_of",
]


_CACHE_LINE = 64  # bytes


@device
def copy_to(out, values):
    """Assign an array of one axis to one that is not longer."""
    for k in range(len(out)):
        out[k] = values[k]


def converted(builder: Any, dtype: Any, pixels: Any, kind: Any) -> Any:
    """Convert a vector of pixels of a dtype to one of another kind of floating-point numbers."""
    if isinstance(dtype, types.Integer):
        return (builder.sitofp if dtype.signed else builder.uitofp)(pixels, kind)
    if pixels.type == kind:
        return pixels
    return (builder.fptrunc if dtype == types.float64 else builder.fpext)(pixels, kind)


@intrinsic  # type: ignore[untyped-decorator]
def lend(typing_context: Any, array: Any) -> Any:
    """Return an array whose references are not counted. `keep` the one it is lent from until its last use."""
    return array(array), _without_references()


@intrinsic  # type: ignore[untyped-decorator]
def lend_to_read(typing_context: Any, array: Any) -> Any:
    """`lend` an array that cannot be written to."""
    return array.copy(readonly=True)(array), _without_references()


def _without_references() -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _lent(context, builder, signature.return_type, args[0])

    return generate


def _lent(context: Any, builder: Any, array: Any, value: Any) -> Any:
    lent = context.make_array(array)(context, builder, value)
    lent.meminfo = ir.Constant(lent.meminfo.type, None)
    lent.parent = ir.Constant(lent.parent.type, None)
    return lent._getvalue()


@intrinsic  # type: ignore[untyped-decorator]
def lend_all(typing_context: Any, arrays: Any) -> Any:
    """`lend_to_read` each array of a tuple; numbers of it stay as they are."""
    lent = types.BaseTuple.from_types(
        [t.copy(readonly=True) if isinstance(t, types.Array) else t for t in arrays.types]
    )

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = zip(lent.types, cgutils.unpack_tuple(builder, args[0]), strict=True)
        values = [_lent(context, builder, t, v) if isinstance(t, types.Array) else v for t, v in parts]
        return context.make_tuple(builder, signature.return_type, values)

    return lent(arrays), generate


def values_from(first: int, numbers: tuple[bool, ...]) -> Callable[..., Any]:
    """Make a function of lent arrays: those from `first` on, or, where it is a number, the only element of one."""

    @intrinsic  # type: ignore[untyped-decorator]
    def take(typing_context: Any, arrays: Any) -> Any:
        sources = arrays.types[first:]
        kinds = [s.dtype if number else s for s, number in zip(sources, numbers, strict=True)]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = cgutils.unpack_tuple(builder, args[0])[first:]
            for k, number in enumerate(numbers):
                if number:
                    data = context.make_array(sources[k])(context, builder, values[k]).data
                    values[k] = context.unpack_value(builder, kinds[k], data)
            return context.make_tuple(builder, signature.return_type, values)

        return types.BaseTuple.from_types(kinds)(arrays), generate

    return take  # type: ignore[no-any-return]


def arguments_at(shapes: tuple[tuple[int, ...] | None, ...]) -> Callable[..., Any]:
    """Make a function of the address of float64 numbers: a tuple of numbers, and of arrays where there is a shape."""

    @intrinsic  # type: ignore[untyped-decorator]
    def take(typing_context: Any, elements: Any) -> Any:
        array: Any = types.Array
        kinds = [types.float64 if n is None else array(types.float64, len(n), "C", readonly=True) for n in shapes]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, first, number = [], 0, ir.IntType(64)
            for shape, kind in zip(shapes, kinds, strict=True):
                data = builder.gep(args[0], [number(first)])
                if shape is None:
                    values.append(builder.load(data))
                    first += 1
                    continue
                lent = context.make_array(kind)(context, builder)
                strides = [number(8 * math.prod(shape[k + 1 :])) for k in range(len(shape))]
                context.populate_array(
                    lent, data=data, shape=[number(n) for n in shape], strides=strides, itemsize=number(8), meminfo=None
                )
                values.append(lent._getvalue())
                first += math.prod(shape)
            return context.make_tuple(builder, signature.return_type, values)

        return types.BaseTuple.from_types(kinds)(elements), generate

    return take  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def keep(typing_context: Any, array: Any) -> Any:
    """Do nothing with an array, which it therefore still has to be there for."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Bring the cache line of an element of a contiguous array, which need not exist, close to the core."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, number(0), number(3), number(1)])  # to read, in all caches, data
        return context.get_dummy_value()

    return types.void(array, index), generate


@inlined
def prefetch_line(array, first, last):
    """Bring the elements from one to another of a contiguous array close to the core."""
    for k in range(first, last, _CACHE_LINE // array.itemsize):
        prefetch(array, k)
    prefetch(array, last)


def on_stack(shape: tuple[int, ...]) -> Callable[..., Any]:
    """Make a function (F) of an array of few elements that is there until its caller returns: of F's dtype, not set.

    Elements whose indices are known when loops are unrolled stay in registers, which those of other arrays never do.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def make(typing_context: Any, dtype: Any) -> Any:
        array: Any = types.Array(dtype.dtype, len(shape), "C")

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            real, number = context.get_data_type(array.dtype), ir.IntType(64)
            block = cgutils.alloca_once(builder, ir.ArrayType(real, math.prod(shape)))
            size = context.get_abi_sizeof(real)
            made = context.make_array(array)(context, builder)
            context.populate_array(
                made, data=builder.bitcast(block, real.as_pointer()), shape=[number(n) for n in shape],
                strides=[number(size * math.prod(shape[k + 1 :])) for k in range(len(shape))], itemsize=number(size),
                meminfo=None,
            )  # fmt: skip
            return made._getvalue()

        return array(dtype), generate

    return make  # type: ignore[no-any-return]


def window_of(size: tuple[int, ...]) -> Callable[..., Any]:
    """Make a function (array, starts) that lends a window of an array whose size is known when loops are compiled."""

    @intrinsic  # type: ignore[untyped-decorator]
    def cut(typing_context: Any, array: Any, starts: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            whole = context.make_array(signature.args[0])(context, builder, args[0])
            firsts = cgutils.unpack_tuple(builder, args[1])
            strides = cgutils.unpack_tuple(builder, whole.strides)
            number = strides[0].type
            if array.layout == "C":
                strides[-1] = number(context.get_abi_sizeof(context.get_data_type(array.dtype)))
            address = builder.ptrtoint(whole.data, number)
            for first, stride in zip(firsts, strides, strict=True):
                address = builder.add(address, builder.mul(first, stride))
            window = context.make_array(signature.return_type)(context, builder)
            context.populate_array(
                window, data=builder.inttoptr(address, whole.data.type), shape=[number(n) for n in size],
                strides=strides, itemsize=whole.itemsize, meminfo=None,
            )  # fmt: skip
            return window._getvalue()

        return array.copy(layout=array.layout if array.ndim == 1 else "A")(array, starts), generate

    return cut  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def shaped(typing_context: Any, array: Any, shape: Any) -> Any:
    """Lend a contiguous array in another shape, which must have as many elements or fewer.

    Numba's own method can fail, with a message that takes seconds to compile.
    """
    out = array.copy(ndim=len(shape))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = context.make_array(array)(context, builder, args[0])
        lengths = cgutils.unpack_tuple(builder, args[1])
        strides = [whole.itemsize]
        for length in lengths[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        lent = context.make_array(out)(context, builder)
        context.populate_array(
            lent, data=whole.data, shape=lengths, strides=strides, itemsize=whole.itemsize, meminfo=None
        )
        return lent._getvalue()

    return out(array, shape), generate


@intrinsic  # type: ignore[untyped-decorator]
def count_bits(typing_context: Any, word: Any) -> Any:
    """Return how many bits of a 64-bit word are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Return the place of the lowest bit that is set of a 64-bit word, which is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], context.get_constant(types.boolean, 1))

    return types.uint64(types.uint64), generate
