"""Manifests: CSV files with a row for each clip."""

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from float_research.errors import UserError, named, printable, reading
from float_research.files import present
from float_research.texts import read_bytes
from float_research.types import Excerpt

NEEDED, ALLOWED = ("image", "audio"), ("id", "emotion", "start_s", "end_s", "seed", "crop", "face")
REMEDY = f"give a CSV file with the columns {', '.join(NEEDED)} and, if wanted, {', '.join(ALLOWED)}"
MAX_BYTES = 20_000_000
"""Some 200,000 clips."""
MAX_SEED = 2**53
"""Whole numbers up to here are the same in every file that tells of a run."""


def read_manifest(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The arguments of each row's clip, of which `id` may be None, and notes on how the file was read.

    UTF-8 with or without a mark, UTF-16 with one, and what is neither as cp1252, which is noted. Values are separated
    by commas, semicolons or tabs.

    Raises:
        UserError: it is no such file, or a row makes no sense.
    """
    content = read_bytes(path, what="data.file", remedy=REMEDY, max_bytes=MAX_BYTES)
    with reading(f"data.file {path}", REMEDY):
        text, notes = decoded(content, path)
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        rows = list(_rows(path, csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)))
    if not rows:
        raise UserError(f"{named('data.file', path)} has no rows; give one for each clip below the names of columns")
    return rows, notes


def decoded(content: bytes, path: Path) -> tuple[str, list[str]]:
    """The text of a manifest, and what is to be told of its encoding."""
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
            told = "is no UTF-8 and was read as cp1252; if names come out wrong, save it as UTF-8"
            notes = [f"{named('data.file', path)} {told}"]
    if "\0" in (text if notes else text.partition("\n")[0]):
        raise ValueError("it is no text in UTF-8, in UTF-16 with a mark, or in cp1252")
    return text, notes


def _rows(path: Path, reader: csv.DictReader) -> Iterator[dict[str, Any]]:
    name = named("data.file", path)
    columns = reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
    if not set(NEEDED) <= set(columns) <= {*NEEDED, *ALLOWED} or len(set(columns)) < len(columns):
        raise UserError(
            f"{name} has the columns {printable(', '.join(columns) or 'none')}; needed are {' and '.join(NEEDED)}, "
            f"allowed besides are {', '.join(ALLOWED)}, each once"
        )
    for row in reader:
        place = f"{name}, line {reader.line_num}"
        if None in row:
            raise UserError(f"{place}: it has more values than there are columns; quote values that hold a comma")
        if not row["image"] or not row["audio"]:
            raise UserError(f"{place}: image and audio must both be given")
        cells = {column: text for column, text in row.items() if text}
        yield {
            "image": Path(present(str(path.parent / row["image"]))),
            "audio": Path(present(str(path.parent / row["audio"]))),
            "id": cells.get("id"),
            "emotion": cells.get("emotion"),
            **_choices(Cells(cells, place)),
        }


class Cells:
    """The values of a row that are given, read one by one."""

    def __init__(self, texts: dict[str, str], place: str) -> None:
        self.texts, self.place = texts, place

    def read(self, column: str, parse: Callable[[str], Any], wanted: str, default: Any = None) -> Any:
        """A value; a UserError for one that `parse` raises a ValueError for."""
        text = self.texts.get(column, "").strip()
        try:
            return parse(text) if text else default
        except ValueError:
            self.refuse(f"{column}={printable(repr(text))} is no {wanted}")

    def refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self.place}: {problem}")


def _choices(cells: Cells) -> dict[str, Any]:
    start_s = cells.read("start_s", seconds, "number of seconds from 0 on, such as 1.5", default=0.0)
    end_s = cells.read("end_s", seconds, "number of seconds from 0 on, such as 1.5")
    if end_s is not None and not end_s > start_s:
        cells.refuse(f"end_s={end_s:g} must come after start_s={start_s:g}")
    crop = cells.read("crop", box, "box left,top,right,bottom in whole pixels, such as 10,20,310,320")
    face = cells.read("face", whole, "whole number from 0 on")
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
