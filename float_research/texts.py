"""Text files read as data: bounded in size, depth and references, so that no file exhausts memory or the stack."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from float_research.errors import UserError, named, printable, reading
from float_research.files import require_file

MAX_BYTES, MAX_YAML_BYTES = 200_000_000, 1_000_000
"""A record of 50,000 clips has about 100 MB, a config about 10 kB."""
MAX_DEPTH, MAX_SCALAR = 64, 10_000
AGAIN = "create it again, or delete it"


def count(number: int, name: str) -> str:
    """Returns `3 recordings`, `1 seed`, `2 entries`, `12 recordings and portraits`."""
    if number != 1:
        name = " and ".join(re.sub("ry$", "rie", each) + "s" for each in name.split(" and "))
    return f"{number} {name}"


def read_text(path: Path, *, what: str = "file", remedy: str = AGAIN, max_bytes: int = MAX_BYTES) -> str:
    """Reads a whole text file. Raises a UserError if it is not a file, not UTF-8, or larger than `max_bytes`."""
    content = read_bytes(path, what=what, remedy=remedy, max_bytes=max_bytes)
    with reading(f"{what} {path}", remedy):
        return content.decode("utf-8-sig")


def read_bytes(path: Path, *, what: str, remedy: str, max_bytes: int) -> bytes:
    """Reads a whole file. Raises a UserError if it is not a file, or larger than `max_bytes`."""
    require_file(path, what, remedy)
    with reading(f"{what} {path}", remedy):
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ValueError(f"it has more than {max_bytes:,} bytes")
        return content


def read_json(path: Path, *, what: str = "file", remedy: str = AGAIN) -> Any:
    """Reads a JSON file. Raises a UserError if it is not JSON, or nested too deeply."""
    text = read_text(path, what=what, remedy=remedy)
    with reading(f"{what} {path}", remedy):
        return json.loads(text)


def read_yaml(path: Path, *, what: str = "file", remedy: str = AGAIN) -> Any:
    """Reads a YAML file of plain values. Raises a UserError if it is not YAML, has aliases, or is nested too deeply."""
    text = read_text(path, what=what, remedy=remedy, max_bytes=MAX_YAML_BYTES)
    with reading(f"{what} {path}", remedy):
        return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """Parses YAML. Aliases are refused, since a few lines of them can expand to gigabytes."""
    if len(text) > MAX_DEPTH or "*" in text:  # a shorter text cannot be too deep
        check_events(yaml.parse(text, yaml.CSafeLoader))
    return yaml.load(text, yaml.CSafeLoader)


def check_events(events: Iterator[Any]) -> None:
    """Raises a ValueError for aliases, for more than `MAX_DEPTH` levels, which could overflow libyaml's stack, and for
    scalars so long that parsing their digits would take minutes.
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
    """Reads a JSON file that holds a mapping."""
    content = read_json(path, what=what, remedy=remedy)
    if not isinstance(content, dict):
        raise UserError(f"{named(what, path)} does not hold a mapping; {remedy}")
    return content
