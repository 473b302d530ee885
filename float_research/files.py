"""Files that appear whole or not at all, and are known by their content; paths that stay inside a folder."""

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
"""Names of files that are not whole yet, or were left so by a process that was killed."""
MAX_NAME_BYTES = 255
"""Of a file name, on most file systems; some take fewer, see `name_bytes`."""
MAX_PATH_BYTES = 4000
PART_BYTES = len("..") + 32 + len(".part")
"""Of a part's name, beside its target's."""
WINDOWS = os.name == "nt"


class Part:
    """A place beside `path` to write what shall become `path`. Its lock tells other processes that it is at work."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = short_name(path.name, name_bytes(path.parent) - PART_BYTES)
        self.path, self._target = path.with_name(f".{stem}.{uuid4().hex}.part"), path
        self._open = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if not WINDOWS:  # where a file that is open cannot be removed, which is lock enough
            with suppress(BlockingIOError):
                lock(self._open)

    def keep(self) -> None:
        """Lets it take its name."""
        if WINDOWS:
            self._close()
        os.replace(self.path, self._target)
        self._close()

    def discard(self) -> None:
        """Removes what is left of it, if anything is."""
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
    """A place beside `path` to write to. It takes the name `path` at the end, and is gone after an exception."""
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
    """Removes what killed processes left half-written in a folder. Parts that are being written stay."""
    for path in folder.glob(PARTS):
        with suppress(OSError):  # gone, no file of ours, or somebody is at work there
            if _is_left(path):
                path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Whether a part's process is gone, as far as a lock tells; Windows tells when it is to be removed."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return WINDOWS or lock(descriptor)
    finally:
        os.close(descriptor)


def inside(folder: Path, name: object) -> Path:
    """The file `name` of a folder, where `name` comes from a record or another file.

    Raises:
        UserError: it is no text, or leads out of the folder, be it by a link.
    """
    told = UserError(f"{printable(repr(name))} is no file inside {folder}; make the run again")
    if not isinstance(name, str) or not name or "\0" in name:
        raise told
    try:
        place, root = (folder / name).resolve(), folder.resolve()
        long = len(os.fsencode(place)) > MAX_PATH_BYTES or max(map(len, os.fsencode(name).split(b"/"))) > MAX_NAME_BYTES
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, names too long, half characters
        raise told from error
    if long or Path(name).is_absolute() or not place.is_relative_to(root) or place == root:
        raise told
    return folder / name


def short_name(stem: str, room: int) -> str:
    """`stem` cut to `room` bytes. What is cut keeps its own name by eight digits of its hash."""
    content = stem.encode(errors="surrogateescape")
    if len(content) <= room:
        return stem
    cut = content[: room - 9].decode(errors="ignore")
    return f"{cut}-{hashlib.sha256(content).hexdigest()[:8]}"


def name_bytes(folder: Path) -> int:
    """How many bytes a name may have in a folder, be it there or not: 255, or 143 where names are encrypted."""
    return _limit(folder, "PC_NAME_MAX", MAX_NAME_BYTES)


def require_path(path: Path, more: int, remedy: str) -> None:
    """Raises a UserError for a path to which the file system does not take `more` bytes."""
    limit = _limit(path.parent, "PC_PATH_MAX", MAX_PATH_BYTES)
    if len(os.fsencode(path.absolute())) + more >= limit:
        raise UserError(f"{printable(path, 1000)} is too long: paths may have {limit - more} bytes here; {remedy}")


def _limit(folder: Path, kind: str, usual: int) -> int:
    place = folder.absolute()
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    try:
        limit = os.pathconf(place, kind)
    except (AttributeError, OSError, ValueError):  # Windows, and file systems that do not tell
        return usual
    return limit if 0 < limit < usual else usual


def present(path: str) -> str:
    """`path`, or what is there instead by a name that differs only in how accents are composed (NFC or NFD)."""
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
    """A name with its accents composed (NFC), so that names that look the same are the same."""
    return unicodedata.normalize("NFC", name)


def require_file(path: Path, what: str, remedy: str) -> Path:
    """`path`, where it is a regular file; a UserError for what is none, such as a pipe, which would block a reader."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        problem = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be used ({reason(error)})"
        raise UserError(f"{named(what, path)} {problem}; {remedy}") from error
    if not stat.S_ISREG(mode):
        problem = "is a folder" if stat.S_ISDIR(mode) else "is no regular file"
        raise UserError(f"{named(what, path)} {problem}; {remedy}")
    return path


def sha256(path: Path) -> str:
    """Hash of a file's content. Raises a UserError for what is no regular file, and may have no end."""
    with require_file(path, "file", "give the path of a file").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until nobody else is inside by the same file. A process that dies leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        lock(file.fileno(), wait=True)
        yield
