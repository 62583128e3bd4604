"""Notes on arrays: what the result of a function tells to other functions that get it, kept as long as its memory.

A note belongs to the memory of an array, so that its views have it too. Nothing can tell a copy from any other array.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from npsubpix._arrays.library import Array, is_array, is_tracing, kind_of

__all__ = ["note_of", "with_note"]

#: Weak references to owners of memory, and the notes on it, by the address of the owner.
_notes: dict[int, tuple[weakref.ref[Any], Any]] = {}


def with_note(x: Array, note: Any) -> Array:
    """Attach a note to an array and its views, not to copies, and return it; without one while torch only traces."""
    if is_tracing():
        return x
    owner = _owner(x)
    address = id(owner)
    with contextlib.suppress(TypeError):  # of an object to which no reference can be weak
        _notes[address] = weakref.ref(owner, lambda _: _notes.pop(address, None)), note
    return x


def note_of(x: Any) -> Any:
    """Return the note of an array, or of one of which it is a view, or None."""
    if is_tracing() or not _notes:
        return None
    owner = _owner(x)
    reference, note = _notes.get(id(owner), (None, None))
    return note if reference is not None and reference() is owner else None


def _owner(x: Any) -> Any:
    """Return the object that owns the memory of an array: one for all its views, in NumPy also of tensors."""
    while is_array(base := getattr(x, "base", None)):  # of NumPy and CuPy
        x = base
    if kind_of(x) == "torch":
        with contextlib.suppress(RuntimeError, NotImplementedError):  # of tensors without memory of their own
            return x.untyped_storage()
    return x
