"""Optional losses against the blur of L1: a perceptual loss on VGG-19 features, an adversarial and a matching loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from float_research.errors import UserError
from float_research.models.checkpoint import REAL, read_weights, require_checkpoint

POOL = 0
VGG19 = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, 256, POOL, 512, 512, 512, 512, POOL, 512)
"""Widths of the 3 × 3 convolutions up to conv5_1 (arXiv 1409.1556)."""
COMPARED = (0, 2, 4, 8, 12)
"""Convolutions whose outputs are compared: the first of each block."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REMEDY = "give torchvision's vgg19 weights, such as vgg19-dcbb9e9d.pth"


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """Mean L1 between VGG-19 features at `num_scales` sizes, each half the last (LIA, arXiv 2203.09043, section 3.3).

    `file`: torchvision's weights, which are not included; None disables the loss.
    """

    file: str | None
    weight: float
    num_scales: int

    def __post_init__(self) -> None:
        if self.file:
            require_checkpoint(Path(self.file), REMEDY)

    @cached_property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the convolutions."""
        tensors = read_weights(Path(str(self.file)))
        names = [f"features.{index}" for index in _places()]
        widths = [width for width in VGG19 if width != POOL]
        for name, before, after in zip(names, [3, *widths], widths, strict=False):
            for part, shape in (("weight", (after, before, 3, 3)), ("bias", (after,))):
                value = tensors.get(f"{name}.{part}")
                if value is None or value.shape != shape or value.dtype not in REAL:
                    raise UserError(f"{self.file} does not contain the convolutions of VGG-19; {REMEDY}")
        return [(tensors[f"{name}.weight"].float(), tensors[f"{name}.bias"].float()) for name in names]

    def __call__(self, made: Float[Tensor, "b 3 h w"], wanted: Float[Tensor, "b 3 h w"]) -> Tensor:
        terms = []
        for _ in range(self.num_scales):
            with torch.no_grad():
                targets = self.features(wanted)
            terms += [(a - b).abs().mean() for a, b in zip(self.features(made), targets, strict=True)]
            made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
        return self.weight * torch.stack(terms).sum()

    def features(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Returns the outputs of the compared convolutions, after their ReLU, for an image in [-1, 1]."""
        mean, std = (torch.tensor(values, device=image.device)[:, None, None] for values in (MEAN, STD))
        x, outputs, convolutions = ((image + 1) / 2 - mean) / std, [], iter(enumerate(self.layers))
        for width in VGG19:
            if width == POOL:
                x = F.max_pool2d(x, 2)
                continue
            number, (weight, bias) = next(convolutions)
            x = F.relu(F.conv2d(x, weight.to(x.device), bias.to(x.device), padding=1))
            if number in COMPARED:
                outputs.append(x)
        return outputs


def _places() -> list[int]:
    """Returns the indices of the convolutions in torchvision's `features`, where a ReLU follows each."""
    places, index = [], 0
    for width in VGG19:
        if width != POOL:
            places.append(index)
        index += 1 if width == POOL else 2
    return places


class Discriminator(nn.Sequential):
    """Patch discriminator (arXiv 1611.07004) with spectral normalisation (arXiv 1802.05957).

    Returns the features of each layer, and last the scores, `(b, 1, h/8, w/8)`.
    """

    def __init__(self, width: int):
        widths: Sequence[int] = (3, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        outputs = [image]
        for layer in self:
            outputs.append(layer(outputs[-1]))
        return [*outputs[2:-1:2], outputs[-1]]


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Hinge GAN loss (arXiv 1705.02894) as two terms of one sum, each with gradients for its own network only.

    The generator's also has `matching` times the L1 between the discriminator's features of both images (pix2pixHD,
    arXiv 1711.11585, equation 4). A `weight` of 0 disables all.
    """

    weight: float
    matching: float
    width: int

    def build(self) -> Discriminator:
        return Discriminator(self.width)

    def __call__(
        self, judge: nn.Module, made: Float[Tensor, "b 3 h w"], real: Float[Tensor, "b 3 h w"]
    ) -> tuple[Tensor, Tensor]:
        """Returns the generator's loss and the discriminator's loss."""
        frozen = {name: parameter.detach() for name, parameter in judge.named_parameters()}
        *features, score = functional_call(judge, frozen, (made,))
        *wanted, real_score = judge(real)
        judged = F.relu(1 - real_score).mean() + F.relu(1 + judge(made.detach())[-1]).mean()
        matched = torch.stack([(a - b.detach()).abs().mean() for a, b in zip(features, wanted, strict=True)]).sum()
        return self.weight * (self.matching * matched - score.mean()), judged
