"""Streaming H.264 + AAC writer on PyAV: encodes frames and sound as they come; the file appears whole or not at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from jaxtyping import UInt8
from torch import Tensor

from float_research.errors import UserError
from float_research.files import Part
from float_research.media import BOUNDS, Limits
from float_research.sound import MONO, Block, mono_blocks, read_sound, resampled
from float_research.stopping import held
from float_research.types import WHOLE, Excerpt, Waveform

COLOURS = {
    "colorspace": Colorspace.ITU709,
    "color_range": ColorRange.MPEG,
    "color_primaries": ColorPrimaries.BT709,
    "color_trc": ColorTrc.BT709,
}
"""As players take a video to be that says nothing."""
MIN_FPS, MAX_FPS, TELEVISION = 1, 240, (24, 30, 60, 120)
"""Frames a second; of the last, 1000/1001 is meant where one says 23.976, 29.97, 59.94 or 119.88."""
AAC_FRAME = 1024
"""Samples that AAC encodes at a time."""
AAC_LAYOUTS = ("mono", "stereo", "2.1", "3.0", "4.0", "quad", "5.0", "5.0(side)", "5.1", "5.1(side)", "6.1", "7.1")
"""FFmpeg's names of the channels that an AAC track keeps; of others it gets the mean."""
USUAL_LAYOUTS = {2: "stereo", 6: "5.1", 8: "7.1"}


@dataclass(frozen=True)
class Recording:
    """Sound for a video: an excerpt of a file, within limits, or a mono waveform with its rate in Hz."""

    source: Path | Waveform
    rate_hz: int = 0
    excerpt: Excerpt = WHOLE
    limits: Limits = BOUNDS

    def blocks(self) -> Iterator[Block]:
        """Decoded a little at a time, by what the model hears as well."""
        if isinstance(self.source, Path):
            return read_sound(self.source, self.excerpt, self.limits)
        return mono_blocks(self.source, self.rate_hz)


@dataclass(frozen=True, kw_only=True)
class H264:
    """Encoder settings. `crf`: quality, 0 lossless to 51 worst. `audio_rate_hz`: None keeps 44.1 and 48 kHz. `fps`:
    None is the model's frame rate; at another, motion is interpolated before it is decoded.

    The picture is BT.709 in limited range, and says so. The sound keeps the recording's channels.
    """

    crf: int
    preset: str
    audio_rate_hz: int | None
    audio_bitrate_bps: int
    fps: float | None

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise UserError(f"video.crf={self.crf} must lie between 0 (lossless) and 51 (worst)")
        if self.fps is not None and not MIN_FPS <= self.fps <= MAX_FPS:
            raise UserError(f"video.fps={self.fps} must be from {MIN_FPS} to {MAX_FPS}, or null for the model's")

    def open(self, path: Path, *, fps: float, size_px: int, recording: Recording | None) -> "VideoWriter":
        """A writer of square frames that will leave its file at `path`."""
        return VideoWriter(path, self, fps=fps, size_px=size_px, recording=recording)


class VideoWriter:
    """Writes beside its path and renames at `close`. As a context it closes on success and discards on an exception."""

    def __init__(self, path: Path, settings: H264, *, fps: float, size_px: int, recording: Recording | None):
        self.path, self.rate = path, exact_rate(fps)
        self.num_frames, self.num_samples = 0, 0
        self._part: Any = None
        self._container: Any = None
        self._sound: Iterator[np.ndarray] | None = None
        try:
            with held():
                self._part = Part(path)
            self._begin(settings, size_px, recording)
        except BaseException:
            self.discard()
            raise

    def _begin(self, settings: H264, size_px: int, recording: Recording | None) -> None:
        """Opens the file and its streams."""
        name = str(self._part.path.absolute())  # a relative one with a colon would be an address
        self._container = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
        self._video = self._container.add_stream("libx264", rate=self.rate)
        self._video.width = self._video.height = size_px
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"crf": str(settings.crf), "preset": settings.preset}
        for name, value in COLOURS.items():
            setattr(self._video.codec_context, name, value)
        blocks = iter(()) if recording is None else recording.blocks()
        for first in islice(blocks, 1):
            layout = av.AudioLayout(aac_layout(first))
            rate_hz = settings.audio_rate_hz or aac_rate_hz(first.rate_hz)
            self._audio = self._container.add_stream("aac", rate=rate_hz, layout=layout)
            self._audio.bit_rate = settings.audio_bitrate_bps * max(1, layout.nb_channels // 2)
            self._sound = _sound(chain([first], blocks), layout.nb_channels, rate_hz)

    def write(self, frames: UInt8[Tensor, "l h w 3"]) -> None:
        """Encodes RGB frames, and the sound that goes with them."""
        for array in frames.cpu().numpy():
            rgb = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            frame.pts, frame.time_base = self.num_frames, 1 / self.rate
            self._container.mux(self._video.encode(frame))
            self.num_frames += 1
            self._write_sound(until_s=float(self.num_frames / self.rate))

    def close(self) -> None:
        """Flushes, and moves the file to its place."""
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
        """Gives up and leaves nothing behind."""
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
        """Encodes sound up to a time, and no further than that by more than a frame of AAC."""
        while self._sound is not None and self.num_samples < until_s * self._audio.rate:
            samples = next(self._sound, None)
            if samples is None:
                return
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._audio.layout)
            frame.sample_rate = self._audio.rate
            frame.pts, frame.time_base = self.num_samples, Fraction(1, self._audio.rate)
            self.num_samples += frame.samples
            self._container.mux(self._audio.encode(frame))


def exact_rate(fps: float) -> Fraction:
    """Frames a second. 29.97 and its like are what television means by them, 30000/1001."""
    for whole in TELEVISION:
        if abs(fps - whole / 1.001) < 0.005:
            return Fraction(whole * 1000, 1001)
    return Fraction(fps).limit_denominator(1001)


def aac_layout(block: Block) -> str:
    """The channels as they are named, or as so many usually are; one for those that AAC has no place for."""
    return block.layout if block.layout in AAC_LAYOUTS else USUAL_LAYOUTS.get(len(block.samples), MONO)


def aac_rate_hz(rate_hz: int) -> int:
    """44.1 or 48 kHz, whichever a recording's rate is a part or a multiple of; 48 kHz for any other."""
    return 44100 if rate_hz % 11025 == 0 else 48000


def _sound(blocks: Iterable[Block], num_channels: int, rate_hz: int) -> Iterator[np.ndarray]:
    """Samples `(c, s)` for AAC, a frame of it at a time. A block of other channels becomes their mean, in all."""
    alike = (
        block if len(block.samples) == num_channels else block._replace(samples=np.tile(block.mono, (num_channels, 1)))
        for block in blocks
    )
    left = np.zeros((num_channels, 0), dtype=np.float32)
    for samples in resampled(alike, rate_hz):
        left = np.concatenate([left, samples], axis=1)
        whole = left.shape[1] - left.shape[1] % AAC_FRAME
        yield from (np.ascontiguousarray(left[:, i : i + AAC_FRAME]) for i in range(0, whole, AAC_FRAME))
        left = left[:, whole:]
    if left.size:
        yield np.ascontiguousarray(left)
