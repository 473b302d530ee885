"""Stage 1: the motion auto-encoder, trained on two frames of one person (FLOAT section 3.1; LIA, arXiv 2203.09043)."""

import math
from collections.abc import Set
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from float_research.models.float_model import FloatModel
from float_research.models.motion_autoencoder import Features, Level, MotionAutoencoder
from float_research.training.losses import (
    flow_l1,
    gradient_l1,
    multiscale_l1,
    psnr_db,
    structural_similarity,
    weighted_l1,
)
from float_research.training.normalisation import fold, keep_trained, normalise
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey, Terms
from float_research.training.portraits import Pairs, Portraits
from float_research.training.previews import Gallery
from float_research.training.realism import Adversarial, Perceptual

SMALL_FLOW = 0.1
"""Initial factor of the flow layers: training begins with almost no warping."""
BETA = 0.1
"""Where the smooth L1 loss of the coordinates turns from quadratic to linear."""
NUM_PREVIEWED = 8
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class AutoencoderObjective:
    """L1 on the frame, on all its smaller levels and on its edges, and squared error on the frame.

    Errors at eyes and mouth are weighted by `1 + expression`.

    With ground truth (the toy world) there are two more terms: the motion coordinates λ learn the true motion
    parameters times `coordinate_scale`, unused ones zero, and the flows learn the true flow. Then only a share `read`
    of each batch is driven by encoded coordinates; the rest is driven by true motion, which saves encoding.
    Two optional terms for realism, perceptual and adversarial, are off by default.
    """

    portraits: Portraits
    frame: float
    squared: float
    levels: float
    gradient: float
    expression: float
    coordinates: float
    coordinate_scale: float
    flow: float
    read: float
    perceptual: Perceptual
    adversarial: Adversarial
    compiled: bool

    trains: ClassVar[tuple[str, ...]] = ("motion_autoencoder.", "judge.")
    exports: ClassVar[tuple[str, ...]] = ("motion_autoencoder.",)

    def require_data(self) -> None:
        self.portraits.require_data()

    def prepare(self, model: FloatModel) -> None:
        normalise(model.motion_autoencoder.enc)
        if self.adversarial.weight:
            model.add_module("judge", self.adversarial.build())
        with torch.no_grad():
            for name, weight in model.motion_autoencoder.dec.to_flows.named_parameters():
                if name.endswith("conv.weight"):
                    weight.mul_(SMALL_FLOW)

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        keep_trained(model.motion_autoencoder.enc, trained, self.portraits(BatchKey(TRAINING, 0), CPU).target)

    def finish(self, model: FloatModel) -> None:
        device = model.motion_autoencoder.dec.input.input.device
        batches = (self.portraits(BatchKey(TRAINING, number), device) for number in count())
        fold(model.motion_autoencoder.enc, (torch.cat([pairs.source, pairs.target]) for pairs in batches))

    def batch(self, key: BatchKey) -> BatchKey:
        """Prefetches nothing: portraits are rendered on the model's device."""
        return key

    def losses(self, model: FloatModel, batch: BatchKey, device: torch.device) -> Terms:
        pairs = self.portraits(batch, device)
        num_read = len(pairs.source) if pairs.truth is None else math.ceil(self.read * len(pairs.source))
        levels, source_motion, motion = self.drive(model.motion_autoencoder, pairs, num_read)
        frames = [level.rgb.float() for level in levels]
        weight = torch.ones_like(pairs.target[:, :1])
        if pairs.expression is not None:
            weight = weight + self.expression * pairs.expression
        terms = {
            "frame": self.frame * weighted_l1(frames[-1], pairs.target, weight),
            "squared": self.squared * (weight * (frames[-1] - pairs.target).square()).mean(),
            "levels": self.levels * multiscale_l1(frames[:-1], pairs.target),
            "gradient": self.gradient * gradient_l1(frames[-1], pairs.target, weight),
        }
        if pairs.truth is not None:
            driving_motion = self.true_coordinates(pairs.truth.driving_motion, motion)
            read = F.smooth_l1_loss(motion, driving_motion[:num_read], beta=BETA)
            calm = F.smooth_l1_loss(source_motion, self.true_coordinates(pairs.truth.source_motion, motion), beta=BETA)
            flows = [level.flow.float() for level in levels]
            terms["coordinates"] = self.coordinates * (read + calm) / 2
            terms["flow"] = self.flow * flow_l1(flows, pairs.truth.grid, weight * pairs.truth.seen)
        if self.perceptual.file:
            terms["perceptual"] = self.perceptual(frames[-1], pairs.target)
        if self.adversarial.weight:
            terms["deceived"], terms["judged"] = self.adversarial(
                model.get_submodule("judge"), frames[-1], pairs.target
            )
        return terms

    def metrics(self, model: FloatModel, batch: BatchKey, device: torch.device) -> Terms:
        pairs = self.portraits(batch, device)
        levels, _, motion = self.drive(model.motion_autoencoder, pairs, len(pairs.source))
        frame, swapped = levels[-1].rgb.float(), pairs.num_swapped
        quality = psnr_db(frame, pairs.target)
        terms = {
            "psnr_same_db": quality[swapped:].mean(),
            "psnr_copy_db": psnr_db(pairs.source, pairs.target).mean(),
            "psnr_db": quality.mean(),
            "ssim": structural_similarity(frame.clamp(-1, 1), pairs.target),
        }
        if swapped:
            terms["psnr_swapped_db"] = quality[:swapped].mean()
        if pairs.expression is not None:
            terms["psnr_expression_db"] = psnr_db(frame, pairs.target, pairs.expression).mean()
        if pairs.truth is not None:
            wanted = self.true_coordinates(pairs.truth.driving_motion, motion)
            terms["motion_error"] = (motion - wanted).abs().mean() / self.coordinate_scale
        return terms

    def preview(self, model: FloatModel, device: torch.device) -> Gallery:
        """Shows rows of source, driver, frame and target from both ends of a held-out batch, with and without swaps."""
        pairs = self.portraits(BatchKey(HELD_OUT, 0), device)
        levels, _, _ = self.drive(model.motion_autoencoder, pairs, len(pairs.source))
        half = min(NUM_PREVIEWED, len(pairs.source)) // 2
        rows = {
            "portrait": pairs.source,
            "driver": pairs.driving,
            "decoded": levels[-1].rgb.float(),
            "wanted": pairs.target,
        }
        return Gallery(
            rows={name: torch.cat([images[:half], images[len(images) - half :]]) for name, images in rows.items()}
        )

    def drive(
        self, model: MotionAutoencoder, pairs: Pairs, num_read: int
    ) -> tuple[list[Level], Float[Tensor, "b m"], Float[Tensor, "r m"]]:
        """Returns the decoder's levels, and the coordinates encoded from the sources and the first `num_read` drivers.

        The encoded coordinates drive their frames, with gradients; true coordinates drive the rest.
        """
        images = torch.cat([pairs.source, pairs.driving[:num_read]]).contiguous(memory_format=torch.channels_last)
        encode, decode = run_encoder, run_decoder
        if self.compiled and model.training:
            encode, decode = torch.compile(run_encoder), torch.compile(run_decoder)
        identity, features = encode(model, images)
        num = len(pairs.source)
        source_motion, motion = model.coordinates(identity).float().split([num, num_read])
        driven = motion
        if num_read < num and pairs.truth is not None:
            driven = torch.cat([motion, self.true_coordinates(pairs.truth.driving_motion, motion)[num_read:]])
        latent = identity[:num] + model.dec.direction(driven.to(identity.dtype))
        return decode(model, [feature[:num] for feature in features], latent), source_motion, motion

    def true_coordinates(self, numbers: Float[Tensor, "b k"], like: Float[Tensor, "_ m"]) -> Float[Tensor, "b m"]:
        return F.pad(self.coordinate_scale * numbers, (0, like.shape[1] - numbers.shape[1]))


def run_encoder(model: MotionAutoencoder, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Features]:
    """Encodes images; a function of its own for torch.compile."""
    return model.encode(images)


def run_decoder(model: MotionAutoencoder, features: Features, latent: Float[Tensor, "b d"]) -> list[Level]:
    """Decodes all levels; a function of its own for torch.compile."""
    return list(model.dec.levels(features, latent))
