"""Files that appear whole or not at all, and are known by their content; places for one process at a time."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PARTS = ".*.part"
"""Names of files that are not whole yet, or were left so by a process that was killed."""


def part_of(path: Path) -> Path:
    """Where to write what shall become `path`: beside it, under a name that no other process takes."""
    return path.with_name(f".{path.name}.{uuid4().hex}.part")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to. It takes the name `path` at the end, and is gone after an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until nobody else is inside by the same file. A process that dies leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
