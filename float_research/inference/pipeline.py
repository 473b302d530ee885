"""The FLOAT pipeline in torch: image and speech → conditions → motion → frames. Files and Lightning stay outside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.conditioning.emotion import EmotionSource, Label, Speech
from float_research.data.audio import normalise
from float_research.inference.stopwatch import Stopwatch
from float_research.models.decoding import Batched
from float_research.models.float_model import FloatModel
from float_research.models.motion_autoencoder import Features
from float_research.sampling.sampler import Sampler
from float_research.types import ClipConditions, LoadedClip, MotionChunk


@dataclass(frozen=True, kw_only=True)
class PreparedClip:
    """A clip after all that is computed once: the conditions, and the portrait as the decoder needs it."""

    conditions: ClipConditions
    identity: Float[Tensor, "1 d"]
    features: Features
    emotion: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class FloatPipeline:
    """The built parts of a run. Every method computes on the model's device, in the model's precision."""

    model: FloatModel
    sampler: Sampler
    emotion: EmotionSource
    decoding: Batched

    def prepare(self, clip: LoadedClip, watch: Stopwatch) -> PreparedClip:
        """Encodes the portrait, the speech and the emotion of a clip."""
        model = self.model
        like = model.motion_autoencoder.dec.direction.weight
        waveform = torch.from_numpy(normalise(clip.waveform))[None].to(like.device, like.dtype)
        with watch.stage("encode_image"):
            identity, features = model.motion_autoencoder.encode(clip.image[None].to(like.device, like.dtype))
            reference = model.motion_autoencoder.reference_motion(identity)
        with watch.stage("encode_audio"):
            audio = model.audio_encoder(waveform, clip.num_frames)
        with watch.stage("emotion"):
            label = clip.clip.emotion
            source = self.emotion if label is None else Label(label=label, emotions=model.emotions)
            speech = Speech(
                waveform=waveform,
                num_frames=clip.num_frames,
                fps=model.fps,
                sampling_rate_hz=model.sampling_rate_hz,
            )
            emotion = source(speech, model.emotion_encoder)
        return PreparedClip(
            conditions=ClipConditions(id=clip.clip.id, audio=audio[0], reference=reference[0], emotion=emotion),
            identity=identity,
            features=features,
            emotion=dict(zip(model.emotions, emotion.float().mean(0).tolist(), strict=True)),
        )

    def motion(self, clips: Sequence[PreparedClip]) -> Iterator[MotionChunk]:
        """Samples the clips side by side, chunk by chunk."""
        return self.sampler(self.model.vector_field, [clip.conditions for clip in clips])

    def frames(self, clip: PreparedClip, motion: Float[Tensor, "l d"]) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        """Decodes motion latents, a batch of frames at a time: `decoder(s_r + r)`."""
        latents = clip.identity + motion.to(clip.identity.dtype)
        return self.decoding(self.model.motion_autoencoder, clip.features, latents)
