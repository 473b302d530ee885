"""The growing video: playable before it ends, complete after."""

from pathlib import Path

import av
import numpy as np

from float_research.video.growing import GrowingWriter
from float_research.video.writer import H264

SETTINGS = H264(crf=16, preset="ultrafast", audio_rate_hz=None, audio_bitrate_bps=64000, fps=None, mark=None)


def decoded(path: Path) -> tuple[int, float]:
    """Returns the frames of a video, and the seconds of its sound."""
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        container.seek(0)
        return frames, sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def test_it_is_playable_while_it_grows(tmp_path: Path) -> None:
    path, image = tmp_path / "live.mp4", np.zeros((64, 64, 3), np.uint8)
    with GrowingWriter(path, SETTINGS, fps=25, size_px=64, rate_hz=16000) as writer:
        writer.hear(np.zeros(4 * 16000, np.float32))
        for number in range(63):
            image[:] = number
            writer.write(image)
        frames, sound_s = decoded(path)
        assert frames >= 50
        assert sound_s >= 1.8
    frames, sound_s = decoded(path)
    assert frames == 63
    assert 2.52 <= sound_s < 2.6


def test_a_video_without_frames_is_no_file(tmp_path: Path) -> None:
    with GrowingWriter(tmp_path / "live.mp4", SETTINGS, fps=25, size_px=64, rate_hz=16000) as writer:
        writer.hear(np.zeros(100, np.float32))
    assert list(tmp_path.iterdir()) == []
