"""Inputs of the Python API: images, sound and motion in all the forms in which a script or a notebook has them."""

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PillowImage
from torch import Tensor

from float_research.data.audio import check_waveform, listen, num_video_frames, resample
from float_research.data.clips import TOY, ClipLoader
from float_research.data.colour import to_rgb
from float_research.data.face import NoCrop
from float_research.data.face_video import is_video
from float_research.data.image import to_tensor, turn_upright
from float_research.data.originals import Still
from float_research.errors import UserError, printable, reading
from float_research.files import composed, present
from float_research.inference.download import ADDRESS, download, shown
from float_research.media import Limits
from float_research.metrics.track import MotionTrack, load_track
from float_research.types import TOY_MARK, Clip, FilmedFace, Image, LoadedClip, Waveform
from float_research.video.reader import read_frames_at
from float_research.video.writer import Recording

Bytes = bytes | bytearray | memoryview
FileInput = str | PathLike[str] | Bytes
"""A path, an http(s) address, or a file's content."""
ImageInput = FileInput | PillowImage.Image | np.ndarray | Tensor
AudioInput = FileInput | np.ndarray | Tensor | tuple[np.ndarray | Tensor, int]
MotionInput = str | PathLike[str] | np.ndarray | Tensor | MotionTrack
FramesInput = FileInput | np.ndarray | Tensor | Iterable[ImageInput]


class LocalFile:
    """A file on disk: the user's own, or a temporary one that is removed with this object."""

    def __init__(self, given: FileInput, what: str, limits: Limits) -> None:
        if isinstance(given, Bytes):
            self.path, self.name = self._temporary(what), f"of {len(given):,} bytes"
            self.path.write_bytes(given)
            return
        text = fspath(given)
        if isinstance(given, str) and ADDRESS.match(text) and not Path(text).exists():
            self.path, self.name = self._temporary(what), shown(text)
            download(what, text, self.path, limits)
        else:
            self.path = Path(present(text))
            self.name = printable(self.path, 1000)

    def _temporary(self, what: str) -> Path:
        folder = tempfile.mkdtemp(prefix="float-research-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder, what)

    @contextmanager
    def reading(self) -> Iterator[Path]:
        """Yields the path for reading. A UserError names what the user gave instead of a temporary file."""
        try:
            yield self.path
        except UserError as error:
            raise UserError(str(error).replace(printable(self.path, 1000), self.name)) from error


@dataclass(frozen=True, kw_only=True)
class GivenClip:
    """A clip as given by Python code. `kept`: holds the file of the recording as long as it is needed."""

    loaded: LoadedClip
    recording: Recording
    kept: LocalFile | None


def read_clip(
    loader: ClipLoader, image: ImageInput, audio: AudioInput, *, rate_hz: int | None, emotion: str | None, id: str
) -> GivenClip:
    """Reads a clip from the inputs of a call."""
    waveform, recording, kept = read_audio(loader, audio, rate_hz)
    portrait = read_portrait(loader, image)
    place = recording.source if isinstance(recording.source, Path) else Path(id)
    clip = Clip(id=composed(id), image=Path(id), audio=place, emotion=emotion)
    loaded = LoadedClip(
        clip=clip,
        image=to_tensor(portrait.crop, loader.image_size),
        originals=portrait,
        video=portrait.video,
        waveform=waveform,
        num_frames=num_video_frames(len(waveform), loader.sampling_rate_hz, loader.fps),
        face=portrait.face,
    )
    return GivenClip(loaded=loaded, recording=recording, kept=kept)


def read_portrait(loader: ClipLoader, image: ImageInput) -> Still:
    """Returns the face crop of an image, facts about it, and what it was cut from."""
    if isinstance(image, str | PathLike | Bytes):
        file = LocalFile(image, "image", loader.limits)
        with file.reading() as path:
            crop, face = loader.portrait(Clip(id="clip", image=path, audio=path))
            video = partial(read_video, loader, file) if is_video(path) else None
        return Still(read=partial(read_picture, loader, file), crop=crop, face=face, video=video)
    pixels = as_image(image, loader)
    if isinstance(image, PillowImage.Image) and image.info.get(TOY_MARK[0]) == TOY_MARK[1]:
        crop, face = NoCrop()(pixels, loader.image_size)
        face = {**face, "detector": TOY}
    else:
        crop, face = loader.face(pixels, loader.image_size)
    return Still(read=lambda: pixels, crop=crop, face=face)


def read_picture(loader: ClipLoader, file: LocalFile) -> Image:
    """Returns the whole image of a file, as the loader crops it."""
    with file.reading() as path:
        return loader.picture(path)


def read_video(loader: ClipLoader, file: LocalFile, fps: float) -> FilmedFace:
    """Returns a file as the video that a portrait is of."""
    with file.reading() as path:
        return loader.followed(Clip(id="clip", image=path, audio=path), fps)


def read_audio(
    loader: ClipLoader, audio: AudioInput, rate_hz: int | None
) -> tuple[Waveform, Recording, LocalFile | None]:
    """Returns the sound as the model hears it, and as the video plays it."""
    model_hz = loader.sampling_rate_hz
    if isinstance(audio, str | PathLike | Bytes):
        if rate_hz is not None:
            raise UserError(f"rate_hz={rate_hz} is for samples; a file has its own rate: leave rate_hz out")
        file = LocalFile(audio, "audio", loader.limits)
        with file.reading() as path:
            heard = listen(path, model_hz, loader.limits)
            check_waveform(heard.waveform, name=str(path), sampling_rate_hz=model_hz, fps=loader.fps)
        return heard.waveform, Recording(file.path, excerpt=heard.excerpt), file
    if isinstance(audio, tuple):
        audio, rate_hz = pair(audio, rate_hz)
    samples = as_waveform(audio)
    if rate_hz is None:
        raise UserError("samples need their rate: give (samples, rate), or rate_hz=16000 if that is their rate")
    loader.limits.check_sound("the audio array", rate_hz, channels=1)
    check_waveform(samples, name="array", sampling_rate_hz=rate_hz, fps=loader.fps)
    waveform = resample(samples, rate_hz, model_hz)
    check_waveform(waveform, name="array", sampling_rate_hz=model_hz, fps=loader.fps)
    return waveform, Recording(samples, rate_hz), None


def pair(audio: tuple[Any, ...], rate_hz: int | None) -> tuple[np.ndarray | Tensor, int]:
    """Returns samples and rate of a pair."""
    if rate_hz is not None:
        raise UserError(f"rate_hz={rate_hz} and a pair (samples, rate) give the rate twice; leave one out")
    rate = audio[1] if len(audio) == 2 else None
    known = isinstance(audio[0], np.ndarray | Tensor) if audio else False
    if not known or not isinstance(rate, int | np.integer) or isinstance(rate, bool):
        kinds = ", ".join(type(part).__name__ for part in audio)
        raise UserError(f"a pair of audio is (samples, rate), an array and a whole number, not ({kinds})")
    return audio[0], int(rate)


def as_image(image: ImageInput, loader: ClipLoader) -> Image:
    """Returns an image that is not a file as RGB, within the limits."""
    if isinstance(image, PillowImage.Image):
        loader.limits.check_size("the image", image.width, image.height)
        with reading("the image", "save it as PNG or JPEG and give the file"):
            return to_rgb(turn_upright(image), loader.background, "the image")
    if not isinstance(image, np.ndarray | Tensor):
        raise UserError(
            f"an image cannot be a {type(image).__name__}; give a path, an address, bytes, a PIL image or an array"
        )
    array = as_pixels(image)
    loader.limits.check_size("the image array", array.shape[1], array.shape[0])
    return array


def as_pixels(image: np.ndarray | Tensor) -> Image:
    """Converts an RGB array `(h, w, 3)` uint8 or a tensor `(3, h, w)`, uint8 or in [0, 1], to an image."""
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        if image.is_floating_point():
            image = (image.clamp(0, 1) * 255).round().byte()
        image = image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"an image must be (h, w, 3) uint8, not {image.shape} {image.dtype}")
    return np.ascontiguousarray(image)


def as_waveform(audio: Any) -> Waveform:
    """Converts samples of one channel to float32, scaling integers to [-1, 1]."""
    if not isinstance(audio, np.ndarray | Tensor):
        raise UserError(
            f"audio cannot be a {type(audio).__name__}; give a path, an address, bytes, (samples, rate) or an array"
        )
    samples = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
    samples = np.atleast_1d(samples.squeeze())
    if samples.ndim != 1:
        raise UserError(f"audio must be one channel of samples, not shape {samples.shape}; average the channels first")
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / np.iinfo(samples.dtype).max).astype(np.float32)
    return samples.astype(np.float32)


def read_motion(motion: MotionInput, like: Float[Tensor, "_ d"]) -> Float[Tensor, "t d"]:
    """Returns motion latents on the device and in the precision of `like`."""
    if isinstance(motion, str | PathLike):
        motion = load_track(Path(present(fspath(motion))))
    if isinstance(motion, MotionTrack):
        motion = motion.motion
    latents = torch.from_numpy(motion) if isinstance(motion, np.ndarray) else motion
    if not isinstance(latents, Tensor):
        raise UserError(f"motion cannot be a {type(motion).__name__}; give a motion file, an array or a tensor")
    if latents.ndim != 2 or not len(latents) or latents.shape[1] != like.shape[-1]:
        raise UserError(f"motion must be (frames, {like.shape[-1]}) for these weights, not {tuple(latents.shape)}")
    latents = latents.detach().to(like.device, like.dtype)
    if not latents.isfinite().all():
        raise UserError("motion has values that are not finite; sample it again")
    return latents


def read_frames(frames: FramesInput, loader: ClipLoader) -> Iterator[Image]:
    """Yields the frames of a video at the model's rate, of an array `(n, h, w, 3)`, or of an iterable of images."""
    if isinstance(frames, str | PathLike | Bytes):
        file = LocalFile(frames, "video", loader.limits)
        with file.reading() as path:
            yield from read_frames_at(path, loader.fps, loader.limits)
        return
    if isinstance(frames, np.ndarray | Tensor) and frames.ndim != 4:
        raise UserError(
            f"frames must be (n, h, w, 3) uint8 or a tensor (n, 3, h, w), not {tuple(frames.shape)}; "
            "for one image, put it in a list"
        )
    if isinstance(frames, PillowImage.Image) or not isinstance(frames, Iterable):
        raise UserError(f"frames cannot be a {type(frames).__name__}; give a video, an array or a list of images")
    for frame in frames:
        yield as_image(frame, loader)


def framed(frames: Iterator[Image], loader: ClipLoader, *, crop: bool) -> Iterator[Float[Tensor, "3 h w"]]:
    """Yields frames as the encoder's inputs. `crop`: all by the face of the first; otherwise they must be square."""
    lock = None
    for frame in frames:
        if crop:
            lock = lock or loader.face.lock(frame, loader.image_size)
        elif frame.shape[0] != frame.shape[1]:
            raise UserError(
                f"frames of {frame.shape[1]} × {frame.shape[0]} pixels are not square; crop them to the face, "
                "or let crop=True do it"
            )
        yield to_tensor(lock(frame) if lock else frame, loader.image_size)
