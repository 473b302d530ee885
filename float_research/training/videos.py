"""Real talking-face videos, cropped to the face once and then read in random order."""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.data.audio import check_waveform, listen
from float_research.data.face import Cropper
from float_research.data.listing import list_files
from float_research.errors import UserError, reading
from float_research.files import alone, require_file
from float_research.texts import count
from float_research.training.objective import HELD_OUT, TRAINING
from float_research.types import Image, Waveform
from float_research.video.reader import read_frames_at

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
FRAMES, OFFSETS, SPEECH = "frames.bin", "offsets.npy", "speech.npy"
QUALITY = 95
"""JPEG quality of the stored frames."""
MIN_FRAMES = 10
CONVERT = "convert it to MP4"
TO_BE_FOUND_IN = 25
"""A face must be found in one of this many first frames."""


@dataclass(frozen=True)
class Shot:
    """A prepared video: JPEG frames concatenated in one file, and mono speech."""

    folder: Path

    @cached_property
    def offsets(self) -> np.ndarray:
        return np.load(self.folder / OFFSETS, allow_pickle=False)

    @cached_property
    def waveform(self) -> Waveform:
        return np.load(self.folder / SPEECH, allow_pickle=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def frame(self, number: int) -> Float[Tensor, "3 h w"]:
        """Reads one frame in [-1, 1]. Raises a UserError if it is damaged."""
        begin, end = self.offsets[number : number + 2].tolist()
        with (self.folder / FRAMES).open("rb") as file:
            file.seek(begin)
            jpeg = np.frombuffer(file.read(end - begin), dtype=np.uint8)
        with reading(f"frame {number} of {self.folder / FRAMES}", "delete that folder"):
            pixels = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1

    def check(self, samples_per_frame: float) -> "Shot":
        """Returns itself. Raises a UserError if files are missing, damaged or inconsistent."""
        with reading(f"prepared video {self.folder}", "preparing it again"):
            for name in (FRAMES, OFFSETS, SPEECH):
                require_file(self.folder / name, "prepared video", "preparing it again")
            offsets, speech = (np.lib.format.open_memmap(self.folder / name, "r") for name in (OFFSETS, SPEECH))
            if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) <= MIN_FRAMES:
                raise ValueError(f"its frame offsets are {offsets.dtype} {list(offsets.shape)}")
            if offsets[0] != 0 or (np.diff(offsets) <= 0).any():
                raise ValueError("its frame offsets do not increase")
            if offsets[-1] > (size := (self.folder / FRAMES).stat().st_size):
                raise ValueError(f"its frames end after byte {size}, the end of the file")
            num_samples = (len(offsets) - 1) * samples_per_frame
            if speech.dtype != np.float32 or speech.ndim != 1 or abs(len(speech) - num_samples) > 1:
                raise ValueError(f"its speech is {speech.dtype} {list(speech.shape)}, not {num_samples:.0f} samples")
        return self


@dataclass(frozen=True, kw_only=True)
class VideoFolder:
    """The videos of a folder at `fps` frames per second, cropped and resampled as in inference.

    Each video has one fixed crop, so that the head moves within it. Prepared videos are cached in `cache`, keyed by
    everything they depend on. Unusable files are logged and skipped. A share `held_out` of the videos, at least one,
    selected by the hash of the file name, is never trained on.
    """

    folder: str
    cache: str
    face: Cropper
    size_px: int
    fps: float
    sampling_rate_hz: int
    held_out: float

    @cached_property
    def shots(self) -> dict[int, list[Shot]]:
        """The prepared videos of each stream.

        Raises:
            UserError: fewer than two videos can be used.
        """
        files, shots, skipped = list_files(Path(self.folder), SUFFIXES, "data.folder"), {}, {}
        for file in files:
            try:
                shots[file.name] = self.prepared(file)
            except UserError as error:
                skipped[file.name] = str(error)
                log.warning("skipped %s: %s", file.name, error)
        log.info("%s: %d of %d videos can be used", self.folder, len(shots), len(files))
        if len(shots) < 2:
            reason = f"; {next(iter(skipped.values()))}" if skipped else ""
            raise UserError(
                f"data.folder={self.folder}: {len(shots)} of {count(len(files), 'video')} can be used; training needs "
                f"at least two, one of them held out{reason}"
            )
        names = sorted(shots, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        num = min(max(round(self.held_out * len(names)), 1), len(names) - 1)
        return {HELD_OUT: [shots[name] for name in names[:num]], TRAINING: [shots[name] for name in names[num:]]}

    def prepared(self, file: Path) -> Shot:
        """Returns a video's shot from the cache, preparing it atomically under a file lock if it is missing."""
        with reading(f"video {file}", CONVERT):
            status = file.stat()
            what = (str(file.resolve()), status.st_size, status.st_mtime_ns, self.face, self.size_px, self.fps, QUALITY)
        key = hashlib.sha256(repr(what).encode(errors="surrogateescape")).hexdigest()[:24]
        folder, part = Path(self.cache) / key, Path(self.cache) / f".{key}.part"
        if folder.is_dir():
            with suppress(UserError):
                return Shot(folder).check(self.sampling_rate_hz / self.fps)
        with alone(folder.with_name(f".{key}.lock")):
            if folder.is_dir():
                try:
                    return Shot(folder).check(self.sampling_rate_hz / self.fps)
                except UserError as error:
                    log.warning("%s", error)
                    shutil.rmtree(folder)
            for left in Path(self.cache).glob(f".{key}*.part"):  # left by a killed process
                shutil.rmtree(left)
            part.mkdir()
            try:
                self.prepare(file, part)
                os.replace(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return Shot(folder)

    def prepare(self, file: Path, folder: Path) -> None:
        with reading(f"video {file}", CONVERT):
            waveform = listen(file, self.sampling_rate_hz).waveform
            check_waveform(waveform, name=str(file), sampling_rate_hz=self.sampling_rate_hz, fps=self.fps)
        offsets = self.write_frames(file, folder / FRAMES)
        num_frames = min(len(offsets) - 1, int(len(waveform) * self.fps / self.sampling_rate_hz))
        if num_frames < MIN_FRAMES:
            raise UserError(
                f"video {file} has {count(num_frames, 'frame')} with sound; training needs at least {MIN_FRAMES}"
            )
        np.save(folder / OFFSETS, np.array(offsets[: num_frames + 1], dtype=np.int64))
        np.save(folder / SPEECH, waveform[: int(num_frames * self.sampling_rate_hz / self.fps)])

    def write_frames(self, file: Path, output: Path) -> list[int]:
        """Writes cropped frames; returns the byte offset of each and the end of the last."""
        offsets, crop, waiting = [0], None, []
        with output.open("wb") as written:
            for frame in read(file, self.fps):
                waiting.append(frame)
                with reading(f"video {file}", CONVERT):
                    if crop is None:
                        try:
                            crop = self.face.lock(frame, self.size_px)
                        except UserError as error:
                            if len(waiting) < TO_BE_FOUND_IN:
                                continue
                            raise UserError(f"video {file}: {error}") from error
                    jpegs = [encode_jpeg(crop(earlier)) for earlier in waiting]
                for jpeg in jpegs:
                    offsets.append(offsets[-1] + written.write(jpeg))
                waiting = []
        if waiting:
            raise UserError(f"video {file} shows no face")
        return offsets


def read(file: Path, fps: float) -> Iterator[Image]:
    """Yields a video's frames. Turns decoding errors, but not the consumer's errors, into a UserError."""
    with reading(f"video {file}", CONVERT):
        yield from read_frames_at(file, fps)


def encode_jpeg(frame: Image) -> bytes:
    """Encodes a frame as JPEG."""
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError("a frame could not be encoded as JPEG")
    return jpeg.tobytes()
