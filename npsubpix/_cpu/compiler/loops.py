"""Loops over threads of kernels: each becomes a function of a range, which tasks in Numba's threads call.

Numba's own passes for such loops look for more of them in all expressions of arrays, fuse them, and compile the body
again for its threads, from the beginning: 0.2 to 0.3 s for each loop. Here a loop leaves its kernel before types are
inferred, takes the variables that it reads as arguments, and is compiled once.

A loop hands nothing on but what it writes to arrays: no variable that it assigns to is read after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir as llvm
from numba.core import cgutils, ir
from numba.core import types as _types
from numba.core.ir_utils import build_definitions
from numba.core.postproc import PostProcessor
from numba.extending import intrinsic

from npsubpix._cpu.compiler.failures import count_failure
from npsubpix._cpu.compiler.threads import process

__all__ = ["load_threads", "outline_loops"]

types: Any = _types  # whose names mypy does not find

_NUMBER, _INT, _BYTES = llvm.IntType(64), llvm.IntType(32), llvm.IntType(8).as_pointer()
_ARGUMENTS, _LENGTHS = _BYTES.as_pointer(), _NUMBER.as_pointer()
_TASK = llvm.FunctionType(llvm.VoidType(), [_ARGUMENTS, _LENGTHS, _LENGTHS, _BYTES])
_CALL = llvm.FunctionType(
    llvm.VoidType(), [_TASK.as_pointer(), _ARGUMENTS, _LENGTHS, _LENGTHS, _BYTES, _NUMBER, _NUMBER, _INT]
)

#: What tasks share: the range, the number of tasks, and variables.
_BEGIN, _END, _TASKS, _VARIABLES = range(4)

_waiting: dict[int, Any] = {}  # functions of loops that are not compiled yet, by number
_numbers = itertools.count()


def load_threads() -> None:
    """Load what runs threads, to which compiled loops refer by name."""
    process.load()


def outline_loops(function: Any, compile_loop: Callable[..., Any]) -> bool:
    """Make functions of the loops over threads of a kernel in Numba's representation; return whether it has any.

    `compile_loop` compiles such a function: (context, function, types of arguments, whether their arrays are apart).
    """
    life = function.variable_lifetime
    loops = life.cfg.loops()
    started = {label: _started(function, loop) for label, loop in loops.items()}
    inner = {b for label, loop in loops.items() if started[label] for b in loop.body if b != label}
    outer = sorted(label for label in loops if started[label] and label not in inner)
    for count, label in enumerate(outer):
        _outline(
            function, life, loops[label], started[label], f"{function.func_id.func_qualname}_loop{count}", compile_loop
        )
    if any(_is_prange(function, call) for block in function.blocks.values() for call in block.find_exprs("call")):
        raise NotImplementedError(f"{function.func_id.func_qualname} calls prange for other than a loop")
    if outer:
        function._definitions = build_definitions(function.blocks)
        function._reset_analysis_variables()
        PostProcessor(function).run()
    return bool(outer)


def _is_prange(function: Any, call: Any) -> bool:
    return any(getattr(callee, "value", None) is numba.prange for callee in function._definitions[call.func.name])


def _started(function: Any, loop: Any) -> tuple[Any, ...] | None:
    """Return the iterator of a loop over threads, the assignments that made it, and its limits; else None."""
    first = function.blocks[loop.header]
    while len(first.body) == 1 and isinstance(first.body[0], ir.Jump):  # to where several ways back lead
        first = function.blocks[first.body[0].target]
    steps = list(first.find_exprs("iternext"))
    if len(steps) != 1 or len(loop.entries) != 1:
        return None
    (entry,) = loop.entries
    made = {assigned.target.name: assigned for assigned in function.blocks[entry].find_insts(ir.Assign)}
    iterator, assignments = steps[0].value, []
    name = iterator.name
    while name in made:
        assignments.append(made[name])
        value = made[name].value
        if isinstance(value, ir.Expr) and value.op == "call":
            return (iterator, assignments, value.args) if _is_prange(function, value) and len(value.args) < 3 else None
        if not isinstance(value, ir.Var) and not (isinstance(value, ir.Expr) and value.op == "getiter"):
            return None
        name = value.name if isinstance(value, ir.Var) else value.value.name
    return None


def _outline(function: Any, life: Any, loop: Any, started: Any, name: str, compile_loop: Callable[..., Any]) -> None:
    """Make a function of a loop, and a call of it in its place."""
    iterator, assignments, limits = started
    (entry,) = loop.entries
    after, *others = {label for b in loop.body for label, _ in life.cfg.successors(b) if label not in loop.body}
    defined, used = life.usedefs.defmap, life.usedefs.usemap
    results = _in_any(defined, loop.body) & life.livemap[after]
    if others or results:
        raise NotImplementedError(f"{name}: {sorted(results) or 'break'} in a loop over threads")
    known = _in_any(defined, _before(life.cfg, entry, set(loop.body)))
    captured = sorted((life.livemap[loop.header] & _in_any(used, loop.body) & known) - {iterator.name})
    apart = [all(isinstance(d, ir.Arg) for d in function._definitions[variable]) for variable in captured]

    block = function.blocks[entry]
    body = {label: function.blocks.pop(label) for label in loop.body}
    body[min(body) - 1] = _beginning(block, loop.header, iterator, captured)
    body[after] = _returning(block)
    outlined = function.derive(body, len(captured) + 2, (*_LIMITS, *captured), force_non_generator=True)
    outlined._definitions = build_definitions(body)
    identity = outlined.func_id
    identity.func_qualname = identity.func_name = name
    identity.unique_name = f"{name}${identity.unique_id}"

    number = next(_numbers)
    _waiting[number] = outlined, apart, compile_loop
    calling = ir.Block(block.scope, block.loc)
    calling.body = [s for s in block.body[:-1] if not any(s is assigned for assigned in assignments)]
    zero = _assign(calling, f"{name}.zero", ir.Const(0, block.loc))
    run = _assign(calling, f"{name}.run", ir.Global("run_in_threads", _run_in_threads, block.loc))
    key = _assign(calling, f"{name}.key", ir.Const(number, block.loc))
    variables = [ir.Var(block.scope, variable, block.loc) for variable in captured]
    values = _assign(calling, f"{name}.values", ir.Expr.build_tuple(variables, block.loc))
    begin = limits[0] if len(limits) > 1 else zero
    _assign(calling, f"{name}.nothing", ir.Expr.call(run, [key, begin, limits[-1], values], (), block.loc))
    calling.append(ir.Jump(after, block.loc))
    function.blocks[entry] = calling


_LIMITS = "range.begin", "range.end"


def _in_any(names: Any, labels: Any) -> set[str]:
    return set().union(*(names[label] for label in labels))


def _before(cfg: Any, entry: int, body: set[int]) -> set[int]:
    """Return the blocks from which a loop is reached, other than its own."""
    known, left = {entry}, [entry]
    while left:
        fresh = {label for label, _ in cfg.predecessors(left.pop())} - known - body
        known |= fresh
        left += fresh
    return known


def _assign(block: Any, name: str, value: Any) -> Any:
    variable = ir.Var(block.scope, name, block.loc)
    block.append(ir.Assign(value, variable, block.loc))
    return variable


def _beginning(like: Any, header: int, iterator: Any, captured: list[str]) -> Any:
    """Return the block that takes arguments, and begins with their range."""
    block = ir.Block(like.scope, like.loc)
    arguments = [_assign(block, name, ir.Arg(name, k, like.loc)) for k, name in enumerate((*_LIMITS, *captured))]
    function = _assign(block, "range.function", ir.Global("range", range, like.loc))
    numbers = _assign(block, "range.numbers", ir.Expr.call(function, arguments[:2], (), like.loc))
    block.append(ir.Assign(ir.Expr.getiter(numbers, like.loc), iterator, like.loc))
    block.append(ir.Jump(header, like.loc))
    return block


def _returning(like: Any) -> Any:
    block = ir.Block(like.scope, like.loc)
    nothing = _assign(block, "range.nothing", ir.Const(None, like.loc))
    block.append(ir.Return(_assign(block, "range.returned", ir.Expr.cast(nothing, like.loc)), like.loc))
    return block


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _run_in_threads(typing_context: Any, number: Any, begin: Any, end: Any, values: Any) -> Any:
    """Call the function of a loop, known by its number, for parts of a range, with variables of its kernel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function, apart, compile_loop = _waiting.pop(signature.args[0].literal_value)
        limits = [context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 2)]
        given = signature.args[3].types
        kinds = [types.unliteral(kind) for kind in given]
        are_apart = all(own for own, kind in zip(apart, kinds, strict=True) if isinstance(kind, types.Array))
        compiled = compile_loop(context, function, (types.intp, types.intp, *kinds), are_apart)
        for library in (compiled.library, *compiled.library.left_out):
            context.active_code_library.add_linking_library(library)
        parts = zip(cgutils.unpack_tuple(builder, args[3], len(kinds)), given, kinds, strict=True)
        variables = [_lent(context, builder, part[2], context.cast(builder, *part)) for part in parts]
        _call_tasks(context, builder, compiled.fndesc, kinds, limits, variables)
        return context.get_dummy_value()

    return (types.void(number, begin, end, values), generate) if isinstance(number, types.IntegerLiteral) else None


def _lent(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return a value whose arrays are not counted: the kernel keeps them, and a task that fails would free none."""
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind.types, cgutils.unpack_tuple(builder, value, len(kind.types)), strict=True)
        return context.make_tuple(builder, kind, [_lent(context, builder, *part) for part in parts])
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = llvm.Constant(array.meminfo.type, None), llvm.Constant(array.parent.type, None)
    return array._getvalue()


def _call_tasks(
    context: Any, builder: Any, loop: Any, kinds: list[Any], limits: list[Any], variables: list[Any]
) -> None:
    """Call a loop for parts of its range in threads."""
    count = builder.sub(limits[1], limits[0])
    tasks = builder.call(  # as many as there are threads: one layer would give fewer of them to one thread
        cgutils.get_or_insert_function(builder.module, llvm.FunctionType(_NUMBER, []), "get_num_threads"), []
    )
    values = [*limits, tasks, *variables]
    layout = llvm.LiteralStructType([value.type for value in values])
    shared = cgutils.alloca_once(builder, layout)
    for k, value in enumerate(values):
        builder.store(value, cgutils.gep_inbounds(builder, shared, 0, k))
    task = _task(context, builder.module, layout, loop, kinds)
    run = cgutils.get_or_insert_function(builder.module, _CALL, "numba_parallel_for")
    with builder.if_then(builder.icmp_signed(">", count, _NUMBER(0))):
        data = builder.bitcast(shared, _BYTES)
        # the only argument is at an address of each task's own, a byte after that of the task before: it is counted by
        argument, length, step = (cgutils.alloca_once_value(builder, value) for value in (data, tasks, _NUMBER(1)))
        builder.call(run, [task, argument, length, step, data, _NUMBER(0), _NUMBER(1), builder.trunc(tasks, _INT)])


def _task(context: Any, module: Any, layout: Any, loop: Any, kinds: list[Any]) -> Any:
    """Make the function that Numba's threads call: a task, or several that follow each other, of one loop."""
    function = llvm.Function(module, _TASK, f"{loop.llvm_func_name}.task")
    function.linkage = "internal"
    argument, length, _, data = function.args
    builder = llvm.IRBuilder(function.append_basic_block())
    shared = builder.bitcast(data, layout.as_pointer())

    def place(k: int) -> Any:
        return cgutils.gep_inbounds(builder, shared, 0, k)

    begin, end, tasks = (builder.load(place(k)) for k in (_BEGIN, _END, _TASKS))
    own = builder.sub(builder.ptrtoint(builder.load(argument), _NUMBER), builder.ptrtoint(data, _NUMBER))
    count = builder.sub(end, begin)
    limits = [
        builder.add(begin, builder.sdiv(builder.mul(count, k), tasks))
        for k in (own, builder.add(own, builder.load(length)))
    ]
    variables = [builder.load(place(_VARIABLES + k)) for k in range(len(kinds))]
    signature = types.void(types.intp, types.intp, *kinds)
    status, _ = context.call_internal_no_propagate(builder, loop, signature, [*limits, *variables])
    with cgutils.if_unlikely(builder, status.is_error):
        count_failure(builder)
    builder.ret_void()
    return function
