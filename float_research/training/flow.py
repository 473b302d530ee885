"""Stage 2: the flow matching transformer (FLOAT section 3.2, arXiv 2412.01064)."""

from collections.abc import Set
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from float_research.models.float_model import FloatModel
from float_research.sampling.guidance import NoGuidance
from float_research.sampling.solver import Euler
from float_research.training.losses import velocity_l1
from float_research.training.objective import BatchKey, Terms
from float_research.training.sequences import Sequences, Windows
from float_research.types import Conditions

GRID_POINTS = 11
"""Time grid of the held-out sampling: ten Euler steps."""


@dataclass(frozen=True, kw_only=True)
class FlowObjective:
    """L1 on the vector field and on its differences along time, on optimal-transport paths.

    `x_t = (1 - t) x_0 + t x_1`, `v = x_1 - x_0`, noise x_0 ~ N(0, 1), t uniform. Audio, reference, emotion and previous
    frames are each dropped with a probability of their own, for classifier-free guidance. Wav2Vec 2.0 is frozen; its
    projection is trained, as in the official split.

    Frame i of a window with previous frames has the weight `1 + seam / 2^i`, which smooths the seams between windows.
    The paper has no such weight: `seam` 0.
    """

    sequences: Sequences
    field: float
    velocity: float
    seam: float
    drop_audio: float
    drop_reference: float
    drop_emotion: float
    drop_previous: float

    trains: ClassVar[tuple[str, ...]] = ("fmt.", "audio_encoder.audio_projection.")
    exports = trains

    def prepare(self, model: FloatModel) -> None:
        """Initialises blocks as identities and the field as zero (adaLN-Zero, arXiv 2212.09748)."""
        with torch.no_grad():
            for name, parameter in model.fmt.named_parameters():
                if "adaLN_modulation" in name or name.startswith("decoder.linear"):
                    parameter.zero_()

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        """Does nothing: carried-over weights need no adjustment."""

    def finish(self, model: FloatModel) -> None:
        """Does nothing: there is nothing to fold into the weights."""

    def batch(self, key: BatchKey) -> BatchKey:
        """Prefetches nothing: windows need the frozen encoders, whose outputs are cached."""
        return key

    def losses(self, model: FloatModel, batch: BatchKey, device: torch.device) -> Terms:
        windows, generator = self.sequences(model, batch, device), batch.generator()
        num = len(windows.motion)

        def kept(drop: float) -> Bool[Tensor, " b"]:
            return (torch.rand(num, generator=generator) >= drop).to(device)

        audio, reference, emotion = kept(self.drop_audio), kept(self.drop_reference), kept(self.drop_emotion)
        known = kept(self.drop_previous) & ~windows.first
        conditions = self.conditions(model, windows, audio=audio, reference=reference, emotion=emotion, previous=known)
        target = model.motion_autoencoder.dec.direction(
            windows.motion[:, windows.num_previous :].flatten(0, 1)
        ).detach()
        target = target.unflatten(0, (num, -1)).float()
        noise = torch.randn(target.shape, generator=generator).to(device)
        t = torch.rand(num, generator=generator).to(device)
        x = torch.lerp(noise, target, t[:, None, None])
        field, truth = model.vector_field(conditions)(t, x).float(), target - noise
        nearness = 0.5 ** torch.arange(target.shape[1], device=device)
        weight = 1 + self.seam * known[:, None, None] * nearness[:, None]
        return {
            "field": self.field * (weight * (field - truth).abs()).mean(),
            "velocity": self.velocity * velocity_l1(field, truth),
        }

    def metrics(self, model: FloatModel, batch: BatchKey, device: torch.device) -> Terms:
        """Samples held-out windows and measures their motion spread and the jaw's correlation with the truth."""
        windows = self.sequences(model, batch, device)
        everything = torch.ones(len(windows.motion), dtype=torch.bool, device=device)
        conditions = self.conditions(
            model, windows, audio=everything, reference=everything, emotion=everything, previous=~windows.first
        )
        truth = windows.motion[:, windows.num_previous :]
        shape = (*truth.shape[:2], conditions.reference.shape[1])
        noise = torch.randn(shape, generator=batch.generator()).to(device)
        field = NoGuidance().guide(model.vector_field, conditions)
        sampled = Euler().solve(field, noise, torch.linspace(0, 1, GRID_POINTS))
        coordinates = sampled @ model.motion_autoencoder.dec.direction.basis
        terms = {"motion_spread": coordinates.std() / truth.std()}
        if windows.jaw is not None:
            made, wanted = coordinates[..., windows.jaw].flatten(), truth[..., windows.jaw].flatten()
            terms["jaw_correlation"] = torch.corrcoef(torch.stack([made, wanted]))[0, 1]
        return terms

    def preview(self, model: FloatModel, device: torch.device) -> None:
        return None

    def conditions(
        self,
        model: FloatModel,
        windows: Windows,
        *,
        audio: Bool[Tensor, " b"],
        reference: Bool[Tensor, " b"],
        emotion: Bool[Tensor, " b"],
        previous: Bool[Tensor, " b"],
    ) -> Conditions:
        """Builds the windows' conditions, zeroed where their mask is False."""

        def where(keep: Bool[Tensor, " b"], values: Float[Tensor, "b *rest"]) -> Float[Tensor, "b *rest"]:
            return values * keep.reshape(-1, *(1 for _ in values.shape[1:])).to(values.dtype)

        num_previous, num_frames = windows.num_previous, windows.motion.shape[1]
        heard = model.audio_encoder.audio_projection(windows.speech)
        before = latents(model, windows.motion[:, :num_previous])
        return Conditions(
            audio=where(audio, heard[:, num_previous:]),
            reference=where(reference, latents(model, windows.reference)),
            emotion=where(emotion, windows.emotion)[:, None].expand(-1, num_frames, -1),
            previous_motion=where(previous, before),
            previous_audio=where(previous, heard[:, :num_previous]),
        )


def latents(model: FloatModel, coordinates: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch d"]:
    """Returns motion latents `λ @ Q.T`. The directions are frozen in this stage."""
    return coordinates @ model.motion_autoencoder.dec.direction.basis.T.detach()
