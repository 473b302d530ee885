"""What goes wrong by a user's mistake, and the boundary at which a library's errors become such."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parent)
OURS = (NameError, AttributeError, TypeError, AssertionError, ImportError)
"""Raised by a line of this package, these are our own mistakes and not the file's."""
MAX_TEXT = 300
"""Characters of a foreign text that a message shows."""


class UserError(ValueError):
    """A mistake that the user can mend: one sentence with the value that is wrong and what would be right."""


@contextmanager
def reading(what: object, remedy: str, *, mistakes: bool = True) -> Iterator[None]:
    """The boundary of a reader: whatever a library raises within becomes a UserError that names what was read.

    `what` begins the sentence, such as `image a.png`; `remedy` ends it. Our own `mistakes` come through as they are,
    but where what was read may make any line of ours fail.
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
    """Whether a line of this package raised what only a programming error raises."""
    frames = traceback.extract_tb(error.__traceback__)
    checked = type(error).__module__.startswith("jaxtyping")  # under pytest, which checks types
    return isinstance(error, OURS) and (checked or (bool(frames) and frames[-1].filename.startswith(PACKAGE)))


def reason(error: BaseException) -> str:
    """What an error says, on one line; its type where it says nothing."""
    said = getattr(error, "strerror", None) or error  # FFmpeg's errors have one, too
    return printable(" ".join(str(said).split())) or type(error).__name__


def writable(value: Any) -> Any:
    """Plain values whose texts can be written as UTF-8: bytes of file names that are none are escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {writable(key): writable(item) for key, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list) else value


def printable(text: object, limit: int = MAX_TEXT) -> str:
    """A foreign text for a terminal: at most `limit` characters, control characters and half characters escaped."""
    said = str(text)
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in said[:limit])
    return shown + ("…" if len(said) > limit else "")


def named(what: str, path: object) -> str:
    """The beginning of a sentence on a file."""
    return f"{what} {printable(path, 1000)}"
