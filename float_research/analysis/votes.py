"""Files of votes from the blind page, checked against the sweep that they are of."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from float_research.analysis.blind import Ballot
from float_research.errors import UserError, printable, reading
from float_research.files import require_file

COLUMNS = ["page", "rater", "order", "clip", "seed", "left", "right", "choice", "seconds"]
LEFT, RIGHT, SAME = CHOICES = ("left", "right", "same")
MAX_BYTES = 100_000_000
RATER, ORDER = re.compile(r"[0-9a-f]{16}"), re.compile(r"[1-9][0-9]{0,8}")
REMEDY = "save the votes on the blind page again"


def read_votes(paths: Sequence[Path], ballot: Ballot) -> pd.DataFrame:
    """Returns a row per vote, with the columns of the file and `first`, `second` and `value`.

    `first` and `second` are the settings in the order of the sweep. `value` is 1 if the first was preferred, -1 if the
    second was, and 0 for no difference.

    Raises:
        UserError: a file is no file of votes, or a vote is of another page, unknown, invalid or given twice.
    """
    tables = [_read(path) for path in paths]
    order = {setting: place for place, setting in enumerate(ballot.rows)}
    seen: dict[tuple[str, ...], str] = {}
    rows: list[dict[str, object]] = []
    for path, table in zip(paths, tables, strict=True):
        for number, vote in enumerate(table, 1):
            where = f"vote {number} of {printable(path, 1000)}"
            own = {name: value.removeprefix("'") for name, value in vote.items()}  # which guards formulas
            own |= {name: vote[name] for name in ("clip", "seed") if vote[name] in _names(ballot, name)}
            own |= {name: vote[name] for name in (LEFT, RIGHT) if vote[name] in order}
            _check(own, where, ballot)
            first, second = sorted((own[LEFT], own[RIGHT]), key=order.__getitem__)
            key = (own["rater"], own["clip"], own["seed"], first, second)
            if key in seen:
                raise UserError(
                    f"{where} repeats {seen[key]}: rater {own['rater']} judged {first} and {second} of "
                    f"{_said(own)} twice; give each vote once, and of a browser's files only the last"
                )
            seen[key] = where
            preferred = own.get(own["choice"])
            value = 0 if preferred is None else 1 if preferred == first else -1
            rows.append({**own, "seconds": float(own["seconds"]), "first": first, "second": second, "value": value})
    if not rows:
        raise UserError(
            f"{', '.join(printable(path, 1000) for path in paths)}: there are no votes; vote on the blind page"
        )
    return pd.DataFrame(rows)


def _read(path: Path) -> list[dict[str, str]]:
    require_file(path, "votes", REMEDY)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"votes {printable(path, 1000)} have more than {MAX_BYTES // 10**6} MB; {REMEDY}")
    with reading(f"votes {path}", REMEDY), path.open(encoding="utf-8-sig", newline="") as opened:
        head, *lines = list(csv.reader(opened, strict=True)) or [[]]
    if head != COLUMNS:
        raise UserError(
            f"votes {printable(path, 1000)} have the columns {printable(', '.join(head)) or '(none)'} instead of "
            f"{', '.join(COLUMNS)}; {REMEDY}"
        )
    for number, line in enumerate(lines, 1):
        if len(line) != len(COLUMNS):
            raise UserError(
                f"vote {number} of {printable(path, 1000)} has {len(line)} of {len(COLUMNS)} columns; {REMEDY}"
            )
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines]


def _names(ballot: Ballot, name: str) -> frozenset[str]:
    return frozenset(getattr(scene, name) for own in ballot.rows.values() for scene in own)


def _check(vote: dict[str, str], where: str, ballot: Ballot) -> None:
    """Raises a UserError for a vote that is invalid or not of the ballot."""
    if vote["page"] != ballot.page:
        raise UserError(
            f"{where} is of the page {_shown(vote['page'])}, but the sweep's is {ballot.page}: it is another sweep, "
            "or has changed since; give the sweep that was judged"
        )
    for side in (LEFT, RIGHT):
        if vote[side] not in ballot.rows:
            known = printable("; ".join(ballot.rows))
            raise UserError(f"{where}: {_shown(vote[side])} is no setting of the sweep, which has {known}; {REMEDY}")
    if not ballot.rivals(vote[LEFT], vote[RIGHT], vote["clip"], vote["seed"]) or vote[LEFT] == vote[RIGHT]:
        raise UserError(
            f"{where}: the sweep has no {_said(vote)} in {printable(vote[LEFT])} and another setting "
            f"{printable(vote[RIGHT])}; {REMEDY}"
        )
    if vote["choice"] not in CHOICES:
        raise UserError(f"{where}: choice {_shown(vote['choice'])} is none of {', '.join(CHOICES)}; {REMEDY}")
    for name, form in (("rater", RATER), ("order", ORDER)):
        if not form.fullmatch(vote[name]):
            raise UserError(f"{where}: {name} {_shown(vote[name])} is invalid; {REMEDY}")
    if not 0 <= _number(vote["seconds"]) < math.inf:
        raise UserError(f"{where}: seconds {_shown(vote['seconds'])} is no time; {REMEDY}")


def _shown(text: str) -> str:
    return printable(text) or "(empty)"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _said(vote: dict[str, str]) -> str:
    return f"clip {printable(vote['clip'])}" + (f" with seed {printable(vote['seed'])}" if vote["seed"] else "")
