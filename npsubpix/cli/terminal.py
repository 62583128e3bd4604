"""Output of the commands: results on standard output, and each error on one line of standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator

import typer

__all__ = ["Errors", "UsageError", "say", "say_error", "say_what_is_skipped"]


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


def say_what_is_skipped(path: object, others: int) -> None:
    """Note on standard error that a file holds images that are not read."""
    if others:
        say_error(f"{path}: note: {others} more series of pages, of another size or kind, left out")


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
        silence = logging.NullHandler()
        logging.getLogger().addHandler(silence)
        try:
            with warnings.catch_warnings():
                if not self.debug:
                    warnings.simplefilter("ignore")
                yield
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            say_error("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of a pipe has seen enough
            raise typer.Exit(1) from None
        except Exception as error:
            self.report(error)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
        finally:
            logging.getLogger().removeHandler(silence)
