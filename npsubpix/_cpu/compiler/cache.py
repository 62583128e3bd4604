"""Compiled kernels on disk: a cache that can cost time, and nothing else.

Numba's own cache raises when no directory can be written or an entry is damaged, lets processes
that compile at once overwrite each other's entries, and does not see that a function which a
kernel calls has changed. Here an entry is one file, named by a hash of everything its content
depends on, that begins with a digest of the rest; it is written beside its place and moved there.
Whatever goes wrong is a miss. Processes that miss one entry at the same time compile it once. Entries that
nobody has used for three months, of older versions that is, are removed by the first process that writes a
new one.

``NPSUBPIX_CACHE=0`` turns the cache off. ``NUMBA_CACHE_DIR`` moves it; otherwise it is in the
``__pycache__`` beside the kernels, or in the user's cache directory if that cannot be written. Entries are read
from both, and from a directory that cannot be written: that of a container was filled by whoever built its image.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import os
import pickle
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba

from npsubpix._cpu.compiler.internals import is_linking
from npsubpix._cpu.compiler.turns import Turn

__all__ = ["KernelCache", "cache_directories", "cache_directory"]

_DIGEST = hashlib.sha256
_ROOT = Path(__file__).parents[3]
_COMPILER = "npsubpix._cpu.compiler.jit"

_WORD = re.compile(rb"\bimport\b|\b__import__\b|\bimport_module\b")
_STATEMENT = re.compile(rb"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+(?:\([^()]*\)|[\w., \t]+))", re.MULTILINE)

_DAY = 86400.0
_KEPT = 90 * _DAY


def _candidates() -> Iterator[Path]:
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR) / "npsubpix"
        return
    yield Path(__file__).parents[1] / "__pycache__"
    # Path.home raises where there is no home
    if home := os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~"):  # noqa: PTH111
        folder = "" if os.environ.get("XDG_CACHE_HOME") else ".cache"
        yield Path(home) / folder / "npsubpix"


@functools.cache
def cache_directory() -> Path | None:
    """Return the directory to which compiled kernels are written, or None where there is none."""
    return next(filter(_can_write, _candidates()), None) if _is_on() else None


def cache_directories() -> tuple[Path, ...]:
    """Return the directories from which compiled kernels are read, that to which they are written first."""
    written = cache_directory()
    return tuple(dict.fromkeys((*([] if written is None else [written]), *_existing())))


@functools.cache
def _existing() -> tuple[Path, ...]:
    return tuple(filter(os.path.isdir, _candidates())) if _is_on() else ()


def _is_on() -> bool:
    return os.environ.get("NPSUBPIX_CACHE", "1") != "0"


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@functools.cache
def _file_of(module: str) -> Path | None:
    """Return the source of a module or package of npsubpix, or None where there is none of that name."""
    place = _ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _modules(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the modules that a piece of a source imports from; of two names the longer is meant if it is a module."""
    if isinstance(node, ast.Import):
        yield from ((alias.name,) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise LookupError("a relative import, which the digest of kernels cannot follow")
        yield from ((f"{node.module}.{alias.name}", str(node.module)) for alias in node.names)
    elif isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", None))
        if called in ("import_module", "__import__"):
            if not (node.args and isinstance(node.args[0], ast.Constant)):
                raise LookupError("an import of a name that is computed, which the digest of kernels cannot follow")
            yield (str(node.args[0].value),)


def _imports_of(source: bytes) -> list[tuple[int, ast.AST]]:
    """Return the lines of a source that may import, and what they do; else 1 and all of it, which takes long to parse.

    It is parsed where the word stands anywhere but in a statement at the beginning of a line.
    """
    statements = list(_STATEMENT.finditer(source))
    with contextlib.suppress(SyntaxError):
        if len(_WORD.findall(source)) == len(statements):
            return [(source.count(b"\n", 0, s.start()) + 1, ast.parse(s[1])) for s in statements]
    return [(1, ast.parse(source))]


def _names_in(source: bytes) -> list[tuple[int, tuple[str, ...]]]:
    """Return the lines on which a source imports from npsubpix, and the names there, as `_modules` does."""
    found = []
    for first, tree in _imports_of(source):
        for node in ast.walk(tree):
            line = first + getattr(node, "lineno", 1) - 1
            try:
                found += [(line, names) for names in _modules(node) if names[-1].partition(".")[0] == "npsubpix"]
            except LookupError as error:
                raise LookupError(f"{line}: {error}") from None
    return found


def _source_of(line: int, names: tuple[str, ...]) -> Path:
    """Return the source of the first of the names that is a module."""
    found = next(filter(None, map(_file_of, names)), None)
    if found is None:
        raise LookupError(f"{line}: no source of {names[-1]}")
    if found == _file_of("npsubpix"):
        raise LookupError(f"{line}: names of npsubpix itself, which finds their sources only when it is asked")
    return found


@functools.cache
def _content_and_imports(path: Path) -> tuple[bytes, frozenset[Path]]:
    """Return a source and the sources of npsubpix that it imports from; raise where one cannot be told."""
    content = path.read_bytes()
    try:
        return content, frozenset(_source_of(line, names) for line, names in _names_in(content))
    except LookupError as error:
        raise LookupError(f"{path}:{error}") from None


@functools.cache
def _source_digest(module: str) -> str:
    """Digest of a module and of all it imports: a change in any of them makes its kernels stale."""
    found: dict[Path, bytes] = {}
    todo = {_file_of(module) or Path(), _file_of(_COMPILER) or Path()}
    while todo:
        path = todo.pop()
        found[path], imports = _content_and_imports(path)
        todo |= imports - found.keys()
    digest = _DIGEST()
    for path, content in sorted(found.items()):
        digest.update(f"{path.relative_to(_ROOT).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _stored(entry: str) -> bytes:
    """Return the content of an entry from the first directory that has it whole; raise if none has."""
    for folder in cache_directories():
        with contextlib.suppress(OSError, ValueError):
            return _read(folder / entry)
    raise LookupError(f"{entry} is not stored")


def _read(path: Path) -> bytes:
    """Return the content of an entry; raise if it is damaged."""
    blob = path.read_bytes()
    digest, payload = blob[:32], blob[32:]
    if _DIGEST(payload).digest() != digest:
        raise ValueError("a damaged entry")
    _note_use(path)
    return payload


def _write(path: Path, payload: bytes) -> None:
    """Write an entry, if that is possible."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".npsubpix.tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(_DIGEST(payload).digest() + payload)
        Path(temporary).replace(path)
        _remove_unused(path.parent)
    except Exception:  # a full or vanished disk must cost time only
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _note_use(path: Path) -> None:
    """Give an entry the time of today: what is not used grows old."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _DAY:
            os.utime(path)


@functools.cache
def _remove_unused(folder: Path) -> None:
    """Remove what has not been used for long, and what processes that died while they wrote have left."""
    for path in (*folder.glob("*.npsubpix"), *folder.glob("*.npsubpix.tmp"), *folder.glob("*.npsubpix.lock")):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT:
                path.unlink()


class KernelCache:
    """The cache of one kernel form, as a Numba dispatcher expects it."""

    def __init__(self, module: str, name: str, of_user: str = "") -> None:
        self._module = module
        self._name = f"{module}.{name}"
        self._of_user = of_user
        self._turn: Turn | None = None

    @classmethod
    def create(cls, function: Callable[..., Any], of_user: str = "") -> KernelCache | None:
        """Return the cache of `function`, or None where nothing can be cached.

        `of_user` tells all that it takes from functions of users, whose sources are not known.
        """
        return cls(function.__module__, function.__qualname__, of_user) if cache_directories() else None

    @property
    def cache_path(self) -> str:
        """The directory, as Numba reports it."""
        return str(cache_directory() or "")

    def enable(self) -> None:
        """Do nothing: the cache is on for as long as it is attached."""

    def disable(self) -> None:
        """Do nothing: the environment variable decides."""

    def flush(self) -> None:
        """Do nothing: entries of changed sources are never read."""

    def _entry(self, signature: Any, context: Any) -> str:
        key = (
            self._name,
            self._of_user,
            str(signature),
            context.codegen().magic_tuple(),
            numba.__version__,
            is_linking(),
            sys.version,
            _source_digest(self._module),
        )
        short = self._name.rpartition(".")[2].strip("_")
        return f"{short}-{_DIGEST(repr(key).encode()).hexdigest()[:32]}.npsubpix"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compiled kernel for `signature`, or None if it has to be compiled."""
        try:
            from numba.core.compiler import CompileResult
            from numba.core.runtime import rtsys

            # All that compiled code needs of Numba. A refresh of the context, as Numba's own cache does,
            # imports all implementations too, scipy.linalg among them: 0.4 s that only compiling needs.
            rtsys.initialize(context)
            entry = self._entry(signature, context)
            try:
                payload = _stored(entry)
            except LookupError:
                if (folder := cache_directory()) is None:
                    return None
                self._end_turn()  # of a compilation that failed
                self._turn = Turn(folder / entry)
                payload = _read(folder / entry)  # which another process may have written meanwhile
                self._end_turn()
            return CompileResult._rebuild(context, *pickle.loads(payload))
        except Exception:  # a damaged entry, or another Numba, must cost time only
            return None

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
            self._turn = None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Store a compiled kernel, if that is possible."""
        try:
            from numba.core import serialize

            folder = cache_directory()
            if (
                folder is None
                or result.library.has_dynamic_globals
                or any(not lifted.can_cache for lifted in result.lifted)
            ):
                return
            payload = serialize.dumps(result._reduce())
            result.library._shared_module = None  # a copy that was made for the payload
            _write(folder / self._entry(signature, result.target_context), payload)
        except Exception:  # what cannot be stored, or another Numba, must cost time only
            return
        finally:
            self._end_turn()
