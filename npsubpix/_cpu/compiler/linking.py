"""How kernels and what they call are compiled: every piece becomes machine code once, in its kernel.

Numba makes each function that it compiles ready to be called from Python, and each loop over threads
four functions: each is wrapped, optimized, and turned into machine code that stays in the process. But a
kernel holds all that it calls, so none of this is ever used but for the kernel itself. Here the
pieces are compiled as far as a kernel needs to be linked with them, in about half of the time.

All of it leans on Numba's internals. `internals` lists them, and says whether this module is used.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from npsubpix._cpu.compiler.failures import count_failures

__all__ = ["InnerCompiler", "KernelCompiler"]

_LOOPS = "__numba_parfor_gufunc"
_TASKS = "<numba.np.ufunc.wrappers._GufuncWrapper"
_CALLS_OF_LOOPS = "parallelgufuncwrapper"


class _NoEngine:
    """Stands for the owner of the engine where code never gets into the engine."""

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: environments are set when the kernel is ready."""


class _Linked(JITCodeLibrary):  # type: ignore[misc]
    """Optimized code that kernels are linked with."""

    codegen = _NoEngine()

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


class _LinkedWrapper(_Linked):
    """Code around code that is optimized already, and will be again in its kernel."""

    def _optimize_final_module(self) -> None:
        pass


class _LinkedTask(_LinkedWrapper):
    """Code around what a thread does in a loop: it sets the exception of a task that failed, and ends the thread."""

    def add_ir_module(self, ir_module: Any) -> None:
        count_failures(ir_module, "numba_gil_ensure")  # which it calls before it sets the exception
        super().add_ir_module(ir_module)


class _KernelCodegen:
    """Numba's code generation, but for the parts of a kernel's loops over threads."""

    def __init__(self, codegen: Any) -> None:
        self._all = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)

    def create_library(self, name: str) -> Any:
        if name.startswith(_LOOPS):
            return _Linked(self._all, name)
        if name.startswith(_TASKS):
            return _LinkedTask(self._all, name)
        return _LinkedWrapper(self._all, name) if name.startswith(_CALLS_OF_LOOPS) else self._all.create_library(name)


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


@register_pass(mutates_CFG=True, analysis_only=False)
class _InnerLowering(NativeLowering):  # type: ignore[misc]
    _name = "inner_lowering"

    def run_pass(self, state: Any) -> bool:
        _check_references(state)
        state.library = _Linked(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = state.flags.no_compile = True
        super().run_pass(state)
        state.library.finalize()
        # Numba knows the function by what Python would call, a builtin with arguments and keywords: this one
        # raises KeyError, as it has no word for its only field.
        entry = f"{{only kernels call {state.func_id.func_qualname}}}".format
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [state.library])
        state["cr"] = state.cr._replace(cfunc=entry)
        return True


class InnerCompiler(CompilerBase):  # type: ignore[misc]
    """Compile a function that only kernels call."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba's compiler, but for its lowering."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [(_InnerLowering if p is NativeLowering else p, why) for p, why in passes.passes]
        passes.finalize()
        return [passes]


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


class KernelCompiler(CompilerBase):  # type: ignore[misc]
    """Compile a kernel."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba's compiler."""
        target = self.state.targetctx
        own = target.subtarget(_internal_codegen=_KernelCodegen(target.codegen()))
        own.cached_internal_func = target.cached_internal_func
        self.state.targetctx = own
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]

    def compile_extra(self, func: Any) -> Any:
        """Compile, and set the environments of all that the kernel holds."""
        with _no_search_for_garbage():
            result = super().compile_extra(func)
        for env in result._find_referenced_environments():
            result.codegen.set_env(env.env_name, env)
        result.library._linking_libraries = []  # pieces that nothing else holds, as those of loops over threads
        return result
