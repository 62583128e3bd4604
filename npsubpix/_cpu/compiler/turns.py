"""Processes that need one kernel at the same time: the first compiles it, and the others wait for its entry."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import IO, Any

__all__ = ["Turn"]

#: Seconds after which a process stops waiting and compiles too: the other may be stopped, or on another machine.
_LONGEST = 120.0

_STEP = 0.02


class Turn:
    """The turn to compile the kernel of an entry; taken at once where files cannot be locked."""

    def __init__(self, entry: Path) -> None:
        self._path = entry.with_name(f"{entry.name}.lock")
        self._file: IO[Any] | None = None
        with contextlib.suppress(ImportError, OSError):  # a system without these locks, or a full disk
            import fcntl

            self._file = self._path.open("wb")
            deadline = time.monotonic() + _LONGEST
            while not self._is_mine(fcntl) and time.monotonic() < deadline:
                time.sleep(_STEP)

    def _is_mine(self, fcntl: Any) -> bool:
        """Take the turn if no other process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def end(self) -> None:
        """Let the next process have its turn."""
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            self._path.unlink(missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_UN)  # a forked child may hold the file open
        file.close()
