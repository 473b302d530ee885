"""Reads videos: properties and frames."""

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
"""Longest duration of one frame; a longer one indicates a damaged timestamp."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file. `audio_s` is None without sound."""

    num_frames: int
    fps: float
    width: int
    height: int
    video_s: float
    audio_s: float | None


def probe(path: Path) -> VideoInfo:
    """Reads a file's properties. Counts the frames instead of trusting the header."""
    with open_video(path, BOUNDS) as (container, video):
        audio = container.streams.audio[0] if container.streams.audio else None
        num_frames = sum(1 for packet in container.demux(video) if packet.size)
        fps = float(video.average_rate or video.guessed_rate or 0)
        if not fps > 0:
            raise UserError(f"{named('video', path)} does not declare a frame rate; {REMEDY}")
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
    """Yields RGB frames, one at a time."""
    with open_video(path, BOUNDS) as (container, stream):
        for frame in container.decode(stream):
            yield pixels(frame, path, BOUNDS)


def count_frames(path: Path) -> int:
    """Returns the number of frames that `read_frames` yields."""
    with open_video(path, BOUNDS) as (container, stream):
        return sum(1 for _ in container.decode(stream))


def read_frames_at(path: Path, fps: float, limits: Limits = BOUNDS) -> Iterator[Image]:
    """Yields RGB frames at a constant rate: the frame shown in the middle of each `1 / fps` seconds."""
    name = named("video", path)
    with open_video(path, limits) as (container, stream):
        step_s = 1 / float(stream.average_rate or fps)
        shown, first_s, shown_s, number = None, 0.0, 0.0, 0
        for frame in container.decode(stream):
            time_s = frame.time if frame.time is not None else first_s + shown_s + step_s * (shown is not None)
            if shown is None:
                first_s = time_s
            until_s = check_times(time_s - first_s, shown_s, limits, name)
            while shown is not None and (number + 0.5) / fps < until_s:
                yield pixels(shown, path, limits)
                number += 1
            shown, shown_s = frame, until_s
        last_s = check_times(shown_s + step_s, shown_s, limits, name)
        while shown is not None and (number + 0.5) / fps < last_s:
            yield pixels(shown, path, limits)
            number += 1


def check_times(until_s: float, since_s: float, limits: Limits, name: str) -> float:
    """Returns `until_s`. Raises a UserError if the video or a frame shown since `since_s` lasts too long."""
    limits.check_duration(name, until_s)
    if until_s - since_s > MAX_STILL_S:
        raise UserError(f"{name} shows one frame for {until_s - since_s:,.0f} s; cut it, or {REMEDY}")
    return until_s


@contextmanager
def open_video(path: Path, limits: Limits) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a video file and its first video track. Raises a UserError with the file's name if it is invalid."""
    with open_media(path, "video", REMEDY) as container:
        if not container.streams.video:
            raise UserError(f"{named('video', path)} has no video track; give a video")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise UserError(f"{named('video', path)} has an unknown codec; {REMEDY}")
        if not stream.width * stream.height:  # FFmpeg clears a size that it rejects
            raise UserError(
                f"{named('video', path)} has frames without a size, or over {BOUNDS.megapixels:g} megapixels; {REMEDY}"
            )
        limits.check_size(named("video", path), stream.width, stream.height)
        stream.codec_context.options = {"max_pixels": str(limits.pixels)}
        yield container, stream


def pixels(frame: VideoFrame, path: Path, limits: Limits) -> Image:
    """Converts a frame to RGB. Raises a UserError if it is too large, since frames may differ in size."""
    limits.check_size(named("video", path), frame.width, frame.height)
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
