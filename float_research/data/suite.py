"""Suites: named, versioned lists of portraits and recordings with the hashes of their content."""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from float_research.data.clips import ClipSource, pair_id
from float_research.data.manifest import MAX_BYTES, decode
from float_research.errors import UserError, named, printable, reading, writable
from float_research.files import present, sha256, whole
from float_research.program import command
from float_research.texts import read_bytes, read_yaml
from float_research.types import Clip

PORTRAITS, RECORDINGS = "portraits", "recordings"
KINDS = {"portrait": PORTRAITS, "recording": RECORDINGS}
"""Kinds in the rows of a CSV file, and their lists in a YAML file."""
COLUMNS = ("kind", "file", "sha256")
MAX_NAME = 100
WHAT = "data.file"


@dataclass(frozen=True)
class Listed:
    """A file of a suite, and the hash that it must have."""

    file: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SuiteList:
    """What a file says of a suite. `notes`: on how the file was read."""

    name: str
    version: str
    portraits: Sequence[Listed]
    recordings: Sequence[Listed]
    notes: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of the files' contents and stems, which clips are named after; their order does not count."""
        content = [
            sorted((item.file.stem, item.sha256) for item in files) for files in (self.portraits, self.recordings)
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Suite(ClipSource):
    """Every portrait with every recording that `file` lists, a YAML or CSV file; `float-research suite` writes one.

    YAML: `name`, `version`, and the lists `portraits` and `recordings` of entries `{file: PATH, sha256: HASH}`. CSV:
    the columns `kind` (portrait or recording), `file` and `sha256`; its name is that of the file, its version `1`.
    Paths are relative to the file's folder. A file with another hash is an error.
    """

    file: str

    remedy = "rename a file of the suite"

    @property
    def where(self) -> str:
        return f" in {printable(self.file, 1000)}"

    def pairs(self) -> Iterator[Clip]:
        suite = self._read
        for kind, files in (("portrait", suite.portraits), ("recording", suite.recordings)):
            for item in files:
                require_content(kind, item, Path(self.file))
        for recording in suite.recordings:
            for portrait in suite.portraits:
                image, audio = portrait.file, recording.file
                yield Clip(id=pair_id(image, audio), image=image, audio=audio)

    def notes(self) -> list[str]:
        return list(self._read.notes)

    def suite(self) -> Mapping[str, str]:
        return {"name": self._read.name, "version": self._read.version, "sha256": self._read.digest}

    @cached_property
    def _read(self) -> SuiteList:
        return read_suite(Path(present(self.file)))


def require_content(kind: str, item: Listed, suite: Path) -> None:
    """Raises a UserError if a file is missing or does not have the hash that its suite lists."""
    remedy = f"restore it, or list the files again with {command('suite')}, as another version"
    if not item.file.is_file():
        raise UserError(f"{named(kind, item.file)} of the suite {printable(suite, 1000)} does not exist; {remedy}")
    if (found := sha256(item.file)) != item.sha256:
        raise UserError(
            f"{named(kind, item.file)} has the sha256 {found}, but {printable(suite, 1000)} expects {item.sha256}; "
            f"{remedy}"
        )


def read_suite(path: Path) -> SuiteList:
    """Reads a suite, without its portraits and recordings.

    Raises:
        UserError: the file is not such a list.
    """
    remedy = f"{command('suite')} writes one"
    if path.suffix.lower() == ".csv":
        content = read_bytes(path, what=WHAT, remedy=remedy, max_bytes=MAX_BYTES)
        with reading(f"{WHAT} {path}", remedy):
            text, notes = decode(content, path)
            held = _from_csv(path, text)
    else:
        held, notes = read_yaml(path, what=WHAT, remedy=remedy), []
    name = named(WHAT, path)
    known = {"name", "version", PORTRAITS, RECORDINGS}
    if not isinstance(held, dict) or held.keys() != known:
        raise UserError(f"{name} is no suite: it must have {', '.join(sorted(known))} and nothing else; {remedy}")
    for key in ("name", "version"):
        value = held[key]
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
            raise UserError(
                f"{name}: {key}={printable(value)} must be a text in quotes, of at most {MAX_NAME} characters"
            )
    return SuiteList(
        name=held["name"],
        version=held["version"],
        notes=notes,
        **{key: _listed(held[key], key, path) for key in KINDS.values()},
    )


def _from_csv(path: Path, text: str) -> dict[str, Any]:
    """Returns the rows of a CSV file as the mapping that a YAML file holds."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
    if sorted(columns) != sorted(COLUMNS):
        shown = printable(", ".join(columns) or "none")
        raise UserError(f"{named(WHAT, path)} has the columns {shown}; it needs {', '.join(COLUMNS)}")
    held: dict[str, Any] = {"name": path.stem, "version": "1", PORTRAITS: [], RECORDINGS: []}
    for row in reader:
        kind = row.pop("kind")
        if kind not in KINDS:
            raise UserError(
                f"{named(WHAT, path)}, line {reader.line_num}: kind={printable(kind)} must be portrait or recording"
            )
        held[KINDS[kind]].append(row)
    return held


def _listed(entries: Any, key: str, path: Path) -> list[Listed]:
    name = named(WHAT, path)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{name} lists no {key}; add at least one, as in {{file: a.png, sha256: …}}")
    found = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or entry.keys() != {"file", "sha256"} or not isinstance(entry["file"], str):
            raise UserError(f"{name}: entry {number} of {key} must have file and sha256, and nothing else")
        digest = str(entry["sha256"]).strip().lower()
        if not entry["file"] or not re.fullmatch("[0-9a-f]{64}", digest):
            raise UserError(
                f"{name}: sha256={printable(digest, 80)} of {printable(entry['file'] or 'an unnamed file')} is not a "
                "hash of 64 hexadecimal digits"
            )
        found.append(Listed(Path(present(str(path.parent / entry["file"]))), digest))
    return found


def write_suite(path: Path, *, name: str, version: str, portraits: Sequence[Path], recordings: Sequence[Path]) -> None:
    """Writes a suite as YAML, or as CSV without name and version, with paths relative to its folder.

    Raises:
        UserError: two files give their clips the same name, a name is no UTF-8, or a file cannot be read.
    """
    files = {PORTRAITS: portraits, RECORDINGS: recordings}
    for key, paths in files.items():
        stems = [file.stem for file in paths]
        if twice := [stem for stem in stems if stems.count(stem) > 1]:
            raise UserError(f"two {key} are called {printable(twice[0])}, and clips are named after them; rename one")
    held = {
        key: [{"file": _relative(file, path), "sha256": sha256(file)} for file in paths] for key, paths in files.items()
    }
    with whole(path) as part:
        if path.suffix.lower() == ".csv":
            with part.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, COLUMNS)
                table.writeheader()
                table.writerows({"kind": kind, **item} for kind in KINDS for item in held[KINDS[kind]])
        else:
            content = {"name": name, "version": version, **held}
            part.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8")


def _relative(file: Path, suite: Path) -> str:
    place = Path(os.path.relpath(file.absolute(), suite.absolute().parent)).as_posix()
    if writable(place) != place:
        raise UserError(f"{named('file', file)} has a name that is not UTF-8; rename it")
    return place
