import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from float_research.data.audio import listen
from float_research.errors import UserError
from float_research.video.reader import probe, read_frames
from float_research.video.writer import H264, Recording, exact_rate

SETTINGS = H264(fps=None, mark=None, crf=12, preset="fast", audio_rate_hz=48000, audio_bitrate_bps=128000)


def moving_disc(num_frames: int) -> torch.Tensor:
    """A bright disc that crosses a dark blue image from left to right."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    frames = torch.zeros(num_frames, 64, 64, 3)
    frames[..., 2] = 90
    for i in range(num_frames):
        frames[i][(x - 60 * i / num_frames) ** 2 + (y - 32) ** 2 < 100] = torch.tensor([230.0, 200.0, 60.0])
    return frames.byte()


@pytest.mark.parametrize("seconds", [0.05, 1.0, 2.51])
def test_video_and_sound_have_equal_length(seconds: float, speech: Callable[[float], Path], tmp_path: Path) -> None:
    frames = moving_disc(int(np.ceil(seconds * 25)))
    with SETTINGS.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=Recording(speech(seconds))) as writer:
        for part in frames.split(7):
            writer.write(part)
    info = probe(tmp_path / "a.mp4")
    assert (info.num_frames, info.fps, info.width, info.height) == (len(frames), 25, 64, 64)
    assert info.audio_s is not None
    assert abs(info.video_s - info.audio_s) <= 1 / 25
    assert info.video_s == pytest.approx(len(frames) / 25)


def test_frames_and_sound_are_preserved(speech: Callable[[float], Path], tmp_path: Path) -> None:
    frames = moving_disc(50)
    samples = listen(speech(2.0), 16000).waveform
    with SETTINGS.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=Recording(samples, 16000)) as writer:
        writer.write(frames)
    errors = [
        np.square(read.astype(float) - frame.numpy()).mean()
        for read, frame in zip(read_frames(tmp_path / "a.mp4"), frames, strict=True)
    ]
    assert 10 * np.log10(255**2 / max(errors)) > 25, "PSNR of the worst frame"
    heard = listen(tmp_path / "a.mp4", 16000).waveform
    lags = np.correlate(heard, samples[2000:20000], "valid") / np.square(samples[2000:20000]).sum()
    assert lags.max() == pytest.approx(1, abs=0.15)
    assert abs(int(lags.argmax()) - 2000) <= 1100


def test_a_video_can_be_streamed(tmp_path: Path) -> None:
    with SETTINGS.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=None) as writer:
        writer.write(moving_disc(5))
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_video_without_recording_has_no_sound(tmp_path: Path) -> None:
    with SETTINGS.open(tmp_path / "a.mp4", fps=30000 / 1001, size_px=64, recording=None) as writer:
        writer.write(moving_disc(5))
    info = probe(tmp_path / "a.mp4")
    assert info.audio_s is None
    assert info.fps == pytest.approx(29.97, abs=0.001)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_behind(
    error: type[BaseException], speech: Callable[[float], Path], tmp_path: Path
) -> None:
    with (
        pytest.raises(error),
        SETTINGS.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=Recording(speech(1.0))) as writer,
    ):
        writer.write(moving_disc(20))
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"], "a temporary file while writing"
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_existing_video_survives_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("former")
    with (
        pytest.raises(ZeroDivisionError),
        SETTINGS.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=None) as writer,
    ):
        writer.write(moving_disc(3))
        raise ZeroDivisionError
    assert (tmp_path / "a.mp4").read_text() == "former"


def test_crf_must_be_valid() -> None:
    with pytest.raises(UserError, match="crf=99"):
        H264(fps=None, mark=None, crf=99, preset="fast", audio_rate_hz=48000, audio_bitrate_bps=128000)


@pytest.mark.parametrize("fps", [0, -25.0, 0.9, 241, math.nan, math.inf])
def test_a_frame_rate_must_be_valid(fps: float) -> None:
    with pytest.raises(UserError, match=rf"video\.fps={fps} must be from 1 to 240, or null for the model's"):
        dataclasses.replace(SETTINGS, fps=fps)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        *((fps, (fps, 1)) for fps in (1, 24, 25, 30, 50, 60, 240)),
        (12.5, (25, 2)),
        *((whole / 1.001, (whole * 1000, 1001)) for whole in (24, 30, 60, 120)),
        (23.976, (24000, 1001)),
        (29.97, (30000, 1001)),
        (59.94, (60000, 1001)),
        (119.88, (120000, 1001)),
    ],
)
def test_a_frame_rate_is_exact(fps: float, rate: tuple[int, int]) -> None:
    assert exact_rate(fps) == Fraction(*rate)


def test_a_writer_that_fails_to_open_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("av.open", stop)
    settings = H264(fps=None, mark=None, crf=20, preset="veryfast", audio_rate_hz=48000, audio_bitrate_bps=96000)
    with pytest.raises(KeyboardInterrupt):
        settings.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (200, 140, 110), (12, 60, 90)]
)
def test_colours_are_those_of_bt709(colour: tuple[int, int, int], tmp_path: Path) -> None:
    frames = torch.tensor(colour, dtype=torch.uint8).expand(3, 64, 64, 3).contiguous()
    with SETTINGS.open(tmp_path / "a.mp4", fps=25.0, size_px=64, recording=None) as writer:
        writer.write(frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        luma, blue, red = (float(np.frombuffer(plane, np.uint8)[0]) for plane in next(container.decode(video=0)).planes)
    # ITU-R BT.709-6: 219 steps of luma from 16, differences in 224 around 128
    y, pb, pr = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    r, b = y + 1.5748 * pr, y + 1.8556 * pb
    shown = 255 * np.clip([r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b], 0, 1)
    assert np.abs(shown - colour).max() <= 2
    assert np.abs(next(iter(read_frames(tmp_path / "a.mp4")))[32, 32].astype(int) - colour).max() <= 2


@pytest.mark.parametrize(
    ("mark", "in_picture", "in_file"),
    [(None, False, False), ("visible", True, False), ("metadata", False, True), ("both", True, True)],
)
def test_a_mark_is_read_back(mark: str | None, in_picture: bool, in_file: bool, tmp_path: Path) -> None:
    grey = torch.full((3, 128, 128, 3), 128, dtype=torch.uint8)
    settings = dataclasses.replace(SETTINGS, mark=mark)
    with settings.open(tmp_path / "a.mp4", fps=25, size_px=128, recording=None) as writer:
        writer.write(grey)
    assert (grey == 128).all(), "metrics see the frames without the mark"
    for frame in read_frames(tmp_path / "a.mp4"):
        assert abs(frame[:64].astype(int) - 128).max() <= 4
        corner = frame[-10:, :60]
        assert (corner.max() > 200 and corner.min() < 70) == in_picture
    with av.open(tmp_path / "a.mp4") as video:
        assert ("trainedAlgorithmicMedia" in video.metadata.get("comment", "")) == in_file


def test_an_unknown_mark_is_refused() -> None:
    with pytest.raises(UserError, match=r"video\.mark=loud must be one of visible, metadata, both"):
        dataclasses.replace(SETTINGS, mark="loud")
