"""Unusual file names, long paths, and accents in either normal form."""

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.processes import script
from media_cases.names import NAMES, QUOTED
from PIL import Image
from rich.console import Console

import float_research
from float_research import compose, recorded
from float_research.data.clips import Grid, Manifest, Pair
from float_research.data.examples import example
from float_research.errors import UserError
from float_research.files import name_bytes, present, require_path, whole
from float_research.inference.failures import Failures
from float_research.inference.plan import plan_clips

TINY = ["model=tiny", "checkpoint=random", "face=none", "metrics=none", "trainer.accelerator=cpu", "nfe=2"]
NFC, NFD = "café", unicodedata.normalize("NFD", "café")


@pytest.fixture
def place(speech: Callable[[float], Path], tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Returns `place(name)`, which writes a portrait and a recording to a folder with spaces and parentheses."""
    folder = tmp_path / "my files (1)"
    folder.mkdir()

    def write(name: str) -> tuple[Path, Path]:
        image, audio = folder / f"{name}.png", folder / f"{name}.wav"
        os.link(tmp_path / "portrait.png", image)
        audio.write_bytes(speech(0.3).read_bytes())
        return image, audio

    Image.open(example("portrait")).save(tmp_path / "portrait.png")
    return write


def planned(*overrides: str) -> list[Path]:
    """Returns the videos that a run would write."""
    job = compose.build_job(compose.compose_config([*TINY, *overrides]))
    listed, failures = job.source.clips(), Failures(num_clips=1, skip=False)
    clips = plan_clips(
        listed, job.loader, job.parts.sampler, job.parts.search, job.naming, folder=job.folder, failures=failures
    )
    return [clip.video for clip in clips]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_clip_takes_files_of_any_name(name: str, place: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> None:
    image, audio = place(name)
    (video,) = planned(f"data.image={image}", f"data.audio={audio}", f"output_dir={tmp_path}/out {name} x")
    assert len(os.fsencode(video.name)) < 255
    assert unicodedata.is_normalized("NFC", video.name)
    assert str(video.parent.parent) == f"{tmp_path}/out {name} x"


@pytest.mark.parametrize("name", QUOTED.values(), ids=QUOTED)
def test_other_names_need_quotes(name: str, place: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> None:
    folder = place(name.replace("\\", ""))[0].parent
    assert planned(f'data.image="{folder}/{name}.png"', f'data.audio="{folder}/{name}.wav"', f"output_dir={tmp_path}")


@pytest.mark.parametrize("kind", ["parentheses", "newline", "dollar and brace", "no UTF-8", "long, of wide letters"])
def test_the_script_accepts_such_names(kind: str, place: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> None:
    image, audio = place(NAMES[kind])
    out = tmp_path / "out (1)"
    places = [f"data.image={image}", f"data.audio={audio}", f"hydra.run.dir={out}"]
    ended = script("infer", [*TINY, *places], tmp_path / "process")
    assert ended.code == 0, ended.error
    (clip,) = json.loads((out / "record.json").read_text())["clips"]
    assert (out / clip["video"]).is_file()


def test_names_with_an_interpolation_are_refused_when_measured_again(
    place: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    image, audio = place("a (${x})")
    overrides = [*TINY, f"data.image={image}", f"data.audio={audio}", f"output_dir={tmp_path / 'out'}"]
    compose.build_job(compose.compose_config(overrides)).run(Console(quiet=True))
    with pytest.raises(UserError, match=r"data\.image=.* contains \$\{, which would be read as an interpolation"):
        recorded.build_remeasuring(tmp_path / "out", recorded.choose_metrics([]))


@pytest.mark.parametrize(("written", "lies"), [(NFC, NFD), (NFD, NFC)], ids=["composed", "decomposed"])
def test_accents_are_found_in_either_form(
    written: str, lies: str, place: Callable[[str], tuple[Path, Path]], speech: Callable[[float], Path]
) -> None:
    image, audio = place(lies)
    folder = image.parent
    inner = folder / lies
    inner.mkdir()
    for path in (image, audio):
        os.link(path, inner / path.name)
    told = folder / written / f"{written}.png", folder / written / f"{written}.wav"
    (pair,) = Pair(track=None, channel=None, image=str(told[0]), audio=str(told[1])).clips()
    assert pair.image.is_file()
    assert pair.audio.is_file()
    assert pair.id == f"{NFC}-{NFC}"
    (clip,) = Grid(track=None, channel=None, images=str(folder / written), audios=str(folder / written)).clips()
    assert clip.id == f"{NFC}-{NFC}"
    table = folder / f"{lies}.csv"
    table.write_text(f"image,audio\n{written}.png,{written}.wav\n", encoding="utf-8")
    (row,) = Manifest(track=None, channel=None, file=str(folder / f"{written}.csv")).clips()
    assert row.image == image
    pipeline = float_research.load([*TINY, f"data.image={told[0]}"])
    assert len(pipeline(told[0], told[1], id=written).motion) > 0
    cfg = compose.compose_config(["checkpoint=unified", f"checkpoint.file={folder}/{written}.csv"])
    assert cfg.checkpoint.file == str(table), "the same holds for any setting"


def test_names_that_differ_only_in_normal_form_are_equal(place: Callable[[str], tuple[Path, Path]]) -> None:
    image, _ = place(NFC)
    place(NFD)
    assert present(str(image)) == str(image), "if both exist, each is itself"
    with pytest.raises(UserError, match="clip id 'café-café' occurs more than once"):
        Grid(track=None, channel=None, images=str(image.parent), audios=str(image.parent)).clips()


def test_a_missing_file_keeps_its_name(tmp_path: Path) -> None:
    for path in ("é", "é/", "/é/è/", str(tmp_path / "é" / "è"), "", "/", "a", "é" * 300):
        assert present(path) == path


def test_names_are_cut_to_the_file_systems_limit(
    place: Callable[[str], tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, audio = place(NAMES["long"])
    places = [f"data.image={image}", f"data.audio={audio}", f"output_dir={tmp_path / 'not' / 'yet'}"]
    (usual,) = planned(*places)
    monkeypatch.setattr(os, "pathconf", lambda path, kind: 143 if kind == "PC_NAME_MAX" else 4096)
    (short,) = planned(*places)
    assert len(usual.name) > 200
    assert len(short.name) + len(".motion.safetensors") - len(".mp4") <= 143
    assert short.name[:90] == usual.name[:90]
    with whole(tmp_path / ("x" * 143)) as part:
        assert len(part.name) <= 143


def test_a_path_that_is_too_long_is_refused_before_anything_is_written(
    place: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    image, audio = place("me")
    deep = "/".join(["x" * 200] * 20)[: 3960 - len(str(tmp_path))]
    places = [f"data.image={image}", f"data.audio={audio}", f"output_dir={tmp_path}/{deep}"]
    with pytest.raises(
        UserError, match=r"is too long: paths may have \d+ bytes here; choose a shorter hydra\.run\.dir"
    ):
        planned(*places)
    assert not (tmp_path / "x").exists()


def test_file_systems_that_report_no_limit_have_the_usual_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (-1, 0, 1020):
        monkeypatch.setattr(os, "pathconf", lambda path, kind, limit=limit: limit)
        assert name_bytes(tmp_path) == 255
    monkeypatch.delattr(os, "pathconf")
    assert name_bytes(tmp_path) == 255
    require_path(tmp_path / "a", 50, "remedy")
