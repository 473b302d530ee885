"""Runs that are driven by a video, and runs whose portrait is one: of a frame of it, or dubbed frame by frame."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from filming import film
from rich.console import Console

from float_research import compose
from float_research.data.image import read_image
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.models.float_model import FloatModel
from float_research.models.motion_autoencoder import MotionAutoencoder
from float_research.motion.atlas import Atlas
from float_research.types import Meaning
from float_research.video.reader import read_frames, read_frames_at

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2", "metrics=none"]
NUM = 12


@pytest.fixture(scope="module")
def photo(portrait: Path) -> np.ndarray:
    """A picture of 128 × 96 pixels with a face."""
    return cv2.resize(read_image(portrait, "black"), (128, 96), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def video(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The picture, moving to the right; some of its frames are blurred."""
    folder = tmp_path_factory.mktemp("driving")
    moving = [np.roll(photo, 2 * n, axis=1) for n in range(NUM)]
    return film(folder / "clip.mp4", (frame if n == 3 else cv2.blur(frame, (3, 3)) for n, frame in enumerate(moving)))


@pytest.fixture(scope="module")
def audio(speech: Callable[[float], Path]) -> Path:
    return speech(0.6)


@pytest.fixture(scope="module")
def pipeline(load: Callable[..., Pipeline]) -> Pipeline:
    return load("nfe=2", "trainer.accelerator=cpu")


@pytest.fixture(scope="module")
def atlas(model: FloatModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An atlas of the tiny model, made up."""
    num = model.motion_autoencoder.dec.direction.basis.shape[1]
    numbers, eye = torch.ones(2, dtype=torch.float64), torch.eye(num, dtype=torch.float64)
    path = tmp_path_factory.mktemp("atlas") / "atlas.safetensors"
    Atlas(
        weights=compose.build(compose.compose_config(TINY).checkpoint).fingerprint(),
        meanings=[Meaning("yaw", "head", "°"), Meaning("jaw", "mouth", "")],
        map=eye[:2],
        covariance=eye,
        **dict.fromkeys(("offset", "r2", "r2_within", "residual"), numbers),
        **dict.fromkeys(("mean", "low", "high"), eye[0]),
    ).save(path)
    return str(path)


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    told = [*TINY, *overrides, f"output_dir={folder}"]
    content = compose.build_job(compose.compose_config(told)).run(Console(quiet=True))
    assert content is not None
    return content


def test_a_video_drives_a_portrait_at_any_rate_and_is_encoded_once(
    pipeline: Pipeline, video: Path, portrait: Path, audio: Path, tmp_path: Path
) -> None:
    seen = pipeline.encode_motion(video)
    assert len(seen) == NUM
    driven = pipeline.using("motion=video", f"motion.video.file={video}", "motion.video.relative=false")
    made, wanted = (motion @ pipeline.core.directions for motion in (driven(portrait, audio).motion, seen))
    torch.testing.assert_close(made[:NUM], wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(made[NUM:], wanted[-1:].expand(len(made) - NUM, -1), rtol=0, atol=1e-5)
    slow = film(tmp_path / "slow.mp4", read_frames(video), fps=12.5)
    assert len(pipeline.encode_motion(slow)) == 2 * NUM
    torch.testing.assert_close(pipeline.encode_motion(slow)[::2], pipeline.encode_motion(slow)[1::2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MotionAutoencoder, "encode", lambda *_: pytest.fail("it was encoded before"))
        torch.testing.assert_close(pipeline.encode_motion(video), seen, rtol=0, atol=0)


def test_a_run_tells_the_crop_of_each_shot(
    video: Path, audio: Path, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = film(tmp_path / "cut.mp4", [*read_frames(video), *(255 - photo for _ in range(4))])
    told = list[str]()
    monkeypatch.setattr("float_research.inference.job.say", lambda console, text, **_: told.append(text))
    content = run(tmp_path / "run", f"data.audio={audio}", "motion=video", f"motion.video.file={cut}")
    assert any("cut.mp4 has 2 shots, each with a crop of its own: 0.00 s to 0.48 s at 0,0,128,96; " in t for t in told)
    assert content["clips"][0]["edits"]["names"] == ["video"]


@pytest.mark.parametrize(("chosen", "number"), [("first", 0), ("sharpest", 3), (5, 5)])
def test_a_frame_of_a_video_is_the_portrait(
    chosen: str | int, number: int, pipeline: Pipeline, video: Path, audio: Path
) -> None:
    chosen_of = pipeline.using(f"frame={chosen}", "composite=beside")
    frames = list(read_frames_at(video, 25.0))
    crop = next(chosen_of(video, audio).frames())[:, :64]
    np.testing.assert_array_equal(crop, cv2.resize(frames[number], (64, 64), interpolation=cv2.INTER_AREA))
    by_bytes = next(chosen_of(video.read_bytes(), audio).frames())
    np.testing.assert_array_equal(by_bytes[:, :64], crop)


def test_lips_are_dubbed_into_footage(video: Path, audio: Path, atlas: str, tmp_path: Path) -> None:
    """Outside of the crop, each frame is the footage's; inside, the face is another."""
    clips = tmp_path / "clips.csv"
    with clips.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "audio", "crop"), (video, audio, "16,16,80,80")])
    told = ["data=manifest", f"data.file={clips}", "motion=dub", f"atlas={atlas}", "video.crf=0", "composite=paste"]
    (clip,) = run(tmp_path / "run", *told)["clips"]
    assert clip["composite"] == {"kind": "paste", "width": 128, "height": 96}
    frames = list(read_frames(tmp_path / "run" / clip["video"]))
    footage = list(read_frames(video))
    assert len(frames) == 15
    for n, frame in enumerate(frames):
        error = np.abs(frame.astype(int) - footage[min(n, NUM - 1)])
        assert error[:, 84:].max() <= 12, "what H.264 loses"
        assert error[40:60, 40:60].mean() > 5


def test_a_dub_has_the_motion_of_the_footage_and_the_lips_of_speech(
    pipeline: Pipeline, video: Path, portrait: Path, audio: Path, atlas: str
) -> None:
    dubbing = pipeline.using("motion=dub", f"atlas={atlas}", "composite=beside")
    result, q = dubbing(video, audio), pipeline.core.directions
    seen, spoken, made = (
        motion @ q for motion in (pipeline.encode_motion(video), pipeline(video, audio).motion, result.motion)
    )
    others = [0, *range(2, q.shape[1])]
    torch.testing.assert_close(made[:NUM, others], seen[:, others], rtol=0, atol=1e-5)
    torch.testing.assert_close(made[:, 1], spoken[:, 1], rtol=0, atol=1e-5)
    frames, footage = list(result.frames()), list(read_frames_at(video, 25.0))
    for one, other in zip(dubbing.stream(video, audio), frames, strict=True):
        np.testing.assert_array_equal(one, other)
    again = dubbing.decode(video, dubbing.edit(pipeline(video, audio).motion, image=video))
    torch.testing.assert_close(again.motion, result.motion)
    np.testing.assert_array_equal(next(again.frames()), frames[0])
    number = 7
    crop = cv2.resize(footage[number], (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(frames[number][:, :64], crop)
    (alone,) = pipeline.decode(crop, result.motion[number : number + 1]).frames()
    assert np.abs(frames[number][:, 64:128].astype(int) - alone).max() <= 1, "each frame is a portrait of its own"
    with pytest.raises(UserError, match=r"motion=dub needs a video as the portrait, such as data\.image=clip\.mp4"):
        dubbing(portrait, audio)


def test_bad_videos_are_told_before_weights_load(
    video: Path, audio: Path, atlas: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("float_research.inference.job.loaded_model", lambda *_: pytest.fail("weights were loaded"))
    (tmp_path / "words.mp4").write_text("no video")
    none = film(tmp_path / "none.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3)
    one = film(tmp_path / "one.mp4", [np.full((64, 64, 3), 90, np.uint8)])

    def told(*overrides: str) -> str:
        with pytest.raises(UserError) as error:
            run(tmp_path / "run", f"data.audio={audio}", *overrides)
        return str(error.value)

    def driven(path: Path | str, *more: str) -> str:
        return told("motion=video", f"motion.video.file={path}", *more)

    assert "none.mp4 at 0.00 s: no face found by landmarker" in driven(none, "face=landmarker")
    assert "one.mp4 is shorter than 2 frames at 25 frames/s; give a longer one" in driven(one)
    assert "words.mp4 cannot be read" in driven(tmp_path / "words.mp4")
    assert "was made from other weights than this run uses" in driven(video, "motion.video.take=[head]")
    assert "has 12 frames, so there is no frame 99" in told(f"data.image={video}", "frame=99")
    assert "is no video; motion=dub needs one, as data.image=clip.mp4" in told("motion=dub", f"atlas={atlas}")
    assert "frame=last must be first, sharpest, or the number" in told(f"data.image={video}", "frame=last")
