"""The calls that a function makes while `vjp` watches."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Tape", "tape"]


@dataclass
class Tape:
    """Records of calls, and whether tensors were seen, which record for themselves."""

    records: list[Any] = field(default_factory=list)
    saw_tensors: bool = False


#: The tape of the call of `vjp` that is going on, if one is.
tape: ContextVar[Tape | None] = ContextVar("tape", default=None)
