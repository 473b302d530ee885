"""Sound and video as data: decoded from open files, in named formats and within limits, with no way to other files."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import av
from av.container import InputContainer

from float_research.errors import UserError, reading
from float_research.files import require_file
from float_research.stopping import callback, check_stopped

DEMUXERS = ("aac", "aiff", "au", "avi", "caf", "flac", "matroska", "mov", "mp3", "mpegts", "ogg", "w64", "wav")
"""FFmpeg's names of the formats that are read. None of them is a list of other files or of addresses."""

PACKETS = {"max_size": "65536"}
"""Bytes of a WAV file that FFmpeg reads at a time; its usual few make a packet, and the work for one, of 64 ms."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What media may ask of memory and time.

    `aspect`: longer side over shorter side of an image or a frame; the others are what they are called.
    """

    megapixels: float
    aspect: float
    min_rate_hz: int
    max_rate_hz: int
    channels: int
    hours: float

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UserError(f"limits.{field.name}={getattr(self, field.name)} must be positive")

    @property
    def pixels(self) -> int:
        return int(self.megapixels * 1e6)

    def check_size(self, name: str, width: int, height: int) -> None:
        """Raises a UserError for a picture that is empty, too large or too narrow. `name` begins the sentence."""
        if min(width, height) < 1:
            raise UserError(f"{name} has no pixels ({width} × {height}); give another")
        if width * height > self.pixels:
            raise UserError(
                f"{name} has {width} × {height} pixels, over limits.megapixels={self.megapixels:g}; make it smaller"
            )
        if max(width, height) > self.aspect * min(width, height):
            raise UserError(
                f"{name} has {width} × {height} pixels, narrower than limits.aspect={self.aspect:g} : 1; crop it"
            )

    def check_sound(self, name: str, rate_hz: int, channels: int) -> None:
        """Raises a UserError for a sampling rate or a number of channels that no recording has."""
        if not self.min_rate_hz <= rate_hz <= self.max_rate_hz:
            raise UserError(
                f"{name} has a sampling rate of {rate_hz:,} Hz, not one from limits.min_rate_hz={self.min_rate_hz} to "
                f"limits.max_rate_hz={self.max_rate_hz}; export it again"
            )
        if not 1 <= channels <= self.channels:
            raise UserError(
                f"{name} has {channels} channels, not 1 to limits.channels={self.channels}; export it with one"
            )

    def check_duration(self, name: str, seconds: float) -> None:
        """Raises a UserError for what lasts too long."""
        if not seconds <= self.hours * 3600:
            raise UserError(f"{name} lasts longer than limits.hours={self.hours:g}; cut it")


BOUNDS = Limits(megapixels=67.2, aspect=32, min_rate_hz=1000, max_rate_hz=1_000_000, channels=64, hours=24)
"""Of what is read without settings, such as a run's own videos: 8192 × 8192 pixels, a day."""


@contextmanager
def open_media(path: Path, what: str, remedy: str, part: range | None = None) -> Iterator[InputContainer]:
    """A local file's sound and video. What FFmpeg and PyAV throw meanwhile becomes a UserError with the file's name.

    `path` is never an address, and FFmpeg gets an open file: names such as `file:a.wav` and `12:30:05.wav` are files.
    `part`: bytes of the file that are a file of their own. A signal that falls into a callback of PyAV, which takes it
    for damage or for the end of the file, is obeyed when the file is closed.
    """
    require_file(path, what, "give the path of a file")
    place = os.fsencode(path)
    with reading(f"{what} {path}", remedy), Sought(place) if part is None else Within(place, part) as file:
        try:
            with _opened(file) as container:
                yield container
        except Exception:
            check_stopped()
            raise
        else:
            check_stopped()


class Sought(io.FileIO):
    """A file in which FFmpeg may look for places that there are none of: PyAV would print the exception."""

    @callback
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -1


class Within(Sought):
    """A part of a file's bytes, as a file of its own."""

    def __init__(self, path: bytes, part: range) -> None:
        super().__init__(path)
        self.part = part
        super().seek(self.part.start)

    @callback
    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self.part.stop - super().tell())
        return super().read(left if size is None or size < 0 else min(size, left)) or b""

    @callback
    def tell(self) -> int:
        return super().tell() - self.part.start

    @callback
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: len(self.part)}.get(whence, 0)
        found = super().seek(self.part.start + base + offset) if base + offset >= 0 else -1
        return found if found < 0 else found - self.part.start


def _opened(file: Sought) -> InputContainer:
    options = {
        "format_whitelist": ",".join(DEMUXERS),
        "protocol_whitelist": "none",
        "max_pixels": str(BOUNDS.pixels),
    } | PACKETS
    try:
        return av.open(file, options=options, metadata_errors="replace")
    except (av.ArgumentError, av.InvalidDataError) as error:  # what FFmpeg says of other formats, too
        raise ValueError(f"it is damaged, or its format is none of {', '.join(DEMUXERS)}") from error
