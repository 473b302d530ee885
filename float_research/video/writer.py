"""Streaming H.264 + AAC writer on PyAV: encodes frames and sound incrementally and writes the file atomically."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from jaxtyping import UInt8
from torch import Tensor

from float_research.errors import UserError
from float_research.files import Part
from float_research.media import BOUNDS, Limits
from float_research.sound import MONO, SoundBlock, mono_blocks, read_sound, resample_blocks
from float_research.stopping import held
from float_research.types import WHOLE, Excerpt, Image, Waveform
from float_research.video.mark import BOTH, COMMENT, MARKS, METADATA, VISIBLE, letters, marked

COLOURS = {
    "colorspace": Colorspace.ITU709,
    "color_range": ColorRange.MPEG,
    "color_primaries": ColorPrimaries.BT709,
    "color_trc": ColorTrc.BT709,
}
"""Limited-range BT.709, which players also assume for untagged videos."""
MIN_FPS, MAX_FPS, TELEVISION = 1, 240, (24, 30, 60, 120)
"""Frame rates; 23.976, 29.97, 59.94 and 119.88 mean 1000/1001 of the television rates."""
AAC_FRAME = 1024
"""Samples per AAC frame."""
AAC_LAYOUTS = ("mono", "stereo", "2.1", "3.0", "4.0", "quad", "5.0", "5.0(side)", "5.1", "5.1(side)", "6.1", "7.1")
"""FFmpeg's names of the channel layouts that AAC supports; for others see `aac_layout`."""
LARGE_PX, FEW_FRAMES = 4_000_000, {"rc-lookahead": "1", "bf": "0"}
"""Larger frames are encoded without B-frames and look-ahead: x264 would hold some 20 frames, 650 MB at 3840 × 2160."""
Size = int | tuple[int, int]
USUAL_LAYOUTS = {2: "stereo", 6: "5.1", 8: "7.1"}


@dataclass(frozen=True)
class Recording:
    """Sound track of a video: an excerpt of a file, within limits, or a mono waveform with its rate in Hz."""

    source: Path | Waveform
    rate_hz: int = 0
    excerpt: Excerpt = WHOLE
    limits: Limits = BOUNDS

    def blocks(self) -> Iterator[SoundBlock]:
        """Decodes the sound block by block, with the decoder that the model's input uses."""
        if isinstance(self.source, Path):
            return read_sound(self.source, self.excerpt, self.limits)
        return mono_blocks(self.source, self.rate_hz)


@dataclass(frozen=True, kw_only=True)
class H264:
    """Encoder settings.

    `crf`: quality, 0 lossless to 51 worst. `audio_rate_hz`: None keeps 44.1 and 48 kHz. `fps`: None is the model's
    frame rate; for another, motion is interpolated before decoding. `audio_bitrate_bps`: for each two channels.

    `mark`: `visible` writes “AI-generated” into the picture, `metadata` a comment into the file, `both` does both.

    The video is tagged as limited-range BT.709. The sound keeps the recording's channels.
    """

    crf: int
    preset: str
    audio_rate_hz: int | None
    audio_bitrate_bps: int
    fps: float | None
    mark: str | None

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise UserError(f"video.crf={self.crf} must be between 0 (lossless) and 51 (worst)")
        if self.fps is not None and not MIN_FPS <= self.fps <= MAX_FPS:
            raise UserError(f"video.fps={self.fps} must be from {MIN_FPS} to {MAX_FPS}, or null for the model's rate")
        if self.mark not in (None, *MARKS):
            raise UserError(f"video.mark={self.mark} must be one of {', '.join(MARKS)}, or null for no mark")

    def letters(self, size_px: Size) -> np.ndarray | None:
        """Returns the letters that are written into each picture, if any."""
        return letters(min(sides(size_px))) if self.mark in (VISIBLE, BOTH) else None

    def open(self, path: Path, *, fps: float, size_px: Size, recording: Recording | None) -> "VideoWriter":
        """Returns a writer of frames to `path`. `size_px`: the side of squares, or width and height, both even."""
        return VideoWriter(path, self, fps=fps, size_px=size_px, recording=recording)


class VideoWriter:
    """Writes to a temporary file and renames it in `close`. As a context, closes on success and discards on error."""

    def __init__(self, path: Path, settings: H264, *, fps: float, size_px: Size, recording: Recording | None):
        self.path, self.rate = path, exact_rate(fps)
        self.num_frames, self.num_samples = 0, 0
        self._part: Any = None
        self._container: Any = None
        self._sound: Iterator[np.ndarray] | None = None
        self._reformatter = VideoReformatter()  # for all frames, since each new one sets up swscale again
        self._letters = settings.letters(size_px)
        try:
            with held():
                self._part = Part(path)
            self._begin(settings, size_px, recording)
        except BaseException:
            self.discard()
            raise

    def _begin(self, settings: H264, size_px: Size, recording: Recording | None) -> None:
        """Opens the file and its streams."""
        name = str(self._part.path.absolute())  # FFmpeg would take a relative path with a colon as an address
        self._container = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
        self._video = add_video(self._container, settings, self.rate, size_px, {})
        blocks = iter(()) if recording is None else recording.blocks()
        for first in islice(blocks, 1):
            layout = av.AudioLayout(aac_layout(first))
            rate_hz = settings.audio_rate_hz or aac_rate_hz(first.rate_hz)
            self._audio = self._container.add_stream("aac", rate=rate_hz, layout=layout)
            self._audio.bit_rate = settings.audio_bitrate_bps * max(1, layout.nb_channels // 2)
            self._sound = _sound(chain([first], blocks), layout.nb_channels, rate_hz)

    def write(self, frames: UInt8[Tensor, "l h w 3"]) -> None:
        """Encodes RGB frames and the sound of the same time."""
        for array in frames.cpu().numpy():
            self.add(array)

    def add(self, picture: Image) -> None:
        """Encodes one RGB frame and the sound of the same time."""
        picture = picture if self._letters is None else marked(picture, self._letters)
        self._container.mux(self._video.encode(to_yuv(self._reformatter, picture, self.num_frames, self.rate)))
        self.num_frames += 1
        self._write_sound(until_s=float(self.num_frames / self.rate))

    def close(self) -> None:
        """Flushes the encoders and renames the file to its path."""
        if self._container is None:
            return
        self._write_sound(until_s=float(self.num_frames / self.rate))
        self._container.mux(self._video.encode(None))
        if self._sound is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()
        self._container = None
        self._part.keep()

    def discard(self) -> None:
        """Closes and deletes the temporary file."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        finally:
            if self._part is not None:
                self._part.discard()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def _write_sound(self, until_s: float) -> None:
        """Encodes sound up to a time, exceeding it by at most one AAC frame."""
        while self._sound is not None and self.num_samples < until_s * self._audio.rate:
            samples = next(self._sound, None)
            if samples is None:
                return
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._audio.layout)
            frame.sample_rate = self._audio.rate
            frame.pts, frame.time_base = self.num_samples, Fraction(1, self._audio.rate)
            self.num_samples += frame.samples
            self._container.mux(self._audio.encode(frame))


def add_video(container: Any, settings: H264, rate: Fraction, size_px: Size, options: Mapping[str, str]) -> Any:
    """Adds a stream of pictures to a container, with the mark of `settings`. `options`: more for the encoder."""
    if settings.mark in (METADATA, BOTH):
        container.metadata["comment"] = COMMENT
    stream = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = sides(size_px)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = torch.get_num_threads()  # FFmpeg's own choice ignores quotas
    stream.options = {"crf": str(settings.crf), "preset": settings.preset, **options}
    if stream.width * stream.height > LARGE_PX:
        stream.options |= FEW_FRAMES
    for name, value in COLOURS.items():
        setattr(stream.codec_context, name, value)
    return stream


def to_yuv(
    reformatter: VideoReformatter, picture: UInt8[np.ndarray, "h w 3"], number: int, rate: Fraction
) -> av.VideoFrame:
    """Converts an RGB picture to frame `number` of a video."""
    rgb = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="rgb24")  # no copy
    frame = reformatter.reformat(
        rgb, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts, frame.time_base = number, 1 / rate
    return frame


def sides(size_px: Size) -> tuple[int, int]:
    """Returns width and height."""
    return (size_px, size_px) if isinstance(size_px, int) else size_px


def exact_rate(fps: float) -> Fraction:
    """Returns the frame rate as a fraction, with 29.97 and similar rates as 30000/1001 etc."""
    for whole in TELEVISION:
        if abs(fps - whole / 1.001) < 0.005:
            return Fraction(whole * 1000, 1001)
    return Fraction(fps).limit_denominator(1001)


def aac_layout(block: SoundBlock) -> str:
    """Returns the channel layout if AAC supports it, else the usual layout of that many channels, else mono."""
    return block.layout if block.layout in AAC_LAYOUTS else USUAL_LAYOUTS.get(len(block.samples), MONO)


def aac_rate_hz(rate_hz: int) -> int:
    """Returns 44.1 kHz for multiples of 11.025 kHz, else 48 kHz."""
    return 44100 if rate_hz % 11025 == 0 else 48000


def _sound(blocks: Iterable[SoundBlock], num_channels: int, rate_hz: int) -> Iterator[np.ndarray]:
    """Yields samples `(c, s)`, one AAC frame at a time. A block with other channels is replaced by their mean."""
    alike = (
        block if len(block.samples) == num_channels else block._replace(samples=np.tile(block.mono, (num_channels, 1)))
        for block in blocks
    )
    left = np.zeros((num_channels, 0), dtype=np.float32)
    for samples in resample_blocks(alike, rate_hz):
        left = np.concatenate([left, samples], axis=1)
        whole = left.shape[1] - left.shape[1] % AAC_FRAME
        yield from (np.ascontiguousarray(left[:, i : i + AAC_FRAME]) for i in range(0, whole, AAC_FRAME))
        left = left[:, whole:]
    if left.size:
        yield np.ascontiguousarray(left)
