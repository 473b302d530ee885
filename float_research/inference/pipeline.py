"""The FLOAT pipeline in torch: image and speech → conditions → motion → frames. Files and Lightning stay outside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.conditioning.emotion import EmotionSource, Label, Speech
from float_research.data.audio import normalise, num_video_frames
from float_research.data.clips import TOY
from float_research.inference.best_of import Evidence, Search
from float_research.inference.retiming import Retiming
from float_research.inference.reuse import Kept
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import Need, Subject
from float_research.models.decoding import Decoding
from float_research.models.float_model import FloatModel
from float_research.models.motion_autoencoder import Features
from float_research.models.vector_field import Evaluation
from float_research.sampling.sampler import Sampler
from float_research.types import ClipConditions, Cost, LoadedClip, MotionChunk
from float_research.video.reader import read_frames_at


@dataclass(frozen=True, kw_only=True)
class PreparedClip:
    """A clip after all that is computed once: the conditions, and the portrait as the decoder needs it.

    `subject`: what metrics may know of it, at the model's frame rate and without converged motion. `num_video_frames`:
    of the video, at its own rate. `reused`: the parts of it that an earlier run had computed.
    """

    conditions: ClipConditions
    subject: Subject
    identity: Float[Tensor, "1 d"]
    features: Features
    emotion: dict[str, float]
    num_video_frames: int
    reused: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PipelineParts:
    """The parts of a pipeline besides its network. `video_fps`: the video's frame rate, if it is not the model's."""

    sampler: Sampler
    vector_field: Evaluation
    emotion: EmotionSource
    decoding: Decoding
    search: Search
    video_fps: float | None

    def pipeline(self, model: FloatModel, kept: Kept) -> "FloatPipeline":
        """Returns the pipeline of a loaded model, with what is kept of its outputs."""
        return FloatPipeline(**vars(self), model=model, kept=kept)


@dataclass(frozen=True, kw_only=True)
class FloatPipeline(PipelineParts):
    """A pipeline with its network. Every method computes on the model's device, in the model's precision."""

    model: FloatModel
    kept: Kept

    def __post_init__(self) -> None:
        self.search.check(self.model.motion_autoencoder.image_size)

    @property
    def fps(self) -> float:
        """Frames of the video in a second."""
        return self.video_fps or self.model.fps

    def retiming(self, clip: PreparedClip) -> Retiming:
        """What brings the clip's motion to the video's frame rate, once."""
        return Retiming(
            num_frames=clip.conditions.num_frames,
            num_video_frames=clip.num_video_frames,
            step=self.model.fps / self.fps,
        )

    def prepare(self, clip: LoadedClip, watch: Stopwatch) -> PreparedClip:
        """Encodes the portrait, the speech and the emotion of a clip, or takes what is kept of earlier runs."""
        model = self.model
        like = model.motion_autoencoder.dec.direction.weight
        waveform = torch.from_numpy(normalise(clip.waveform))[None].to(like.device, like.dtype)
        reused = set()

        def kept(network: str, compute: Callable[[], dict[str, Tensor]], **inputs: Any) -> Mapping[str, Tensor]:
            tensors, found = self.kept.get(network, inputs, compute, like.device)
            reused.update([network] if found else [])
            return tensors

        def encode_image() -> dict[str, Tensor]:
            identity, features = model.motion_autoencoder.encode(clip.image[None].to(like.device, like.dtype))
            reference = model.motion_autoencoder.reference_motion(identity)
            levels = {f"feature_{level:02}": feature for level, feature in enumerate(features)}
            return {"identity": identity, "reference": reference, **levels}

        def encode_audio() -> dict[str, Tensor]:
            return {"audio": model.audio_encoder(waveform, clip.num_frames)}

        def predict(heard: Float[Tensor, "b s"]) -> Float[Tensor, "b e"]:
            return kept("emotion_encoder", lambda: {"emotion": model.emotion_encoder(heard)}, speech=heard)["emotion"]

        with watch.stage("encode_image"):
            image = kept("motion_autoencoder", encode_image, image=clip.image)
        with watch.stage("encode_audio"):
            audio = kept("audio_encoder", encode_audio, speech=waveform, num_frames=clip.num_frames)["audio"]
        with watch.stage("emotion"):
            label = clip.clip.emotion
            source = self.emotion if label is None else Label(label=label, emotions=model.emotions)
            speech = Speech(
                waveform=waveform,
                num_frames=clip.num_frames,
                fps=model.fps,
                sampling_rate_hz=model.sampling_rate_hz,
            )
            emotion = source(speech, predict)
        reference = image["reference"][0]
        return PreparedClip(
            conditions=ClipConditions(
                id=clip.clip.id, audio=audio[0], reference=reference, emotion=emotion, seed=clip.clip.seed
            ),
            subject=Subject(
                id=clip.clip.id,
                num_frames=clip.num_frames,
                fps=model.fps,
                toy=clip.face.get("detector") == TOY,
                emotions=model.emotions,
                portrait=((clip.image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(),
                waveform=clip.waveform,
                sampling_rate_hz=model.sampling_rate_hz,
                solution=None,
                read=read_frames_at,
                missing={Need.SOLUTION: "it is not solved yet"},
            ),
            identity=image["identity"],
            features=[image[name] for name in sorted(image) if name.startswith("feature_")],
            num_video_frames=num_video_frames(len(clip.waveform), model.sampling_rate_hz, self.fps),
            emotion=dict(zip(model.emotions, emotion.float().mean(0).tolist(), strict=True)),
            reused=sorted(reused),
        )

    def declared_cost(self, num_frames: int) -> Cost | None:
        """What the motion of a clip will cost; None where the solver decides as it goes."""
        return self.search.declared_cost(self.sampler, num_frames)

    def motion(self, clips: Sequence[PreparedClip], watch: Stopwatch) -> Iterator[MotionChunk]:
        """Samples the clips side by side, chunk by chunk. What a search verifies is not the stage `sample`."""
        evidence = Evidence(
            subjects=[clip.subject for clip in clips],
            directions=self.model.motion_autoencoder.dec.direction.basis,
            frames=lambda i, motion, size_px: self.frames(clips[i], motion, size_px=size_px),
            watch=watch,
        )
        network = self.vector_field(self.model.fmt)
        return self.search(self.sampler, network, [clip.conditions for clip in clips], evidence)

    def frames(
        self, clip: PreparedClip, motion: Float[Tensor, "l d"], *, size_px: int | None = None
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        """Decodes motion latents, a batch of frames at a time: `decoder(s_r + r)`.

        `size_px`: where the decoder stops, with the colours so far; None: whole frames.
        """
        latents = clip.identity + motion.to(clip.identity.dtype)
        features = [feature for feature in clip.features if size_px is None or feature.shape[-1] <= size_px]
        return self.decoding(self.model.motion_autoencoder, features, latents)
