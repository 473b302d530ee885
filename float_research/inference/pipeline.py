"""The FLOAT pipeline in torch, without files and Lightning: image and speech → conditions → motion → frames."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.conditioning.emotion import EmotionSource, Label, Speech
from float_research.data.audio import normalise, num_video_frames
from float_research.data.clips import TOY
from float_research.data.image import to_tensor
from float_research.errors import UserError
from float_research.files import present
from float_research.inference.best_of import Evidence, Search
from float_research.inference.encoding import ClipEncoder
from float_research.inference.retiming import Retiming
from float_research.inference.reuse import KeptOutputs
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import Need, Subject
from float_research.models.decoding import Decoding
from float_research.models.float_model import FloatModel
from float_research.models.motion_autoencoder import Features
from float_research.models.vector_field import Evaluation
from float_research.motion.edits import Edits, Rest
from float_research.sampling.sampler import Sampler
from float_research.types import Clip, ClipConditions, Cost, FilmedFace, LoadedClip, MotionWindow, Originals
from float_research.video.reader import read_frames_at

ENCODING = ("encode_image", "encode_audio", "emotion")
"""The phases of preparing a clip."""
OwnVideo = Callable[[float], FilmedFace]
"""Returns the video that a portrait is a frame of, at a frame rate."""


@dataclass(frozen=True, kw_only=True)
class EncodedPortrait:
    """A portrait as the decoder needs it. `reference`: the motion latent of the portrait itself.

    `video`: where each frame has a portrait of its own, the video of these, at a frame rate.
    """

    identity: Float[Tensor, "1 d"]
    features: Features
    reference: Float[Tensor, "1 d"]
    video: OwnVideo | None = None


@dataclass(frozen=True, kw_only=True)
class PreparedClip(EncodedPortrait):
    """A clip with everything that is computed once: its conditions and its portrait.

    `subject`: what metrics may know of it, at the model's frame rate and without converged motion. `num_video_frames`:
    at the video's frame rate. `reused`: networks whose outputs an earlier run had computed.
    """

    conditions: ClipConditions
    subject: Subject
    emotion: dict[str, float]
    num_video_frames: int
    reused: Sequence[str]

    def reseeded(self, clip: Clip) -> "PreparedClip":
        """Returns a clip that differs from this one only in its seed."""
        return replace(
            self,
            conditions=replace(self.conditions, id=clip.noise_id, seed=clip.seed),
            subject=replace(self.subject, id=clip.id),
        )


@dataclass(frozen=True, kw_only=True)
class PipelineParts:
    """The parts of a pipeline besides its network.

    `driving`: returns a video file whose motion is taken, at a frame rate. `video_fps`: the frame rate of the videos
    that are made, if it is not the model's.
    """

    sampler: Sampler
    vector_field: Evaluation
    emotion: EmotionSource
    decoding: Decoding
    search: Search
    edits: Edits
    driving: Callable[[Path, float], FilmedFace]
    video_fps: float | None

    def pipeline(self, model: FloatModel, kept: KeptOutputs) -> "FloatPipeline":
        """Returns the pipeline of a loaded model, with what is kept of its outputs."""
        return FloatPipeline(**vars(self), model=model, kept=kept)


@dataclass(frozen=True, kw_only=True)
class FloatPipeline(PipelineParts):
    """A pipeline with its network. Every method computes on the model's device, in the model's precision."""

    model: FloatModel
    kept: KeptOutputs

    def __post_init__(self) -> None:
        self.search.check(self.model.motion_autoencoder.image_size)
        self.edits.check(self.directions.shape[1])

    @property
    def directions(self) -> Float[Tensor, "d m"]:
        """The orthonormal motion directions Q of the decoder."""
        return self.model.motion_autoencoder.dec.direction.basis

    @property
    def fps(self) -> float:
        """The frame rate of the video."""
        return self.video_fps or self.model.fps

    def retiming(self, clip: PreparedClip) -> Retiming:
        """Returns the conversion of the clip's motion to the video's frame rate, to be used once."""
        return Retiming(
            num_frames=clip.conditions.num_frames,
            num_video_frames=clip.num_video_frames,
            step=self.model.fps / self.fps,
        )

    def prepare(self, clip: LoadedClip, watch: Stopwatch) -> PreparedClip:
        """Encodes the portrait, the speech and the emotion of a clip, or takes outputs kept from earlier runs."""
        model = self.model
        like = model.motion_autoencoder.dec.direction.weight
        waveform = torch.from_numpy(normalise(clip.waveform))[None].to(like.device, like.dtype)
        encoder = ClipEncoder(model=model, kept=self.kept)
        with watch.phase("encode_image"):
            image = encoder.image(clip.image)
        with watch.phase("encode_audio"):
            audio = encoder.audio(waveform, clip.num_frames)
        with watch.phase("emotion"):
            label = clip.clip.emotion
            source = self.emotion if label is None else Label(label=label, emotions=model.emotions)
            speech = Speech(
                waveform=waveform,
                first_frame=0,
                num_frames=clip.num_frames,
                fps=model.fps,
                sampling_rate_hz=model.sampling_rate_hz,
            )
            emotion = source(speech, encoder.emotion)
        return PreparedClip(
            conditions=ClipConditions(
                id=clip.clip.noise_id,
                audio=audio[0],
                reference=image["reference"][0],
                emotion=emotion,
                seed=clip.clip.seed,
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
            **{**vars(encoded_portrait(image)), "video": self.dubbed(clip.video)},
            num_video_frames=num_video_frames(len(clip.waveform), model.sampling_rate_hz, self.fps),
            emotion=dict(zip(model.emotions, emotion.float().mean(0).tolist(), strict=True)),
            reused=sorted(encoder.reused),
        )

    def portrait(self, image: Float[Tensor, "3 h w"]) -> EncodedPortrait:
        """Encodes a portrait alone, to decode motion that was not sampled for it."""
        return encoded_portrait(ClipEncoder(model=self.model, kept=self.kept).image(image))

    def declared_cost(self, num_frames: int) -> Cost | None:
        """Returns the cost of a clip's motion, or None if the solver chooses its steps adaptively."""
        return self.search.declared_cost(self.sampler, num_frames)

    def motion(self, clips: Sequence[PreparedClip], watch: Stopwatch) -> Iterator[MotionWindow]:
        """Samples the clips in one batch, window by window, and edits what is sampled.

        Neither a later window nor a search sees the edits. A search times its verification separately.
        """
        evidence = Evidence(
            subjects=[clip.subject for clip in clips],
            directions=self.directions,
            frames=lambda i, motion, size_px: self.frames(clips[i], motion, size_px=size_px),
            watch=watch,
        )
        network = self.vector_field(self.model.fmt)
        sampled = self.search(self.sampler, network, [clip.conditions for clip in clips], evidence)
        if not self.edits.edits:
            return sampled
        lengths = [clip.conditions.num_frames for clip in clips]
        rests = [self.rest(clip.reference, self.model.fps, clip.video) for clip in clips]
        return self.edits.windows(sampled, rests, lengths)

    def rest(self, reference: Float[Tensor, "1 d"], fps: float, own: OwnVideo | None = None) -> Rest:
        """Returns what edits need to know besides motion, by the motion latent of a portrait, and the video it is of.

        Each video is encoded once.
        """

        @cache
        def motion_of(file: str | None) -> Float[Tensor, "n d"]:
            if file is not None:
                return self.encode_motion(self.driving(Path(present(file)), fps))
            if own is None:
                raise UserError("motion=dub needs a video as the portrait, such as data.image=clip.mp4")
            return self.encode_motion(own(fps))

        own_motion = partial(motion_of, None)
        return Rest(directions=self.directions, portrait=reference[0], video=motion_of, own=own_motion, fps=fps)

    def encode_motion(self, video: FilmedFace) -> Float[Tensor, "t d"]:
        """Returns the motion latents of a video, or those kept from an earlier run."""
        return ClipEncoder(model=self.model, kept=self.kept).motion(video)

    def originals(self, still: Originals, video: OwnVideo | None) -> Originals:
        """Returns what frames are shown in: the portrait, or the video that it is of, if edits dub it."""
        dubbed = self.dubbed(video)
        return still if dubbed is None else dubbed(self.fps)

    def dubbed(self, video: OwnVideo | None) -> OwnVideo | None:
        """Returns the video that a portrait is of, if edits dub it."""
        return video if self.edits.dubs else None

    def decoder(self, clip: EncodedPortrait) -> Callable[[Float[Tensor, "l d"]], Iterator[UInt8[Tensor, "n h w 3"]]]:
        """Returns what decodes the motion of a clip, part by part, from its first frame on.

        Frames of a video that is dubbed are decoded one at a time, each with its own picture as the portrait.
        """
        if clip.video is None:
            return partial(self.frames, clip)
        originals = clip.video(self.fps)()
        encoder = ClipEncoder(model=self.model, kept=self.kept)

        def decode(motion: Float[Tensor, "l d"]) -> Iterator[UInt8[Tensor, "n h w 3"]]:
            for latent in motion.split(1):
                image = to_tensor(next(originals).crop, self.model.motion_autoencoder.image_size)
                yield from self.frames(encoded_portrait(encoder.encode_image(image)), latent)

        return decode

    def frames(
        self, clip: EncodedPortrait, motion: Float[Tensor, "l d"], *, size_px: int | None = None
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        """Decodes motion latents, a batch of frames at a time: `decoder(s_r + r)`.

        `size_px`: the resolution at which the decoder stops; None: full resolution.
        """
        latents = clip.identity + motion.to(clip.identity.dtype)
        features = [feature for feature in clip.features if size_px is None or feature.shape[-1] <= size_px]
        return self.decoding(self.model.motion_autoencoder, features, latents)


def encoded_portrait(outputs: Mapping[str, Tensor]) -> EncodedPortrait:
    """Returns the portrait among the encoder's outputs for it."""
    features = [outputs[name] for name in sorted(outputs) if name.startswith("feature_")]
    return EncodedPortrait(identity=outputs["identity"], features=features, reference=outputs["reference"])
