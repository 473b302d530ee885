"""Regression of motion from frames, trained on renders with known motion.

Pretrains the motion encoder, for which the reconstruction loss is only a weak signal, and trains the separate reader
that measures generated frames.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from float_research.models.float_model import FloatModel
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION, sample_motions, within_range
from float_research.toyface.reader import MotionReader
from float_research.toyface.render import render
from float_research.training.normalisation import fold, keep_trained, normalise
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey, Terms
from float_research.training.previews import Gallery

BETA = 0.1
NOISE = 0.03
HELD_OUT_BATCH = 256
"""Renders per R² estimate."""
NUM_PREVIEWED = 8
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Reading(ABC):
    """Smooth L1 between the predicted and the true motion parameters.

    Training renders are blurred by a random amount and noise is added, because generated frames are softer.
    """

    size_px: int
    batch_size: int
    compiled: bool
    seed: int

    @property
    @abstractmethod
    def trains(self) -> Sequence[str]: ...

    @property
    def exports(self) -> Sequence[str]:
        return self.trains

    @abstractmethod
    def read(
        self, model: FloatModel, image: Float[Tensor, "b 3 h w"], neutral: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b m"]:
        """Predicts the motion parameters, then any further outputs, whose target is zero.

        `neutral` shows the people at rest.
        """

    def require_data(self) -> None:
        """Needs none: portraits are rendered."""
        return

    def batch(self, key: BatchKey) -> BatchKey:
        """Prefetches nothing: portraits are rendered on the model's device."""
        return key

    def losses(self, model: FloatModel, batch: BatchKey, device: torch.device) -> Terms:
        generator = batch.generator(self.seed, 1)
        image, neutral, motion = self.portraits(batch, self.batch_size, device)
        softness = torch.rand(len(image), 1, 1, 1, generator=generator).to(device)
        image = torch.lerp(image, F.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False), softness)
        image = image + NOISE * torch.randn(image.shape, generator=generator).to(device)
        read = self.read(model, image, neutral)
        wanted = F.pad(motion, (0, read.shape[1] - motion.shape[1]))
        return {"reading": F.smooth_l1_loss(read, wanted, beta=BETA)}

    def metrics(self, model: FloatModel, batch: BatchKey, device: torch.device) -> Terms:
        image, neutral, motion = self.portraits(batch, HELD_OUT_BATCH, device)
        read = self.read(model, image, neutral)[:, : len(MOTION)]
        determined = 1 - (read - motion).square().mean(0) / motion.var(0, correction=0)
        by_name = {f"r2_{name}": value for name, value in zip(MOTION, determined, strict=True)}
        return {"r2": determined.mean(), **by_name}

    def preview(self, model: FloatModel, device: torch.device) -> Gallery:
        """Shows held-out people, and the same people in the motion that was read from the frames above."""
        key = BatchKey(HELD_OUT, 0)
        image, neutral, _ = self.portraits(key, NUM_PREVIEWED, device)
        read = self.read(model, image, neutral)[:, : len(MOTION)]
        people = sample_identities(NUM_PREVIEWED, key.generator(self.seed)).to(device)
        return Gallery(
            rows={"frame": image, "drawn from the motion read": render(people, within_range(read), self.size_px).image}
        )

    def portraits(
        self, key: BatchKey, num: int, device: torch.device
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"], Float[Tensor, "b m"]]:
        """Renders random people in random motion and at rest; returns both and the motion."""
        generator = key.generator(self.seed)
        people, motion = sample_identities(num, generator).to(device), sample_motions(num, generator).to(device)
        draw = torch.compile(render) if self.compiled and key.stream == TRAINING else render
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            moved, neutral = (draw(people, pose, self.size_px).image for pose in (motion, torch.zeros_like(motion)))
        return moved, neutral, motion


@dataclass(frozen=True, kw_only=True)
class ReaderObjective(Reading):
    """Trains the reader that measures generated frames."""

    trains: ClassVar[tuple[str, ...]] = ("reader.",)

    def prepare(self, model: FloatModel) -> None:
        model.add_module("reader", MotionReader())

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        """Does nothing: carried-over weights need no adjustment."""

    def finish(self, model: FloatModel) -> None:
        """Does nothing: there is nothing to fold into the weights."""

    def read(
        self, model: FloatModel, image: Float[Tensor, "b 3 h w"], neutral: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b m"]:
        values: Tensor = model.get_submodule("reader")(image, neutral).float()
        return values


@dataclass(frozen=True, kw_only=True)
class MotionObjective(Reading):
    """Pretrains the motion encoder: coordinates λ are motion parameters × `coordinate_scale`."""

    coordinate_scale: float

    trains: ClassVar[tuple[str, ...]] = ("motion_autoencoder.enc.",)

    def prepare(self, model: FloatModel) -> None:
        normalise(model.motion_autoencoder.enc)

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        image, _, _ = self.portraits(BatchKey(TRAINING, 0), self.batch_size, CPU)
        keep_trained(model.motion_autoencoder.enc, trained, image)

    def finish(self, model: FloatModel) -> None:
        device = model.motion_autoencoder.dec.input.input.device
        keys = (BatchKey(TRAINING, number) for number in count())
        fold(model.motion_autoencoder.enc, (self.portraits(key, self.batch_size, device)[0] for key in keys))

    def read(
        self, model: FloatModel, image: Float[Tensor, "b 3 h w"], neutral: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b m"]:
        autoencoder = model.motion_autoencoder
        identity, _ = autoencoder.encode(image.contiguous(memory_format=torch.channels_last))
        return autoencoder.coordinates(identity).float() / self.coordinate_scale
