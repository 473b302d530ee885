"""Stage 2: the flow matching transformer (FLOAT section 3.2, arXiv 2412.01064)."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from float_research.models.float_model import FloatModel
from float_research.sampling.budget import Evaluations
from float_research.sampling.guidance import NoGuidance
from float_research.sampling.noise import Independent
from float_research.sampling.sampler import Sampler
from float_research.sampling.sampling_noise import Sde
from float_research.sampling.schedule import Constant
from float_research.sampling.solver import Euler, Midpoint
from float_research.sampling.stitch import Autoregressive
from float_research.sampling.time_grid import Uniform
from float_research.training.losses import velocity_l1
from float_research.training.objective import BatchKey, Terms
from float_research.training.previews import Film
from float_research.training.sequences import HeldOutClip, Sequences, Windows
from float_research.types import ClipConditions, Conditions, VectorField

NUM_STEPS = (4, 10)
"""Euler steps of the held-out sampling; the last is what correlations are measured on."""
CONVERGED_STEPS = 20
"""Midpoint steps that stand for the exact solution."""
NUM_CONVERGED = 8
"""Windows of a held-out batch whose sampling error is measured, which takes five times as long as sampling."""
NUM_CLIPS = 3
"""Whole held-out recordings whose lips are compared with the sound."""
SHOWN_S = 4
"""Length of the previewed film."""


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

    def require_data(self) -> None:
        self.sequences.require_data()

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
        """Samples held-out windows and, in the first batches, a whole recording each.

        `sampling_error_N`: `‖r - r*‖ / ‖r*‖` of N Euler steps. `motion_spread`: relative to the truth's.
        `jaw_correlation`: with the truth. `lip_correlation`: of the jaw with the loudness of the recording.
        """
        windows = self.sequences(model, batch, device)
        everything = torch.ones(len(windows.motion), dtype=torch.bool, device=device)
        conditions = self.conditions(
            model, windows, audio=everything, reference=everything, emotion=everything, previous=~windows.first
        )
        truth = windows.motion[:, windows.num_previous :]
        shape = (*truth.shape[:2], conditions.reference.shape[1])
        noise = torch.randn(shape, generator=batch.generator()).to(device)
        field = NoGuidance().guide(model.vector_field, conditions)
        sampled = Euler().solve(field, noise, torch.linspace(0, 1, NUM_STEPS[-1] + 1))
        coordinates = sampled @ model.motion_autoencoder.dec.direction.basis
        terms = {"motion_spread": coordinates.std() / truth.std()}
        few = Conditions(**{name: value[:NUM_CONVERGED] for name, value in tensors(conditions).items()})
        terms |= sampling_errors(NoGuidance().guide(model.vector_field, few), noise[:NUM_CONVERGED])
        if windows.jaw is not None and batch.number < NUM_CLIPS:
            clip = self.sequences.clip(model, batch.number, device)
            opening = self.sample(model, clip, batch.number, device)[:, windows.jaw]
            terms["lip_correlation"] = torch.corrcoef(torch.stack([opening, clip.loudness.to(device)]))[0, 1]
        if windows.jaw is not None:
            made, wanted = coordinates[..., windows.jaw].flatten(), truth[..., windows.jaw].flatten()
            terms["jaw_correlation"] = torch.corrcoef(torch.stack([made, wanted]))[0, 1]
        return terms

    def preview(self, model: FloatModel, device: torch.device) -> Film:
        """Films a held-out recording: sampled motion beside the true one, above the jaw and the loudness."""
        clip, num = self.sequences.clip(model, 0, device), int(SHOWN_S * model.fps)
        sampled, truth = self.sample(model, clip, 0, device)[:num].cpu(), clip.performance.motion[:num]
        jaw = self.sequences.jaw
        curves = {} if jaw is None else {"jaw, sampled": sampled[:, jaw], "jaw, true": truth[:, jaw]}
        if jaw is None:
            curves["loudness"] = clip.loudness[:num]
        return Film(
            heads={"sampled": clip.draw(sampled).cpu(), "true": clip.draw(truth).cpu()},
            curves=curves,
            waveform=clip.waveform[: int(SHOWN_S * model.sampling_rate_hz)],
            rate_hz=model.sampling_rate_hz,
            fps=model.fps,
        )

    def sample(self, model: FloatModel, clip: HeldOutClip, number: int, device: torch.device) -> Float[Tensor, "t m"]:
        """Returns motion coordinates of a whole recording, window after window as in inference, without guidance."""
        sampler = Sampler(
            solver=Euler(),
            nfe=NUM_STEPS[-1],
            budget=Evaluations(),
            time_grid=Uniform(),
            guidance=NoGuidance(),
            noise=Independent(),
            chunking=self.sequences.chunking,
            stitch=Autoregressive(),
            seed=0,
            guidance_reuse=1,
            temperature=1.0,
            sampling_noise=Sde(g=Constant(scale=0.0)),
        )
        performed = clip.performance
        heard = model.audio_encoder.audio_projection(performed.speech[None].to(device))[0]
        conditions = ClipConditions(
            id=str(number),
            audio=heard,
            reference=latents(model, performed.reference.to(device)),
            emotion=performed.emotion.to(device).expand(len(heard), -1),
        )
        windows = [window.motion for window in sampler(model.vector_field, [conditions])]
        return torch.cat(windows).float() @ model.motion_autoencoder.dec.direction.basis

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


def tensors(conditions: Conditions) -> dict[str, Any]:
    return {name: value for name, value in vars(conditions).items() if isinstance(value, Tensor)}


def sampling_errors(field: VectorField, noise: Float[Tensor, "b l d"]) -> dict[str, Tensor]:
    """Returns the relative error of Euler's method by its number of evaluations."""
    exact = Midpoint().solve(field, noise, torch.linspace(0, 1, CONVERGED_STEPS + 1))
    errors = {}
    for num in NUM_STEPS:
        sampled = Euler().solve(field, noise, torch.linspace(0, 1, num + 1))
        errors[f"sampling_error_{num}"] = (sampled - exact).norm() / exact.norm().clamp_min(1e-12)
    return errors


def latents(model: FloatModel, coordinates: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch d"]:
    """Returns motion latents `λ @ Q.T`. The directions are frozen in this stage."""
    return coordinates @ model.motion_autoencoder.dec.direction.basis.T.detach()
