"""Motion auto-encoder: FLOAT section 3.1 (arXiv 2412.01064), after LIA (arXiv 2203.09043) and StyleGAN2.

A portrait is encoded as an identity latent `s_r` with feature maps; motion is a linear combination of m orthonormal
directions. The decoder warps the feature maps by flows predicted from `s_r + r`. Attribute names are those of the
official state dict.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from float_research.models.layers import (
    Blur,
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    ModulatedConv2d,
    Upsample,
    UpsamplingModulatedConv2d,
)

Features = Sequence[Float[Tensor, "_ _ _ _"]]
"""Identity feature maps, from 8×8 up to the image size."""


class ResidualBlock(nn.Module):
    """Residual block to half the size: `(conv2(conv1(x)) + skip(x)) / sqrt(2)`."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(in_channels, in_channels, 3, padding=1), FusedLeakyReLU(in_channels))
        self.conv2 = nn.Sequential(
            Blur((2, 2)), EqualConv2d(in_channels, out_channels, 3, stride=2), FusedLeakyReLU(out_channels)
        )
        self.skip = nn.Sequential(Blur((1, 1)), EqualConv2d(in_channels, out_channels, 1, stride=2))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h//2 w//2"]:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class AppearanceNetwork(nn.Module):
    """Image → identity latent and the feature maps of every size from 8×8."""

    def __init__(self, image_size: int, channels: Mapping[int, int], latent_dim: int):
        super().__init__()
        sizes = [2**i for i in range(int(math.log2(image_size)), 1, -1)]
        stem = nn.Sequential(EqualConv2d(3, channels[image_size], 1), FusedLeakyReLU(channels[image_size]))
        blocks = [ResidualBlock(channels[2 * size], channels[size]) for size in sizes[1:]]
        self.convs = nn.ModuleList([stem, *blocks, EqualConv2d(channels[4], latent_dim, 4)])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Features]:
        features, x = [], image
        for layer in list(self.convs)[:-1]:
            x = layer(x)
            features.append(x)
        return self.convs[-1](x).flatten(1), features[-2::-1]


class MotionEncoder(nn.Module):
    """Image → identity latent `s_r`, feature maps, and motion coordinates by five linear layers without activations."""

    def __init__(self, image_size: int, channels: Mapping[int, int], latent_dim: int, num_directions: int):
        super().__init__()
        self.net_app = AppearanceNetwork(image_size, channels, latent_dim)
        widths = [latent_dim] * 5 + [num_directions]
        self.fc = nn.Sequential(*(EqualLinear(i, o) for i, o in itertools.pairwise(widths)))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Features]:
        return self.net_app(image)


class Directions(nn.Module):
    """Orthonormal motion directions `Q` of `QR(weight + 1e-8)`; a motion is `r = coordinates @ Q.T`."""

    def __init__(self, latent_dim: int, num_directions: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(latent_dim, num_directions))

    @property
    def basis(self) -> Float[Tensor, "d m"]:
        precision = torch.promote_types(self.weight.dtype, torch.float32)
        return torch.linalg.qr(self.weight.to(precision) + 1e-8).Q.to(self.weight.dtype)

    def forward(self, coordinates: Float[Tensor, "b m"]) -> Float[Tensor, "b d"]:
        return coordinates @ self.basis.T


class StyledConv(nn.Module):
    """Modulated convolution and activation."""

    def __init__(self, conv: ModulatedConv2d, channels: int):
        super().__init__()
        self.conv = conv
        self.activate = FusedLeakyReLU(channels)

    def forward(self, x: Tensor, latent: Float[Tensor, "b d"]) -> Tensor:
        return self.activate(self.conv(x, latent))


class ToFlow(nn.Module):
    """Raw flow (x, y) and mask of one level, added to those of the level below."""

    def __init__(self, channels: int, latent_dim: int):
        super().__init__()
        self.conv = ModulatedConv2d(channels, 3, 1, latent_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, latent: Float[Tensor, "b d"], below: Tensor | None) -> Float[Tensor, "b 3 h w"]:
        raw = self.conv(x, latent) + self.bias
        return raw if below is None else raw + below


class ToRGB(nn.Module):
    """Colours of one level, added to those of the level below."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(EqualConv2d(channels, 3, 1), FusedLeakyReLU(3))
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, below: Tensor | None) -> Float[Tensor, "b 3 h w"]:
        colours = self.conv(x) + self.bias
        return colours if below is None else colours + below


class ConstantInput(nn.Module):
    """The learned 4×4 tensor that synthesis starts from."""

    def __init__(self, channels: int):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


def warp(feature: Float[Tensor, "_ c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """Samples `feature` at the base grid plus `flow`, in units of half the image.

    The base grid spans corner to corner although `grid_sample` uses `align_corners=False`; the weights were trained
    with this mismatch. Sampling is done in float32 or higher, because a 16-bit grid cannot resolve pixels.
    """
    b, _, h, w = flow.shape
    y = torch.linspace(-1, 1, h, device=flow.device, dtype=torch.float32)
    x = torch.linspace(-1, 1, w, device=flow.device, dtype=torch.float32)
    base = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    grid = flow.permute(0, 2, 3, 1) + base
    there = feature.to(grid.dtype).expand(b, -1, -1, -1)
    return F.grid_sample(there, grid, "bilinear", "zeros", align_corners=False).to(feature.dtype)


class Level(NamedTuple):
    """The decoder's output at one size: the flow into the identity features, and the frame so far."""

    flow: Float[Tensor, "b 2 h w"]
    rgb: Float[Tensor, "b 3 h w"]


class MotionDecoder(nn.Module):
    """Identity features and a latent `w = s_r + r` → frame."""

    def __init__(self, image_size: int, channels: Mapping[int, int], latent_dim: int, num_directions: int):
        super().__init__()
        self.direction = Directions(latent_dim, num_directions)
        self.input = ConstantInput(channels[4])
        self.conv1 = StyledConv(ModulatedConv2d(channels[4], channels[4], 3, latent_dim, demodulate=True), channels[4])
        self.convs, self.to_flows, self.to_rgbs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for size in (2**i for i in range(3, int(math.log2(image_size)) + 1)):
            c_in, c = channels[size // 2], channels[size]
            self.convs.append(StyledConv(UpsamplingModulatedConv2d(c_in, c, 3, latent_dim, demodulate=True), c))
            self.convs.append(StyledConv(ModulatedConv2d(c, c, 3, latent_dim, demodulate=True), c))
            self.to_flows.append(ToFlow(c, latent_dim))
            self.to_rgbs.append(ToRGB(c))
        self.upsample = Upsample()

    def forward(self, features: Features, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 h w"]:
        """Decodes one frame per latent. Features of batch size 1 are shared by all."""
        return deque(self.levels(features, latent), maxlen=1).pop().rgb

    def levels(self, features: Features, latent: Float[Tensor, "b d"]) -> Iterator[Level]:
        """Yields the frame at each size, from 8×8 up to the image size."""
        x = self.conv1(self.input.input.expand(len(latent), -1, -1, -1), latent)
        flow_below = rgb_below = None
        for level, feature in enumerate(features):
            x = self.convs[2 * level](x, latent)
            x = self.convs[2 * level + 1](x, latent)
            raw = self.to_flows[level](x, latent, flow_below)
            flow, mask = torch.tanh(raw[:, :2]), torch.sigmoid(raw[:, 2:])
            warped = warp(feature, flow) * mask
            x = warped + x * (1 - mask)
            rgb = self.to_rgbs[level](warped, rgb_below)
            yield Level(flow, rgb)
            if level + 1 < len(features):
                flow_below, rgb_below = self.upsample(raw), self.upsample(rgb)


class MotionAutoencoder(nn.Module):
    """The encoder and the decoder, with one latent width and one channel table (resolution → channels)."""

    def __init__(self, *, image_size: int, channels: Mapping[int, int], latent_dim: int, num_directions: int):
        super().__init__()
        channels = {int(size): width for size, width in channels.items()}
        self.image_size, self.channels, self.latent_dim = image_size, channels, latent_dim
        self.enc = MotionEncoder(image_size, channels, latent_dim, num_directions)
        self.dec = MotionDecoder(image_size, channels, latent_dim, num_directions)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Features]:
        """Encodes an image in [-1, 1] to the identity latent `s_r` and feature maps."""
        return self.enc(image)

    def coordinates(self, identity: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Returns the motion coordinates λ of the encoded image."""
        return self.enc.fc(identity)

    def reference_motion(self, identity: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Returns the motion latent `r_s = λ @ Q.T` of the encoded image."""
        return self.dec.direction(self.coordinates(identity))

    def decode(self, features: Features, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 h w"]:
        """Decodes latents `s_r + r` to frames, about [-1, 1]."""
        return self.dec(features, latent)
