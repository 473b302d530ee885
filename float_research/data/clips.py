"""Clips of a run: lists pairs of a portrait and a recording, and loads them."""

import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from float_research.cache import Cache, Entry
from float_research.data import audio as audio_files
from float_research.data import image as image_files
from float_research.data.audio import Heard
from float_research.data.colour import colour
from float_research.data.face import Cropper, Given, NoCrop, select_face
from float_research.data.face_video import FaceVideo, Regions, check_frame, is_video, locate, portrait_of
from float_research.data.listing import Sorted, is_recording, names, sort
from float_research.data.manifest import read_manifest
from float_research.data.originals import Still
from float_research.errors import SKIP, STOP, UserError, named, printable
from float_research.files import MAX_NAME_BYTES, composed, present, require_file, sha256, short_name
from float_research.media import BOUNDS, Limits
from float_research.sources import code
from float_research.types import Clip, FailedClip, Image, LoadedClip

T = TypeVar("T")
TOY = "toy"
"""Recorded instead of a detector: toy portraits are already framed, and detectors do not recognise their faces."""
MAX_FPS, MAX_SIZE_PX = 1000, 8192
ENDING_BYTES = 32
"""Space for suffixes of file names, such as `.motion.safetensors`."""


@dataclass(frozen=True, kw_only=True)
class ClipSource(ABC):
    """Lists clips with unique ids that are valid file names.

    `track`, `channel`: of the recordings. `on_error`: STOP or SKIP, the default for a run.
    """

    track: int | None
    channel: int | None

    on_error: ClassVar[str] = STOP
    remedy: ClassVar[str] = "rename a file, or give ids with data=manifest"
    """Advice if two clips have the same id."""

    @abstractmethod
    def pairs(self) -> Iterator[Clip]:
        """Yields the clips, in order."""

    def clips(self) -> list[Clip]:
        clips = [self._with_sound(clip) for clip in self.pairs()]
        twice = [id for id, count in Counter(clip.id for clip in clips).items() if count > 1]
        if twice:
            raise UserError(f"clip id {twice[0]!r} occurs more than once{self.where}; {self.remedy}")
        return clips

    def _with_sound(self, clip: Clip) -> Clip:
        return replace(clip, excerpt=replace(clip.excerpt, track=self.track, channel=self.channel))

    def notes(self) -> list[str]:
        """Returns notes on the source, available after listing the clips."""
        return []

    def suite(self) -> Mapping[str, str] | None:
        """Returns name, version and hash of a suite, for the record; None if the clips are not of one."""
        return None

    @property
    def where(self) -> str:
        """Where the clips are listed, for messages."""
        return ""


def file_name(text: str) -> str:
    """Replaces all but letters, digits, dot, dash and underscore; the result is never hidden, empty or too long."""
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
    """Every portrait of one folder with every recording of another or the same, recognised by content."""

    images: str
    audios: str

    on_error = SKIP

    def pairs(self) -> Iterator[Clip]:
        for setting, (kind, files) in self._files.items():
            if not files.found:
                left = f" (skipped {len(files.others)}: {names(files.others)})" if files.others else ""
                raise UserError(f"{setting}={getattr(self, setting.removeprefix('data.'))} contains no {kind}{left}")
        images, audios = (files.found for _, files in self._files.values())
        for audio in audios:
            for image in images:
                yield Clip(id=pair_id(image, audio), image=image, audio=audio)

    def notes(self) -> list[str]:
        used = {path for _, files in self._files.values() for path in files.found}
        notes = []
        for setting, (kind, files) in self._files.items():
            if left := [path for path in files.others if path not in used]:
                notes.append(f"{setting}: skipped {len(left)} without a {kind} ({names(left)})")
        return notes

    @cached_property
    def _files(self) -> Mapping[str, tuple[str, Sorted]]:
        images = sort(Path(present(self.images)), image_files.is_picture, image_files.SUFFIXES, "data.images")
        audios = sort(Path(present(self.audios)), is_recording, audio_files.SUFFIXES, "data.audios")
        return {"data.images": ("picture", images), "data.audios": ("recording", audios)}


@dataclass(frozen=True, kw_only=True)
class Manifest(ClipSource):
    """A CSV file with a row for each clip, see `read_manifest`. Paths are relative to the file's folder.

    Columns: image and audio; optionally id, emotion, start_s and end_s of the recording, seed of the noise, and crop
    (left,top,right,bottom) or face, see `Clip`.
    """

    file: str

    on_error, remedy = SKIP, "give each row its own id in the column id"

    @property
    def where(self) -> str:
        return f" in {printable(self.file, 1000)}"

    def pairs(self) -> Iterator[Clip]:
        for row in self._read[0]:
            id = file_name(row["id"]) if row["id"] else pair_id(row["image"], row["audio"])
            yield Clip(**{**row, "id": id})

    def notes(self) -> list[str]:
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[list[dict[str, Any]], list[str]]:
        return read_manifest(Path(present(self.file)))


class Once:
    """Remembers the result or the UserError of the first call for each key."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, find: Callable[[], T]) -> T:
        if key not in self._found:
            try:
                self._found[key] = find()
            except UserError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, UserError):
            raise found
        return found


@dataclass(frozen=True, kw_only=True)
class ClipLoader:
    """Reads a clip's files and prepares them for a model.

    `read_video`: yields the frames of a video at a rate. `background` shows through transparency. `frame`: of a
    portrait that is a video, `first`, `sharpest`, or its number, from 0, at the model's frame rate.
    """

    cache: Cache
    face: Cropper
    limits: Limits
    read_video: Callable[[Path, float, Limits], Iterator[Image]]
    background: str
    frame: str | int
    image_size: int
    sampling_rate_hz: int
    fps: float
    emotions: Sequence[str]

    def __post_init__(self) -> None:
        colour(self.background)
        check_frame(self.frame)
        BOUNDS.check_sound("the model", self.sampling_rate_hz, channels=1)
        if not 0 < self.fps <= MAX_FPS:
            raise UserError(f"model.fps={self.fps} must be above 0 and at most {MAX_FPS}")
        if not 1 <= self.image_size <= MAX_SIZE_PX:
            raise UserError(f"model.motion_autoencoder.image_size={self.image_size} must be 1 to {MAX_SIZE_PX}")

    def probe(self, clip: Clip, once: Once) -> tuple[int, Sequence[str]]:
        """Checks a clip, with results per file kept in `once`; returns the number of frames and notes on the sound."""
        if clip.emotion is not None and clip.emotion not in self.emotions:
            raise UserError(
                f"clip {clip.id}: emotion {printable(repr(clip.emotion))} is unknown; "
                f"choose one of {', '.join(self.emotions)}"
            )
        height, width = once(("image", clip.image), lambda: self._shape(clip.image))
        if clip.crop is not None:
            with of_image(clip.image):
                Given(box=clip.crop).check(width, height)
        return once(("audio", clip.audio, clip.excerpt), lambda: self._sound(clip))

    def _sound(self, clip: Clip) -> tuple[int, Sequence[str]]:
        heard, num_frames = self.speech(clip)
        return num_frames, heard.notes

    def _shape(self, path: Path) -> tuple[int, int]:
        image = self.picture(path)
        return image.shape[0], image.shape[1]

    def __call__(self, clip: Clip) -> LoadedClip:
        started = time.perf_counter()
        heard, num_frames = self.speech(clip)
        read = time.perf_counter()
        crop, face = self.portrait(clip)
        return LoadedClip(
            clip=clip,
            image=image_files.to_tensor(crop, self.image_size),
            originals=Still(read=partial(self.picture, clip.image), crop=crop, face=face),
            video=partial(self.followed, clip) if is_video(clip.image) else None,
            waveform=heard.waveform,
            num_frames=num_frames,
            excerpt=heard.excerpt,
            face=face,
            sound=heard.facts,
            seconds={"read": read - started, "crop": time.perf_counter() - read},
        )

    def portrait(self, clip: Clip) -> tuple[Image, Mapping[str, Any]]:
        """Returns the face crop and facts for the record, from the cache if another clip or run has computed them."""
        path = clip.image
        filmed = is_video(path)
        if not filmed:
            image_files.require_portrait(path, self.limits)
        depends = {
            "image": sha256(path),
            "background": self.background,
            "frame": [self.frame, self.fps, code(self.read_video.__module__)] if filmed else None,
            "size_px": self.image_size,
            "face": [type(self.face).__qualname__, self.face.state, clip.crop, clip.face],
            "code": code(__name__, type(self.face).__module__),
        }
        entry, _ = self.cache.get("crop", depends, lambda: self._crop(clip))
        return entry.tensors["crop"].numpy(), entry.facts

    def picture(self, path: Path) -> Image:
        """Returns the whole image, upright and in sRGB over `background`; of a video, `frame`."""
        if is_video(path):
            return portrait_of(self.read_video(path, self.fps, self.limits), self.frame, named("video", path))
        return image_files.read_image(path, self.background, self.limits)

    def driving(self, path: Path, fps: float) -> FaceVideo:
        """Returns a video whose motion is taken, each shot cropped by its first frame."""
        return self._face_video(path, fps, self.face, follow=False)

    def followed(self, clip: Clip, fps: float) -> FaceVideo:
        """Returns the video that a clip's portrait is of, cropped around the head wherever it goes.

        Raises:
            UserError: the portrait is no video, or shows no face.
        """
        if not is_video(clip.image):
            raise UserError(f"{named('image', clip.image)} is no video; motion=dub needs one, as data.image=clip.mp4")
        return self._face_video(clip.image, fps, self._cropper(clip, toy=False), follow=True)

    def _face_video(self, path: Path, fps: float, cropper: Cropper, *, follow: bool) -> FaceVideo:
        require_file(path, "video", "give the path of a video")
        name, read = named("video", path), partial(self.read_video, path, fps, self.limits)
        key = {
            "video": sha256(path),
            "fps": fps,
            "follow": follow,
            "size_px": self.image_size,
            "face": [type(cropper).__qualname__, cropper.state],
            "code": code(__name__, type(cropper).__module__, self.read_video.__module__),
        }

        def find() -> Entry:
            found = locate(read, cropper, self.image_size, fps=fps, follow=follow, name=name)
            return Entry(
                tensors={"rows": torch.from_numpy(found.rows)}, facts={"starts": found.starts, "face": found.face}
            )

        entry, _ = self.cache.get("crop", key, find)
        return FaceVideo(
            path=path,
            fps=fps,
            size_px=self.image_size,
            read=read,
            regions=Regions(rows=entry.tensors["rows"].numpy(), **entry.facts),
            key=key,
        )

    def _crop(self, clip: Clip) -> Entry:
        image = self.picture(clip.image)
        toy = not is_video(clip.image) and image_files.is_toy_portrait(clip.image)
        with of_image(clip.image):
            crop, face = self._cropper(clip, toy)(image, self.image_size)
        pixels = torch.from_numpy(np.ascontiguousarray(crop))
        return Entry(tensors={"crop": pixels}, facts={**face, "detector": TOY} if toy else face)

    def _cropper(self, clip: Clip, toy: bool) -> Cropper:
        if clip.crop is not None:
            return Given(box=clip.crop)
        if toy and clip.face in (None, 0):
            return NoCrop()
        return self.face if clip.face is None else select_face(self.face, clip.face)

    def speech(self, clip: Clip) -> tuple[Heard, int]:
        """Returns the sound and its length in frames."""
        heard = audio_files.listen(clip.audio, self.sampling_rate_hz, self.limits, clip.excerpt)
        audio_files.check_waveform(
            heard.waveform, name=printable(clip.audio, 1000), sampling_rate_hz=self.sampling_rate_hz, fps=self.fps
        )
        return heard, audio_files.num_video_frames(len(heard.waveform), self.sampling_rate_hz, self.fps)


@contextmanager
def of_image(path: Path) -> Iterator[None]:
    """Prefixes a UserError with the image's name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{named('image', path)}: {error}") from error


class ClipDataset(Dataset[LoadedClip | FailedClip]):
    """Loads clips one at a time. With `skip`, a clip that cannot be read is returned as a FailedClip.

    A clip that differs from the last only in its seed is not loaded again.
    """

    def __init__(self, clips: Sequence[Clip], loader: ClipLoader, *, skip: bool):
        self.clips, self.loader, self.skip = clips, loader, skip
        self.last: LoadedClip | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> LoadedClip | FailedClip:
        clip = self.clips[index]
        if self.last is not None and self.last.clip.inputs == clip.inputs:
            return replace(self.last, clip=clip, seconds=dict.fromkeys(self.last.seconds, 0.0))
        try:
            self.last = self.loader(clip)
            return self.last
        except UserError as error:
            if not self.skip:
                raise
            return FailedClip(clip=clip, reason=str(error))


class ClipBatch:
    """A batch of clips, loaded or failed. Opaque to Lightning, so that it does not move or cast the contents."""

    def __init__(self, clips: Sequence[LoadedClip | FailedClip]):
        self.clips = [clip for clip in clips if isinstance(clip, LoadedClip)]
        self.failed = [clip for clip in clips if isinstance(clip, FailedClip)]


class ClipDataModule(lightning.LightningDataModule):
    """Provides batches of `batch_clips` clips to `Trainer.predict`. `skip`: see `ClipDataset`."""

    def __init__(self, clips: Sequence[Clip], loader: ClipLoader, batch_clips: int, *, skip: bool):
        super().__init__()
        if batch_clips < 1:
            raise UserError(f"batch_clips={batch_clips} must be a positive number")
        self.dataset, self.batch_clips = ClipDataset(clips, loader, skip=skip), batch_clips

    def predict_dataloader(self) -> DataLoader[LoadedClip | FailedClip]:
        return DataLoader(self.dataset, batch_size=self.batch_clips, collate_fn=ClipBatch)
