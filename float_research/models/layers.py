"""Equalised layers, blur and resampling of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), as FLOAT uses them.

Kernels are constructed on the CPU, so that a model built on the meta device has real constants.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class EqualConv2d(nn.Module):
    """Convolution whose raw weight is multiplied by `1 / sqrt(c_in k²)` at run time; no bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Float[Tensor, "b cin h w"]) -> Float[Tensor, "b cout h2 w2"]:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class EqualLinear(nn.Module):
    """Linear layer whose raw weight is multiplied by `1 / sqrt(c_in)` at run time."""

    def __init__(self, in_features: int, out_features: int, *, bias_init: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.scale = 1 / math.sqrt(in_features)

    def forward(self, x: Float[Tensor, "b cin"]) -> Float[Tensor, "b cout"]:
        return F.linear(x, self.weight * self.scale, self.bias)


class FusedLeakyReLU(nn.Module):
    """`leaky_relu(x + bias, 0.2) · sqrt(2)`; the gain preserves the variance."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.leaky_relu(x + self.bias, 0.2) * math.sqrt(2)


class Blur(nn.Module):
    """The binomial filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 64, times `gain`, on every channel after zero padding `pad`."""

    kernel: Tensor

    def __init__(self, pad: tuple[int, int], *, gain: float = 1.0):
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float32, device="cpu")
        self.register_buffer("kernel", torch.outer(row, row) / row.sum() ** 2 * gain, persistent=False)
        self.pad = pad

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        x = F.pad(x, (self.pad[0], self.pad[1], self.pad[0], self.pad[1]))
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv2d(x, kernel, groups=x.shape[1])


class Upsample(nn.Module):
    """Upsamples by 2: inserts zeros between the pixels, then blurs with gain 4."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur((2, 1), gain=4.0)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
        b, c, h, w = x.shape
        spread = x.new_zeros(b, c, h, 2, w, 2)
        spread[:, :, :, 0, :, 0] = x
        return self.blur(spread.view(b, c, 2 * h, 2 * w))


class ModulatedConv2d(nn.Module):
    """StyleGAN2's modulated convolution.

    The weight of sample b is `w · s_b`, with `s = modulation(latent)` per input channel, divided by its norm per output
    channel if `demodulate`. Both factors are applied to the activations instead, so that the batch shares one weight:
    `conv(x · s_b, w) · rsqrt(Σ (w · s_b)² + 1e-8)`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, latent_dim: int, *, demodulate: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out_channels, in_channels, kernel_size, kernel_size))
        self.modulation = EqualLinear(latent_dim, in_channels, bias_init=1.0)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.demodulate = demodulate

    def forward(self, x: Float[Tensor, "b cin h w"], latent: Float[Tensor, "b d"]) -> Float[Tensor, "b cout h2 w2"]:
        style = self.modulation(latent)
        weight = self.weight[0] * self.scale
        x = self.convolve(x * style[:, :, None, None], weight)
        if self.demodulate:
            energy = style.square() @ weight.square().sum((2, 3)).T
            x = x * torch.rsqrt(energy + 1e-8)[:, :, None, None]
        return x

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


class UpsamplingModulatedConv2d(ModulatedConv2d):
    """Modulated convolution with 2× upsampling: transposed convolution of stride 2, then the blur with gain 4."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, latent_dim: int, *, demodulate: bool):
        super().__init__(in_channels, out_channels, kernel_size, latent_dim, demodulate=demodulate)
        self.blur = Blur((1, 1), gain=4.0)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
