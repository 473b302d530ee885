import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from float_research.cache import Cache
from float_research.data.clips import ClipDataModule, ClipLoader, Grid, Manifest, Pair, file_name, pair_id
from float_research.data.face import NoCrop
from float_research.data.image import is_toy_portrait
from float_research.errors import UserError
from float_research.files import whole
from float_research.media import BOUNDS
from float_research.metrics.track import SUFFIX
from float_research.toyface.portraits import save_portraits
from float_research.types import Clip, Image


@pytest.fixture
def loader() -> ClipLoader:
    return ClipLoader(
        cache=Cache(folder="unused", memory_mb=1, disk_mb=0),
        face=NoCrop(),
        limits=BOUNDS,
        background="black",
        image_size=64,
        sampling_rate_hz=16000,
        fps=25.0,
        emotions=("happy", "sad"),
    )


def test_a_pair_is_named_after_its_files() -> None:
    (clip,) = Pair(image="x/me & you.png", audio="y/a b.wav").clips()
    assert clip.id == "me_you-a_b"


def test_a_grid_is_every_portrait_with_every_recording(tmp_path: Path) -> None:
    for name in ("i/b.png", "i/a.JPG", "i/notes.txt", "s/x.wav", "s/y.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    ids = [clip.id for clip in Grid(images=str(tmp_path / "i"), audios=str(tmp_path / "s")).clips()]
    assert ids == ["a-x", "b-x", "a-y", "b-y"]
    (tmp_path / "i" / "a.png").touch()
    with pytest.raises(UserError, match="'a-x' occurs more than once"):
        Grid(images=str(tmp_path / "i"), audios=str(tmp_path / "s")).clips()
    with pytest.raises(UserError, match="not a folder"):
        Grid(images=str(tmp_path / "none"), audios=str(tmp_path / "s")).clips()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no file"):
        Grid(images=str(tmp_path / "i"), audios=str(tmp_path / "empty")).clips()


def test_a_manifest_gives_ids_and_emotions(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text("image,audio,id,emotion\na.png,a.wav,../one,happy\n/b.png,b.wav,,\n")
    one, two = Manifest(file=str(path)).clips()
    assert one == Clip(id="_one", image=tmp_path / "a.png", audio=tmp_path / "a.wav", emotion="happy")
    assert two == Clip(id="b-b", image=Path("/b.png"), audio=tmp_path / "b.wav", emotion=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,sound\n", "columns image, sound"),
        ("image,audio,mood\n", "columns image, audio, mood"),
        ("image,audio\na.png,\n", "line 2"),
        ("image,audio,id\na.png,a.wav,x\nb.png,b.wav,x\n", "more than once"),
        ("", "columns none"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        Manifest(file=str(tmp_path / "clips.csv")).clips()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,audio\n\xff\xfe.png,a.wav\n", "cannot be read"),
        (b"image,audio\n" + b"a" * 200_000 + b",b.wav\n", "cannot be read .*field larger"),
        (b"x" * 100_000 + b",audio\n", "has the columns x{300}…; needed"),
        (bytes(range(256)) * 40, "cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(300), "cannot be read"),
        (b"image,audio\n" + b"a,b\n" * 5_000_000, "more than 20,000,000 bytes"),
    ],
)
def test_a_hostile_manifest_ends_in_one_short_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        Manifest(file=str(tmp_path / "clips.csv")).clips()
    assert "clips.csv" in str(told.value)
    assert len(str(told.value)) < 1000


def test_a_manifest_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, problem in (("pipe.csv", "is no regular file"), (".", "is a folder")):
        with pytest.raises(UserError, match=f"{problem}; give a CSV file"):
            Manifest(file=str(tmp_path / name)).clips()


def test_a_manifest_names_files_that_do_not_hang_a_run(loader: ClipLoader, tmp_path: Path, portrait: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(
        b"image,audio,emotion\n%s,a\0b.wav,%s\n" % (os.fsencode(portrait), b"x" * 9999)
    )
    (clip,) = Manifest(file=str(tmp_path / "clips.csv")).clips()
    with pytest.raises(UserError, match="emotion 'xxx") as told:
        loader.probe(clip)
    assert len(str(told.value)) < 1000
    with pytest.raises(UserError, match="cannot be used"):
        loader.probe(dataclasses.replace(clip, emotion=None))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuses)
    with pytest.raises(UserError, match=r"data\.images=.* cannot be read \(Permission denied\)"):
        Grid(images=str(tmp_path), audios=str(tmp_path)).clips()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden", "hidden"),
        ("a/b<c>", "a_b_c_"),
        ("", "_"),
        ("a\nb\udcff", "a_b_"),
    ],
)
def test_file_names_are_safe(text: str, name: str) -> None:
    assert file_name(text) == name


@pytest.mark.parametrize("sign", ["a", "é", "語", "𠀀"])
def test_long_names_are_cut_and_stay_apart(sign: str, tmp_path: Path) -> None:
    stem = sign * (250 // len(sign.encode()))
    names = [pair_id(Path(f"{stem}.png"), Path(f"{stem}{number}.wav")) for number in range(3)]
    assert len(set(names)) == 3
    for name in names:
        assert file_name(name) == name, "cut once"
        for ending in (".mp4", SUFFIX, ".traces.parquet", ".flow.parquet", ".json", ".png"):
            with whole(tmp_path / f"{name}{ending}") as part:
                part.touch()


def test_loading_gives_what_the_model_needs(
    loader: ClipLoader, portrait: Path, speech: Callable[[float], Path]
) -> None:
    clip = Clip(id="a", image=portrait, audio=speech(0.5))
    assert loader.probe(clip) == 13
    (batch,) = ClipDataModule([clip], loader, batch_clips=4).predict_dataloader()
    (loaded,) = batch.clips
    assert loaded.image.shape == (3, 64, 64)
    assert len(loaded.waveform) == 8000
    assert loaded.num_frames == 13
    with pytest.raises(UserError, match="emotion 'bored' is unknown"):
        loader.probe(Clip(id="a", image=portrait, audio=speech(0.5), emotion="bored"))


def test_a_changed_portrait_is_cropped_anew(loader: ClipLoader, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    PillowImage.new("RGB", (70, 70), "red").save(image)
    red = loader.portrait(image)[0]
    assert np.shares_memory(loader.portrait(image)[0], red), "found, not made"
    PillowImage.new("RGB", (80, 80), "blue").save(image)
    assert loader.portrait(image)[0][0, 0].tolist() == [0, 0, 255]


def test_batches_must_hold_clips(loader: ClipLoader) -> None:
    with pytest.raises(UserError, match="batch_clips=0"):
        ClipDataModule([], loader, batch_clips=0)


class Refusing(NoCrop):
    """Never finds a face."""

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        raise UserError("no face")


def test_a_toy_portrait_needs_no_detector(tmp_path: Path, loader: ClipLoader) -> None:
    (file,) = save_portraits(tmp_path, num=1, size_px=64, seed=5)
    strict = dataclasses.replace(loader, face=Refusing())
    image, face = strict.portrait(file)
    assert face == {"detector": "toy"}
    assert image.shape == (loader.image_size, loader.image_size, 3)
    unmarked = tmp_path / "unmarked.png"
    PillowImage.open(file).save(unmarked)
    assert not is_toy_portrait(unmarked)
    with pytest.raises(UserError, match=r"unmarked\.png: no face"):
        strict.portrait(unmarked)
