"""When phones are spoken in a recording."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from float_research.errors import UserError, named, reading
from float_research.texts import read_text
from float_research.types import Waveform

BILABIALS = ("B", "M", "P")
COLUMNS = ("id", "phone", "start_s", "end_s")
REMEDY = f"give a CSV file with the columns {', '.join(COLUMNS)}, such as one written from a forced alignment"


class SpokenPhone(NamedTuple):
    """A phone and its times in seconds."""

    phone: str
    start_s: float
    end_s: float

    @property
    def is_bilabial(self) -> bool:
        """Whether the lips must meet: m, b and p in ARPAbet or IPA."""
        return self.phone.upper() in BILABIALS


@runtime_checkable
class PhoneTimes(Protocol):
    """Knows the phones of some recordings."""

    def __call__(self, waveform: Waveform, rate_hz: int, /) -> Sequence[tuple[Any, ...]] | None:
        """Returns label, start and end in seconds, and more, of each phone of a recording; None if it is unknown."""


def read_alignment(path: Path, clip_id: str) -> list[SpokenPhone]:
    """Reads the phones of one clip. Raises a UserError for a file that is not such a table, or has no such clip."""
    what = "metrics.lips.alignment"
    rows = csv.DictReader(io.StringIO(read_text(path, what=what, remedy=REMEDY), newline=""))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise UserError(f"{named(what, path)} has no column {missing[0]}; {REMEDY}")
    found = []
    with reading(f"{what} {path}", REMEDY):
        for row in rows:
            if row["id"] == clip_id:
                start, end = float(row["start_s"]), float(row["end_s"])
                if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
                    raise ValueError(f"a phone lasts from {start} to {end} s")
                found.append(SpokenPhone(row["phone"].strip(), start, end))
    if not found:
        raise UserError(f"{named(what, path)} has no phone of clip {clip_id}; its column id holds the names of clips")
    return found
