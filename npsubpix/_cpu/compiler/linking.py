"""How kernels and what they call are compiled: every piece becomes machine code once, in its kernel.

Numba makes each function that it compiles ready to be called from Python: it is wrapped, optimized, and turned
into machine code that stays in the process. But a kernel holds all that it calls, so none of this is ever used but
for the kernel itself. Here the pieces are compiled as far as a kernel needs to be linked with them, in about half of
the time. Loops over threads are such pieces too, see `loops`.

All of it leans on Numba's internals. `internals` lists them, and says whether this module is used.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
from collections.abc import Iterator
from typing import Any

from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.core.untyped_passes import IRProcessing

from npsubpix._cpu.compiler.internals import INSTRUCTIONS, missing
from npsubpix._cpu.compiler.loops import load_threads, outline_loops

__all__ = ["InnerCompiler", "KernelCompiler", "LateCompiler", "LateThreadsCompiler", "ThreadsCompiler"]

#: Instructions from which on a function is not worth a copy in another one: LLVM makes none of functions of about 50.
_LARGE = 100


class _Linking(JITCodeLibrary):  # type: ignore[misc]
    """Code that is linked with what it calls, and with what this leaves out."""

    _linking_libraries: list[Any]

    def add_linking_library(self, library: Any) -> None:
        super().add_linking_library(library)
        for left_out in getattr(library, "left_out", ()):
            super().add_linking_library(left_out)


class _LinkingLate(_Linking):
    """Code that is optimized before it is linked with large functions, which have been optimized already."""

    def finalize(self) -> None:
        called = dict.fromkeys(self._linking_libraries)
        self._late = [library for library in called if isinstance(library, _Linked) and library.is_large()]
        self._linking_libraries = [library for library in called if library not in self._late]
        super().finalize()

    def _optimize_final_module(self) -> None:
        super()._optimize_final_module()
        for library in self._late:
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)


class _NoEngine:
    """Stands for the owner of the engine where code never gets into the engine."""

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: environments are set when the kernel is ready."""


class _Linked(_Linking):
    """Optimized code that kernels are linked with.

    Large functions that it calls are left out: only the kernel is linked with them. They would be optimized again in
    each function that calls them, and in each one that calls that.
    """

    codegen = _NoEngine()
    inlined = False
    left_out: tuple[Any, ...] = ()

    def finalize(self) -> None:
        called = list(dict.fromkeys(self._linking_libraries))
        self.left_out = tuple(library for library in called if isinstance(library, _Linked) and self._omits(library))
        self._linking_libraries = [library for library in called if library not in self.left_out]
        super().finalize()

    def _omits(self, called: Any) -> bool:
        return bool(called.is_large())

    def is_large(self) -> bool:
        """Whether this is better not copied into what calls it."""
        self._ensure_finalized()
        return not self.inlined and any(map(_is_large, self.get_defined_functions()))

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002
        self._ensure_finalized()
        return 0

    def _get_module_for_linking(self) -> Any:
        # Numba keeps the copy that it makes for linking beside the original, which nothing needs here. A kernel
        # of sampling takes 10 MB of a process without these copies, its own and those of what it calls, and 13 with.
        self._final_module = super()._get_module_for_linking()
        return self._final_module


def _is_large(function: Any) -> bool:
    instructions = (instruction for block in function.blocks for instruction in block.instructions)
    return next(itertools.islice(instructions, _LARGE, None), None) is not None


class _LinkedOnce(_Linked):
    """Code that its kernel alone calls, and in which it is optimized: that of a loop over threads."""

    def _optimize_final_module(self) -> None:
        pass

    def _omits(self, called: Any) -> bool:  # noqa: ARG002
        return True

    def is_large(self) -> bool:
        return False


class _KernelCodegen:
    """Numba's code generation, but for the libraries of kernels."""

    def __init__(self, codegen: Any, kernel: type[_Linking] = _Linking) -> None:
        self._all, self._kernel = codegen, kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)

    def create_library(self, name: str) -> Any:
        return self._kernel(self._all, name)


def _holds_arrays(numba_type: Any) -> bool:
    members = getattr(numba_type, "types", ())
    return isinstance(numba_type, types.Array) or any(map(_holds_arrays, members))


def _check_references(state: Any) -> None:
    """Refuse a function that does not count references but returns arrays, or calls one that does."""
    if state.flags.nrt:
        return
    name = state.func_id.func_qualname
    if _holds_arrays(state.return_type):
        raise TypeError(f"{name} returns arrays; needed is `allocates` below its decorator")
    for node, signature in state.calltypes.items():
        if signature is None or not _holds_arrays(signature.return_type):
            continue
        if any(isinstance(state.typemap[variable.name], types.Dispatcher) for variable in node.list_vars()):
            raise TypeError(f"{name} calls a function that returns arrays; needed is `allocates`")


@functools.cache
def _instructions() -> Any:
    """Return the module of instructions, which imports what only compiling needs, or None."""
    if missing(INSTRUCTIONS):
        return None
    from npsubpix._cpu.compiler import instructions

    return instructions


@register_pass(mutates_CFG=False, analysis_only=False)
class _KernelProcessing(IRProcessing):  # type: ignore[misc]
    _name = "kernel_processing"

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        if _instructions() is not None:
            _instructions().replace_builtins(state.func_ir)
        return True


@register_pass(mutates_CFG=False, analysis_only=False)
class _InnerProcessing(_KernelProcessing):
    _name = "inner_processing"

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        if _instructions() is not None and state.flags.nrt:
            _instructions().replace_allocations(state.func_ir)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _InnerLowering(NativeLowering):  # type: ignore[misc]
    _name = "inner_lowering"
    _library = _Linked

    def run_pass(self, state: Any) -> bool:
        _check_references(state)
        state.library = self._library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.inlined = state.flags.forceinline
        state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = state.flags.no_compile = True
        super().run_pass(state)
        state.library.finalize()
        # Numba knows the function by what Python would call, a builtin with arguments and keywords: this one
        # raises KeyError, as it has no word for its only field.
        entry = f"{{only kernels call {state.func_id.func_qualname}}}".format
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [state.library, *state.library.left_out])
        state["cr"] = state.cr._replace(cfunc=entry)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LoopLowering(_InnerLowering):
    _name = "loop_lowering"
    _library = _LinkedOnce


@register_pass(mutates_CFG=True, analysis_only=False)
class _ThreadsProcessing(_InnerProcessing):
    _name = "threads_processing"

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        flags = state.flags.copy()

        def compile_loop(context: Any, loop: Any, arguments: Any, apart: bool) -> Any:
            own = flags.copy()
            own.noalias = apart
            made = LoopCompiler(context.typing_context, context, None, arguments, types.none, own, {})
            return made.compile_ir(loop)

        if outline_loops(state.func_ir, compile_loop):
            load_threads()
            state.reload_init.append(load_threads)
        return True


def _passes(state: Any, replaced: dict[Any, Any]) -> Any:
    passes = DefaultPassBuilder.define_nopython_pipeline(state)
    passes.passes = [(replaced.get(p, p), why) for p, why in passes.passes]
    passes.finalize()
    return passes


class _Compiler(CompilerBase):  # type: ignore[misc]
    def __init__(self, *args: Any) -> None:
        _instructions()  # whose functions Numba has to know before it begins
        super().__init__(*args)


class InnerCompiler(_Compiler):
    """Compile a function that only kernels call."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba's compiler, with a lowering of its own."""
        return [_passes(self.state, {IRProcessing: _InnerProcessing, NativeLowering: _InnerLowering})]


class LoopCompiler(_Compiler):
    """Compile a loop over threads of a kernel."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba's compiler, with a lowering of its own."""
        return [_passes(self.state, {IRProcessing: _InnerProcessing, NativeLowering: _LoopLowering})]


@contextlib.contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """Have Python not look for circles among the millions of objects that compiling makes: a seventh of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class KernelCompiler(_Compiler):
    """Compile a kernel."""

    _processing: Any = _InnerProcessing
    _library: type[_Linking] = _Linking

    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba's compiler."""
        target = self.state.targetctx
        own = target.subtarget(_internal_codegen=_KernelCodegen(target.codegen(), self._library))
        own.cached_internal_func = target.cached_internal_func
        self.state.targetctx = own
        return [_passes(self.state, {IRProcessing: self._processing})]

    def compile_extra(self, func: Any) -> Any:
        """Compile, and set the environments of all that the kernel holds."""
        self.state.flags.no_cfunc_wrapper = True  # for other compiled code that is handed the kernel as a value
        with _no_search_for_garbage():
            result = super().compile_extra(func)
        for env in result._find_referenced_environments():
            result.codegen.set_env(env.env_name, env)
        result.library._linking_libraries = []  # pieces that nothing else holds, as those of loops over threads
        return result


class ThreadsCompiler(KernelCompiler):
    """Compile a kernel whose loops over threads run in them, in place of Numba's own passes for ``parallel=True``."""

    _processing = _ThreadsProcessing

    def __init__(self, *args: Any) -> None:
        *_, flags, _ = args
        flags.auto_parallel = type(flags.auto_parallel)(False)
        super().__init__(*args)


class LateCompiler(KernelCompiler):
    """Compile a kernel that is linked with large functions after it is optimized, as these are already."""

    _library = _LinkingLate


class LateThreadsCompiler(ThreadsCompiler):
    """Compile a kernel whose loops over threads run in them, see `LateCompiler`."""

    _library = _LinkingLate
