"""A content-addressed cache of computed tensors, in memory and on disk.

An entry's key is the SHA-256 of everything that its value depends on, contents rather than names. A wrong reuse is
worse than none: leave nothing out of `depends`. On disk an entry is `KIND/AB/ABCD….safetensors`, 64 hex digits, of one
of `KINDS`, in a folder that holds the marker `CACHEDIR.TAG`; no other file is ever read or deleted.
"""

import hashlib
import json
import logging
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from float_research.errors import UserError, printable, reason
from float_research.files import sweep_parts, whole
from float_research.tensors import read_safetensors, save_tensors

log = logging.getLogger(__name__)
KINDS = frozenset(
    {
        "crop",
        "motion_autoencoder",
        "audio_encoder",
        "emotion_encoder",
        "converged_motion",
        "fid",
        "e_fid",
        "p_fid",
        "fvd",
    }
)
"""The kinds of entries."""
MARKER = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
"""Of the Cache Directory Tagging Specification (bford.info/cachedir): backups skip such folders."""
SHELF, ENTRY = re.compile("[0-9a-f]{2}"), re.compile(r"[0-9a-f]{64}\.safetensors")
"""Names of the folders of a kind, and of the entries in them."""
TAG = f"{SIGNATURE}\n# Entries of float-research, which any run can make again.\n"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cached value: tensors on the CPU, and JSON-serialisable facts. It is shared: do not change it in place."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


_entries: OrderedDict[str, Entry] = OrderedDict()
"""The in-memory entries of this process, shared by all its runs, least recently used first."""
_unusable: set[Path] = set()
"""Folders already warned about."""


def forget() -> None:
    """Drops the in-memory entries of this process. Files stay."""
    _entries.clear()
    _unusable.clear()


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Keeps entries in memory up to `memory_mb`, and in files of `folder` up to `disk_mb`, which `trim` enforces.

    Files are safe to share: they are written atomically and carry a checksum, and a damaged one is computed again.
    Where files cannot be written, one warning is logged and only memory is used.
    """

    folder: str
    memory_mb: float
    disk_mb: float

    def __post_init__(self) -> None:
        if not self.folder.strip():
            raise UserError("cache.folder is empty; name a folder, or choose cache=none (FLOAT_CACHE_DIR may be empty)")

    @property
    def place(self) -> Path:
        return Path(os.path.expanduser(self.folder))  # unchanged if the home folder is unknown

    def get(self, kind: str, depends: Mapping[str, Any], make: Callable[[], Entry]) -> tuple[Entry, bool]:
        """Returns the entry for `depends`, computed and stored on a miss, and whether it was a hit."""
        assert kind in KINDS, f"{kind} is not a kind of entry"
        key = digest({"kind": kind, **depends})
        path = self.place / kind / key[:2] / f"{key}.safetensors"
        found = _entries.pop(key, None) or self._read(path)
        if found is None:
            made = make()
            entry = Entry(tensors={name: value.cpu() for name, value in made.tensors.items()}, facts=made.facts)
            self._write(path, entry)
        else:
            entry = found
        self._remember(key, entry)
        return entry, found is not None

    def trim(self) -> None:
        """Deletes the least recently used files beyond `disk_mb` and partial files, in a folder with our marker."""
        if not is_marked(self.place):
            return
        try:
            files = entry_files(self.place)
            excess = sum(size for _, size, _ in files) - self.disk_mb * 1e6
            for path, size, _ in sorted(files, key=lambda file: file[2]):
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                excess -= size
            for shelf in shelves(self.place):
                sweep_parts(shelf)
        except OSError as error:
            self._warn(error)

    def _remember(self, key: str, entry: Entry) -> None:
        _entries[key] = entry
        total = sum(kept.num_bytes for kept in _entries.values())
        while total > self.memory_mb * 1e6:
            total -= _entries.popitem(last=False)[1].num_bytes

    def _read(self, path: Path) -> Entry | None:
        if not self.disk_mb:
            return None
        try:
            if not path.exists():
                return None
            tensors, metadata = read_safetensors(path)
            entry = Entry(tensors=tensors, facts=json.loads(metadata["facts"]))
            if metadata["sha256"] != checksum(entry):
                raise ValueError("its checksum is wrong")
            os.utime(path)
        except PermissionError as error:
            self._warn(error)
            return None
        except (OSError, ValueError, KeyError, RecursionError) as error:
            log.warning("cache entry %s is damaged (%s); computing it again", path, error)
            return None
        return entry

    def _write(self, path: Path, entry: Entry) -> None:
        if not self.disk_mb or self.place in _unusable:
            return
        metadata = {"facts": json.dumps(entry.facts), "sha256": checksum(entry)}
        try:
            claim(self.place)
            with whole(path) as part:
                save_tensors(entry.tensors, part, metadata)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if self.place not in _unusable:
            log.warning("cache folder %s cannot be used (%s); continuing in memory only", self.place, reason(error))
        _unusable.add(self.place)


def digest(value: Any) -> str:
    """Returns the SHA-256 of nested mappings, sequences, scalars, arrays and tensors. Floats count exactly.

    Raises:
        TypeError: a value has no canonical form.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_canonical).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return [str(value.dtype), list(value.shape), hashlib.sha256(content.data).hexdigest()]
    raise TypeError(f"{type(value).__name__} cannot be part of a cache key")


def checksum(entry: Entry) -> str:
    return digest({"tensors": entry.tensors, "facts": entry.facts})


def is_marked(folder: Path) -> bool:
    """Returns whether a folder has our cache marker."""
    try:
        with (folder / MARKER).open("rb") as file:
            return file.read(len(TAG) + 1) == TAG.encode()
    except OSError:
        return False


def claim(folder: Path) -> None:
    """Marks a folder as our cache, if it is empty or holds only entries, as in version 0.1.

    Raises:
        OSError: it holds other files.
    """
    if is_marked(folder):
        return
    if str(folder).startswith("~"):
        raise OSError("the home folder is unknown")
    folder.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in folder.iterdir() if path.name not in KINDS and not path.name.startswith(".")]
    others += [path.name for kind in KINDS for path in (folder / kind).glob("*") if not SHELF.fullmatch(path.name)]
    if others and not is_marked(folder):  # unless another process marked it meanwhile
        raise OSError(f"it holds other files, such as {printable(others[0])}, so it is not a cache of float-research")
    with whole(folder / MARKER) as part:
        part.write_text(TAG, encoding="utf-8")


def shelves(folder: Path) -> list[Path]:
    """Returns the folders of entries. Links are not followed."""
    kinds = [folder / kind for kind in sorted(KINDS)]
    found = [shelf for kind in kinds if kind.is_dir() and not kind.is_symlink() for shelf in kind.iterdir()]
    return [shelf for shelf in found if SHELF.fullmatch(shelf.name) and shelf.is_dir() and not shelf.is_symlink()]


def entry_files(folder: Path) -> list[tuple[Path, int, float]]:
    """Returns path, size in bytes and time of last use of each entry."""
    found = []
    for shelf in shelves(folder):
        for path in shelf.iterdir():
            if not ENTRY.fullmatch(path.name):
                continue
            try:
                status = path.lstat()
            except FileNotFoundError:  # another process deleted it
                continue
            if stat.S_ISREG(status.st_mode):
                found.append((path, status.st_size, status.st_mtime))
    return found
