"""Small videos for tests, of pictures made by numpy."""

from collections.abc import Iterable
from pathlib import Path

from float_research.types import Image
from float_research.video.writer import H264

SETTINGS = H264(fps=None, mark=None, crf=4, preset="ultrafast", audio_rate_hz=48000, audio_bitrate_bps=64000)


def film(path: Path, frames: Iterable[Image], fps: float = 25.0) -> Path:
    """Writes frames of one even size to an MP4."""
    pictures = list(frames)
    height, width = pictures[0].shape[:2]
    with SETTINGS.open(path, fps=fps, size_px=(width, height), recording=None) as writer:
        for picture in pictures:
            writer.add(picture)
    return path
