"""Functions written by users: their identity, their parameters, and what was compiled for them.

A compiled function holds the values that it found around it: numbers, tuples and small arrays of the enclosing scope,
attributes of modules, functions that it calls. It is used again only for a function of the same code and values.
"""

from __future__ import annotations

import builtins
import dis
import enum
import functools
import hashlib
import inspect
import struct
import sys
import warnings
from collections.abc import Callable, Hashable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = [
    "CompiledFunctions",
    "digest_of",
    "identity_of",
    "plain_function",
    "positional",
    "values_after",
    "values_of_library",
]

_Compiled = TypeVar("_Compiled")


class CompiledFunctions(Generic[_Compiled]):
    """Compiled functions of users, by their identities and by the arrays that they were compiled for."""

    def __init__(self) -> None:
        self._compiled: dict[Any, _Compiled] = {}

    def get(self, function: Any, compiled_for: Hashable, compile_: Callable[[], _Compiled]) -> _Compiled:
        """Return what was compiled for a function that does the same, or compile it."""
        identity = identity_of(function)
        if identity is None:
            return compile_()
        key = identity, compiled_for
        if key not in self._compiled:
            self._compiled[key] = compile_()
        return self._compiled[key]


def plain_function(function: Any) -> Any:
    """Return the Python function that Numba compiled, or anything else as it is."""
    return getattr(function, "py_func", function)


# Parameters


def values_after(function: Any, windows: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments that follow the windows: those of the user, then the defaults of all other parameters.

    For anything but a function written in Python, the arguments of the user.
    """
    plain = plain_function(function)
    if not isinstance(plain, FunctionType):
        return args
    code = plain.__code__
    has_more = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if code.co_argcount == windows + len(args) and not has_more:  # most of them, at a tenth of the time
        return args
    try:
        bound = inspect.signature(plain, follow_wrapped=False).bind(*(None,) * windows, *args)
    except TypeError as error:
        what = f"{windows} window{'s' * (windows > 1)}" + (f" and {len(args)} args" if args else "")
        raise TypeError(f"func must be a function of {what}: {error}") from None
    bound.apply_defaults()
    return (*bound.args, *bound.kwargs.values())[windows:]


def positional(function: FunctionType) -> FunctionType:
    """Copy a function so that its keyword-only parameters, which Numba does not know, are the last positional ones."""
    code, defaults = function.__code__, function.__kwdefaults__ or {}
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if not names:
        return function
    if code.co_flags & inspect.CO_VARARGS:
        raise TypeError("a function must not have keyword-only parameters behind *args, which Numba does not compile")
    own = function.__defaults__ or ()
    plain = code.replace(co_argcount=code.co_argcount + len(names), co_kwonlyargcount=0)
    all_defaults = (*own, *(defaults[name] for name in names))
    return FunctionType(plain, function.__globals__, function.__name__, all_defaults, function.__closure__)


# What functions take from elsewhere


def values_of_library(function: Any, library: str) -> str | None:
    """Name a value of a library that a function is, or takes from elsewhere: its modules, functions and objects."""
    plain = plain_function(function)
    if not isinstance(plain, FunctionType):
        return repr(function) if _is_of(plain, library) else None
    if _is_of(plain, library):
        return plain.__qualname__
    code = plain.__code__
    cells = dict(zip(code.co_freevars, map(_content, plain.__closure__ or ()), strict=True))
    for name, attributes, is_global in _reads(code):
        if _is_of(plain.__globals__.get(name) if is_global else cells.get(name), library):
            return ".".join((name, *attributes))
    return None


def _is_of(value: Any, library: str) -> bool:
    """Whether a value is a module of a library, was defined in one, or is an instance of a type that was."""
    names = (
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None),
        type(value).__module__,
    )
    return any(isinstance(name, str) and name.partition(".")[0] == library for name in names)


# Identity


class _Unknown(Exception):
    """A value that may change unseen."""


class _Itself:
    """An object that equals itself alone, and that its key keeps from being replaced at its address."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


_ABSENT = object()


def identity_of(function: Any) -> Any:
    """Return a key that is equal for functions of the same code and values; None if a value may change unseen."""
    try:
        return _identity(function, ())
    except _Unknown:
        return None


#: Libraries whose functions and types are what their names say, in a version.
_KNOWN_LIBRARIES = frozenset({"builtins", "cmath", "math", "numpy", "operator"})


def digest_of(function: Any) -> str | None:
    """Return a text that is that of the same code and values in any process; None if these cannot be told by a text."""
    try:
        told = np.__version__, _told(_identity(function, ()))
    except _Unknown:
        return None
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _told(part: Any) -> Any:
    """Return what an identity is made of by names and values that do not depend on the process."""
    if isinstance(part, _Itself):
        return _name_of(part.value)
    if isinstance(part, CodeType):
        numbers = part.co_argcount, part.co_posonlyargcount, part.co_kwonlyargcount, part.co_flags
        names = part.co_names, part.co_varnames, part.co_freevars, part.co_cellvars
        return part.co_code, getattr(part, "co_exceptiontable", b""), _told(part.co_consts), numbers, names
    if isinstance(part, tuple):
        return tuple(map(_told, part))
    if isinstance(part, frozenset):
        return sorted(repr(_told(value)) for value in part)
    if isinstance(part, type):
        return _name_of(part)
    if part is _ABSENT or part is None or isinstance(part, (bool, int, float, complex, str, bytes, np.dtype)):
        return type(part).__name__, "" if part is _ABSENT else repr(part)
    raise _Unknown


def _name_of(value: Any) -> str:
    """Name an object of a known library."""
    found: Any
    if isinstance(value, ModuleType):
        module, name, found = value.__name__, "", value
    else:
        module = str(getattr(value, "__module__", None) or type(value).__module__)
        name = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", ""))
        found = getattr(sys.modules.get(module), name, None)
    if module.partition(".")[0] not in _KNOWN_LIBRARIES or found is not value:
        raise _Unknown
    return f"{module}.{name}"


def _identity(function: Any, within: tuple[Any, ...]) -> Any:
    plain = plain_function(function)
    if not isinstance(plain, FunctionType):
        return _value(plain, within)
    if any(f is plain for f in within):  # a function that calls itself
        return _Itself(plain)
    within = (*within, plain)
    code = plain.__code__
    cells = dict(zip(code.co_freevars, map(_content, plain.__closure__ or ()), strict=True))
    found = []
    for name, attributes, is_global in _reads(code):
        if is_global:
            value = plain.__globals__.get(name, getattr(builtins, name, _ABSENT))
        elif name in cells:
            value = cells[name]
        else:  # a variable of the function itself, which a function inside of it takes
            continue
        found.append((name, attributes, _reached(value, attributes, code, within)))
    options = sorted((k, repr(v)) for k, v in getattr(function, "targetoptions", {}).items())
    defaults = [_value(v, within) for v in plain.__defaults__ or ()]
    by_name = [(k, _value(v, within)) for k, v in (plain.__kwdefaults__ or {}).items()]
    return code, tuple(found), tuple(options), tuple(defaults), tuple(by_name)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return _ABSENT


@functools.lru_cache(maxsize=256)
def _reads(code: CodeType) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
    """Return what code, and code inside of it, takes from elsewhere: name, attributes of it, whether it is global."""
    found: set[tuple[str, tuple[str, ...], bool]] = set()
    for part in _with_inner(code):
        chain: list[str] = []
        is_global = False
        for instruction in dis.get_instructions(part):
            operation = instruction.opname
            if chain and operation in ("LOAD_ATTR", "LOAD_METHOD"):
                chain.append(instruction.argval)
            elif operation not in ("EXTENDED_ARG", "CACHE", "NOP"):
                if chain:
                    found.add((chain[0], tuple(chain[1:]), is_global))
                chain = []
                is_global = operation in ("LOAD_GLOBAL", "LOAD_NAME")
                if is_global or operation in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
                    chain = [instruction.argval]
        if chain:
            found.add((chain[0], tuple(chain[1:]), is_global))
    return tuple(sorted(found))


def _with_inner(code: CodeType) -> Iterable[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)


def _reached(value: Any, attributes: tuple[str, ...], code: CodeType, within: tuple[Any, ...]) -> Any:
    """Return the key of an attribute of a module, or of another value with all it has."""
    for name in attributes:
        if not isinstance(value, ModuleType):
            break
        value = _attribute(value, name)
    return _module(value, code, within, ()) if isinstance(value, ModuleType) else _value(value, within)


def _attribute(module: ModuleType, name: str) -> Any:
    if name in vars(module) or "__getattr__" not in vars(module):
        return vars(module).get(name, _ABSENT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return getattr(module, name)
        except Exception:  # which are those of modules that make their attributes
            return _ABSENT


def _module(module: ModuleType, code: CodeType, within: tuple[Any, ...], seen: tuple[ModuleType, ...]) -> Any:
    """Return the key of a module under another name: of every attribute that the code could mean."""
    if module in seen:
        return _Itself(module)
    found: list[Any] = [_Itself(module)]
    for name in sorted({name for part in _with_inner(code) for name in part.co_names}):
        value = vars(module).get(name, _ABSENT)
        inner = isinstance(value, ModuleType)
        found.append(_module(value, code, within, (*seen, module)) if inner else _value(value, within))
    return tuple(found)


def _value(value: Any, within: tuple[Any, ...]) -> Any:
    kind = type(value)
    if value is _ABSENT or kind in (bool, int, str, bytes, type(None), type(...)):
        return kind, value
    if kind is float:
        return kind, struct.pack("d", value)  # 0.0 and -0.0 are two values, and NaN is one
    if kind is complex:
        return kind, struct.pack("dd", value.real, value.imag)
    if isinstance(value, tuple):  # a named one too: its type has the names
        return kind, tuple(_value(v, within) for v in value)
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return kind, value.dtype, value.shape, hashlib.sha256(value.tobytes()).digest()
    if isinstance(value, np.dtype):
        return kind, value
    if hasattr(value, "py_func"):  # compiled by Numba, with the values that it has now or had before
        return _Itself(value), _identity(value, within)
    if callable(value) or isinstance(value, enum.Enum):
        return _Itself(value)
    raise _Unknown
