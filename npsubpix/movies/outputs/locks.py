"""Files that one run at a time may write."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import IO

from npsubpix._tables import OutputError

__all__ = ["Lock"]

_held: set[str] = set()  # of this process: the system's locks tell processes apart, and not threads


class Lock:
    """An output that only this process writes, until it releases it or ends, however it ends.

    A hidden file beside the output is locked. The locks are those of POSIX records: a forked worker, which may outlive
    its parent, does not hold them.
    """

    def __init__(self, output: Path) -> None:
        final = Path(os.path.realpath(output))
        self._path = final.with_name(f".{final.name}.lock")
        if str(self._path) in _held:
            raise OutputError(f"{output}: is being written by this process already")
        self._file = _locked(self._path, output)
        _held.add(str(self._path))

    def release(self) -> None:
        """Let others write the output."""
        with contextlib.suppress(OSError):  # Windows removes no open file
            self._path.unlink(missing_ok=True)
        self._file.close()
        _held.discard(str(self._path))


def _locked(path: Path, output: Path) -> IO[bytes]:
    while True:
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error
        try:
            _lock(file)
        except OSError:
            file.seek(0)
            who = file.read(200).decode("utf-8", "replace") or "another process"
            file.close()
            raise OutputError(f"{output}: is being written by another run, {who}") from None
        # A run that ended in the meantime has removed the file that was opened
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
                file.flush()
                return file
        file.close()


def _lock(file: IO[bytes]) -> None:
    """Lock a file, or raise OSError if another process holds it; file systems without locks are taken at their word."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(2**20)  # beyond the text, which others read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise
    except OSError:
        pass
