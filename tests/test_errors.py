"""Readers turn a library's errors into sentences, but not our own bugs."""

import json
import struct

import pytest

from float_research.errors import UserError, is_our_mistake, printable, reading
from float_research.texts import parse_yaml


@pytest.mark.parametrize(
    "error", [KeyError("x"), IndexError(), struct.error("no"), RecursionError(), MemoryError(), OSError(28, "full")]
)
def test_a_library_error_names_the_file(error: Exception) -> None:
    with (
        pytest.raises(UserError, match=r"^image a\.png cannot be read \(.+\); convert it$") as raised,
        reading("image a.png", "convert it"),
    ):
        raise error
    assert raised.value.__cause__ is error


def test_a_user_error_is_raised_unchanged() -> None:
    with pytest.raises(UserError, match=r"^it is red$"), reading("a", "b"):
        raise UserError("it is red")


def test_our_own_bugs_are_raised_unchanged() -> None:
    with pytest.raises((AttributeError, TypeError)), reading("a", "b"):
        parse_yaml(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError) as raised:
        json.loads(3)  # type: ignore[arg-type]
    assert not is_our_mistake(raised.value), "raised by a line of the library"


def test_foreign_texts_are_cut_and_escaped() -> None:
    assert printable("a\x1b[31m\n\ud800é") == "a\\x1b[31m\\n\\ud800é"
    assert printable("x" * 999) == "x" * 300 + "…"
