"""The motion decoder with all that does not depend on the frame computed beforehand.

The algebra, exact up to rounding: equalised scales and the gain √2 go into weights, since leaky ReLU is homogeneous;
blur and transposed convolution become one convolution at the small size whose channels are the four phases of the large
one; factors of modulation and demodulation go into the weight or onto the activations, whichever is smaller; colours of
the last level are warped as three channels, since a 1×1 convolution commutes with warping; upsampling by [1, 3, 3, 1]
is bilinear interpolation of the zero-padded image. Flows, masks, warps and colours are float32 in any precision.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from float_research.models.layers import ModulatedConv2d, UpsamplingModulatedConv2d
from float_research.models.motion_autoencoder import Features, MotionDecoder
from float_research.types import UserError

GAIN = math.sqrt(2)
SLOPE = 0.2
CACHE_BYTES = 1 << 21
"""Largest activation worth batching for: beyond a core's cache, frames one by one are faster."""
FUSED = "_convolution_pointwise"


class Conv(NamedTuple):
    """A modulated convolution, ready: its weight with every constant inside, and what its factors are computed from.

    Factors go into the weight if `folds`, which then is smaller than the activations; else the weight lies ready in
    oneDNN's own order. `phases` is 2 where the output's channels are the 2×2 phases of an image of twice the size.
    """

    weight: Tensor
    folds: bool
    energy: Float[Tensor, "cout cin"] | None
    bias: Float[Tensor, " cout"]
    style_weight: Float[Tensor, "cin d"]
    style_bias: Float[Tensor, " cin"]
    phases: int


class Colours(NamedTuple):
    """A level's 1×1 convolution to RGB, and the bias after its activation."""

    weight: Float[Tensor, "3 c"]
    bias: Float[Tensor, "3 1 1"]
    offset: Float[Tensor, "3 1 1"]


class Level(NamedTuple):
    """The parts of one size."""

    up: Conv
    conv: Conv
    flow: Conv
    rgb: Colours


class Factors(NamedTuple):
    """Of one convolution and all frames: per input channel and, with demodulation and gain, per output channel."""

    style: Float[Tensor, "t cin"]
    out: Float[Tensor, "t cout"] | None


def fused(x: Tensor) -> bool:
    """Whether PyTorch's own fused operators of oneDNN, which its compiler uses, take this on this processor."""
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, FUSED):
        return False
    supported = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
    return x.dtype == torch.float32 or bool(getattr(torch.ops.mkldnn, supported[x.dtype])())


def phase_weight(weight: Float[Tensor, "cout cin 3 3"], blur: Float[Tensor, "4 4"]) -> Float[Tensor, "phases cin 3 3"]:
    """Transposed convolution of stride 2 and blur as one convolution, its output channels (2, 2, cout).

    The two kernels make one of 6×6 taps, of which phase p of the output sees every second, from the p-th on.
    """
    cout, cin = weight.shape[:2]
    taps = F.conv2d(F.pad(weight.reshape(-1, 1, 3, 3), (3, 3, 3, 3)), blur[None, None]).view(cout, cin, 6, 6)
    rows = torch.stack([taps[:, :, [p + 4, p + 2, p]] for p in (0, 1)])
    return torch.stack([rows[..., [p + 4, p + 2, p]] for p in (0, 1)], dim=1).flatten(0, 2)


class Engine:
    """A decoder prepared in `dtype`, on the device of its weights."""

    def __init__(self, decoder: MotionDecoder, dtype: torch.dtype):
        self.dtype = dtype
        self.start = decoder.input.input.to(dtype).contiguous(memory_format=torch.channels_last)
        self.first = self._styled(decoder.conv1, 4)
        ups, convs = decoder.convs[::2], decoder.convs[1::2]
        self.levels = [
            Level(self._styled(up, size // 2), self._styled(conv, size), self._flow(to_flow, size), self._rgb(to_rgb))
            for size, up, conv, to_flow, to_rgb in zip(
                (2**i for i in range(3, 3 + len(ups))), ups, convs, decoder.to_flows, decoder.to_rgbs, strict=True
            )
        ]
        size = 4 << len(self.levels)
        frame_bytes = size**2 * self.levels[-1].conv.weight.shape[0] * dtype.itemsize
        self.num_at_once = max(1, CACHE_BYTES // frame_bytes)

    def _styled(self, layer: Any, size: int) -> Conv:
        return self._conv(layer.conv, layer.activate.bias.flatten() * GAIN, size)

    def _flow(self, layer: Any, size: int) -> Conv:
        return self._conv(layer.conv, layer.bias.flatten(), size)

    def _conv(self, conv: ModulatedConv2d, bias: Tensor, size: int) -> Conv:
        weight = conv.weight[0].float() * conv.scale
        energy = weight.square().sum((2, 3)) if conv.demodulate else None
        phases = 1
        if isinstance(conv, UpsamplingModulatedConv2d):
            weight, phases = phase_weight(weight, conv.blur.kernel.float()), 2
        weight = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        inputs = [1, weight.shape[1], size, size]
        folds, p = weight.numel() < math.prod(inputs), weight.shape[-1] // 2
        if not folds and fused(weight):
            weight = torch.ops.mkldnn._reorder_convolution_weight(weight, [p, p], [1, 1], [1, 1], 1, inputs)
        return Conv(
            weight=weight,
            folds=folds,
            energy=energy,
            bias=bias.float().repeat(phases**2),
            style_weight=conv.modulation.weight.float() * conv.modulation.scale,
            style_bias=conv.modulation.bias.float(),
            phases=phases,
        )

    def _rgb(self, layer: Any) -> Colours:
        conv, activation = layer.conv
        weight = conv.weight[:, :, 0, 0].float() * conv.scale * GAIN
        return Colours(weight, activation.bias[0].float() * GAIN, layer.bias[0].float())

    def factors(self, conv: Conv, latents: Float[Tensor, "t d"]) -> Factors:
        """Modulation and demodulation of all frames: two matrix products."""
        style = F.linear(latents, conv.style_weight, conv.style_bias)
        if conv.energy is None:
            return Factors(style, None)
        return Factors(style, (torch.rsqrt(style.square() @ conv.energy.T + 1e-8) * GAIN).repeat(1, conv.phases**2))

    def frames(
        self, features: Features, latents: Float[Tensor, "t d"], at_most: int
    ) -> Iterator[Float[Tensor, "n 3 h w"]]:
        """Decodes the latents of one clip, `at_most` so many at a time, and no more than stay in the processor's cache.

        Raises:
            UserError: a frame is not finite.
        """
        latents = latents.float()
        tables = [table(feature) for feature in features[:-1]]
        colours = torch.einsum("oc,chw->ohw", self.levels[-1].rgb.weight, features[-1][0].float())[None]
        of_first = self.factors(self.first, latents)
        of_levels = [[self.factors(conv, latents) for conv in (it.up, it.conv, it.flow)] for it in self.levels]
        step = min(at_most, self.num_at_once)
        for start in range(0, len(latents), step):
            now = slice(start, start + step)
            x = self.start.expand(len(latents[now]), -1, -1, -1)
            x = modulated(x, self.first, of_first, now, activate=True)
            raw = rgb = None
            for number, (level, (of_up, of_conv, of_flow)) in enumerate(zip(self.levels, of_levels, strict=True)):
                x = from_phases(modulated(x, level.up, of_up, now, activate=True))
                x = modulated(x, level.conv, of_conv, now, activate=True)
                seen = modulated(x, level.flow, of_flow, now, activate=False).float().contiguous()
                raw = seen if raw is None else seen.add_(doubled(raw))
                self._check(raw)
                flow, mask = torch.tanh(raw[:, :2]), torch.sigmoid(raw[:, 2:])
                if number < len(tables):
                    warped = gathered(tables[number], flow, mask).to(x.dtype)
                    here = F.conv2d(warped, level.rgb.weight[:, :, None, None].to(x.dtype)).float()
                    x = torch.addcmul(warped, x, (1 - mask).to(x.dtype))
                else:
                    here = sampled(colours, flow).mul_(mask)
                here = F.leaky_relu_(here.add_(level.rgb.bias), SLOPE).add_(level.rgb.offset)
                rgb = here if rgb is None else here.add_(doubled(rgb))
            assert rgb is not None
            self._check(rgb)
            yield rgb

    def _check(self, values: Tensor) -> None:
        if not torch.isfinite(values).all():
            name = str(self.dtype).removeprefix("torch.")
            remedy = "check weights and motion" if self.dtype == torch.float32 else "use decoding.precision=float32"
            raise UserError(f"decoding in {name} gave values that are not finite; {remedy}")


def modulated(x: Tensor, conv: Conv, factors: Factors, now: slice, *, activate: bool) -> Tensor:
    """`leaky_relu(conv(x · style) · out + bias)` for some frames, with the factors where they cost the least."""
    style, weight, bias = factors.style[now].to(x.dtype), conv.weight, conv.bias.to(x.dtype)
    out = None if factors.out is None else factors.out[now].to(x.dtype)
    if conv.folds and len(x) == 1:
        weight = weight * style[0, :, None, None]
        weight = weight if out is None else weight.mul_(out[0, :, None, None, None])
        return convolved(x, weight, bias, activate=activate)
    y = convolved(x * style[..., None, None], weight, None, activate=False)
    bias = bias[:, None, None]
    y = y.add_(bias) if out is None else torch.addcmul(bias, y, out[..., None, None])
    return F.leaky_relu_(y, SLOPE) if activate else y


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, *, activate: bool) -> Tensor:
    """Convolution and leaky ReLU, in one pass where oneDNN is."""
    p = weight.shape[-1] // 2
    if fused(x):
        name, values = ("leaky_relu", [SLOPE]) if activate else ("none", [])
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, [p, p], [1, 1], [1, 1], 1, name, values, "")
    y = F.conv2d(x, weight, bias, padding=p)
    return F.leaky_relu_(y, SLOPE) if activate else y


def from_phases(x: Float[Tensor, "n phases h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Channels (2, 2, c) as the pixels that they are."""
    n, channels, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h, w, 2, 2, channels // 4)
    return pixels.transpose(2, 3).reshape(n, 2 * h, 2 * w, channels // 4).permute(0, 3, 1, 2)


def doubled(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Twice the size by the filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1]."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear")[..., 2:-2, 2:-2]


def table(feature: Float[Tensor, "1 c h w"]) -> Float[Tensor, "h+3 w+3 c"]:
    """A feature map as rows of a table, with zeros around: one before, two behind."""
    return F.pad(feature[0].float().permute(1, 2, 0), (0, 0, 1, 2, 1, 2)).contiguous()


def gathered(
    table: Float[Tensor, "_ _ c"], flow: Float[Tensor, "n 2 h w"], mask: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, "n c h w"]:
    """`warp(feature, flow) · mask`: each pixel is a weighted sum of four rows, so that channels lie side by side."""
    n, _, h, w = flow.shape
    stride = table.shape[1]
    x = pixels(flow[:, 0], torch.linspace(-1, 1, w, device=flow.device, dtype=flow.dtype))
    y = pixels(flow[:, 1], torch.linspace(-1, 1, h, device=flow.device, dtype=flow.dtype)[:, None])
    left, top = x.floor(), y.floor()
    right, below = x.sub_(left), y.sub_(top)
    corner = ((top + 1) * stride + (left + 1)).to(torch.int32)
    corners = torch.stack([corner, corner + 1, corner + stride, corner + stride + 1], dim=-1).view(-1, 4)
    lower = below * mask[:, 0]
    upper = mask[:, 0] - lower
    se, ne = lower * right, upper * right
    weights = torch.stack([upper - ne, ne, lower - se, se], dim=-1).view(-1, 4)
    rows = F.embedding_bag(corners, table.view(-1, table.shape[2]), per_sample_weights=weights, mode="sum")
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)


def pixels(flow: Float[Tensor, "n h w"], base: Tensor) -> Float[Tensor, "n h w"]:
    """Coordinates in pixels, as grid_sample understands them without aligned corners, no further out than one pixel."""
    size = flow.shape[-1]
    return torch.add((base + 1) * (size / 2) - 0.5, flow, alpha=size / 2).clamp_(-1, size)


def sampled(feature: Float[Tensor, "1 c h w"], flow: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n c h w"]:
    """`warp(feature, flow)` for a few channels."""
    n, _, h, w = flow.shape
    x, y = (torch.linspace(-1, 1, n, device=flow.device, dtype=flow.dtype) for n in (w, h))
    grid = torch.stack([flow[:, 0] + x, flow[:, 1] + y[:, None]], dim=-1)
    return F.grid_sample(feature.expand(n, -1, -1, -1), grid, "bilinear", "zeros", align_corners=False)
