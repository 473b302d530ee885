"""Hostile text files cost no more than their size."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from float_research.errors import UserError
from float_research.texts import MAX_YAML_BYTES, count, read_json, read_text, read_yaml

ANCHORS = "a0: &a0 [x,x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1},*a{n - 1}]\n" for n in range(1, 30))
HOSTILE: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "anchors": (read_yaml, ANCHORS.encode()),
    "short alias": (read_yaml, b"a: &a 1\nb: *a\n"),
    "brackets": (read_yaml, b"[" * 200_000),
    "dashes": (read_yaml, b"- " * 100_000),
    "maps": (read_yaml, b"{a: " * 50_000),
    "python": (read_yaml, b"!!python/object/apply:os.system [id]"),
    "tag": (read_yaml, b"!x 1"),
    "long": (read_yaml, b"a: " + b"x" * MAX_YAML_BYTES),
    "digits": (read_yaml, b"a: " + b"9" * 5000),
    "base 60": (read_yaml, b"a: 1" + b":59" * 100_000),
    "unhashable": (read_yaml, b"? [1]\n: 2\n"),
    "bytes": (read_yaml, b"a: \xff\xfe"),
    "control": (read_yaml, b"a: \x00"),
    "deep": (read_json, b"[" * 200_000),
    "deep map": (read_json, b'{"a":' * 100_000),
    "half": (read_json, b'{"a": '),
    "many digits": (read_json, b"9" * 5000),
    "latin": (read_json, "é".encode("latin-1")),
    "nothing": (read_json, b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_sentence_that_names_it(name: str, tmp_path: Path) -> None:
    read, content = HOSTILE[name]
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^file .*some\.file cannot be read \(.+\); create it again") as raised:
        read(path)
    assert len(str(raised.value)) < 1000
    assert str(raised.value).isprintable()


def test_the_size_of_a_text_is_limited(tmp_path: Path) -> None:
    (tmp_path / "some.file").write_bytes(b"#" * (MAX_YAML_BYTES + 1))
    with pytest.raises(UserError, match=r"some\.file cannot be read \(it has more than 1,000,000 bytes\)"):
        read_yaml(tmp_path / "some.file")
    with pytest.raises(UserError, match=r"some\.file cannot be read \(it has more than 9 bytes\)"):
        read_text(tmp_path / "some.file", max_bytes=9)


def test_anything_but_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in {
        tmp_path: "is a folder",
        tmp_path / "pipe": "is not a regular file",
        tmp_path / "nothing": "does not exist",
        Path("/dev/zero"): "is not a regular file",
        tmp_path / ("x" * 300): "cannot be used",
        tmp_path / "a\0b": "cannot be used",
    }.items():
        with pytest.raises(UserError, match=said):
            read_text(path)


def test_plain_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("\ufeffa: {b: [1, 2.5, text, null, true]}\nc: '*x & y'\n", encoding="utf-8")
    assert read_yaml(path) == {"a": {"b": [1, 2.5, "text", None, True]}, "c": "*x & y"}
    path.write_text('{"a": [1, NaN]}')
    assert read_json(path)["a"][0] == 1


def test_a_count_has_its_noun_in_singular_or_plural() -> None:
    assert [count(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [count(number, "entry") for number in (1, 2)] == ["1 entry", "2 entries"]
    assert count(12, "recording and portrait") == "12 recordings and portraits"
