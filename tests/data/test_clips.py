import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from float_research.cache import Cache
from float_research.data.clips import ClipDataModule, ClipLoader, Grid, Manifest, Once, Pair, file_name, pair_id
from float_research.data.cropping import Box
from float_research.data.face import FaceCropper, NoCrop
from float_research.data.image import is_toy_portrait
from float_research.data.originals import region_of
from float_research.errors import UserError
from float_research.files import whole
from float_research.media import BOUNDS
from float_research.metrics.track import SUFFIX
from float_research.toyface.portraits import save_portraits
from float_research.types import WHOLE, Clip, Excerpt, Image
from float_research.video.reader import read_frames_at


@pytest.fixture
def loader() -> ClipLoader:
    return ClipLoader(
        cache=Cache(folder="unused", memory_mb=1, disk_mb=0),
        face=NoCrop(),
        limits=BOUNDS,
        read_video=read_frames_at,
        background="black",
        frame="first",
        image_size=64,
        sampling_rate_hz=16000,
        fps=25.0,
        emotions=("happy", "sad"),
    )


def test_a_pair_is_named_after_its_files() -> None:
    (clip,) = Pair(track=None, channel=None, image="x/me & you.png", audio="y/a b.wav").clips()
    assert clip.id == "me_you-a_b"


def test_a_grid_pairs_every_portrait_with_every_recording(tmp_path: Path) -> None:
    for name in ("i/b.png", "i/a.JPG", "i/notes.txt", "s/x.wav", "s/y.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    grid = Grid(track=None, channel=None, images=str(tmp_path / "i"), audios=str(tmp_path / "s"))
    assert [clip.id for clip in grid.clips()] == ["a-x", "b-x", "a-y", "b-y"]
    assert grid.notes() == ["data.images: skipped 1 without a picture (notes.txt)"]
    (tmp_path / "i" / "a.png").touch()
    with pytest.raises(UserError, match="'a-x' occurs more than once"):
        Grid(track=None, channel=None, images=str(tmp_path / "i"), audios=str(tmp_path / "s")).clips()
    with pytest.raises(UserError, match="not a folder"):
        Grid(track=None, channel=None, images=str(tmp_path / "none"), audios=str(tmp_path / "s")).clips()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"data\.audios=.*empty contains no recording"):
        Grid(track=None, channel=None, images=str(tmp_path / "i"), audios=str(tmp_path / "empty")).clips()


def test_a_grid_recognises_files_by_content(tmp_path: Path, portrait: Path, speech: Callable[[float], Path]) -> None:
    """Uses one folder for both; hidden and system files are ignored, other files are named."""
    for name in ("face", "face.wav.bak", "other.jpe"):
        shutil.copy(portrait, tmp_path / name)
    for name in ("one.wma", "two"):
        shutil.copy(speech(0.2), tmp_path / name)
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (tmp_path / name).write_text("nothing")
    (tmp_path / "old").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    grid = Grid(track=None, channel=None, images=str(tmp_path), audios=str(tmp_path))
    clips = grid.clips()
    assert {clip.image.name for clip in clips} == {"face", "face.wav.bak", "other.jpe"}
    assert {clip.audio.name for clip in clips} == {"one.wma", "two"}
    assert grid.notes() == [
        f"{setting}: skipped 3 without a {kind} (gone.png, notes.txt, old)"
        for setting, kind in (("data.images", "picture"), ("data.audios", "recording"))
    ]
    (tmp_path / "sounds").mkdir()
    shutil.copy(tmp_path / "two", tmp_path / "sounds")
    with pytest.raises(UserError, match=r"data\.images=.*sounds contains no picture \(skipped 1: two\)"):
        Grid(track=None, channel=None, images=str(tmp_path / "sounds"), audios=str(tmp_path)).clips()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_manifest_may_come_from_any_spreadsheet(encoding: str, delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_bytes("image, audio\r\nJürgen.png,é.wav\r\n".replace(",", delimiter).encode(encoding))
    manifest = Manifest(track=None, channel=None, file=str(path))
    (clip,) = manifest.clips()
    assert (clip.image.name, clip.audio.name) == ("Jürgen.png", "é.wav")
    assert len(manifest.notes()) == (encoding == "cp1252")
    assert all("clips.csv is not UTF-8 and was read as cp1252" in note for note in manifest.notes())


def test_a_row_may_set_options_of_its_clip(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text(
        "image,audio,id,start_s,end_s,seed,crop,face\n"
        'a.png,a.wav,one,0.5,2,0,"10, 20,310,320",\n'
        "a.png,a.wav,two,,,,,1\n"
        "a.png,a.wav,three,,3,,1 2 3 4,\n"
    )
    one, two, three = Manifest(track=None, channel=None, file=str(path)).clips()
    assert one.excerpt == Excerpt(start_s=0.5, end_s=2)
    assert (one.seed, one.crop, one.face) == (0, (10, 20, 310, 320), None)
    assert (two.excerpt, two.seed, two.crop, two.face) == (WHOLE, None, None, 1)
    assert (three.excerpt, three.crop) == (Excerpt(end_s=3), (1, 2, 3, 4))


def test_a_given_crop_is_applied(loader: ClipLoader, tmp_path: Path) -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:40, 50:70] = (10, 200, 30)
    PillowImage.fromarray(image).save(tmp_path / "a.png")
    clip = Clip(id="a", image=tmp_path / "a.png", audio=tmp_path / "a.wav", crop=(50, 20, 70, 40))
    crop, face = loader.portrait(clip)
    assert (crop == (10, 200, 30)).all()
    assert crop.shape == (64, 64, 3)
    assert face | {"detector": "given", "left": 50, "top": 20, "right": 70, "bottom": 40} == face
    assert region_of(face) == (50, 20, 20, 20)
    assert (face["picture_width"], face["picture_height"]) == (100, 60)
    wide = loader.portrait(dataclasses.replace(clip, crop=(50, 25, 70, 35)))[0]
    assert (wide == (10, 200, 30)).all(), "extended to a square around its centre"
    edge = loader.portrait(dataclasses.replace(clip, crop=(0, 0, 100, 60)))[0]
    assert edge.shape == (64, 64, 3), "black outside the image"
    for outside in ((50, 20, 101, 40), (0, 0, 100, 61)):
        with pytest.raises(UserError, match=r"a\.png: the crop .* exceeds the image of 100 × 60 pixels"):
            loader.portrait(dataclasses.replace(clip, crop=outside))
        with pytest.raises(UserError, match="exceeds the image"):
            loader.probe(dataclasses.replace(clip, crop=outside), Once())


class Two(FaceCropper):
    """Finds two faces, the second larger."""

    def detect(self, image: Image) -> list[Box]:
        return [Box(10, 10, 50, 50, 0.9), Box(100, 100, 200, 200, 0.8)]


def test_a_face_is_selected_by_index(loader: ClipLoader, portrait: Path) -> None:
    two = dataclasses.replace(loader, face=Two(margin=1.6, min_score=0.5, select="largest"))
    clip = Clip(id="a", image=portrait, audio=portrait)
    lefts = [two.portrait(dataclasses.replace(clip, face=face))[1]["left"] for face in (None, 0, 1)]
    assert lefts == [100, 10, 100]
    with pytest.raises(UserError, match="face 2 does not exist: two found 2 \\(indices start at 0\\)"):
        two.portrait(dataclasses.replace(clip, face=2))
    with pytest.raises(UserError, match="face=none detects no faces"):
        loader.portrait(dataclasses.replace(clip, face=0))


def test_a_manifest_gives_ids_and_emotions(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text("image,audio,id,emotion\na.png,a.wav,../one,happy\n/b.png,b.wav,,\n")
    one, two = Manifest(track=None, channel=None, file=str(path)).clips()
    assert one == Clip(id="_one", image=tmp_path / "a.png", audio=tmp_path / "a.wav", emotion="happy")
    assert two == Clip(id="b-b", image=Path("/b.png"), audio=tmp_path / "b.wav", emotion=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,sound\n", "columns image, sound; it needs image and audio"),
        ("image,audio,mood\n", "columns image, audio, mood"),
        ("image,audio\na.png,\n", "line 2"),
        ("image,audio,id\na.png,a.wav,x\nb.png,b.wav,x\n", "more than once"),
        ("", "columns none"),
        ("image,audio\n", "has no rows"),
        ("image,audio,image\na,b,c\n", "columns image, audio, image; .* each once"),
        ("image,audio\na.png,a.wav,b.wav\n", "line 2: it has more values than columns"),
        ("image,audio,start_s\na,b,-1\n", "line 2: start_s='-1' is not a non-negative number of seconds"),
        ("image,audio,end_s\na,b,inf\n", "line 2: end_s='inf' is not a non-negative number"),
        ("image,audio,start_s\na,b,nan\n", "line 2: start_s='nan' is not a non-negative number"),
        ("image,audio,start_s,end_s\na,b,,\nc,d,2,2\n", "line 3: end_s=2 must be greater than start_s=2"),
        ("image,audio,seed\na,b,1.5\n", "line 2: seed='1.5' is not a whole number from 0 to 9007199254740992"),
        ("image,audio,seed\na,b,99999999999999999999\n", "is not a whole number"),
        ("image,audio,face\na,b,-1\n", "line 2: face='-1' is not a whole number, at least 0"),
        ('image,audio,crop\na,b,"0,0,9"\n', "line 2: crop='0,0,9' is not a box left,top,right,bottom"),
        ('image,audio,crop\na,b,"0,5,9,5"\n', "is not a box"),
        ("image,audio,crop,face\na,b,0 0 9 9,0\n", "line 2: crop and face exclude each other"),
    ],
)
def test_an_invalid_manifest_is_rejected(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        Manifest(track=None, channel=None, file=str(tmp_path / "clips.csv")).clips()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,audio\n" + b"a" * 200_000 + b",b.wav\n", "cannot be read .*field larger"),
        (b"x" * 100_000 + b",audio\n", "has the columns x{300}…; it needs"),
        (bytes(range(256)) * 40, "cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(300), "cannot be read"),
        (b"image,audio\n" + b"a,b\n" * 5_000_000, "more than 20,000,000 bytes"),
    ],
)
def test_a_hostile_manifest_is_one_short_error(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        Manifest(track=None, channel=None, file=str(tmp_path / "clips.csv")).clips()
    assert "clips.csv" in str(told.value)
    assert len(str(told.value)) < 1000


def test_a_manifest_must_be_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, problem in (("pipe.csv", "is not a regular file"), (".", "is a folder")):
        with pytest.raises(UserError, match=f"{problem}; give a CSV file"):
            Manifest(track=None, channel=None, file=str(tmp_path / name)).clips()


def test_hostile_values_in_a_manifest_give_short_errors(loader: ClipLoader, tmp_path: Path, portrait: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(
        b"image,audio,emotion\n%s,a\0b.wav,%s\n" % (os.fsencode(portrait), b"x" * 9999)
    )
    (clip,) = Manifest(track=None, channel=None, file=str(tmp_path / "clips.csv")).clips()
    with pytest.raises(UserError, match="emotion 'xxx") as told:
        loader.probe(clip, Once())
    assert len(str(told.value)) < 1000
    with pytest.raises(UserError, match="cannot be used"):
        loader.probe(dataclasses.replace(clip, emotion=None), Once())


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuses)
    with pytest.raises(UserError, match=r"data\.images=.* cannot be read \(Permission denied\)"):
        Grid(track=None, channel=None, images=str(tmp_path), audios=str(tmp_path)).clips()


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
def test_long_names_are_shortened_and_stay_unique(sign: str, tmp_path: Path) -> None:
    stem = sign * (250 // len(sign.encode()))
    names = [pair_id(Path(f"{stem}.png"), Path(f"{stem}{number}.wav")) for number in range(3)]
    assert len(set(names)) == 3
    for name in names:
        assert file_name(name) == name, "cut once"
        for ending in (".mp4", SUFFIX, ".traces.parquet", ".flow.parquet", ".json", ".png"):
            with whole(tmp_path / f"{name}{ending}") as part:
                part.touch()


def test_loading_prepares_the_models_inputs(
    loader: ClipLoader, portrait: Path, speech: Callable[[float], Path]
) -> None:
    clip = Clip(id="a", image=portrait, audio=speech(0.5))
    assert loader.probe(clip, Once()) == (13, [])
    (batch,) = ClipDataModule([clip], loader, batch_clips=4, skip=False).predict_dataloader()
    (loaded,) = batch.clips
    assert loaded.image.shape == (3, 64, 64)
    assert len(loaded.waveform) == 8000
    assert loaded.num_frames == 13
    with pytest.raises(UserError, match="emotion 'bored' is unknown"):
        loader.probe(Clip(id="a", image=portrait, audio=speech(0.5), emotion="bored"), Once())


def test_a_changed_portrait_is_cropped_again(loader: ClipLoader, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    PillowImage.new("RGB", (70, 70), "red").save(image)
    red = loader.portrait(Clip(id="a", image=image, audio=image))[0]
    assert np.shares_memory(loader.portrait(Clip(id="a", image=image, audio=image))[0], red), "taken from the cache"
    PillowImage.new("RGB", (80, 80), "blue").save(image)
    assert loader.portrait(Clip(id="a", image=image, audio=image))[0][0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("fps", [0.0, -25.0, math.nan, math.inf, 1001.0])
def test_a_frame_rate_must_be_valid(fps: float, loader: ClipLoader) -> None:
    with pytest.raises(UserError, match=rf"model\.fps={fps} must be above 0 and at most 1000"):
        dataclasses.replace(loader, fps=fps)


def test_a_batch_must_have_clips(loader: ClipLoader) -> None:
    with pytest.raises(UserError, match="batch_clips=0"):
        ClipDataModule([], loader, batch_clips=0, skip=False)


class Refusing(NoCrop):
    """Never finds a face."""

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        raise UserError("no face")


def test_a_toy_portrait_needs_no_detector(tmp_path: Path, loader: ClipLoader) -> None:
    (file,) = save_portraits(tmp_path, num=1, size_px=64, seed=5)
    strict = dataclasses.replace(loader, face=Refusing())
    image, face = strict.portrait(Clip(id="a", image=file, audio=file))
    assert face["detector"] == "toy"
    assert region_of(face) == (0, 0, 64, 64)
    assert image.shape == (loader.image_size, loader.image_size, 3)
    unmarked = tmp_path / "unmarked.png"
    PillowImage.open(file).save(unmarked)
    assert not is_toy_portrait(unmarked)
    with pytest.raises(UserError, match=r"unmarked\.png: no face"):
        strict.portrait(Clip(id="a", image=unmarked, audio=unmarked))
