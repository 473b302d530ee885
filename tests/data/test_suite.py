"""Suites: lists of files with hashes, and several seeds of each clip."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from float_research import compose
from float_research.checking import check_seeds
from float_research.commands import suite as command
from float_research.data.clips import Grid
from float_research.data.examples import asset, example
from float_research.data.image import is_toy_portrait
from float_research.data.seeds import seeded
from float_research.data.suite import Suite, read_suite
from float_research.errors import UserError
from float_research.files import MAX_NAME_BYTES
from float_research.types import Clip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Returns a folder with portraits and recordings in folders of their own."""
    for name in ("faces/a.png", "faces/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(example("portrait"), tmp_path / name)
    (tmp_path / "speech").mkdir()
    shutil.copy(example("speech"), tmp_path / "speech" / "é.wav")
    (tmp_path / "speech" / "notes.txt").write_text("nothing")
    return tmp_path


def write(monkeypatch: pytest.MonkeyPatch, output: Path, *more: str) -> None:
    folder = output.parent
    told = [str(output), "--portraits", str(folder / "faces"), "--recordings", str(folder / "speech"), *more]
    monkeypatch.setattr(sys, "argv", ["suite", *told])
    command.main()


def suite(file: Path) -> Suite:
    return Suite(track=None, channel=None, file=str(file))


@pytest.mark.parametrize(("option", "shape"), [("suite", (6, 6)), ("quick_suite", (2, 2))])
def test_the_suites_of_the_package_are_whole(option: str, shape: tuple[int, int]) -> None:
    source = compose.build(compose.compose_config([f"data={option}", "output_dir=out"]).data)
    clips = source.clips()
    assert len(clips) == shape[0] * shape[1]
    assert (len({clip.image for clip in clips}), len({clip.audio for clip in clips})) == shape
    assert all(is_toy_portrait(clip.image) for clip in clips)
    assert source.suite()["name"] == {"suite": "toy", "quick_suite": "quick"}[option]
    assert source.on_error == "stop", "a result on a part of a suite is no result on it"


def test_the_quick_suite_is_part_of_the_toy_suite() -> None:
    toy, quick = (read_suite(Path(asset(f"suites/{name}.yaml"))) for name in ("toy", "quick"))
    assert {item.sha256 for item in quick.portraits} < {item.sha256 for item in toy.portraits}
    assert {item.sha256 for item in quick.recordings} < {item.sha256 for item in toy.recordings}


@pytest.mark.parametrize("ending", ["yaml", "csv"])
def test_a_list_is_written_and_read(
    ending: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(monkeypatch, files / f"mine.{ending}")
    said = capsys.readouterr().out
    assert "left out 1 without recordings (notes.txt)" in said
    assert "2 portraits × 1 recording" in said
    source = suite(files / f"mine.{ending}")
    assert [clip.id for clip in source.clips()] == ["a-é", "b-é"]
    known = source.suite()
    assert (known["name"], known["version"]) == ("mine", "1")
    assert known["sha256"] in " ".join(said.split()).replace("\n", "")
    shutil.move(files / f"mine.{ending}", files / f"other.{ending}")
    assert suite(files / f"other.{ending}").suite()["sha256"] == known["sha256"], "the content counts"


def test_changed_and_missing_files_are_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(monkeypatch, files / "mine.yaml", "--name", "mine", "--version", "2")
    changed = files / "speech" / "é.wav"
    expected = hashlib.sha256(changed.read_bytes()).hexdigest()
    changed.write_bytes(changed.read_bytes() + b"\0")
    found = hashlib.sha256(changed.read_bytes()).hexdigest()
    with pytest.raises(
        UserError, match=f"recording .*é.wav has the sha256 {found}, but .*mine.yaml expects {expected}"
    ):
        suite(files / "mine.yaml").clips()
    changed.unlink()
    with pytest.raises(UserError, match=r"recording .*é.wav of the suite .*mine.yaml does not exist; restore it"):
        suite(files / "mine.yaml").clips()


HASH = "0" * 64
ENTRY = f"[{{file: a.png, sha256: {HASH}}}]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "it must have name, portraits, recordings, version and nothing else"),
        (f"{{name: a, version: 1, portraits: {ENTRY}, recordings: {ENTRY}}}", "version=1 must be a text in quotes"),
        (f"{{name: a, version: '1', portraits: [], recordings: {ENTRY}}}", "lists no portraits"),
        (f"{{name: a, version: '1', portraits: [a.png], recordings: {ENTRY}}}", "entry 1 of portraits must have file"),
        (
            f"{{name: a, version: '1', portraits: [{{file: a.png, sha256: 12}}], recordings: {ENTRY}}}",
            "sha256=12 of a.png is not a hash of 64 hexadecimal digits",
        ),
    ],
)
def test_a_bad_list_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        suite(tmp_path / "a.yaml").clips()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,sha256\na,b\n", "has the columns file, sha256; it needs kind, file, sha256"),
        (f"kind,file,sha256\nvideo,a.mp4,{HASH}\n", "line 2: kind=video must be portrait or recording"),
        (f"kind,file,sha256\nportrait,a.png\nrecording,a.wav,{HASH}\n", "sha256=none of a.png is not a hash"),
    ],
)
def test_a_bad_table_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        suite(tmp_path / "a.csv").clips()


def test_files_of_one_name_are_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(files / "faces" / "a.png", files / "faces" / "a.jpg")
    with pytest.raises(UserError, match="two portraits are called a, and clips are named after them"):
        write(monkeypatch, files / "mine.yaml")
    assert not (files / "mine.yaml").exists()


def test_every_clip_has_every_seed(tmp_path: Path) -> None:
    clips = [Clip(id=id, image=tmp_path / "a.png", audio=tmp_path / "a.wav") for id in ("a", "é" * 200)]
    found = list(seeded(clips, [15, 16]))
    assert [(clip.id, clip.base_id, clip.seed) for clip in found[:2]] == [("a-seed15", "a", 15), ("a-seed16", "a", 16)]
    assert [clip.noise_id for clip in found] == ["a", "a", "é" * 200, "é" * 200]
    assert len({clip.id for clip in found}) == 4
    assert all(len(f"{clip.id}.motion.safetensors".encode()) <= MAX_NAME_BYTES for clip in found)
    own = Clip(id="b", image=tmp_path / "a.png", audio=tmp_path / "a.wav", seed=3)
    with pytest.raises(UserError, match="clip b has the seed 3 of its own"):
        list(seeded([own], [15]))
    same = [Clip(id=id, image=tmp_path / "a.png", audio=tmp_path / "a.wav") for id in ("a", "a-seed1")]
    assert len({clip.id for clip in seeded(same, [1, 11])}) == 4


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([], "seeds has 0 numbers"),
        ([1, 2, 1], "has 1 twice"),
        ([-1], "-1 is not a whole number"),
        ([True], "True is not a whole number"),
        (["a"], "a is not a whole number"),
    ],
)
def test_bad_seeds_are_refused(seeds: list[object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_seeds(seeds)


def test_other_sources_are_of_no_suite() -> None:
    assert Grid(track=None, channel=None, images="a", audios="b").suite() is None
