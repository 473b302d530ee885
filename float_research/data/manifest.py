"""Reads manifests: CSV files with a row for each clip."""

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from float_research.errors import UserError, named, printable, reading
from float_research.files import present
from float_research.texts import read_bytes
from float_research.types import Excerpt


@dataclass(frozen=True, kw_only=True)
class ManifestColumns:
    """The columns of a manifest, and what messages call it. Each of `files` names a file."""

    what: str
    needed: tuple[str, ...]
    allowed: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def remedy(self) -> str:
        columns = "columns" if len(self.needed) > 1 else "column"
        needed, allowed = ", ".join(self.needed), ", ".join(self.allowed)
        return f"give a CSV file with the {columns} {needed} and, optionally, {allowed}"


CLIPS = ManifestColumns(
    what="data.file",
    needed=("image", "audio"),
    allowed=("id", "emotion", "start_s", "end_s", "seed", "crop", "face"),
    files=("image", "audio"),
)
MAX_BYTES = 20_000_000
"""About 200,000 clips."""
MAX_SEED = 2**53
"""Largest integer that JSON readers, which use float64, represent exactly."""


def read_manifest(path: Path, columns: ManifestColumns = CLIPS) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the values of each row by column, None where it is empty, and notes on how the file was read.

    For `CLIPS` these are the arguments of `Clip`, but for an empty `id`.

    Reads UTF-8 with or without a BOM, UTF-16 with one, and anything else as cp1252, with a note. The delimiter may be a
    comma, a semicolon or a tab.

    Raises:
        UserError: the file is not such a table, or a row is invalid.
    """
    content = read_bytes(path, what=columns.what, remedy=columns.remedy, max_bytes=MAX_BYTES)
    with reading(f"{columns.what} {path}", columns.remedy):
        text, notes = decode(content, path, columns.what)
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        rows = list(_rows(path, csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), columns))
    if not rows:
        raise UserError(f"{named(columns.what, path)} has no rows; add a row for each clip below the column names")
    return rows, notes


def decode(content: bytes, path: Path, what: str = CLIPS.what) -> tuple[str, list[str]]:
    """Decodes the text of a manifest; also returns notes on its encoding."""
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
            note = "is not UTF-8 and was read as cp1252; if names look wrong, save it as UTF-8"
            notes = [f"{named(what, path)} {note}"]
    if "\0" in (text if notes else text.partition("\n")[0]):
        raise ValueError("it is not text in UTF-8, UTF-16 with a BOM, or cp1252")
    return text, notes


def _rows(path: Path, reader: csv.DictReader, wanted: ManifestColumns) -> Iterator[dict[str, Any]]:
    name = named(wanted.what, path)
    columns = reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
    if not set(wanted.needed) <= set(columns) <= {*wanted.needed, *wanted.allowed} or len(set(columns)) < len(columns):
        raise UserError(
            f"{name} has the columns {printable(', '.join(columns) or 'none')}; it needs {' and '.join(wanted.needed)} "
            f"and may have {', '.join(wanted.allowed)}, each once"
        )
    for row in reader:
        place = f"{name}, line {reader.line_num}"
        if None in row:
            raise UserError(f"{place}: it has more values than columns; quote values that contain a comma")
        if not all(row[column] for column in wanted.needed):
            both = " must both be given" if len(wanted.needed) > 1 else " must be given"
            raise UserError(f"{place}: {' and '.join(wanted.needed)}{both}")
        cells = {column: text for column, text in row.items() if text}
        yield {
            **{kind: Path(present(str(path.parent / cells[kind]))) if kind in cells else None for kind in wanted.files},
            **{column: cells.get(column) for column in ("id", "emotion") if column in wanted.allowed},
            **_choices(Cells(cells, place)),
        }


class Cells:
    """Parses the non-empty values of a row."""

    def __init__(self, texts: dict[str, str], place: str) -> None:
        self.texts, self.place = texts, place

    def read(self, column: str, parse: Callable[[str], Any], wanted: str, default: Any = None) -> Any:
        """Parses a value. Raises a UserError if `parse` raises a ValueError."""
        text = self.texts.get(column, "").strip()
        try:
            return parse(text) if text else default
        except ValueError:
            self.refuse(f"{column}={printable(repr(text))} is not a {wanted}")

    def refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self.place}: {problem}")


def _choices(cells: Cells) -> dict[str, Any]:
    start_s = cells.read("start_s", seconds, "non-negative number of seconds, such as 1.5", default=0.0)
    end_s = cells.read("end_s", seconds, "non-negative number of seconds, such as 1.5")
    if end_s is not None and not end_s > start_s:
        cells.refuse(f"end_s={end_s:g} must be greater than start_s={start_s:g}")
    crop = cells.read("crop", box, "box left,top,right,bottom in whole pixels, such as 10,20,310,320")
    face = cells.read("face", whole, "whole number, at least 0")
    if crop is not None and face is not None:
        cells.refuse("crop and face exclude each other; give one of them")
    seed = cells.read("seed", whole, f"whole number from 0 to {MAX_SEED}")
    return {"excerpt": Excerpt(start_s=start_s, end_s=end_s), "seed": seed, "crop": crop, "face": face}


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MAX_SEED:
        raise ValueError
    return int(text)


def box(text: str) -> tuple[int, int, int, int]:
    left, top, right, bottom = (whole(part) for part in re.split(r"\s*[,;]\s*|\s+", text))
    if not (left < right and top < bottom):
        raise ValueError
    return left, top, right, bottom
