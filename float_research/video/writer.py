"""Streaming H.264 + AAC writer on PyAV: encodes frames and sound as they come; the file appears whole or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from jaxtyping import UInt8
from torch import Tensor

from float_research.errors import UserError
from float_research.files import Part
from float_research.media import open_media
from float_research.stopping import held
from float_research.types import Waveform


@dataclass(frozen=True)
class Recording:
    """Sound for a video: a file, or a mono waveform with its rate in Hz."""

    source: Path | Waveform
    rate_hz: int = 0

    def frames(self) -> Iterator[av.AudioFrame]:
        """Decoded a little at a time."""
        if isinstance(self.source, Path):
            with open_media(self.source, "audio", "convert it to WAV") as container:
                yield from container.decode(container.streams.audio[0])
            return
        for start in range(0, len(self.source), self.rate_hz):
            part = np.ascontiguousarray(self.source[None, start : start + self.rate_hz], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = self.rate_hz, start, Fraction(1, self.rate_hz)
            yield frame


@dataclass(frozen=True, kw_only=True)
class H264:
    """Encoder settings. `crf`: quality, 0 lossless to 51 worst. Sound is resampled to `audio_rate_hz` for AAC."""

    crf: int
    preset: str
    audio_rate_hz: int
    audio_bitrate_bps: int

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise UserError(f"video.crf={self.crf} must lie between 0 (lossless) and 51 (worst)")

    def open(self, path: Path, *, fps: float, size_px: int, recording: Recording | None) -> "VideoWriter":
        """A writer of square frames that will leave its file at `path`."""
        return VideoWriter(path, self, fps=fps, size_px=size_px, recording=recording)


class VideoWriter:
    """Writes beside its path and renames at `close`. As a context it closes on success and discards on an exception."""

    def __init__(self, path: Path, settings: H264, *, fps: float, size_px: int, recording: Recording | None):
        self.path, self.rate = path, Fraction(fps).limit_denominator(1001)
        self.num_frames, self.num_samples = 0, 0
        self._part: Any = None
        self._container: Any = None
        self._sound: Iterator[av.AudioFrame] | None = None
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
        if recording is not None:
            self._audio = self._container.add_stream("aac", rate=settings.audio_rate_hz, layout="mono")
            self._audio.bit_rate = settings.audio_bitrate_bps
            self._sound = self._resampled(recording, settings.audio_rate_hz)

    def write(self, frames: UInt8[Tensor, "l h w 3"]) -> None:
        """Encodes RGB frames, and the sound that goes with them."""
        for array in frames.cpu().numpy():
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
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

    def _resampled(self, recording: Recording, rate_hz: int) -> Iterator[av.AudioFrame]:
        resampler = AudioResampler(format="fltp", layout="mono", rate=rate_hz, frame_size=1024)
        for frame in recording.frames():
            yield from resampler.resample(frame)
        yield from resampler.resample(None)

    def _write_sound(self, until_s: float) -> None:
        """Encodes sound up to a time, and no further than that by more than a frame of AAC."""
        while self._sound is not None and self.num_samples < until_s * self._audio.rate:
            frame = next(self._sound, None)
            if frame is None:
                return
            frame.pts, frame.time_base = self.num_samples, Fraction(1, self._audio.rate)
            self.num_samples += frame.samples
            self._container.mux(self._audio.encode(frame))
