"""Runs and pipelines whose videos show the network's frames in the picture they were cut from, or beside it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from rich.console import Console

from float_research import compose, recorded
from float_research.data.image import read_image
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.measuring import motion_depends
from float_research.tracking.record import read_record
from float_research.video.reader import probe, read_frames

QUIET = Console(quiet=True)
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2"]


@pytest.fixture(scope="module")
def photo(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 401 × 300 pixels, stored on its side with an EXIF orientation, and partly transparent."""
    place = tmp_path_factory.mktemp("photo") / "photo.png"
    picture = PillowImage.open(portrait).convert("RGB").resize((401, 300))
    picture.putalpha(PillowImage.linear_gradient("L").resize(picture.size))
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    picture.transpose(PillowImage.Transpose.ROTATE_90).save(place, exif=exif)
    return place


@pytest.fixture(scope="module")
def manifest(photo: Path, speech: Callable[[float], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip whose crop touches the lower edge of the picture and, as a square, exceeds it."""
    place = tmp_path_factory.mktemp("clips") / "clips.csv"
    with place.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "audio", "id", "crop"), (photo, speech(0.4), "a", "60,210,240,300")])
    return place


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    cfg = compose.compose_config([*TINY, *overrides, f"output_dir={folder}"])
    content = compose.build_job(cfg).run(QUIET)
    assert content is not None
    return content


@pytest.fixture(scope="module")
def runs(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sweep over the group."""
    folder = tmp_path_factory.mktemp("runs")
    chosen = ("none", "paste", "paste composite.colour=poisson", "beside")
    metrics = "metrics=[motion,sharpness,flicker]"
    for number, words in enumerate(chosen):
        told = f"composite={words}".split()
        run(folder / str(number), "data=manifest", f"data.file={manifest}", "background=red", metrics, *told)
    return {words: folder / str(number) for number, words in enumerate(chosen)}


def test_metrics_and_motion_are_of_the_networks_frames(runs: dict[str, Path]) -> None:
    records = {words: read_record(folder / "record.json") for words, folder in runs.items()}
    (none,) = records["none"]["clips"]
    assert none["composite"] is None
    for words, record in records.items():
        (clip,) = record["clips"]
        assert clip["metrics"] == none["metrics"], words
        assert clip["motion_sha256"] == none["motion_sha256"]
        assert clip["absent"] == none["absent"]
    assert len({record["signature"] for record in records.values()}) == len(records)
    assert records["paste"]["clips"][0]["composite"] == {"kind": "paste", "width": 400, "height": 300}
    assert records["beside"]["clips"][0]["composite"] == {"kind": "beside", "width": 192, "height": 64}


def test_the_picture_is_upright_and_unchanged_outside_of_the_crop(runs: dict[str, Path], photo: Path) -> None:
    picture = read_image(photo, "red")[:300, :400]
    info = probe(runs["paste"] / "videos" / "a.mp4")
    assert (info.width, info.height, info.num_frames) == (400, 300, 10)
    for frame in read_frames(runs["paste"] / "videos" / "a.mp4"):
        error = np.abs(frame.astype(int) - picture)
        assert error[:200].mean() < 4, "what H.264 loses"
        assert error[240:280, 110:190].mean() > 15


def test_converged_motion_does_not_depend_on_it() -> None:
    none, paste = (compose.compose_config([*TINY, f"composite={one}", "output_dir=."]) for one in ("none", "paste"))
    assert motion_depends(compose.resolved(none), "") == motion_depends(compose.resolved(paste), "")


def test_a_composed_video_is_not_measured_later(runs: dict[str, Path]) -> None:
    chosen = recorded.choose_metrics(["metrics=[motion,sharpness]"])
    before = read_record(runs["paste"] / "record.json")["clips"][0]
    (clip,) = recorded.build_remeasuring(runs["paste"], chosen).run()["clips"]
    assert "sharpness" not in clip["metrics"]
    assert "the video shows composite=paste instead of the network's frames" in clip["absent"]["sharpness"]
    assert clip["metrics"]["motion_amplitude"] == before["metrics"]["motion_amplitude"]
    (clip,) = recorded.build_remeasuring(runs["none"], chosen).run()["clips"]
    assert clip["metrics"]["sharpness"] > 0


def test_a_composed_run_is_no_reference(runs: dict[str, Path], manifest: Path, tmp_path: Path) -> None:
    for words, reference in runs.items():
        told = [f"data.file={manifest}", "metrics=similarity", f"metrics.similarity.reference={reference}"]
        (clip,) = run(tmp_path / reference.name, "data=manifest", *told)["clips"]
        if words == "none":
            assert "ssim" in clip["metrics"]
        else:
            assert "is a run with a composite" in clip["absent"]["ssim"]


def test_metrics_of_all_videos_are_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    weights = f"metrics.fid.network={tmp_path / 'a.pt'}", f"metrics.fid.real={tmp_path}"
    with pytest.raises(UserError, match=r"metrics=fid compares videos, which composite changes; use composite=none"):
        run(tmp_path / "out", "composite=paste", "metrics=fid", *weights)


def test_toy_portraits_and_other_crops_stay_the_square(speech: Callable[[float], Path], tmp_path: Path) -> None:
    told = f"data.audio={speech(0.2)}", "metrics=none"
    videos = []
    for composite in ("none", "paste"):
        (clip,) = run(tmp_path / composite, *told, f"composite={composite}")["clips"]
        assert clip["composite"] is None
        videos.append((tmp_path / composite / clip["video"]).read_bytes())
    assert videos[0] == videos[1]


def test_a_picture_above_the_limit_costs_its_own_clip(manifest: Path, photo: Path, tmp_path: Path) -> None:
    too_large = r"photo\.png: a picture of 401 × 300 pixels is above composite\.megapixels=0\.1; make it smaller"
    with pytest.raises(UserError, match=too_large):
        run(tmp_path / "a", "data=manifest", f"data.file={manifest}", "composite=paste", "composite.megapixels=0.1")
    assert not (tmp_path / "a" / "record.json").exists()


def test_from_python(
    load: Callable[..., Pipeline], portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    pipeline = load("nfe=2", "face=mtcnn")
    result = pipeline(portrait, speech(0.2), composite="paste")
    path = result.save(tmp_path / "a.mp4")
    assert (probe(path).width, probe(path).height) == (512, 512)
    frames = list(result.frames())
    picture = read_image(portrait, "black")
    assert np.array_equal(frames[0][300:], picture[300:])
    assert not np.array_equal(frames[0], frames[-1]), "each frame is an array of its own"
    assert "512 × 512 px" in repr(result)
    streamed = pipeline.stream(portrait, speech(0.2), composite="paste")
    assert all(np.array_equal(one, other) for one, other in zip(streamed, frames, strict=True))
    decoded = pipeline.using("composite=paste").decode(PillowImage.open(portrait), result.motion)
    assert all(np.array_equal(one, other) for one, other in zip(decoded.frames(), frames, strict=True))
    assert result.metrics(["sharpness"]) == pipeline(portrait, speech(0.2)).metrics(["sharpness"])
    assert next(pipeline(portrait, speech(0.2)).frames()).shape == (64, 64, 3)
    with pytest.raises(UserError, match=r"512 × 512 pixels is above composite\.megapixels=0\.2"):
        pipeline.using("composite=paste", "composite.megapixels=0.2")(portrait, speech(0.2))


def test_a_finished_composition_is_kept(runs: dict[str, Path], manifest: Path, tmp_path: Path) -> None:
    told = ["data=manifest", f"data.file={manifest}", "metrics=none", "resume=true"]
    run(tmp_path, *told, "composite=paste")
    assert run(tmp_path, *told, "composite=paste")["clips_kept"] == 0, "the run was finished before"
    assert json.loads((tmp_path / "videos" / "a.json").read_text())["composite"]["kind"] == "paste"
    assert run(tmp_path, *told, "composite=beside")["clips"][0]["composite"]["kind"] == "beside"
