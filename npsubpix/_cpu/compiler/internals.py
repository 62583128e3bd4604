"""Numba's internals that compiling leans on, and whether the installed Numba has them.

Numba promises nothing about these names. `linking` is used with the versions it was tested with, and if all its names
are there; kernels otherwise compile by plain ``numba.njit``, which takes about twice as long. Calls of builtins become
`instructions`, and expressions of arrays in the functions of `window_map` fused loops, if Numba has what these take.

``NPSUBPIX_LINKING=0`` turns linking off.
"""

from __future__ import annotations

import functools
import inspect
import os
import pkgutil
import re
from collections.abc import Iterable

import numba

__all__ = ["FUSED_LOOPS", "INSTRUCTIONS", "LINKING", "TESTED", "is_linking", "missing", "why_not_linking"]

#: The oldest and the newest version of Numba that `linking` was tested with: major, minor.
TESTED = ((0, 60), (0, 68))

#: All that `linking` takes from Numba, as ``module:name``; after a space, an attribute that the function sets or reads
#: on instances, where no class shows it.
LINKING = (
    "numba.core:types",
    "numba.core.types:Array",
    "numba.core.types:Dispatcher",
    "numba.core.ir:Stmt.list_vars",
    "numba.core.ir:Expr.list_vars",
    "numba.core.ir:Var.__init__ name",
    "numba.core.typing.templates:Signature.return_type",
    "numba.core.codegen:JITCodeLibrary",
    "numba.core.codegen:JITCodeLibrary._ensure_finalized",
    "numba.core.codegen:JITCodeLibrary._finalize_dynamic_globals",
    "numba.core.codegen:JITCodeLibrary._finalize_final_module",
    "numba.core.codegen:JITCodeLibrary._finalized",
    "numba.core.codegen:JITCodeLibrary._get_module_for_linking",
    "numba.core.codegen:JITCodeLibrary._optimize_final_module",
    "numba.core.codegen:JITCodeLibrary._verify_declare_only_symbols",
    "numba.core.codegen:JITCodeLibrary.add_linking_library",
    "numba.core.codegen:JITCodeLibrary.codegen",
    "numba.core.codegen:JITCodeLibrary.finalize",
    "numba.core.codegen:JITCodeLibrary.get_defined_functions",
    "numba.core.codegen:JITCodeLibrary.get_pointer_to_function",
    "numba.core.codegen:CPUCodeLibrary.__init__ _final_module",
    "numba.core.codegen:CPUCodeLibrary.__init__ _linking_libraries",
    "numba.core.codegen:CPUCodeLibrary.add_ir_module",
    "numba.core.codegen:CPUCodeLibrary.finalize link_in",
    "numba.core.codegen:JITCPUCodegen.create_library",
    "numba.core.codegen:JITCPUCodegen.set_env",
    "numba.core.base:BaseContext.__init__ cached_internal_func",
    "numba.core.bytecode:FunctionIdentity.from_function func_qualname",
    "numba.core.compiler:CompilerBase",
    "numba.core.compiler:CompilerBase.__init__ flags",
    "numba.core.compiler:CompilerBase.__init__ func_id",
    "numba.core.compiler:CompilerBase.__init__ library",
    "numba.core.compiler:CompilerBase.__init__ state",
    "numba.core.compiler:CompilerBase.__init__ targetctx",
    "numba.core.compiler:CompilerBase._compile_core cr",
    "numba.core.compiler:CompilerBase.compile_extra",
    "numba.core.compiler:CompilerBase.define_pipelines",
    "numba.core.compiler:CompileResult._find_referenced_environments",
    "numba.core.compiler:CompileResult.codegen",
    "numba.core.compiler:DefaultPassBuilder",
    "numba.core.compiler:DefaultPassBuilder.define_nopython_pipeline",
    "numba.core.compiler:Flags.forceinline",
    "numba.core.compiler:Flags.no_cfunc_wrapper",
    "numba.core.compiler:Flags.no_compile",
    "numba.core.compiler:Flags.no_cpython_wrapper",
    "numba.core.compiler:Flags.nrt",
    "numba.core.compiler:_LowerResult._replace",
    "numba.core.compiler:_LowerResult.cfunc",
    "numba.core.compiler:_LowerResult.fndesc",
    "numba.core.compiler_machinery:PassManager.__init__ passes",
    "numba.core.compiler_machinery:PassManager.finalize",
    "numba.core.compiler_machinery:register_pass",
    "numba.core.cpu:CPUContext.codegen",
    "numba.core.cpu:CPUContext.codegen _internal_codegen",
    "numba.core.cpu:CPUContext.insert_user_function",
    "numba.core.cpu:CPUContext.subtarget",
    "numba.core.environment:Environment.from_fndesc env_name",
    "numba.core.typed_passes:BaseTypeInference.run_pass typemap",
    "numba.core.typed_passes:BaseTypeInference.run_pass calltypes",
    "numba.core.typed_passes:NativeLowering",
    "numba.core.typed_passes:NativeLowering.run_pass",
    "numba.core.untyped_passes:IRProcessing",
    "numba.core.untyped_passes:IRProcessing.run_pass",
    "numba.core.compiler:CompilerBase.__init__ func_ir",
    "numba.core.base:BaseContext.__init__ typing_context",
    "numba.core.base:BaseContext.active_code_library",
    "numba.core.base:BaseContext.call_internal_no_propagate",
    "numba.core.compiler:CompilerBase.__init__ reload_init",
    "numba.core.compiler:CompilerBase.compile_ir",
    "numba.core.compiler:CompilerBase.__init__ typingctx",
    "numba.core.compiler:Flags.auto_parallel",
    "numba.core.compiler:Flags.copy",
    "numba.core.compiler:Flags.noalias",
    "numba.core.controlflow:CFGraph.loops",
    "numba.core.controlflow:CFGraph.predecessors",
    "numba.core.controlflow:CFGraph.successors",
    "numba.core.ir:Block.find_exprs",
    "numba.core.ir:Block.find_insts",
    "numba.core.ir:Expr.build_tuple",
    "numba.core.ir:Expr.call",
    "numba.core.ir:Expr.cast",
    "numba.core.ir:Expr.getiter",
    "numba.core.ir:FunctionIR.__init__ _definitions",
    "numba.core.ir:FunctionIR._reset_analysis_variables variable_lifetime",
    "numba.core.ir:FunctionIR.derive",
    "numba.core.ir_utils:build_definitions",
    "numba.core.postproc:PostProcessor",
    "numba.core.postproc:VariableLifetime.cfg",
    "numba.core.postproc:VariableLifetime.livemap",
    "numba.core.postproc:VariableLifetime.usedefs",
    "numba.core.types:IntegerLiteral",
    "numba.core.types:none",
    "numba.core.types:unliteral",
)

#: All that `instructions` takes from Numba; the modules are ones that only compiling imports.
INSTRUCTIONS = (
    "numba.core.cgutils:memset",
    "numba.core.ir:Assign",
    "numba.core.ir:Block.find_exprs",
    "numba.core.ir:Block.find_insts",
    "numba.core.ir:Expr",
    "numba.core.ir:FunctionIR.__init__ blocks",
    "numba.core.ir:FunctionIR.__init__ _definitions",
    "numba.core.ir:Global",
    "numba.cpython.builtins:do_minmax",
    "numba.np.arrayobj:_empty_nd_impl",
    "numba.np.arrayobj:_parse_empty_args",
    "numba.np.arrayobj:ty_parse_dtype",
    "numba.np.arrayobj:ty_parse_shape",
)

#: All that fused serial loops take from Numba.
FUSED_LOOPS = (
    "numba.core.compiler_lock:global_compiler_lock",
    "numba.parfors.parfor:sequential_parfor_lowering",
    "numba.parfors.parfor:swap_functions_map",
)


def missing(names: Iterable[str]) -> list[str]:
    """Return those of the names that the installed Numba lacks."""
    return [name for name in names if not _is_there(*name.split())]


def _is_there(name: str, attribute: str | None = None) -> bool:
    try:
        found = pkgutil.resolve_name(name)
        return attribute is None or attribute in inspect.unwrap(found).__code__.co_names
    except (ImportError, AttributeError):
        return False


@functools.cache
def why_not_linking() -> str | None:
    """Return why kernels compile by plain ``numba.njit``, or None if their pieces are linked."""
    if os.environ.get("NPSUBPIX_LINKING", "1") == "0":
        return "NPSUBPIX_LINKING=0"
    version = tuple(map(int, re.findall(r"\d+", numba.__version__)[:2]))
    if not TESTED[0] <= version <= TESTED[1]:
        oldest, newest = (".".join(map(str, v)) for v in TESTED)
        return f"tested with Numba {oldest} to {newest}"
    gone = missing(LINKING)
    return f"Numba has no {gone[0]}" if gone else None


def is_linking() -> bool:
    """Whether pieces of kernels are linked into them alone."""
    return why_not_linking() is None
