"""Watches a process from within: forbidden actions, forbidden changes, and memory."""

import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "pty.spawn")
NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
CHANGES = {
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
    "shutil.copyfile": (1,),
}
"""Audit event → the arguments that are changed paths."""
WITHIN = ("os.remove", "os.rmdir", "os.mkdir")
"""Events whose last argument may be the descriptor of the path's folder."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SAFE_PICKLES = ("torch", "numpy", "collections", "_codecs")
OUTSIDE = "outside"
"""The canary's folder, next to that of a case."""
DEVICES = ("/dev/null", "/dev/tty", "/proc/self/", "/dev/shm/")
FOREIGN = "evil"
"""The prefix of an attack's own modules."""


class Watch:
    """Records every event that no reader needs. Only changes inside `allowed` are permitted."""

    def __init__(self, allowed: Sequence[Path], *, programs: bool) -> None:
        self._allowed = [os.path.realpath(place) for place in allowed]
        self._programs = programs
        self.events: list[str] = []
        self._busy = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            told = self._forbidden(event, arguments)
        finally:
            self._busy = False
        if told:
            self.events.append(told[:300])

    def _forbidden(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if (event in PROGRAMS and self._programs) or event in NETWORK:
            local = event.startswith("socket") and isinstance(arguments[-1], (str, bytes))  # a socket in a file
            return None if local else f"{event} {arguments!r}"
        if event == "import" and str(arguments[0]).startswith(FOREIGN):
            return f"import of {arguments[0]}"
        if event == "pickle.find_class" and not str(arguments[0]).startswith(SAFE_PICKLES):
            return f"unpickling of {arguments[0]}.{arguments[1]}"
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            return self._outside(event, arguments[0])
        places = CHANGES.get(event, ())
        anchor = arguments[-1] if event in WITHIN and isinstance(arguments[-1], int) and arguments[-1] >= 0 else None
        return next((told for place in places if (told := self._outside(event, arguments[place], anchor))), None)

    def _outside(self, event: str, place: Any, anchor: int | None = None) -> str | None:
        if not isinstance(place, (str, bytes, os.PathLike)):
            return None
        name = os.fsdecode(place)
        if anchor is not None:
            name = os.path.join(os.path.realpath(f"/proc/self/fd/{anchor}"), name)
        if name.startswith(DEVICES):
            return None
        parent = os.path.realpath(os.path.dirname(os.path.abspath(name)))
        inside = any(parent == root or parent.startswith(root + "/") for root in self._allowed)
        return None if inside or os.path.realpath(name) in self._allowed else f"{event} of {name}"


def lay_canary(folder: Path) -> None:
    """Writes files that must not change, with the names that attacks aim at."""
    for name in ("settings.json", "settings.mp4", "notes.txt", "models/FLOAT/float.safetensors", "x.json", "x.mp4"):
        path = folder / OUTSIDE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the user's {name}")


def canary_state(folder: Path) -> str:
    """Returns a hash of all names, contents and times in the canary's folder."""
    digest = hashlib.sha256()
    for path in sorted((folder / OUTSIDE).rglob("*")):
        status = path.lstat()
        digest.update(f"{path.name} {status.st_mode} {status.st_mtime_ns if path.is_file() else 0}\n".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def begin_peak() -> float:
    """Resets the process's peak memory; returns its current memory, in MB."""
    with suppress(OSError):  # without permission, the peak covers the whole process
        Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Returns the peak memory since `begin_peak`, in MB."""
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1e3
    raise AssertionError(f"/proc/self/status has no {name}")
