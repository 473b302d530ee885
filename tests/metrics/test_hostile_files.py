"""Files that metrics read: motion tracks, weights, TorchScript and tables."""

import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from float_research import tables
from float_research.errors import UserError
from float_research.metrics.networks import fill, scripted
from float_research.metrics.track import MotionTrack, load_track
from float_research.tensors import MAX_HEADER_BYTES, read_tensors

TRACK = {
    "motion": torch.randn(6, 4),
    "directions": torch.eye(4)[:, :2].contiguous(),
    "emotion": torch.rand(6, 7),
    "window_starts": torch.tensor([0, 3]),
}


def test_a_track_is_read_as_it_was_written(tmp_path: Path) -> None:
    track = MotionTrack(**TRACK)
    track.save(tmp_path / "a.motion.safetensors")
    found = load_track(tmp_path / "a.motion.safetensors")
    assert all(torch.equal(getattr(found, field.name), TRACK[field.name]) for field in fields(track))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"motion": torch.randn(5, 4)}, "do not match"),
        ({"directions": torch.eye(3)}, "do not match"),
        ({"motion": torch.randn(0, 4), "emotion": torch.randn(0, 7)}, "do not match"),
        ({"motion": torch.ones(6, 4, dtype=torch.int64)}, "not matrices of floats"),
        ({"emotion": torch.rand(6)}, "not matrices of floats"),
        ({"window_starts": torch.tensor([0, 6])}, "do not start within its 6 frames"),
        ({"window_starts": torch.tensor([0.0])}, "do not start within its 6 frames"),
        ({"more": torch.zeros(1)}, "instead of"),
    ],
)
def test_a_track_whose_tensors_do_not_match_is_refused(tmp_path: Path, changes: dict[str, Tensor], told: str) -> None:
    path = tmp_path / "a.motion.safetensors"
    save_file({**TRACK, **changes}, path)
    with pytest.raises(
        UserError, match=rf"motion file .*a\.motion\.safetensors cannot be read \(.*{told}.*run the clip"
    ):
        load_track(path)


def save(tensors: object) -> Callable[[Path], object]:
    return lambda path: torch.save(tensors, path)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (save({"bias": torch.zeros(2)}), r"holds nothing as weight"),
        (
            save({"weight": torch.zeros(2, 2, dtype=torch.complex64), "bias": torch.zeros(2)}),
            "complex numbers as weight",
        ),
        (save({3: torch.zeros(2)}), "not a state dict"),
        (save([1]), "not a state dict"),
        (lambda path: path.write_bytes(b"\x80\x02text"), r"w\.pt"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_weights_that_do_not_match_are_refused(tmp_path: Path, write: Callable[[Path], object], told: str) -> None:
    write(tmp_path / "w.pt")
    with pytest.raises(UserError, match=told):
        fill(nn.Linear(2, 2), tmp_path / "w.pt")


def test_a_damaged_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    torch.jit.script(nn.Linear(30, 30)).save(str(path))
    assert scripted(path)(torch.zeros(1, 30)).shape == (1, 30)
    sound = path.read_bytes()
    torch.manual_seed(0)
    weights = scripted(path).weight.detach().numpy().tobytes()
    flipped = bytearray(sound)
    flipped[sound.index(weights[:40])] ^= 1
    for damaged in (bytes(flipped), sound[: len(sound) // 2], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"TorchScript network .*network\.pt cannot be read .*torch\.jit\.save"):
            scripted(path)


def test_a_network_that_declares_gigabytes_is_refused(tmp_path: Path) -> None:
    sound, path = tmp_path / "sound.pt", tmp_path / "a.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 1).eval(), torch.zeros(1, 2)), sound)
    with zipfile.ZipFile(sound) as given, zipfile.ZipFile(path, "w") as made:
        for part in given.infolist():
            content = given.read(part)
            promised = content[:2] + b"X\x00\x00\x00\xff" + content[2:]
            made.writestr(part.filename, promised if part.filename.endswith("data.pkl") else content)
    with pytest.raises(UserError, match=r"a\.pt cannot be read \(expected 4278190080 bytes"):
        scripted(path)


def test_a_header_that_is_too_long_is_not_parsed(tmp_path: Path) -> None:
    path, length = tmp_path / "a.safetensors", MAX_HEADER_BYTES + 1
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + b" " * (length - 2))
    with pytest.raises(UserError, match=rf"a\.safetensors cannot be read \(its header of {length:,} bytes is too long"):
        read_tensors(path)


@pytest.mark.parametrize("harm", ["compressed", "overlap"])
def test_an_archive_that_expands_is_refused(harm: str, tmp_path: Path) -> None:
    sound, path = tmp_path / "sound.pt", tmp_path / "a.pt"
    torch.save({"a": torch.zeros(10_000)}, sound)
    with zipfile.ZipFile(sound) as given, zipfile.ZipFile(path, "w") as made:
        kind = zipfile.ZIP_DEFLATED if harm == "compressed" else zipfile.ZIP_STORED
        for part in given.infolist():
            made.writestr(part.filename, given.read(part), kind)
        if harm == "overlap":  # the directory names one part many times
            made.filelist += 9 * [made.getinfo(f"{sound.stem}/data/0")]
    assert path.stat().st_size < 50_000
    with pytest.raises(UserError, match=rf"a\.pt cannot be read \(its parts .*{harm}"):
        read_tensors(path)


@pytest.mark.parametrize(("limit", "most"), [("MAX_ROWS", 3), ("MAX_COLUMNS", 1), ("MAX_VALUES", 7)])
def test_the_size_of_a_table_is_limited(limit: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd.DataFrame({"frame": range(4), "a": range(4)}).to_parquet(tmp_path / "a.parquet")
    assert len(tables.read_table(tmp_path / "a.parquet")) == 4
    monkeypatch.setattr(tables, limit, most)
    with pytest.raises(UserError, match=r"a\.parquet claims 4 rows of 2 columns"):
        tables.read_table(tmp_path / "a.parquet")
