"""Reads speech from a stream while it comes: a WAV, or raw samples."""

import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import IO, Any, cast

import numpy as np

from float_research.errors import UserError, printable
from float_research.media import Limits
from float_research.types import Waveform

BLOCKS_PER_S = 25
RAW: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "s32le": np.dtype("<i4"), "f32le": np.dtype("<f4")}
"""FFmpeg's names of formats of raw samples."""
WIDTHS: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<i2"), 3: np.dtype("u1"), 4: np.dtype("<i4")}
"""Types of WAV samples by their bytes; of three, the bytes themselves."""


@dataclass(frozen=True, kw_only=True)
class RawSound:
    """How to read samples without a header. `kind`: one of `RAW`."""

    kind: str
    rate_hz: int
    channels: int

    def __post_init__(self) -> None:
        if self.kind not in RAW:
            raise UserError(f"{printable(self.kind)} is no known format of samples; choose {', '.join(RAW)}")


class Pipe:
    """Speech that is read in blocks of 40 ms, as the mean of its channels. Reads the header at once."""

    def __init__(self, file: BufferedIOBase, raw: RawSound | None, limits: Limits) -> None:
        self.dtype: np.dtype[Any]
        self.read: Callable[[int], bytes]
        if raw is None:
            wav = open_wav(file)
            self.rate_hz, self.channels, self.width = wav.getframerate(), wav.getnchannels(), wav.getsampwidth()
            self.dtype, self.read = WIDTHS[self.width], wav.readframes
        else:
            self.rate_hz, self.channels, self.dtype = raw.rate_hz, raw.channels, RAW[raw.kind]
            self.width = self.dtype.itemsize
            self.read = lambda num: file.read(num * self.channels * self.width)
        limits.check_sound("standard input", self.rate_hz, self.channels)

    def blocks(self) -> Iterator[Waveform]:
        size = self.channels * self.width
        while content := self.read(max(1, self.rate_hz // BLOCKS_PER_S)):
            samples = as_floats(content[: len(content) - len(content) % size], self.dtype, self.width)
            yield samples.reshape(-1, self.channels).mean(axis=1, dtype=np.float32)


def open_wav(file: BufferedIOBase) -> wave.Wave_read:
    """Reads the header of a WAV. Raises a UserError for anything but PCM samples."""
    try:
        wav = wave.Wave_read(cast(IO[bytes], file))
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise UserError(
            f"standard input is not a WAV of PCM samples ({reason}); convert it by "
            "ffmpeg -i … -c:a pcm_s16le -f wav -, or name the format of raw samples by --raw"
        ) from error
    if wav.getsampwidth() not in WIDTHS:
        raise UserError(f"standard input has samples of {wav.getsampwidth()} bytes; convert them to 16 bits")
    return wav


def as_floats(content: bytes, dtype: np.dtype[Any], width: int) -> Waveform:
    """Converts samples of `width` bytes to float32, and integers to [-1, 1]."""
    samples = np.frombuffer(content, dtype)
    if width == 3:
        padded = np.zeros((len(samples) // 3, 4), np.uint8)
        padded[:, 1:] = samples.reshape(-1, 3)
        samples = padded.view("<i4")[:, 0]
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    return samples.astype(np.float32)
