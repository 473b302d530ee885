"""User errors, the conversion of library errors into them, and the escaping of foreign text."""

import difflib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parent)
OURS = (NameError, AttributeError, TypeError, AssertionError, ImportError)
"""Raised by a line of this package, these are bugs and not damaged files."""
STOP, SKIP = "stop", "skip"
"""What a run does if a clip's own file or setting is invalid: stop, or render the other clips."""
MAX_TEXT = 300
"""Characters of foreign text shown in a message."""


class UserError(ValueError):
    """A mistake that the user can correct: one sentence with the wrong value and the remedy."""


@contextmanager
def reading(what: object, remedy: str, *, mistakes: bool = True) -> Iterator[None]:
    """Turns any exception that a library raises while reading a file into a UserError that names the file.

    `what` begins the sentence, such as `image a.png`; `remedy` ends it. Bugs in this package (`mistakes`) are raised
    unchanged; false where the content of the file may make any line of ours fail.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if mistakes and is_our_mistake(error):
            raise
        raise UserError(f"{printable(what, 1000)} cannot be read ({reason(error)}); {remedy}") from error


def is_our_mistake(error: BaseException) -> bool:
    """Returns whether a line of this package raised an exception that indicates a bug."""
    frames = traceback.extract_tb(error.__traceback__)
    checked = type(error).__module__.startswith("jaxtyping")  # shapes are checked under pytest
    return isinstance(error, OURS) and (checked or (bool(frames) and frames[-1].filename.startswith(PACKAGE)))


def reason(error: BaseException) -> str:
    """Returns an error's message on one line, or its type if it has none."""
    said = getattr(error, "strerror", None) or error  # FFmpeg's errors have it too
    return printable(" ".join(str(said).split())) or type(error).__name__


def writable(value: Any) -> Any:
    """Escapes bytes of file names that are not UTF-8, in a string or nested in plain values."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {writable(key): writable(item) for key, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list) else value


def printable(text: object, limit: int = MAX_TEXT) -> str:
    """Makes foreign text safe for a terminal: at most `limit` characters, control characters and surrogates escaped."""
    said = str(text)
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in said[:limit])
    return shown + ("…" if len(said) > limit else "")


def named(what: str, path: object) -> str:
    """Returns the beginning of an error sentence about a file."""
    return f"{what} {printable(path, 1000)}"


def guess(word: str, words: Sequence[str]) -> str:
    """Returns the closest of some words, in parentheses, or nothing."""
    close = difflib.get_close_matches(word.lower(), words, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
