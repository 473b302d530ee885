"""Atomic writes, content hashes, file locks, and checks of names and paths."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from float_research.errors import UserError, named, printable, reason
from float_research.locks import lock
from float_research.stopping import held

PARTS = ".*.part"
"""Names of partial files: being written, or left by a killed process."""
MAX_NAME_BYTES = 255
"""The limit of a file name on most file systems; some allow less, see `name_bytes`."""
MAX_PATH_BYTES = 4000
PART_BYTES = len("..") + 32 + len(".part")
"""The bytes that a partial file's name adds to its target's."""
WINDOWS = os.name == "nt"


class Part:
    """A partial file beside `path` that becomes `path`. It is locked while it is being written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = short_name(path.name, name_bytes(path.parent) - PART_BYTES)
        self.path, self._target = path.with_name(f".{stem}.{uuid4().hex}.part"), path
        self._open = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if not WINDOWS:  # Windows does not remove open files, so it needs no lock
            with suppress(BlockingIOError):
                lock(self._open)

    def keep(self) -> None:
        """Renames it to its target."""
        if WINDOWS:
            self._close()
        os.replace(self.path, self._target)
        self._close()

    def discard(self) -> None:
        """Removes it, if it still exists."""
        if WINDOWS:
            self._close()
        self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        descriptor, self._open = self._open, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Writes a file atomically: yields a partial file, renamed to `path` at the end and removed on an exception."""
    part = None
    try:
        with held():
            part = Part(path)
        yield part.path
        with held():
            part.keep()
    finally:
        with held():
            if part is not None:
                part.discard()


def sweep_parts(folder: Path) -> None:
    """Removes partial files that killed processes left in a folder, but not those being written."""
    for path in folder.glob(PARTS):
        with suppress(OSError):  # gone, not a file, or locked by its writer
            if _is_left(path):
                path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Returns whether the lock of a partial file is free. On Windows, removing an open file fails instead."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return WINDOWS or lock(descriptor)
    finally:
        os.close(descriptor)


def inside(folder: Path, name: object) -> Path:
    """Returns the file `name` of a folder, where `name` comes from a record or another file.

    Raises:
        UserError: it is not a string, or leads out of the folder, links included.
    """
    refusal = UserError(f"{printable(repr(name))} is not a file inside {folder}; repeat the run")
    if not isinstance(name, str) or not name or "\0" in name:
        raise refusal
    try:
        place, root = (folder / name).resolve(), folder.resolve()
        long = len(os.fsencode(place)) > MAX_PATH_BYTES or max(map(len, os.fsencode(name).split(b"/"))) > MAX_NAME_BYTES
    except (OSError, RuntimeError, ValueError) as error:  # circular links, names too long, surrogates
        raise refusal from error
    if long or Path(name).is_absolute() or not place.is_relative_to(root) or place == root:
        raise refusal
    return folder / name


def short_name(stem: str, room: int) -> str:
    """Cuts `stem` to `room` bytes. A cut name ends with eight digits of its hash, to stay unique."""
    content = stem.encode(errors="surrogateescape")
    if len(content) <= room:
        return stem
    cut = content[: room - 9].decode(errors="ignore")
    return f"{cut}-{hashlib.sha256(content).hexdigest()[:8]}"


def name_bytes(folder: Path) -> int:
    """Returns the limit of a file name in a folder, existing or not: 255 bytes, or 143 where names are encrypted."""
    return _limit(folder, "PC_NAME_MAX", MAX_NAME_BYTES)


def require_path(path: Path, more: int, remedy: str) -> None:
    """Raises a UserError for a path to which the file system cannot append `more` bytes."""
    limit = _limit(path.parent, "PC_PATH_MAX", MAX_PATH_BYTES)
    if len(os.fsencode(path.absolute())) + more >= limit:
        raise UserError(f"{printable(path, 1000)} is too long: paths may have {limit - more} bytes here; {remedy}")


def _limit(folder: Path, kind: str, usual: int) -> int:
    place = folder.absolute()
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    try:
        limit = os.pathconf(place, kind)
    except (AttributeError, OSError, ValueError):  # Windows, and file systems that report no limit
        return usual
    return limit if 0 < limit < usual else usual


def present(path: str) -> str:
    """Returns `path`, or an existing path that differs only in how accents are composed (NFC or NFD)."""
    if path.isascii() or os.path.lexists(path):
        return path
    place, name = os.path.split(path.rstrip("/"))
    if not name:
        return path
    place = present(place)
    try:
        names = sorted(os.listdir(place or "."))
    except OSError:
        return path
    same = [other for other in names if composed(other) == composed(name)]
    return os.path.join(place, same[0]) if same else path


def composed(name: str) -> str:
    """Normalises a name to NFC, so that names that look the same are equal."""
    return unicodedata.normalize("NFC", name)


def require_file(path: Path, what: str, remedy: str) -> Path:
    """Returns `path` of a regular file. Raises a UserError for anything else: a pipe would block its reader."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        problem = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be used ({reason(error)})"
        raise UserError(f"{named(what, path)} {problem}; {remedy}") from error
    if not stat.S_ISREG(mode):
        problem = "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"
        raise UserError(f"{named(what, path)} {problem}; {remedy}")
    return path


def require_free(path: Path) -> None:
    """Raises a UserError if the path exists."""
    if os.path.lexists(path):
        raise UserError(f"{printable(path, 1000)} exists; give another --output, or --overwrite to replace it")


def sha256(path: Path) -> str:
    """Hashes a file's content. Raises a UserError for anything but a regular file, which may be endless."""
    with require_file(path, "file", "give the path of a file").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds an exclusive file lock. It waits for other holders; a process that dies releases its lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        lock(file.fileno(), wait=True)
        yield
