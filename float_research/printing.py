"""What a script prints to: streams that may be closed, full, left by their reader, or know no letters but ASCII."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from float_research.errors import printable, reason

INPUT, OUTPUT, ERROR = 0, 1, 2
"""File descriptors."""
EXIT_LEFT, EXIT_FULL = 128 + getattr(signal, "SIGPIPE", 13), 2


_unheard: list[int] = []
"""The exit code, once nobody reads what is printed, or it finds no room."""


class Stream(io.TextIOWrapper):
    """A stream of ours."""


class Output(io.FileIO):
    """Standard output. Once its reader left, as after `| head`, it ends the program in silence, else with a sentence.

    By SystemExit, which no library handles.
    """

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            divert(self.fileno())
            if error.errno != errno.EPIPE:
                print(f"error: cannot print ({reason(error)}); print to another place", file=sys.stderr)
            _unheard.append(EXIT_LEFT if error.errno == errno.EPIPE else EXIT_FULL)
            raise SystemExit(_unheard[0]) from None


class Complaints(io.FileIO):
    """Standard error. What it cannot take is said to nobody."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:
            divert(self.fileno())
            return memoryview(content).nbytes


def prepare() -> None:
    """Makes the standard streams fit for anything, once."""
    for number in (INPUT, OUTPUT, ERROR):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would take its place
            divert(number)
    sys.stdout = fit(sys.stdout, OUTPUT, Output)
    sys.stderr = fit(sys.stderr, ERROR, Complaints)


def fit(present: Any, number: int, kind: type[io.FileIO]) -> Any:
    """A standard stream by way of `kind`, which escapes letters it does not know. Any other stream stays."""
    if present is None:
        return open(os.devnull, "w", encoding="utf-8")
    if type(present) is not io.TextIOWrapper or present.fileno() != number:
        return present
    raw = kind(number, "w", closefd=False)
    return Stream(
        raw if isinstance(present.buffer, io.RawIOBase) else io.BufferedWriter(raw),  # as by PYTHONUNBUFFERED
        encoding=present.encoding,
        errors="backslashreplace",
        line_buffering=present.line_buffering,
        write_through=present.write_through,
    )


def say(console: Any, line: str, *, style: str | None = None) -> None:
    """Prints a line as text alone: what a name or a record holds colours, clears and links nothing."""
    console.print(printable(line, len(line)), style=style, soft_wrap=True, markup=False)


def divert(number: int) -> None:
    """Lets a file descriptor lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)


@contextmanager
def heard() -> Iterator[None]:
    """Ends the program where something that was printed within was not heard, be it by a thread."""
    try:
        yield
    finally:
        sys.stdout.flush()
    if _unheard:
        raise SystemExit(_unheard[0])


def name_files_freely() -> None:
    """Starts the program again in UTF-8 where its locale knows file names of few letters alone, as C does."""
    if sys.getfilesystemencoding() != "utf-8":
        told = f"{sys.stdout.encoding if sys.stdout else 'ascii'}:backslashreplace"
        environment = {"PYTHONIOENCODING": told, **os.environ, "PYTHONUTF8": "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606, a program of its own
