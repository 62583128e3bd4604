"""Notes on arrays: what the result of a function tells to other functions that get it, kept as long as the array."""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import Any

from npsubpix._arrays.library import Array, kind_of

__all__ = ["note_of", "with_note"]

#: Weak references to arrays, and their notes, by the address of the array.
_notes: dict[int, tuple[weakref.ref[Any], Any]] = {}


def with_note(x: Array, note: Any) -> Array:
    """Attach a note to an array, not to its copies and views, and return it; without one while torch only traces."""
    if kind_of(x) == "torch" and sys.modules["torch"].compiler.is_compiling():
        return x
    address = id(x)
    with contextlib.suppress(TypeError):  # of an array to which no reference can be weak
        _notes[address] = weakref.ref(x, lambda _: _notes.pop(address, None)), note
    return x


def note_of(x: Any) -> Any:
    """Return the note of an array, or None."""
    if kind_of(x) == "torch" and sys.modules["torch"].compiler.is_compiling():
        return None
    reference, note = _notes.get(id(x), (None, None))
    return note if reference is not None and reference() is x else None
