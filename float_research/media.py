"""Opens sound and video safely: from open files, in listed formats, within limits, without access to other files."""

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
"""FFmpeg's names of the supported formats. None of them refers to other files or to addresses."""

PACKETS = {"max_size": "65536"}
"""Bytes per packet of a WAV file; FFmpeg's small default makes packets of 64 ms, each with overhead."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on media files, to bound memory and time.

    `megapixels`, `aspect` (longer over shorter side): of an image or a frame. `download_mb`, `download_s`: of a file
    from an address. The others: of sound.
    """

    megapixels: float
    aspect: float
    min_rate_hz: int
    max_rate_hz: int
    channels: int
    hours: float
    download_mb: float
    download_s: float

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UserError(f"limits.{field.name}={getattr(self, field.name)} must be positive")

    @property
    def pixels(self) -> int:
        return int(self.megapixels * 1e6)

    def check_size(self, name: str, width: int, height: int) -> None:
        """Raises a UserError for a picture that is empty, too large or too narrow. `name` begins the message."""
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
        """Raises a UserError for an implausible sampling rate or number of channels."""
        if not self.min_rate_hz <= rate_hz <= self.max_rate_hz:
            raise UserError(
                f"{name} has a sampling rate of {rate_hz:,} Hz, outside limits.min_rate_hz={self.min_rate_hz} to "
                f"limits.max_rate_hz={self.max_rate_hz}; export it again"
            )
        if not 1 <= channels <= self.channels:
            raise UserError(
                f"{name} has {channels} channels, outside 1 to limits.channels={self.channels}; export it as mono"
            )

    def check_duration(self, name: str, seconds: float) -> None:
        """Raises a UserError for a duration above the limit."""
        if not seconds <= self.hours * 3600:
            raise UserError(f"{name} lasts longer than limits.hours={self.hours:g}; cut it")


BOUNDS = Limits(
    megapixels=67.2,
    aspect=32,
    min_rate_hz=1000,
    max_rate_hz=1_000_000,
    channels=64,
    hours=24,
    download_mb=2000,
    download_s=600,
)
"""Limits of files that are read without settings, such as a run's own videos: 8192 × 8192 pixels, a day."""


@contextmanager
def open_media(path: Path, what: str, remedy: str, part: range | None = None) -> Iterator[InputContainer]:
    """Opens a local sound or video file. Errors of FFmpeg and PyAV within become a UserError with the file's name.

    `path` is never an address: FFmpeg gets an open file, so names such as `file:a.wav` and `12:30:05.wav` work. `part`:
    range of bytes to open as a file. A signal during a callback of PyAV, which would take it for damage or for the end
    of the file, is handled when the file is closed.
    """
    require_file(path, what, "give the path of a file")
    place = os.fsencode(path)
    with reading(f"{what} {path}", remedy), Sought(place) if part is None else Within(place, part) as file:
        try:
            with _open(file) as container:
                yield container
        except Exception:
            check_stopped()
            raise
        else:
            check_stopped()


class Sought(io.FileIO):
    """A file that returns -1 for an invalid seek by FFmpeg, because PyAV would print an exception."""

    @callback
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -1


class Within(Sought):
    """A range of a file's bytes, presented as a file."""

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


def _open(file: Sought) -> InputContainer:
    options = {
        "format_whitelist": ",".join(DEMUXERS),
        "protocol_whitelist": "none",
        "max_pixels": str(BOUNDS.pixels),
    } | PACKETS
    try:
        return av.open(file, options=options, metadata_errors="replace")
    except (av.ArgumentError, av.InvalidDataError) as error:  # also raised for other formats
        raise ValueError(f"it is damaged, or its format is none of {', '.join(DEMUXERS)}") from error


def opens_as_video(path: Path) -> bool:
    """Returns whether a file opens as a video."""
    try:
        with open_media(path, "video", "give a video") as container:
            return bool(container.streams.video)
    except UserError:
        return False
