"""Optional terms that make frames look right where L1 is content with blur: features of VGG-19, and an adversary."""

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
from float_research.models.checkpoint import REAL, existing, read_tensors

POOL = 0
VGG19 = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, 256, POOL, 512, 512, 512, 512, POOL, 512)
"""Widths of the 3 × 3 convolutions up to conv5_1 (arXiv 1409.1556)."""
COMPARED = (0, 2, 4, 8, 12)
"""The convolutions whose outputs count: the first of each block."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REMEDY = "give torchvision's vgg19 weights, such as vgg19-dcbb9e9d.pth"


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """Mean L1 between VGG-19's features, at full, half and quarter size (LIA, arXiv 2203.09043, section 3.3).

    `file` holds torchvision's weights, which are the user's to get; None switches the term off.
    """

    file: str | None
    weight: float
    num_scales: int

    def __post_init__(self) -> None:
        if self.file:
            existing(Path(self.file), REMEDY)

    @cached_property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the convolutions."""
        tensors = read_tensors(Path(str(self.file)))
        names = [f"features.{index}" for index in _places()]
        widths = [width for width in VGG19 if width != POOL]
        for name, before, after in zip(names, [3, *widths], widths, strict=False):
            for part, shape in (("weight", (after, before, 3, 3)), ("bias", (after,))):
                value = tensors.get(f"{name}.{part}")
                if value is None or value.shape != shape or value.dtype not in REAL:
                    raise UserError(f"{self.file} does not hold the convolutions of VGG-19; {REMEDY}")
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
        """Outputs of the compared convolutions, after their ReLU, of an image in [-1, 1]."""
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
    """Places of the convolutions in torchvision's `features`: each is followed by a ReLU."""
    places, index = [], 0
    for width in VGG19:
        if width != POOL:
            places.append(index)
        index += 1 if width == POOL else 2
    return places


class Discriminator(nn.Sequential):
    """A judge of patches (arXiv 1611.07004), spectrally normalised (arXiv 1802.05957): `(b, 1, h/8, w/8)`."""

    def __init__(self, width: int):
        widths: Sequence[int] = (3, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The hinge game (arXiv 1705.02894) as two terms of one sum, each with gradients for its own player only.

    A `weight` of 0 is no game.
    """

    weight: float
    width: int

    def build(self) -> Discriminator:
        return Discriminator(self.width)

    def __call__(
        self, judge: nn.Module, made: Float[Tensor, "b 3 h w"], real: Float[Tensor, "b 3 h w"]
    ) -> tuple[Tensor, Tensor]:
        """What the generator pays, and what the judge pays."""
        standing = {name: parameter.detach() for name, parameter in judge.named_parameters()}
        deceived = -functional_call(judge, standing, (made,)).mean()
        judged = F.relu(1 - judge(real)).mean() + F.relu(1 + judge(made.detach())).mean()
        return self.weight * deceived, judged
