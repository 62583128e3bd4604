"""The only place that calls ``numba.njit``.

`device`, `inlined`, `fused`, `summing` and their combinations compile a function that kernels call. `kernel` compiles a
function of arrays in two forms, parallel and serial, from one Python source, and chooses between them at each call:

* serial for little work, since it takes less time than waking threads;
* serial in a forked child: GNU OpenMP kills a child that was forked after its parent's first
  parallel region, which is what a ``DataLoader`` worker or a ``multiprocessing`` pool on Linux is;
* serial when there is one thread;
* parallel otherwise, one call at a time on threading layers that are not thread-safe.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy

from npsubpix._cpu.compiler.cache import KernelCache
from npsubpix._cpu.compiler.failures import failures
from npsubpix._cpu.compiler.internals import FUSED_LOOPS, is_linking, missing
from npsubpix._cpu.compiler.threads import process

__all__ = [
    "Kernel",
    "allocates",
    "allocating",
    "compile_function_of_arrays",
    "compile_function_of_number",
    "device",
    "fused",
    "inlined",
    "inlined_fused",
    "inlined_summing",
    "is_serial",
    "kernel",
    "made_once",
    "summing",
]

#: Work below which the serial form runs, in pixels times the operations done on each, of which 8 take about 1 ns: in
#: all about 0.1 ms. Threads that sleep take 10 us or more to wake, milliseconds where other processes use their cores.
_SERIAL_WORK = 1 << 20

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


def _pipelines() -> tuple[dict[str, Any], ...]:
    """Return the options of inner functions and of kernels: serial, in threads, and both linked late.

    Where Numba's own passes compile them, these are its own.
    """
    if not is_linking():
        return ({},) * 5
    from npsubpix._cpu.compiler import linking

    kernels = linking.KernelCompiler, linking.ThreadsCompiler, linking.LateCompiler, linking.LateThreadsCompiler
    return tuple({"pipeline_class": compiler} for compiler in (linking.InnerCompiler, *kernels))


_INNER_OPTIONS, *_KERNEL_OPTIONS = ({**_OPTIONS, **pipeline} for pipeline in _pipelines())

_names: set[str] = set()  # of kernels
_allocating: set[Callable[..., Any]] = set()

_NOTHING = contextlib.nullcontext()

_DIGITS = 16  # of a digest, in names


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Copy a function under another name."""
    code, variables = function.__code__, function.__globals__
    copy = types.FunctionType(code, variables, name, None, function.__closure__)
    copy.__qualname__ = name
    copy.__module__ = function.__module__
    copy.__doc__ = function.__doc__
    return copy


def _name_with_closure(function: Callable[..., Any]) -> str:
    """Name a function by its qualified name and by what it closes over.

    The name becomes a symbol of compiled code. Functions that a factory makes have one qualified
    name, and two processes may count them alike; if both then land in the cache, whoever loads
    them gets one in place of the other.
    """
    name = function.__qualname__.replace("<locals>", "in").replace(".", "_")
    parts = [_described(cell.cell_contents) for cell in function.__closure__ or ()]
    return f"{name}_{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}" if parts else name


def _described(value: Any) -> str:
    """Describe a value that a function closes over: compiled functions by name, others by what these close over."""
    compiled, generator = getattr(value, "py_func", None), getattr(value, "_defn", value)
    if compiled is not None:
        return str(compiled.__qualname__)
    return _name_with_closure(generator) if isinstance(generator, types.FunctionType) else repr(value)


def allocating(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for use inside kernels; it `allocates`."""
    return device(allocates(function))


def allocates(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that makes arrays, or returns any: it counts references to arrays, and others do not.

    Counting takes a call for each argument and each slice, which is most of the time of a small function.
    """
    _allocating.add(function)
    return function


def device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for use inside kernels. It cannot make arrays or return them, unless it `allocates`."""
    return _inner(function, frozenset())


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` as a part of those that call it: of one pixel, whose arguments take longer than its work."""
    return _inner(function, frozenset(), forceinline=True)


def inlined_fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` as a part of those that call it, see `inlined`, and as `fused`."""
    return _inner(function, frozenset({"contract"}), forceinline=True)


def inlined_summing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` as a part of those that call it, see `inlined`, and as `summing`."""
    return _inner(function, frozenset({"contract", "reassoc"}), forceinline=True)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for use inside kernels; products and sums may become one instruction, rounded once."""
    return _inner(function, frozenset({"contract"}))


def summing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for use inside kernels; its sums may be taken in any order, which lets them be vector code."""
    return _inner(function, frozenset({"contract", "reassoc"}))


def _inner(function: Callable[..., Any], fastmath: frozenset[str], forceinline: bool = False) -> Callable[..., Any]:
    named = _named(function, _name_with_closure(function))
    options = {**_INNER_OPTIONS, "fastmath": set(fastmath) or False, "forceinline": forceinline}
    options["_nrt"] = function in _allocating
    compiled: Callable[..., Any] = numba.njit(inline="never", **options)(named)
    return compiled


def _told_apart(function: Callable[..., Any], digest: str | None) -> Callable[..., Any]:
    """Copy a function that a user wrote under a name that no other one has: that of a symbol in the cache."""
    if digest is None or not isinstance(function, types.FunctionType):
        return function
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__module__, copy.__qualname__ = function.__module__, f"{function.__qualname__}_{digest[:_DIGITS]}"
    return copy


def compile_function_of_number(
    function: Callable[..., float], name: str, shapes: tuple[tuple[int, ...] | None, ...], digest: str | None
) -> Any:
    """Compile a function of one number, and of further arguments, that a user wrote to a C function.

    `shapes` are those of the arguments, None for a number; the C function takes the address of the elements of all. It
    returns NaN if the function raises. With a digest of the function, it is kept on the disk.
    """
    from numba.core.ccallback import CFunc

    from npsubpix._cpu.compiler.intrinsics import arguments_at

    compiled, arguments = numba.njit(_told_apart(function, digest)), arguments_at(shapes)
    own = hashlib.sha256(repr((digest, shapes)).encode()).hexdigest()[:_DIGITS]

    def call(x: float, elements: Any) -> float:
        return compiled(x, *arguments(elements))  # type: ignore[no-any-return]

    called = numba.njit(_named(call, f"call_{own}"))

    def or_nan(x: float, elements: Any) -> float:
        try:
            return called(x, elements)  # type: ignore[no-any-return]
        except Exception:
            return numpy.nan

    signature = (numba.float64, numba.types.CPointer(numba.float64)), numba.float64
    named = _named(or_nan, f"or_nan_{own}")
    made: Any = CFunc(named, signature, locals={}, options={"nopython": True})
    if digest is not None and (cache := KernelCache.create(named, own + digest)) is not None:
        made._cache = cache
    try:
        made.compile()
        return made
    except numba.core.errors.NumbaError as error:
        what = f" and {len(shapes)} args" if shapes else ""
        raise TypeError(f"{name} must be a function of one number{what} that Numba can compile: {error}") from None


def compile_function_of_arrays(
    function: Callable[..., Any], options: dict[str, Any], arguments: tuple[Any, ...], digest: str | None
) -> tuple[Any, Any]:
    """Compile a function that a user wrote, with options of Numba, for use inside kernels; return it and its result.

    Its expressions of arrays and sums of them become one loop each, without arrays in between: Numba makes such loops
    for its threads, and is told to make serial ones if it has what that takes. Parameters beyond the arguments have
    their defaults. The result is returned as Numba's type of it.
    """
    options = {**options, "nogil": True, "error_model": "numpy", "forceinline": True, "boundscheck": True}
    for fuse in (False,) if missing(FUSED_LOOPS) else (True, False):
        compiled = numba.njit(**{**options, "parallel": fuse})(_told_apart(function, digest))
        with _serial_loops() if fuse else contextlib.nullcontext(), warnings.catch_warnings():
            warnings.simplefilter("ignore", numba.core.errors.NumbaPerformanceWarning)
            try:
                _, _, complete, _ = compiled.get_call_template(arguments, {})
            except Exception:  # where Numba cannot make loops, it may fail with any
                if not fuse:
                    raise
            else:
                break
    return compiled, compiled.overloads[tuple(complete)].signature.return_type


@contextlib.contextmanager
def _serial_loops() -> Iterator[None]:
    """Have Numba make serial loops of expressions of arrays, but not of extrema, whose loops lose NaN."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.parfors import parfor

    replaced = parfor.swap_functions_map
    extrema = {k: v for k, v in replaced.items() if k[0] in ("min", "max", "amin", "amax", "argmin", "argmax")}
    with global_compiler_lock:
        before, parfor.sequential_parfor_lowering = parfor.sequential_parfor_lowering, True
        for key in extrema:
            del replaced[key]
        try:
            yield
        finally:
            parfor.sequential_parfor_lowering = before
            replaced.update(extrema)


def _compile(
    function: Callable[..., Any], name: str, parallel: bool, late: bool, of_user: str | None
) -> Callable[..., Any]:
    form = f"{name}_parallel" if parallel else f"{name}_serial"
    named = _named(function, form)  # the cache knows the two forms apart by it
    dispatcher = numba.njit(parallel=parallel, **_KERNEL_OPTIONS[2 * late + parallel])(named)
    cache = None if of_user is None else KernelCache.create(named, of_user)
    if cache is not None:
        dispatcher._cache = cache
    return dispatcher  # type: ignore[no-any-return]


def is_serial(work: int) -> bool:
    """Whether `Kernel.run` calls the serial form for so much work."""
    if work < _SERIAL_WORK or process.forked or numba.config.NUMBA_NUM_THREADS == 1:
        return True
    process.load()  # the layer, before Numba is asked about threads
    return bool(numba.get_num_threads() == 1)


class Kernel:
    """A compiled function of arrays; `run` chooses its parallel or its serial form.

    `digest` is that of a function of a user that it holds, None if there is none, so that it cannot be cached.
    """

    def __init__(self, function: Callable[..., Any], name: str, digest: str | None = "", *, late: bool = False) -> None:
        self.name = name
        if digest:  # its pieces are known by their names, which have the digest
            digest = hashlib.sha256(f"{digest} {_name_with_closure(function)}".encode()).hexdigest()
        form = f"{name}_{digest[:_DIGITS]}" if digest else name
        self.serial = _compile(function, form, parallel=False, late=late, of_user=digest)
        self.parallel = _compile(function, form, parallel=True, late=late, of_user=digest)

    def run(self, work: int, *args: Any) -> Any:
        """Call the kernel; `work` is about the number of elementary operations it will do, 8 of which take 1 ns."""
        if is_serial(work):
            return self.serial(*args)
        with _NOTHING if process.load() else process.lock:
            return self._run_in_threads(args)

    def _run_in_threads(self, args: tuple[Any, ...]) -> Any:
        """Call the parallel form; raise MemoryError if any of its threads had no memory: the result is not whole.

        Kernels that Numba's own passes compile do not count the failures of threads other than the calling one.
        """
        before = failures.value
        try:
            result = self.parallel(*args)
        except SystemError as error:  # a result, and an exception of the calling thread
            if isinstance(error.__cause__, MemoryError):
                raise MemoryError(f"no memory for a thread of {self.name}") from None
            raise
        if failures.value != before:  # perhaps by a call of another Python thread, which fails as well
            raise MemoryError(f"no memory for a thread of {self.name}")
        return result


def kernel(name: str, *, late: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Compile a function in a parallel and a serial form, each at its first use.

    `name` is the kernel's own: it tells apart the kernels that a factory makes from one function. With `late`, large
    functions are not optimized again in the kernel, which compiles in less time, but without copies of them.
    """

    def compile_as_named(function: Callable[..., Any]) -> Kernel:
        if name in _names:
            raise ValueError(f"there is a kernel named {name!r} already")
        _names.add(name)
        return Kernel(function, name, late=late)

    return compile_as_named


def made_once(factory: Callable[..., Kernel]) -> Callable[..., Kernel]:
    """Have a factory make one kernel for all calls with equal arguments, from whichever threads.

    Its arguments are all that the kernel, and so its name, depends on.
    """
    made: dict[tuple[Any, ...], Kernel] = {}

    @functools.wraps(factory)
    def get(*args: Any) -> Kernel:
        if args not in made:
            with process.lock:
                if args not in made:
                    made[args] = factory(*args)
        return made[args]

    return get
