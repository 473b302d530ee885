"""The Python API, for scripts and notebooks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.data.audio import check_waveform, listen, num_video_frames, resample
from float_research.data.clips import ClipLoader
from float_research.data.image import to_tensor
from float_research.errors import UserError
from float_research.files import composed, present
from float_research.inference.pipeline import FloatPipeline, PreparedClip
from float_research.inference.stopwatch import Stopwatch
from float_research.inference.stream import stream
from float_research.types import Clip, Cost, Image, LoadedClip, Waveform
from float_research.video.writer import H264, Recording

ImageInput = str | Path | np.ndarray | Tensor
AudioInput = str | Path | np.ndarray | Tensor
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One clip: its sampled motion latents, and its frames, decoded on each request.

    `candidates`: the candidate chosen by the search for each window; all 0 without a search.
    """

    motion: Float[Tensor, "t d"]
    candidates: Sequence[int]
    cost: Cost
    declared: Cost | None
    emotion: Mapping[str, float]
    seconds: Mapping[str, float]
    clip: PreparedClip
    pipeline: "Pipeline"
    recording: Recording

    def frames(self) -> Iterator[Image]:
        """Yields RGB frames, `(h, w, 3)` uint8, decoded lazily."""
        for batch in self._batches():
            yield from batch.cpu().numpy()

    def save(self, path: str | Path) -> Path:
        """Writes an MP4 with sound, atomically."""
        path, core = Path(path), self.pipeline.core
        if path.suffix.lower() != ".mp4":
            raise UserError(f"{path} must end in .mp4, the only supported format")
        size_px = core.model.motion_autoencoder.image_size
        with self.pipeline.video.open(path, fps=core.fps, size_px=size_px, recording=self.recording) as writer:
            for batch in self._batches():
                writer.write(batch)
        return path

    def _batches(self) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        core = self.pipeline.core
        return self.pipeline.computed(core.frames(self.clip, core.retiming(self.clip).whole(self.motion)))


class Pipeline:
    """FLOAT with loaded weights and fixed settings. Call it with an image and speech.

    `core`: the pipeline in torch, on `device`, which knows no files.
    """

    def __init__(
        self,
        *,
        core: FloatPipeline,
        loader: ClipLoader,
        video: H264,
        device: torch.device,
        precision: Any,
        overlap: bool | None,
    ) -> None:
        self.loader, self.video, self.precision, self.overlap = loader, video, precision, overlap
        model = precision.convert_module(core.model).to(device)
        self.core = replace(core, model=model)
        self.device = device

    def __call__(
        self,
        image: ImageInput,
        audio: AudioInput,
        *,
        sampling_rate_hz: int | None = None,
        emotion: str | None = None,
        id: str = "clip",
    ) -> Result:
        """Samples the motion of a clip.

        Args:
            image: a path, an RGB array `(h, w, 3)` uint8, or a tensor `(3, h, w)`, uint8 or in [0, 1]
            audio: a path, or samples of one channel
            sampling_rate_hz: rate of these samples; None is the model's, 16 kHz
            emotion: a label that replaces the configured emotion source
            id: names the clip; selects the noise if it depends on the clip
        """
        loaded, recording = self._load(image, audio, sampling_rate_hz, emotion, id)
        watch = Stopwatch(self.device)
        with self.computing():
            clip = self.core.prepare(loaded, watch)
            windows = list(watch.each("sample", self.core.motion([clip], watch)))
        return Result(
            motion=torch.cat([window.motion for window in windows]),
            candidates=[window.candidate for window in windows],
            cost=sum((window.cost for window in windows), Cost()),
            declared=self.core.declared_cost(loaded.num_frames),
            emotion=clip.emotion,
            seconds=dict(watch.seconds),
            clip=clip,
            pipeline=self,
            recording=recording,
        )

    def stream(
        self,
        image: ImageInput,
        audio: AudioInput,
        *,
        sampling_rate_hz: int | None = None,
        emotion: str | None = None,
        id: str = "clip",
    ) -> Iterator[Image]:
        """Yields RGB frames, `(h, w, 3)` uint8, as they are decoded, before the last ones are sampled."""
        loaded, _ = self._load(image, audio, sampling_rate_hz, emotion, id)
        watch = Stopwatch(self.device)
        with self.computing():
            clip = self.core.prepare(loaded, watch)
            decoded = stream(self.core, [clip], overlap=self.overlap, sampling=watch, decoding=[watch])
        with closing(decoded):
            for _, frames in self.computed(decoded):
                yield from frames.numpy()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Enters inference mode and the configured precision."""
        with torch.inference_mode(), self.precision.forward_context():
            yield

    def computed(self, items: Iterator[T]) -> Iterator[T]:
        """Yields the items, with the modes of `computing` active only while each is computed."""
        while True:
            with self.computing():
                item = next(items, None)
            if item is None:
                return
            yield item

    def _load(
        self, image: ImageInput, audio: AudioInput, rate_hz: int | None, emotion: str | None, id: str
    ) -> tuple[LoadedClip, Recording]:
        loader, model_hz = self.loader, self.loader.sampling_rate_hz
        if isinstance(audio, (str, Path)):
            audio_path = Path(present(str(audio)))
            sound = listen(audio_path, model_hz, loader.limits)
            waveform, recording = sound.waveform, Recording(audio_path, excerpt=sound.excerpt)
        else:
            audio_path = Path(id)
            samples = as_waveform(audio)
            loader.limits.check_sound("the audio array", rate_hz or model_hz, channels=1)
            check_waveform(samples, name="array", sampling_rate_hz=rate_hz or model_hz, fps=loader.fps)
            waveform, recording = (
                resample(samples, rate_hz or model_hz, model_hz),
                Recording(samples, rate_hz or model_hz),
            )
        check_waveform(waveform, name=str(audio_path), sampling_rate_hz=model_hz, fps=loader.fps)
        if isinstance(image, (str, Path)):
            image_path = Path(present(str(image)))
            crop, face = loader.portrait(Clip(id=id, image=image_path, audio=audio_path))
        else:
            image_path, array = Path(id), as_image(image)
            loader.limits.check_size("the image array", array.shape[1], array.shape[0])
            crop, face = loader.face(array, loader.image_size)
        loaded = LoadedClip(
            clip=Clip(id=composed(id), image=image_path, audio=audio_path, emotion=emotion),
            image=to_tensor(crop, loader.image_size),
            waveform=waveform,
            num_frames=num_video_frames(len(waveform), model_hz, loader.fps),
            face=face,
        )
        return loaded, recording


def as_image(image: np.ndarray | Tensor) -> Image:
    """Converts an RGB array `(h, w, 3)` uint8 or a tensor `(3, h, w)`, uint8 or in [0, 1], to an image."""
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        if image.is_floating_point():
            image = (image.clamp(0, 1) * 255).round().byte()
        image = image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"an image must be (h, w, 3) uint8, not {image.shape} {image.dtype}")
    return np.ascontiguousarray(image)


def as_waveform(audio: np.ndarray | Tensor) -> Waveform:
    """Converts samples of one channel to float32, scaling integers to [-1, 1]."""
    samples = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
    samples = samples.squeeze()
    if samples.ndim != 1:
        raise UserError(f"audio must be one channel of samples, not shape {samples.shape}; average the channels first")
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / np.iinfo(samples.dtype).max).astype(np.float32)
    return samples.astype(np.float32)
