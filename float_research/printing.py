"""What a script prints, as text alone, and to: streams that may be closed, full, left by their reader, or know no
letters but ASCII.
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from float_research.errors import printable, reason

INPUT, OUTPUT, ERROR = 0, 1, 2
"""File descriptors."""
EXIT_LEFT, EXIT_FULL = 128 + getattr(signal, "SIGPIPE", 13), 2


ROOM, BORDERS = 12, 3
"""Cells of a terminal: what a column keeps of its words at least, and the borders and blanks of each."""
_said: set[tuple[str, str]] = set()
"""Sweeps, and the lines that were said once in them."""
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


def stdout() -> Console:
    """What scripts print to. No text is read as markup or emoji, for most hold words of users."""
    return Console(markup=False, emoji=False)


def say(console: Console, line: str, *, style: str | None = None, once: str | None = None) -> None:
    """Prints a line as text alone: what a name or a record holds colours, clears and links nothing.

    `once`: a sweep whose runs all say it, which this process then hears once.
    """
    if once is not None:
        if (once, line) in _said:
            return
        _said.add((once, line))
    console.print(printable(line, len(line)), style=style, soft_wrap=True, markup=False, emoji=False)


@dataclass(frozen=True)
class Table:
    """Rows below the names of their columns, as wide as a terminal at most.

    Cells are texts that stand for themselves. Where there is no room, sentences are wrapped between words, and words of
    more than `ROOM` cells lose their middle; columns that still have no room follow below, beside the first again.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [[as_text(cell) for cell in row] for row in (self.names, *self.rows)]
        columns = list(zip(*texts, strict=True))
        widths = [max(cell_len(cell.plain) for cell in column) for column in columns]
        least = [min(ROOM, max(map(widest, column))) for column in columns]
        if self.title:
            yield Text(printable(self.title), style="italic")
        for part in shares(least, options.max_width):
            room = options.max_width - BORDERS * len(part) - 1
            fit = fitted([widths[i] for i in part], [least[i] for i in part], room)
            table = RichTable()
            for i, width in zip(part, fit, strict=True):
                table.add_column(wrapped(columns[i][0], width), width=width)
            for row in zip(*(columns[i][1:] for i in part), strict=True):
                table.add_row(*(wrapped(cell, width) for cell, width in zip(row, fit, strict=True)))
            yield table


def as_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell, len(cell)))


def widest(cell: Text) -> int:
    """Of a cell's words."""
    return max(map(cell_len, cell.plain.split(" ")))


def wrapped(cell: Text, width: int) -> Text:
    """A cell in which no word is wider."""
    if widest(cell) <= width:
        return cell
    return Text(" ".join(cut(word, width) for word in cell.plain.split(" ")), style=cell.style)


def shares(widths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The columns of each table, by their places, where one is too wide for all."""
    first, part = BORDERS + 1 + widths[0], [0]
    taken = first
    for place, width in enumerate(widths[1:], 1):
        if len(part) > 1 and taken + BORDERS + width > most:
            yield part
            part, taken = [0], first
        part.append(place)
        taken += BORDERS + width
    yield part


def fitted(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that have room together: the widest are made narrower, but none than its least."""
    fit = list(widths)
    while sum(fit) > room and (wide := [i for i in range(len(fit)) if fit[i] > least[i]]):
        fit[max(wide, key=lambda i: fit[i])] -= 1
    return fit


def cut(text: str, width: int) -> str:
    """A text without so much of its middle that it has room in so many cells."""
    if cell_len(text) <= width:
        return text
    end = begun(text[::-1], (width - 1) // 2)[::-1]
    return f"{begun(text, width - 1 - cell_len(end))}…{end}"


def begun(text: str, width: int) -> str:
    """As much of a text's beginning as has room."""
    return chop_cells(text, width)[0] if width else ""


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
