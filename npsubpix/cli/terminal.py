"""Output of the commands: results on standard output, and each error on one line of standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from npsubpix.io._frames import FrameSource

__all__ = ["Errors", "Notes", "UsageError", "say", "say_error", "say_guesses"]


def say(text: str) -> None:
    """Print and flush, so that errors are raised now and not when the interpreter exits."""
    try:
        typer.echo(text)
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # what is left in the buffer would raise again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def say_error(text: str) -> None:
    """Print an error on one line."""
    typer.echo(f"npsubpix: {' '.join(text.split())}", err=True)


def say_guesses(where: str) -> None:
    """Say where the noise that peaks are compared with is a guess."""
    say_error(f"note: the noise is a guess in {where}: most of the pixels there share one value")


class Notes:
    """Say on standard error how files are read and what is left out of them, once for all files alike."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.said: set[str] = set()

    def say(self, stack: FrameSource) -> None:
        """Say what was taken for what, unless only errors are asked for, and what is left out, always."""
        for text in (*stack.notes, *([stack.reading] if stack.reading and not self.quiet else ())):
            if text not in self.said:
                self.said.add(text)
                say_error(f"{stack.path}: note: {text}")


class UsageError(ValueError):
    """Options that cannot be carried out."""


class Errors:
    """Count errors, and report each on one line."""

    def __init__(self, debug: bool) -> None:
        self.debug = debug
        self.messages: list[str] = []

    def report(self, error: Exception) -> None:
        """Print an error and keep its message."""
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, MemoryError):
            message = f"not enough memory: {error}"
        elif isinstance(error, ModuleNotFoundError):
            message = f"{error.name} is missing: pip install 'npsubpix[app]'"
        else:
            message = str(error) or type(error).__name__
        self.messages.append(" ".join(message.split()))
        say_error(message)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Report damage in a file, as an error that the file is read with; print other warnings."""
        from npsubpix.io import ImageWarning

        text = " ".join(f"{message}".split())
        if not issubclass(category, ImageWarning):
            (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))
        elif text not in self.messages:
            self.messages.append(text)
            say_error(f"{text} (a warning: the frames are read)")

    @contextlib.contextmanager
    def survived(self) -> Iterator[None]:
        """Report an error and continue after the block, so that a failure does not lose other results."""
        try:
            yield
        except Exception as error:
            self.report(error)

    @contextlib.contextmanager
    def last_resort(self) -> Iterator[None]:
        """Report an error and exit; keep warnings and logs of libraries from the terminal."""
        from npsubpix.io import ImageWarning

        silence = logging.NullHandler()
        logging.getLogger().addHandler(silence)
        try:
            with warnings.catch_warnings():
                if not self.debug:
                    warnings.simplefilter("ignore")
                warnings.simplefilter("always", ImageWarning)
                warnings.showwarning = self.show_warning
                yield
        except typer.Exit:
            raise
        except KeyboardInterrupt as stop:
            say_error(str(stop) or "interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of a pipe has seen enough
            raise typer.Exit(1) from None
        except Exception as error:
            self.report(error)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
        finally:
            logging.getLogger().removeHandler(silence)
