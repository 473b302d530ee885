"""What was computed from the same inputs is not computed again, in this process or, through files, in another.

An entry's key is the SHA-256 of everything that its value depends on, contents rather than names. A wrong reuse is
worse than none: leave nothing out of `depends`.
"""

import hashlib
import inspect
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from float_research.files import PARTS, whole

log = logging.getLogger(__name__)
ABANDONED_S = 3600
"""Age past which a half-written file is no other process's work any more."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cached value: tensors on the CPU, and facts that fit into JSON. It is shared: do not change it in place."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


_entries: OrderedDict[str, Entry] = OrderedDict()
"""The memory of this process, shared by all its runs, the longest unused first."""
_unusable: set[Path] = set()
"""Folders that a warning was given of."""


def forget() -> None:
    """Empties the memory of this process. Files stay."""
    _entries.clear()
    _unusable.clear()


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Entries in memory up to `memory_mb`, and in files of `folder` up to `disk_mb`, which `trim` sees to.

    Files are safe to share: they appear whole, carry a checksum, and one that is damaged is made anew. Where files
    cannot be written, a warning says so once, and memory alone serves.
    """

    folder: str
    memory_mb: float
    disk_mb: float

    @property
    def place(self) -> Path:
        return Path(self.folder).expanduser()

    def get(self, kind: str, depends: Mapping[str, Any], make: Callable[[], Entry]) -> tuple[Entry, bool]:
        """The entry of `kind` that depends on `depends`, made and kept if need be, and whether it was there."""
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
        """Deletes the files that were longest unused until the rest keeps to `disk_mb`, and abandoned halves."""
        try:
            files = entry_files(self.place)
            excess = sum(size for _, size, _ in files) - self.disk_mb * 1e6
            for path, size, _ in sorted(files, key=lambda file: file[2]):
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                excess -= size
            for part in self.place.rglob(PARTS):
                if time.time() - part.stat().st_mtime > ABANDONED_S:
                    part.unlink(missing_ok=True)
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
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                entry = Entry(
                    tensors={name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118, a handle, no dict
                    facts=json.loads(metadata["facts"]),
                )
            if metadata["sha256"] != checksum(entry):
                raise ValueError("its checksum is wrong")
            os.utime(path)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            self._warn(error)
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("cache entry %s is damaged (%s) and made anew", path, error)
            return None
        return entry

    def _write(self, path: Path, entry: Entry) -> None:
        if not self.disk_mb or self.place in _unusable:
            return
        metadata = {"facts": json.dumps(entry.facts), "sha256": checksum(entry)}
        try:
            with whole(path) as part:
                part.write_bytes(save({name: value.contiguous() for name, value in entry.tensors.items()}, metadata))
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if self.place not in _unusable:
            reason = error.strerror or error
            log.warning("the cache %s cannot be used (%s); going on without its files", self.place, reason)
        _unusable.add(self.place)


def digest(value: Any) -> str:
    """SHA-256 of a value made of mappings, sequences, scalars, arrays and tensors. Floats count by their exact value.

    Raises:
        TypeError: something in it has no canonical form.
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


def sources(*parts: object) -> str:
    """SHA-256 of this package's code and of the files that define these parts, so that edited code computes anew."""
    package = sorted(Path(__file__).parent.rglob("*.py"))
    others = {Path(inspect.getfile(type(part))) for part in parts} - set(package)
    return _sources(tuple((path, path.stat().st_mtime_ns) for path in [*package, *sorted(others)]))


@lru_cache(maxsize=16)
def _sources(files: Iterable[tuple[Path, int]]) -> str:
    return digest([hashlib.sha256(path.read_bytes()).hexdigest() for path, _ in files])


def entry_files(folder: Path) -> list[tuple[Path, int, float]]:
    """Path, size in bytes and time of last use of each entry."""
    found = []
    for path in folder.glob("*/*/*.safetensors"):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process deleted it
            continue
        found.append((path, status.st_size, status.st_mtime))
    return found
