"""Console output: plain text, tables, and standard streams that may be closed, full, unread or ASCII only."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from float_research.errors import printable, reason

INPUT, OUTPUT, ERROR = 0, 1, 2
"""File descriptors."""
EXIT_LEFT, EXIT_FULL = 128 + getattr(signal, "SIGPIPE", 13), 2


ROOM, BORDERS, PIPED = 12, 3, 10_000
"""Cells: the least that a column keeps of a long word, the border and padding of a column, and a piped line at most."""
_said: set[tuple[str, str]] = set()
"""Sweeps, and the lines already printed once in them."""
_exit_codes: list[int] = []
"""The exit code, once output has lost its reader or the disk is full."""


class Stream(io.TextIOWrapper):
    """A standard stream that is already prepared."""


class Output(io.FileIO):
    """Standard output. A failed write ends the program: silently if the reader is gone, as after `| head`.

    It raises SystemExit, which libraries do not catch.
    """

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            divert(self.fileno())
            if error.errno != errno.EPIPE:
                print(f"error: cannot print ({reason(error)}); redirect the output elsewhere", file=sys.stderr)
            _exit_codes.append(EXIT_LEFT if error.errno == errno.EPIPE else EXIT_FULL)
            raise SystemExit(_exit_codes[0]) from None


class ErrorOutput(io.FileIO):
    """Standard error. What cannot be written is dropped."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:
            divert(self.fileno())
            return memoryview(content).nbytes


def prepare() -> None:
    """Prepares the standard streams for any text and for lost readers. Repeated calls change nothing."""
    for number in (INPUT, OUTPUT, ERROR):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file opened would take its descriptor
            divert(number)
    sys.stdout = fit(sys.stdout, OUTPUT, Output)
    sys.stderr = fit(sys.stderr, ERROR, ErrorOutput)


def fit(present: Any, number: int, kind: type[io.FileIO]) -> Any:
    """Wraps a standard stream in `kind`, escaping characters it cannot encode. Any other stream is unchanged."""
    if present is None:
        return open(os.devnull, "w", encoding="utf-8")
    if type(present) is not io.TextIOWrapper or present.fileno() != number:
        return present
    raw = kind(number, "w", closefd=False)
    return Stream(
        raw if isinstance(present.buffer, io.RawIOBase) else io.BufferedWriter(raw),  # raw under PYTHONUNBUFFERED
        encoding=present.encoding,
        errors="backslashreplace",
        line_buffering=present.line_buffering,
        write_through=present.write_through,
    )


def stdout() -> Console:
    """Returns the console of scripts. It parses no markup or emoji, since most texts hold user input."""
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED
    return console


def say(console: Console, line: str, *, style: str | None = None, once: str | None = None) -> None:
    """Prints a line as plain text, with markup and control characters from names and records escaped.

    `once`: a sweep whose runs all print the line, of which this process then prints only the first.
    """
    if once is not None:
        if (once, line) in _said:
            return
        _said.add((once, line))
    console.print(printable(line, len(line)), style=style, soft_wrap=True, markup=False, emoji=False)


@dataclass(frozen=True)
class Table:
    """A table with column names, no wider than the terminal, or if piped, columns of plain text at full width.

    Cells are plain text. Where space is short, text wraps between words, and words of more than `ROOM` cells,
    except for numbers, lose their middle; columns that still do not fit follow in another table below, next to the
    first column again.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [[as_text(cell) for cell in row] for row in (self.names, *self.rows)]
        columns = list(zip(*texts, strict=True))
        widths = [max(cell_len(cell.plain) for cell in column) for column in columns]
        least = [max(map(least_width, column)) for column in columns]
        if self.title:
            yield Text(printable(self.title), style="italic", no_wrap=True, overflow="ignore")
        if not console.is_terminal:
            for cells in texts:
                padded = (set_cell_size(cell.plain, width) for cell, width in zip(cells, widths, strict=True))
                yield Text("  ".join(padded).rstrip(), no_wrap=True, overflow="ignore")
            return
        for part in split_columns(least, options.max_width):
            room = options.max_width - BORDERS * len(part) - 1
            fit = fit_widths([widths[i] for i in part], [least[i] for i in part], room)
            table = RichTable()
            for i, width in zip(part, fit, strict=True):
                table.add_column(wrap(columns[i][0], width), width=width)
            for row in zip(*(columns[i][1:] for i in part), strict=True):
                table.add_row(*(wrap(cell, width) for cell, width in zip(row, fit, strict=True)))
            yield table


def as_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell, len(cell)))


def longest_word(cell: Text) -> int:
    """Returns the width of a cell's longest word."""
    return max(map(cell_len, cell.plain.split(" ")))


def least_width(cell: Text) -> int:
    """Returns the cells that the words of a cell need at least: a number needs all of its own."""
    return max(cell_len(word) if is_number(word) else min(ROOM, cell_len(word)) for word in cell.plain.split(" "))


def is_number(word: str) -> bool:
    try:
        float(word.strip("[]()±,%").replace(",", ""))
    except ValueError:
        return False
    return True


def wrap(cell: Text, width: int) -> Text:
    """Elides the words of a cell that are wider than `width`."""
    if longest_word(cell) <= width:
        return cell
    return Text(" ".join(elide(word, width) for word in cell.plain.split(" ")), style=cell.style)


def split_columns(widths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yields the column indices of each table, where one table would be too wide."""
    first, part = BORDERS + 1 + widths[0], [0]
    taken = first
    for place, width in enumerate(widths[1:], 1):
        if len(part) > 1 and taken + BORDERS + width > most:
            yield part
            part, taken = [0], first
        part.append(place)
        taken += BORDERS + width
    yield part


def fit_widths(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Shrinks the widest columns until all fit in `room`, but none below its least width."""
    fit = list(widths)
    while sum(fit) > room and (wide := [i for i in range(len(fit)) if fit[i] > least[i]]):
        fit[max(wide, key=lambda i: fit[i])] -= 1
    return fit


def elide(text: str, width: int) -> str:
    """Replaces the middle of a text by … to fit in `width` cells."""
    if cell_len(text) <= width:
        return text
    end = keep_start(text[::-1], (width - 1) // 2)[::-1]
    return f"{keep_start(text, width - 1 - cell_len(end))}…{end}"


def keep_start(text: str, width: int) -> str:
    """Returns as much of a text's beginning as fits."""
    return chop_cells(text, width)[0] if width else ""


def divert(number: int) -> None:
    """Redirects a file descriptor to the null device."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)


@contextmanager
def require_output() -> Iterator[None]:
    """Ends the program if output printed within the block was lost, in any thread."""
    try:
        yield
    finally:
        sys.stdout.flush()
    if _exit_codes:
        raise SystemExit(_exit_codes[0])


def restart_in_utf8() -> None:
    """Restarts the program in UTF-8 mode if the locale, such as C, limits the characters of file names."""
    if sys.getfilesystemencoding() != "utf-8":
        encoding = f"{sys.stdout.encoding if sys.stdout else 'ascii'}:backslashreplace"
        environment = {"PYTHONIOENCODING": encoding, **os.environ, "PYTHONUTF8": "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606, this same program
