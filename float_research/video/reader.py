"""Reads videos: properties and frames."""

from collections.abc import Iterator, Sequence
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
MAX_FPS = 1000.0
HALF_A_FRAME = 0.49
"""With space for rounded timestamps."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file. `audio_s` is None without sound."""

    num_frames: int
    fps: float
    width: int
    height: int
    video_s: float
    audio_s: float | None


@dataclass(frozen=True)
class Timing:
    """When the frames of a video are shown: `fps`, and the number of frames that `read_frames_at` yields at this rate.

    `constant`: whether each frame of the file is shown once. `first_s`: the time of the first one in the file.
    """

    fps: float
    num_frames: int
    constant: bool
    first_s: float
    width: int
    height: int


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


def read_timing(path: Path, fps: float | None = None, limits: Limits = BOUNDS) -> Timing:
    """Decodes a video to find when its frames are shown, at `fps` or at its own rate.

    Its own rate is the first of those that FFmpeg derives from its header and frames at which every frame is shown
    once. If there is none, as in recordings of phones, it is the average rate.

    Raises:
        UserError: the video is damaged, exceeds the limits, has no frames or no plausible rate, or changes its size.
    """
    name = named("video", path)
    times: list[float | None] = []
    turns = 0
    with open_video(path, limits) as (container, stream):
        size = stream.width, stream.height
        for frame in container.decode(stream):
            turns = quarter_turns(frame)
            if (frame.width, frame.height) != size:
                raise UserError(
                    f"{name} changes its size from {size[0]} × {size[1]} to {frame.width} × {frame.height} pixels; "
                    "cut it there"
                )
            limits.check_size(name, *size)
            times.append(frame.time)
            limits.check_duration(name, (frame.time or 0.0) - (times[0] or 0.0))
        rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
    if not times:
        raise UserError(f"{name} has no frames; {REMEDY}")
    rates = [rate for rate in rates if 0 < rate <= MAX_FPS]
    if not rates:
        raise UserError(f"{name} does not declare a frame rate up to {MAX_FPS:g}; {REMEDY}")
    own = next((rate for rate in rates if is_constant(times, rate)), None)
    if own is not None and fps in (None, own):
        rate, num_frames = own, len(times)
    else:
        rate = fps or rates[0]
        num_frames = sum(1 for _ in read_frames_at(path, rate, limits))
    if not num_frames:
        raise UserError(f"{name} is shorter than one frame at {rate:g} frames/s; give a longer one")
    shown = size[::-1] if turns % 2 else size
    return Timing(rate, num_frames, fps in (None, own) and own is not None, times[0] or 0.0, *shown)


def is_constant(times: Sequence[float | None], fps: float) -> bool:
    """Returns whether each frame is shown in the middle of its own `1 / fps` seconds; of one without a time, it is."""
    first_s = times[0] or 0.0
    return all(
        time_s is None or abs((time_s - first_s) * fps - number) < HALF_A_FRAME for number, time_s in enumerate(times)
    )


def sound_from_s(path: Path, track: int) -> float:
    """Returns the time of the first sample of a track in the file; 0 if it has none."""
    with open_media(path, "video", REMEDY) as container:
        for frame in container.decode(audio=track):
            return frame.time or 0.0
    return 0.0


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
    """Converts a frame to upright RGB. Raises a UserError if it is too large, since frames may differ in size."""
    limits.check_size(named("video", path), frame.width, frame.height)
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns(frame)))


def quarter_turns(frame: VideoFrame) -> int:
    """Returns how often a frame is to be turned by 90° counterclockwise: phones store what they film sideways."""
    return round(frame.rotation / 90) % 4
