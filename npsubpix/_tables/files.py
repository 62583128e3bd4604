"""Places of files, and their replacement in one step."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["OutputError", "check_place", "new_hdf5", "replacing", "sidecar"]


class OutputError(ValueError):
    """A file that cannot be written; the message is one line, and names the file and the reason."""


class _Spared(io.FileIO):
    """A file that HDF5 takes for one on a disk without end; the first error is kept, and nothing is written after it.

    HDF5 crashes the process, at once or when it ends, after a file could not be closed because the disk was full.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all bytes."""
        left = whole = memoryview(data).cast("B")
        try:
            while left and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return len(whole)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length."""
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error
        return size or 0


@contextlib.contextmanager
def new_hdf5(path: Path) -> Iterator[Any]:
    """Open a new HDF5 file; one that could not be written to its end is an OSError."""
    import h5py

    with _Spared(path, "w+") as raw:
        try:
            with h5py.File(raw, "w") as file:
                yield file
        except Exception as error:
            if raw.error is None:
                raise
            raise raw.error from error  # what was not written cannot be read
        if raw.error is not None:
            raise raw.error


def sidecar(path: Path) -> Path:
    """Return the name of the file beside a CSV file that holds its metadata."""
    return path.with_name(f"{path.name}.json")


def check_place(path: Path) -> None:
    """Refuse a path that `replacing` could not write to."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; needed is the name of a file")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable")


@contextlib.contextmanager
def replacing(path: str | Path, *, before: Callable[[], Any] | None = None) -> Iterator[Path]:
    """Replace a file in one step: at any time, its name refers to the old file or to the new one.

    Parameters
    ----------
    path : str or Path
        The file to write, or a link to it.
    before : callable, optional
        Called without arguments once the temporary file is whole and on the disk, just before it replaces `path`.

    Yields
    ------
    Path
        An empty temporary file in the same folder. It replaces `path` when the block ends, and is removed
        if the block raises.

    Raises
    ------
    OutputError
        If the operating system does not allow it.

    See Also
    --------
    write_table : Write columns to a file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from npsubpix.io import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "notes.txt"
    ...     with replacing(path) as temporary:
    ...         _ = temporary.write_text("done")
    ...     print(path.read_text())
    done
    """
    final = Path(os.path.realpath(path))
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem[:100]}-", suffix=final.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # without it a power cut can leave the new name on an empty file
        temporary.chmod(_mode(final))
        if before is not None:
            before()
        temporary.replace(final)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or " ".join(str(error).split())
            raise OutputError(f"{path}: cannot be written: {reason}") from error
        raise


def _mode(path: Path) -> int:
    """Return the permissions of the file that is replaced, or those of a new one."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
