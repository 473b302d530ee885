"""Real talking-face videos: cut once to the face, then read at random."""

import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.data.audio import check_waveform, read_audio
from float_research.data.clips import listed
from float_research.data.face import Cropper
from float_research.errors import UserError
from float_research.training.objective import HELD_OUT, TRAINING
from float_research.types import Image, Waveform
from float_research.video.reader import read_frames_at

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
FRAMES, OFFSETS, SPEECH = "frames.bin", "offsets.npy", "speech.npy"
QUALITY = 95
"""Of the JPEG frames."""
MIN_FRAMES = 10
TO_BE_FOUND_IN = 25
"""Frames from the start, one of which must show the face."""


@dataclass(frozen=True)
class Shot:
    """A prepared video: JPEG frames one after the other in a file, and mono speech."""

    folder: Path

    @cached_property
    def offsets(self) -> np.ndarray:
        return np.load(self.folder / OFFSETS)

    @cached_property
    def waveform(self) -> Waveform:
        return np.load(self.folder / SPEECH)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def frame(self, number: int) -> Float[Tensor, "3 h w"]:
        """One frame in [-1, 1]."""
        begin, end = self.offsets[number : number + 2].tolist()
        with (self.folder / FRAMES).open("rb") as file:
            file.seek(begin)
            jpeg = np.frombuffer(file.read(end - begin), dtype=np.uint8)
        pixels = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


@dataclass(frozen=True, kw_only=True)
class VideoFolder:
    """The videos of a folder at `fps` frames a second, cropped as inference crops portraits, sound as it hears it.

    The crop is found once a video, so that the head moves in it. Prepared videos are kept in `cache`, by everything
    that they depend on. Files that cannot be used are named and left out. The share `held_out`, chosen by the hashes
    of file names, at least one, never trains.
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
        files, shots, skipped = listed(Path(self.folder), SUFFIXES, "data.folder"), {}, {}
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
                f"data.folder={self.folder}: {len(shots)} of {len(files)} videos can be used, at least two are "
                f"needed, one of them held out{reason}"
            )
        names = sorted(shots, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        num = min(max(round(self.held_out * len(names)), 1), len(names) - 1)
        return {HELD_OUT: [shots[name] for name in names[:num]], TRAINING: [shots[name] for name in names[num:]]}

    def prepared(self, file: Path) -> Shot:
        """A video's shot, from the cache or made now: whole or not at all."""
        status = file.stat()
        what = (str(file.resolve()), status.st_size, status.st_mtime_ns, self.face, self.size_px, self.fps, QUALITY)
        folder = Path(self.cache) / hashlib.sha256(repr(what).encode()).hexdigest()[:24]
        if not folder.is_dir():
            part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
            part.mkdir(parents=True)
            try:
                self.prepare(file, part)
                os.replace(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return Shot(folder)

    def prepare(self, file: Path, folder: Path) -> None:
        try:
            waveform = read_audio(file, self.sampling_rate_hz)
            check_waveform(waveform, name=str(file), sampling_rate_hz=self.sampling_rate_hz, fps=self.fps)
            offsets = self.write_frames(file, folder / FRAMES)
        except (av.FFmpegError, IndexError) as error:
            raise UserError(f"video {file} cannot be read ({error}); convert it to MP4") from error
        num_frames = min(len(offsets) - 1, int(len(waveform) * self.fps / self.sampling_rate_hz))
        if num_frames < MIN_FRAMES:
            raise UserError(f"video {file} has {num_frames} frames with sound; at least {MIN_FRAMES} are needed")
        np.save(folder / OFFSETS, np.array(offsets[: num_frames + 1]))
        np.save(folder / SPEECH, waveform[: int(num_frames * self.sampling_rate_hz / self.fps)])

    def write_frames(self, file: Path, output: Path) -> list[int]:
        """Writes cropped frames; returns where each begins, and where the last ends."""
        offsets, crop, waiting = [0], None, []
        with output.open("wb") as written:
            for frame in read_frames_at(file, self.fps):
                waiting.append(frame)
                if crop is None:
                    try:
                        crop = self.face.lock(frame, self.size_px)
                    except UserError as error:
                        if len(waiting) < TO_BE_FOUND_IN:
                            continue
                        raise UserError(f"video {file}: {error}") from error
                for earlier in waiting:
                    offsets.append(offsets[-1] + written.write(encoded(crop(earlier))))
                waiting = []
        if waiting:
            raise UserError(f"video {file} shows no face")
        return offsets


def encoded(frame: Image) -> bytes:
    """A frame as JPEG."""
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError("a frame could not be encoded as JPEG")
    return jpeg.tobytes()
