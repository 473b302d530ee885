"""Text files as data: bounded in size, depth and references, so that no file takes a reader's memory or stack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from float_research.errors import UserError, named, printable, reading
from float_research.files import require_file

MAX_BYTES, MAX_YAML_BYTES = 200_000_000, 1_000_000
"""A record of 50,000 clips has some 100 MB, a config some 10 kB."""
MAX_DEPTH, MAX_SCALAR = 64, 10_000
AGAIN = "make it again, or delete it"


def read_text(path: Path, *, what: str = "file", remedy: str = AGAIN, max_bytes: int = MAX_BYTES) -> str:
    """A text file, whole. Raises a UserError for what is no file, no UTF-8, or larger than `max_bytes`."""
    content = read_bytes(path, what=what, remedy=remedy, max_bytes=max_bytes)
    with reading(f"{what} {path}", remedy):
        return content.decode("utf-8-sig")


def read_bytes(path: Path, *, what: str, remedy: str, max_bytes: int) -> bytes:
    """A file, whole. Raises a UserError for what is no file, or larger than `max_bytes`."""
    require_file(path, what, remedy)
    with reading(f"{what} {path}", remedy):
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ValueError(f"it has more than {max_bytes:,} bytes")
        return content


def read_json(path: Path, *, what: str = "file", remedy: str = AGAIN) -> Any:
    """A JSON file; a UserError where it is none, or nested too deeply."""
    text = read_text(path, what=what, remedy=remedy)
    with reading(f"{what} {path}", remedy):
        return json.loads(text)


def read_yaml(path: Path, *, what: str = "file", remedy: str = AGAIN) -> Any:
    """A YAML file of plain values; a UserError where it is none, has aliases, or is nested too deeply."""
    text = read_text(path, what=what, remedy=remedy, max_bytes=MAX_YAML_BYTES)
    with reading(f"{what} {path}", remedy):
        return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Aliases are refused, since a few lines of them stand for gigabytes."""
    if len(text) > MAX_DEPTH or "*" in text:  # one that is shorter is not deeper
        check_events(yaml.parse(text, yaml.CSafeLoader))
    return yaml.load(text, yaml.CSafeLoader)


def check_events(events: Iterator[Any]) -> None:
    """Raises a ValueError for aliases, more than `MAX_DEPTH` levels, before libyaml's own stack ends, and values whose
    digits would take minutes.
    """
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has an alias, *{printable(event.anchor, 40)}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise ValueError(f"it has a value of {len(event.value):,} characters")


def read_mapping(path: Path, *, what: str = "file", remedy: str = AGAIN) -> dict[str, Any]:
    """A JSON file that holds a mapping."""
    content = read_json(path, what=what, remedy=remedy)
    if not isinstance(content, dict):
        raise UserError(f"{named(what, path)} holds no mapping; {remedy}")
    return content
