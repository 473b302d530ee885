"""The cache: no wrong reuse, and a broken cache only costs speed."""

import logging
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from float_research import cache
from float_research.cache import Cache, Entry, digest, entry_files
from float_research.errors import UserError

VALUE = torch.arange(6.0).reshape(2, 3)


@pytest.fixture(autouse=True)
def fresh_memory() -> Iterator[None]:
    cache.forget()
    yield
    cache.forget()


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    return Cache(folder=str(tmp_path / "cache"), memory_mb=1, disk_mb=1)


def make() -> Entry:
    return Entry(tensors={"value": VALUE.clone(), "half": VALUE.bfloat16()}, facts={"who": "me", "score": 0.1})


def never() -> Entry:
    raise AssertionError("it was there already")


def get(kept: Cache, name: object = "a") -> bool:
    """Returns whether the entry was cached, and checks its value."""
    entry, found = kept.get("crop", {"name": name}, make)
    assert torch.equal(entry.tensors["value"], VALUE)
    assert torch.equal(entry.tensors["half"], VALUE.bfloat16())
    assert entry.facts == {"who": "me", "score": 0.1}
    return found


def test_an_entry_is_computed_once_for_all_processes(kept: Cache) -> None:
    assert not get(kept)
    assert kept.get("crop", {"name": "a"}, never)[1], "from memory"
    cache.forget()
    assert kept.get("crop", {"name": "a"}, never)[1], "from its file"
    assert not get(kept, "b")
    assert not kept.get("fid", {"name": "a"}, make)[1]


@pytest.mark.parametrize(
    "other",
    [
        {"x": 2},
        {"x": "1"},
        {"x": 1.0000000000000002},
        {"x": True},
        {"x": None},
        {"y": 1},
        {"x": 1, "y": None},
        {"x": np.ones(1)},
        {"x": torch.ones(1)},
    ],
)
def test_keys_distinguish_values(other: dict[str, object]) -> None:
    assert digest(other) != digest({"x": 1})
    assert digest(other) == digest(dict(reversed(other.items())))


def test_keys_distinguish_arrays() -> None:
    a = torch.arange(4.0)
    others = [a.reshape(2, 2), a.double(), a.int(), a.flip(0), a + 1e-7, a.bfloat16()]
    assert len({digest(value) for value in [a, *others]}) == 1 + len(others)
    assert digest(a) == digest(a.numpy()) == digest(torch.arange(8.0)[:4])
    with pytest.raises(TypeError, match="object cannot be part of a cache key"):
        digest({"x": object()})


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "text", "folder"])
def test_a_damaged_entry_is_reported_and_replaced(harm: str, kept: Cache, caplog: pytest.LogCaptureFixture) -> None:
    get(kept)
    ((path, _, _),) = entry_files(kept.place)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    harms = {"flip": bytes(content), "cut": bytes(content[:-5]), "empty": b"", "text": b"{}" * 40}
    path.mkdir() if harm == "folder" else path.write_bytes(harms[harm])
    cache.forget()
    assert not get(kept)
    assert f"cache entry {path} is damaged" in caplog.text
    cache.forget()
    assert get(kept) == (harm != "folder")


@pytest.mark.parametrize("obstacle", ["a file in its place", "no space"])
def test_without_writable_files_memory_is_used(obstacle: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    full = obstacle == "no space"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))" if full else ""
    folder = tmp_path / "cache" if full else tmp_path / "file" / "cache"
    program = f"""
{limit}
from float_research.cache import Cache, Entry
import torch
kept = Cache(folder={str(folder)!r}, memory_mb=1, disk_mb=1)
found = [kept.get("crop", {{"name": name}}, lambda: Entry(tensors={{"x": torch.ones(9)}}))[1] for name in "aabb"]
kept.trim()
print(found)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[False, True, False, True]\n"
    reason = "File too large" if full else "Not a directory"
    assert ended.stderr == f"cache folder {folder} cannot be used ({reason}); continuing in memory only\n"
    assert not list(tmp_path.rglob("*.part"))


def _write(folder: str, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    for name in range(20):
        get(Cache(folder=folder, memory_mb=0, disk_mb=1), name)


def test_concurrent_writers_do_no_harm(kept: Cache) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_write, args=(kept.folder, barrier)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(entry_files(kept.place)) == 20
    assert all(get(kept, name) for name in range(20))
    assert not list(kept.place.rglob("*.part"))


def test_the_least_recently_used_files_are_deleted_first(tmp_path: Path) -> None:
    kept = Cache(folder=str(tmp_path), memory_mb=0, disk_mb=1)
    entry = Entry(tensors={"x": torch.zeros(100_000)})
    for name in range(4):
        kept.get("crop", {"name": name}, lambda: entry)
    for path, _, _ in entry_files(tmp_path):
        os.utime(path, (0, 0))
    kept.get("crop", {"name": 2}, never)
    half = entry_files(tmp_path)[0][0].with_name(".x.part")
    half.touch()
    kept.trim()
    assert sum(size for _, size, _ in entry_files(tmp_path)) <= 1e6
    assert len(entry_files(tmp_path)) == 2
    kept.get("crop", {"name": 2}, never)
    assert not half.exists()


def test_memory_stays_within_its_limit() -> None:
    kept = Cache(folder="unused", memory_mb=1, disk_mb=0)
    entry = Entry(tensors={"x": torch.zeros(100_000)})
    for name in (0, 1, 0, 2):
        kept.get("crop", {"name": name}, lambda: entry)
    kept.get("crop", {"name": 0}, never)
    assert not kept.get("crop", {"name": 1}, lambda: entry)[1], "the least recently used was dropped"
    large = Entry(tensors={"x": torch.zeros(1_000_000)})
    assert kept.get("crop", {"name": "large"}, lambda: large)[0].num_bytes == 4_000_000
    assert not kept.get("crop", {"name": "large"}, lambda: large)[1]
    assert not Path("unused").exists()


def test_nothing_is_logged_without_problems(kept: Cache, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        get(kept)
        kept.trim()
    assert caplog.text == ""


def foreign(folder: Path) -> dict[str, bytes]:
    """Writes a folder of foreign files, laid out like a cache."""
    files = {
        "FLOAT/v1/weights.safetensors": b"weights",
        "FLOAT/notes.txt": b"notes",
        "FLOAT/ab/" + "a" * 64 + ".safetensors": b"no kind of ours",
        "crop/ab/" + "g" * 64 + ".safetensors": b"no hex digits",
        "crop/notes/" + "a" * 64 + ".safetensors": b"no shelf of ours",
        "crop/ab/mine.safetensors": b"mine",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def test_foreign_files_are_never_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = foreign(tmp_path)
    kept = Cache(folder=str(tmp_path), memory_mb=0, disk_mb=1e-6)
    assert not get(kept)
    kept.trim()
    assert "holds other files" in caplog.text
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert not (tmp_path / cache.MARKER).exists()
    (tmp_path / cache.MARKER).write_text(cache.TAG)
    for path in cache.shelves(tmp_path):
        assert path.name == "ab"
    kept.trim()
    assert {name: (tmp_path / name).read_bytes() for name in files} == files, "even under our marker"


@pytest.mark.parametrize("marker", [None, cache.SIGNATURE, cache.TAG])
def test_entries_are_only_deleted_beside_our_marker(marker: str | None, tmp_path: Path) -> None:
    entry = tmp_path / "crop" / "ab" / f"{'ab' * 32}.safetensors"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"content")
    if marker is not None:
        (tmp_path / cache.MARKER).write_text(marker)
    Cache(folder=str(tmp_path), memory_mb=0, disk_mb=1e-6).trim()
    assert entry.exists() == (marker != cache.TAG)


def test_clearing_only_deletes_entries(kept: Cache, tmp_path: Path) -> None:
    command = [sys.executable, "scripts/cache.py", "clear"]
    root = Path(__file__).parents[1]
    files = foreign(tmp_path / "models")
    ended = subprocess.run(
        [*command, f"cache.folder={tmp_path / 'models'}"], capture_output=True, text=True, check=False, cwd=root
    )
    assert ended.returncode == 2
    assert "is not a cache of float-research" in ended.stderr
    assert {name: (tmp_path / "models" / name).read_bytes() for name in files} == files
    get(kept)
    get(kept, "b")
    (kept.place / "crop" / "mine").mkdir()
    (kept.place / "mine.txt").write_text("mine")
    ended = subprocess.run(
        [*command, f"cache.folder={kept.folder}"], capture_output=True, text=True, cwd=root, check=True
    )
    assert "2 entries deleted" in ended.stdout
    assert (kept.place / "mine.txt").read_text() == "mine"
    assert (kept.place / "crop" / "mine").is_dir()


def test_no_link_is_followed(kept: Cache, tmp_path: Path) -> None:
    get(kept)
    ((entry, _, _),) = entry_files(kept.place)
    (tmp_path / "elsewhere").mkdir()
    outside = tmp_path / "elsewhere" / entry.name
    outside.write_bytes(b"mine")
    (kept.place / "fid").mkdir()
    (kept.place / "fid" / entry.name[:2]).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine" / entry.name[:2]).mkdir(parents=True)
    (tmp_path / "mine" / entry.name[:2] / entry.name).write_bytes(b"mine")
    (kept.place / "fvd").symlink_to(tmp_path / "mine")
    assert [path for path, _, _ in entry_files(kept.place)] == [entry]


@pytest.mark.parametrize("folder", ["", " "])
def test_an_empty_folder_name_is_refused(folder: str) -> None:
    with pytest.raises(UserError, match=r"cache\.folder is empty"):
        Cache(folder=folder, memory_mb=1, disk_mb=1)


def test_a_cache_of_version_0_1_is_ours(kept: Cache) -> None:
    get(kept)
    (kept.place / cache.MARKER).unlink()
    cache.forget()
    assert get(kept), "read"
    assert not get(kept, "b")
    assert (kept.place / cache.MARKER).read_text() == cache.TAG
