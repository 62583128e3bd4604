"""Reads from the sources of kernels how they lend arrays, and says where one may be freed while it is lent.

Numba frees an array after the last use of its name, and does not see that another array is lent from it. A function
that lends one therefore names it again, in `keep`, when it is done with what is lent. These are the rules:

* what is lent has a name, since an array without one is freed at once;
* `keep` stands behind the loan in the same block or in one around it, on every way to there: no return, break or
  continue leaves it out, and it is in the loop that makes the array;
* the name stays with the array, and what is lent is used between the loan and `keep` only;
* a function that kernels call has its arguments kept by its caller until it returns. If it returns what it lends
  from one, its first, it is itself a function that lends.

What is lent is followed through names, indices, attributes and calls, which may all return a part of it; results of
arithmetic are arrays of their own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

INTRINSICS = "npsubpix._cpu.compiler.intrinsics"
_INNER = {"allocating", "device", "fused", "inlined", "summing"}
_LENDING = {"lend", "lend_to_read", "lend_all"}
_NUMBERS = {"shape", "size", "dtype", "ndim", "itemsize", "strides"}
_COUNTS = {"len", "range", "abs", "int", "float", "bool"}
_LOOPS = (ast.For, ast.While)


@dataclass
class Names:
    """Functions that lend, and functions that make such functions."""

    lend: set[str] = field(default_factory=set)
    make: set[str] = field(default_factory=set)

    def without(self, names: set[str]) -> Names:
        return Names(self.lend - names, self.make - names)


@dataclass
class Statement:
    """A statement of a function, where it is: blocks and places in them from the outside in, and loops around it."""

    node: ast.stmt
    order: int
    chain: tuple[tuple[int, int], ...]
    loops: tuple[ast.stmt, ...]

    def own(self) -> Iterator[ast.AST]:
        """Walk through the statement, but not through the statements in it."""
        todo = [child for child in ast.iter_child_nodes(self.node) if not isinstance(child, ast.stmt)]
        while todo:
            node = todo.pop()
            yield node
            todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]

    def stores(self) -> set[str]:
        return {n.id for n in self.own() if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}

    def loads(self) -> set[str]:
        return {n.id for n in self.own() if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _statements(function: ast.FunctionDef) -> list[Statement]:
    found: list[Statement] = []

    def walk(block: list[ast.stmt], chain: tuple[tuple[int, int], ...], loops: tuple[ast.stmt, ...]) -> None:
        for place, node in enumerate(block):
            here = (*chain, (id(block), place))
            found.append(Statement(node, len(found), here, loops))
            if isinstance(node, ast.FunctionDef):
                continue
            around = (*loops, node) if isinstance(node, _LOOPS) else loops
            for name in ("body", "orelse", "finalbody"):
                walk(getattr(node, name, []), here, around)
            for handler in getattr(node, "handlers", []):
                walk(handler.body, here, around)

    walk(function.body, (), ())
    return found


def _called(node: ast.AST) -> str | None:
    """Return the name of what is called, without its module."""
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", getattr(node.func, "attr", None))
    return None


def _root(node: ast.AST) -> str | None:
    """Return the name of the array of which an expression is a part, or None where it has none."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _parts(node: ast.AST | None, lend: set[str]) -> Iterator[ast.AST]:
    """Yield the names and the loans of which an expression may be a part."""
    if isinstance(node, ast.Name):
        yield node
    elif isinstance(node, ast.Call):
        if _called(node) in lend:
            yield node
        elif _called(node) not in _COUNTS:
            inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            for child in (*inner, *node.args, *(k.value for k in node.keywords)):
                yield from _parts(child, lend)
    elif isinstance(node, ast.Attribute):
        if node.attr not in _NUMBERS:
            yield from _parts(node.value, lend)
    elif isinstance(node, (ast.Subscript, ast.Starred, ast.NamedExpr)):
        yield from _parts(node.value, lend)
    elif isinstance(node, ast.IfExp):
        yield from _parts(node.body, lend)
        yield from _parts(node.orelse, lend)
    elif isinstance(node, (ast.Tuple, ast.List)):
        for child in node.elts:
            yield from _parts(child, lend)
    elif isinstance(node, ast.BoolOp):
        for child in node.values:
            yield from _parts(child, lend)


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield targets and values of an assignment or a loop, element by element where both are tuples."""
    pairs: list[tuple[ast.AST, ast.AST]] = []
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
    elif (isinstance(node, ast.AnnAssign) and node.value is not None) or isinstance(node, ast.NamedExpr):
        pairs = [(node.target, node.value)]
    elif isinstance(node, ast.For):
        pairs = [(node.target, node.iter)]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        pairs = [(node.value.func.value, argument) for argument in node.value.args]  # which a list may hold now
    for target, value in pairs:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, value


class _Function:
    """The loans of a function."""

    def __init__(self, node: ast.FunctionDef, names: Names) -> None:
        self.node, self.lend = node, names.lend
        self.statements = _statements(node)
        arguments = node.args
        self.arguments = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        stored = set().union(*(s.stores() for s in self.statements)) if self.statements else set()
        inner = any(getattr(d, "id", None) in _INNER for d in node.decorator_list)
        self.kept_by_caller = set(self.arguments) - stored if inner else set()
        self.lends = False
        self.errors: list[str] = []
        for statement in self.statements:
            if not isinstance(statement.node, ast.FunctionDef):
                for call in statement.own():
                    if _called(call) in self.lend:
                        self._check(statement, call)

    def _fail(self, node: ast.AST, message: str) -> None:
        self.errors.append(f"line {node.lineno}, {self.node.name}: {message}")

    def _check(self, begin: Statement, call: ast.Call) -> None:
        source = _root(call.args[0]) if call.args else None
        if source is None:
            self._fail(call, "lends an array that has no name")
            return
        names = self._names_of(call)
        if source in self.kept_by_caller:
            for statement in self.statements:
                if isinstance(statement.node, ast.Return) and self._is_part(statement.node.value, call, names):
                    self.lends = True
                    if source != self.arguments[0]:
                        self._fail(statement.node, f"returns what it lends from {source}, not its first argument")
            return
        end = next((s for s in self.statements if self._is_kept(s, source) and _is_behind(s, begin)), None)
        if end is None:
            self._fail(call, f"does not keep {source}")
            return
        for statement in self.statements:
            self._check_between(statement, begin, end, source, names)

    def _check_between(
        self, statement: Statement, begin: Statement, end: Statement, source: str, names: set[str]
    ) -> None:
        node, within = statement.node, begin.order < statement.order < end.order
        if source in statement.stores():
            if within:
                self._fail(node, f"gives the name {source} away before it is kept")
            if statement.loops != end.loops[: len(statement.loops)]:
                self._fail(end.node, f"keeps {source} outside of the loop that makes it")
        leaves = isinstance(node, ast.Return) or (
            isinstance(node, (ast.Break, ast.Continue)) and statement.loops[-1] in end.loops
        )
        if within and leaves:
            self._fail(node, f"goes on without keeping {source}")
        if not begin.order <= statement.order < end.order and names & statement.loads():
            used = ", ".join(sorted(names & statement.loads()))
            self._fail(node, f"uses {used}, lent from {source}, where it is not kept")

    def _is_part(self, value: ast.AST | None, call: ast.Call, names: set[str]) -> bool:
        return any(part is call or getattr(part, "id", None) in names for part in _parts(value, self.lend))

    def _names_of(self, call: ast.Call) -> set[str]:
        """Return the names that may be parts of what a call lends."""
        names: set[str] = set()
        before = -1
        while len(names) > before:
            before = len(names)
            for statement in self.statements:
                for node in (statement.node, *statement.own()):
                    for target, value in _bindings(node):
                        if self._is_part(value, call, names):
                            names |= {
                                n.id for n in ast.walk(target) if isinstance(n, ast.Name) and not _is_index(n, target)
                            }
        return names

    @staticmethod
    def _is_kept(statement: Statement, source: str) -> bool:
        node, name = statement.node, source
        if isinstance(node, ast.For) and _called(node.iter) == "literal_unroll" and len(node.body) == 1:
            if _root(node.iter.args[0]) != source:
                return False
            node, name = node.body[0], getattr(node.target, "id", "")
        call = node.value if isinstance(node, ast.Expr) else None
        return _called(call) == "keep" and getattr(call.args[0], "id", None) == name


def _is_index(name: ast.Name, target: ast.AST) -> bool:
    """Whether a name is only in an index of a target, or is an array that is written to."""
    return isinstance(target, (ast.Subscript, ast.Attribute)) or any(
        isinstance(n, (ast.Subscript, ast.Attribute)) and name in ast.walk(n) for n in ast.walk(target)
    )


def _is_behind(end: Statement, begin: Statement) -> bool:
    """Whether a statement is behind another in its block or in a block around that."""
    block, place = end.chain[-1]
    return any(block == b and place > p for b, p in begin.chain)


def _lends(value: ast.AST, names: Names) -> bool:
    """Whether the value of an expression is, or holds, a function that lends."""
    if isinstance(value, ast.Name):
        return value.id in names.lend
    if isinstance(value, ast.Call):
        return _called(value) in names.make or any(_lends(a, names) for a in value.args)
    return any(_lends(part, names) for part in ast.iter_child_nodes(value) if not isinstance(part, ast.stmt))


def _outside_functions(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Walk through a scope, up to the functions in it."""
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            todo += ast.iter_child_nodes(node)


def _read(body: list[ast.stmt], names: Names, errors: list[str]) -> Names:
    """Check all functions of a scope; return the functions that lend there, and those that make such functions."""
    names = Names(set(names.lend), set(names.make))
    nodes = list(_outside_functions(body))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef)]
    while True:
        before, errors_here = (set(names.lend), set(names.make)), []
        for node in nodes:
            for target, value in _bindings(node):
                if isinstance(target, ast.Name) and not isinstance(node, ast.For) and _lends(value, names):
                    names.lend.add(target.id)
        for function in functions:
            within = names.without({a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)})
            inner = _read(function.body, within, errors_here)
            checked = _Function(function, inner)
            errors_here += checked.errors
            if checked.lends:
                names.lend.add(function.name)
            returned = [s.node.value for s in checked.statements if isinstance(s.node, ast.Return) and s.node.value]
            if any(_lends(value, inner) for value in returned):
                names.make.add(function.name)
        if (names.lend, names.make) == before:
            errors += errors_here
            return names


def errors_in(sources: Mapping[str, str]) -> list[str]:
    """Return where modules, sources by name, lend arrays that may be freed while they are lent."""
    trees = {module: ast.parse(text) for module, text in sources.items()}
    known = {module: Names() for module in trees} | {INTRINSICS: Names(set(_LENDING), {"window_of"})}
    while True:
        before, errors = {module: (set(n.lend), set(n.make)) for module, n in known.items()}, []
        for module, tree in trees.items():
            if module == INTRINSICS:
                continue
            names = Names(set(_LENDING), {"window_of"})  # by attributes of their module, too
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module in known:
                    for alias in node.names:
                        if alias.name in known[node.module].lend:
                            names.lend.add(alias.asname or alias.name)
                        if alias.name in known[node.module].make:
                            names.make.add(alias.asname or alias.name)
            here: list[str] = []
            known[module] = _read(tree.body, names, here)
            errors += [f"{module}, {error}" for error in here]
        if {module: (n.lend, n.make) for module, n in known.items()} == before:
            return errors
