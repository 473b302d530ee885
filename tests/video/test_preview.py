import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video.test_writer import SETTINGS, moving_disc

from float_research.errors import UserError
from float_research.video.preview import GAP_PX, animation, contact_sheet
from float_research.video.writer import Recording


@pytest.fixture
def video(tmp_path: Path, speech: Callable[[float], Path]) -> Path:
    path = tmp_path / "disc.mp4"
    with SETTINGS.open(path, fps=25.0, size_px=64, recording=Recording(speech(1.0))) as writer:
        writer.write(moving_disc(25))
    return path


def brightest_column(image: np.ndarray) -> float:
    return float(np.argmax(image[..., 0].astype(float).sum(0)))


def test_sheet_shows_frames_in_reading_order(video: Path, tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(contact_sheet(video, tmp_path / "sheet.png", rows=2, columns=3)))
    assert sheet.shape == (2 * 64 + GAP_PX, 3 * 64 + 2 * GAP_PX, 3)
    step = 64 + GAP_PX
    places = [
        brightest_column(sheet[r * step : r * step + 64, c * step : c * step + 64]) for r in (0, 1) for c in range(3)
    ]
    assert places == sorted(places)
    assert places[0] < 10
    assert places[-1] > 50


def test_animation_keeps_the_videos_speed(video: Path, tmp_path: Path) -> None:
    with Image.open(animation(video, tmp_path / "disc.webp", every=2, quality=90)) as picture:
        assert picture.n_frames == 13
        picture.seek(5)
        assert abs(brightest_column(np.asarray(picture.convert("RGB"))) - 60 * 10 / 25) < 6
        assert picture.info["duration"] == 80


def test_existing_pictures_are_kept(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(Path(__file__).parents[2] / "scripts" / "preview.py")
    take, mine = video.rename(tmp_path / "take.v2.mp4"), tmp_path / "take.v2.png"
    mine.write_text("mine")
    monkeypatch.setattr(sys, "argv", [script, str(take)])
    with pytest.raises(SystemExit):
        runpy.run_path(script, run_name="__main__")
    assert "take.v2.png exists; give another --output, or --overwrite to replace it" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.v2.mp4", "take.v2.png"]
    monkeypatch.setattr(sys, "argv", [script, str(take), "--overwrite"])
    runpy.run_path(script, run_name="__main__")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.v2.mp4", "take.v2.png", "take.v2.webp"]
    assert Image.open(mine).size == (6 * 66 - 2, 3 * 66 - 2)


def test_the_length_of_an_animation_is_limited(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("float_research.video.preview.MAX_PIXELS", 10 * 64 * 64)
    with pytest.raises(UserError, match=r"disc\.mp4 is too long for an animation; use fewer frames with --every"):
        animation(video, tmp_path / "disc.webp", every=2, quality=90)
    assert animation(video, tmp_path / "disc.webp", every=3, quality=90).is_file()


def test_a_preview_needs_a_video(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.mp4 does not exist"):
        contact_sheet(tmp_path / "nothing.mp4", tmp_path / "sheet.png", rows=1, columns=1)
    assert list(tmp_path.iterdir()) == []


def test_landmarks_are_drawn_where_the_face_is(portrait: Path, tmp_path: Path) -> None:
    image = Image.open(portrait).convert("RGB").resize((256, 256))
    frames = torch.from_numpy(np.stack([np.asarray(image)] * 2))
    video = tmp_path / "still.mp4"
    with replace(SETTINGS, crf=0).open(video, fps=25.0, size_px=256, recording=None) as writer:
        writer.write(frames)
    plain, marked = (
        np.asarray(Image.open(contact_sheet(video, tmp_path / f"{k}.png", rows=1, columns=1, landmarks=bool(k))))
        for k in (0, 1)
    )
    assert marked.shape == (512, 512, 3), "a small frame is enlarged, so that lips and lids can be told apart"
    y, x = np.nonzero(np.abs(marked.astype(int) - plain.repeat(2, 0).repeat(2, 1)).max(2) > 60)
    assert abs(x.mean() - 224) < 12, "her face is at (224, 115) of 512"
    assert abs(y.mean() - 115) < 12
    assert np.ptp(x) < 160


def test_landmarks_need_a_face(video: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"disc\.mp4 has no face in 4 frames; leave out --landmarks"):
        contact_sheet(video, tmp_path / "sheet.png", rows=2, columns=2, landmarks=True)
    with pytest.raises(UserError, match=r"disc\.mp4 has no face in 5 frames"):
        animation(video, tmp_path / "disc.webp", every=5, quality=80, landmarks=True)
    assert [path.name for path in tmp_path.iterdir()] == ["disc.mp4"]
