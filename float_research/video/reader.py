"""Reading videos back: facts and frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from float_research.types import Image


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds. `audio_s` is None without sound."""

    num_frames: int
    fps: float
    width: int
    height: int
    video_s: float
    audio_s: float | None


def probe(path: Path) -> VideoInfo:
    """Reads a file's facts. Frames are counted, not believed."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        audio = container.streams.audio[0] if container.streams.audio else None
        num_frames = sum(1 for packet in container.demux(video) if packet.size)
        assert video.time_base is not None
        assert video.duration is not None
        assert video.average_rate is not None
        audio_s = None
        if audio is not None and audio.duration is not None and audio.time_base is not None:
            audio_s = float(audio.duration * audio.time_base)
        return VideoInfo(
            num_frames=num_frames,
            fps=float(video.average_rate),
            width=video.width,
            height=video.height,
            video_s=float(video.duration * video.time_base),
            audio_s=audio_s,
        )


def read_frames(path: Path) -> Iterator[Image]:
    """RGB frames, one at a time."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def read_frames_at(path: Path, fps: float) -> Iterator[Image]:
    """RGB frames at a constant rate: each is what the video shows in the middle of its `1 / fps` seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown, first_s, number = None, 0.0, 0
        for frame in container.decode(stream):
            if shown is None:
                first_s = frame.time or 0.0
            while shown is not None and (number + 0.5) / fps < frame.time - first_s:
                yield np.ascontiguousarray(shown.to_ndarray(format="rgb24"))
                number += 1
            shown = frame
        if shown is not None:
            last_s = shown.time - first_s + 1 / float(stream.average_rate or fps)
            while (number + 0.5) / fps < last_s:
                yield np.ascontiguousarray(shown.to_ndarray(format="rgb24"))
                number += 1
