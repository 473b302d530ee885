"""Reading videos back: facts and frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from float_research.errors import UserError, named
from float_research.media import BOUNDS, Limits, open_media
from float_research.types import Image

REMEDY = "convert it to MP4"
MAX_STILL_S = 60.0
"""Longest that one frame may be shown; what claims to stand longer has a damaged time."""


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
    with opened(path, BOUNDS) as (container, video):
        audio = container.streams.audio[0] if container.streams.audio else None
        num_frames = sum(1 for packet in container.demux(video) if packet.size)
        fps = float(video.average_rate or video.guessed_rate or 0)
        if not fps > 0:
            raise UserError(f"{named('video', path)} does not say how many frames it has a second; {REMEDY}")
        audio_s = None
        if audio is not None and audio.duration is not None and audio.time_base is not None:
            audio_s = float(audio.duration * audio.time_base)
        video_s = num_frames / fps
        if video.duration is not None and video.time_base is not None:
            video_s = float(video.duration * video.time_base)
        return VideoInfo(
            num_frames=num_frames,
            fps=fps,
            width=video.width,
            height=video.height,
            video_s=video_s,
            audio_s=audio_s,
        )


def read_frames(path: Path) -> Iterator[Image]:
    """RGB frames, one at a time."""
    with opened(path, BOUNDS) as (container, stream):
        for frame in container.decode(stream):
            yield pixels(frame, path, BOUNDS)


def count_frames(path: Path) -> int:
    """How many frames `read_frames` gives."""
    with opened(path, BOUNDS) as (container, stream):
        return sum(1 for _ in container.decode(stream))


def read_frames_at(path: Path, fps: float, limits: Limits = BOUNDS) -> Iterator[Image]:
    """RGB frames at a constant rate: each is what the video shows in the middle of its `1 / fps` seconds."""
    name = named("video", path)
    with opened(path, limits) as (container, stream):
        step_s = 1 / float(stream.average_rate or fps)
        shown, first_s, shown_s, number = None, 0.0, 0.0, 0
        for frame in container.decode(stream):
            time_s = frame.time if frame.time is not None else first_s + shown_s + step_s * (shown is not None)
            if shown is None:
                first_s = time_s
            until_s = checked(time_s - first_s, shown_s, limits, name)
            while shown is not None and (number + 0.5) / fps < until_s:
                yield pixels(shown, path, limits)
                number += 1
            shown, shown_s = frame, until_s
        last_s = checked(shown_s + step_s, shown_s, limits, name)
        while shown is not None and (number + 0.5) / fps < last_s:
            yield pixels(shown, path, limits)
            number += 1


def checked(until_s: float, since_s: float, limits: Limits, name: str) -> float:
    """`until_s`, where a frame that is shown from `since_s` on may stand so long, and the video may last so long."""
    limits.check_duration(name, until_s)
    if until_s - since_s > MAX_STILL_S:
        raise UserError(f"{name} shows one frame for {until_s - since_s:,.0f} s; cut it, or {REMEDY}")
    return until_s


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its first track of pictures. Raises a UserError with the file's name for whatever is wrong."""
    with open_media(path, "video", REMEDY) as container:
        if not container.streams.video:
            raise UserError(f"{named('video', path)} holds no pictures; give a video")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise UserError(f"{named('video', path)} has an unknown codec; {REMEDY}")
        if not stream.width * stream.height:  # FFmpeg forgets a size that it refuses
            raise UserError(
                f"{named('video', path)} has pictures without a size, or over {BOUNDS.megapixels:g} megapixels"
            )
        limits.check_size(named("video", path), stream.width, stream.height)
        stream.codec_context.options = {"max_pixels": str(limits.pixels)}
        yield container, stream


def pixels(frame: VideoFrame, path: Path, limits: Limits) -> Image:
    """A frame as RGB, where it is not too large: each frame has a size of its own."""
    limits.check_size(named("video", path), frame.width, frame.height)
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
