"""The motion decoder with everything that does not depend on the frame precomputed.

The rewrites are exact up to rounding:
- equalised scales and the gain √2 are folded into the weights, since leaky ReLU is homogeneous;
- in reduced precision, which is bound by memory passes, a transposed convolution and the [1, 1] factor of its blur
  become one convolution at the small size, whose channels are the four phases of the large one;
- modulation is applied to the weight or to the activations, whichever is smaller;
- demodulation is folded into the modulation of the next layer;
- the last level warps three RGB channels, since a 1×1 convolution commutes with warping;
- upsampling by [1, 3, 3, 1] is bilinear interpolation except at the edges.

Flows, masks and colours are float32 in any precision. Small sizes are computed for many frames at a time, large ones
for as few as fit into a cache.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.models.compiling import compiled_for
from float_research.models.layers import ModulatedConv2d, UpsamplingModulatedConv2d
from float_research.models.motion_autoencoder import Features, MotionDecoder
from float_research.models.precision import supports_fusion
from float_research.models.warping import masked_warp, table, upsample_2x, warp_few

GAIN = math.sqrt(2)
BINOMIAL = torch.tensor([1.0, 2.0, 1.0]) / 4
"""Convolved with [1, 1] this is the blur [1, 3, 3, 1] / 4, whose sum of 2 compensates the zeros of upsampling."""
SLOPE = 0.2
CACHE_BYTES = 1 << 22
"""Largest activation of a batch, or of a band of the last level, on a CPU.

Larger ones miss the caches, and the allocator returns them to the system, which zeroes their pages each time.
"""
HALO = 2
"""Rows above and below a band that two convolutions and a blurred upsampling depend on."""
MAPS = 6
"""Number of a level's activations that are alive at the same time."""


class Upsampling(NamedTuple):
    """Upsampling by a transposed convolution or, if `phases`, by one whose output channels are 2×2 pixels.

    `blur`: depthwise filter after it, with its `padding`.
    """

    phases: bool
    blur: Float[Tensor, "cout 1 k k"]
    padding: int


class Conv(NamedTuple):
    """A prepared modulated convolution: its weight with all constants folded in, and the parameters of its factors.

    `folds`: the weight is smaller than the activations, so a single frame's factors multiply the weight. `fuses`:
    computed by oneDNN operators, for which a weight that does not fold is stored in oneDNN's layout.
    """

    weight: Tensor
    folds: bool
    fuses: bool
    upsampling: Upsampling | None
    energy: Float[Tensor, "cout cin"] | None
    bias: Float[Tensor, " cout"]
    style_weight: Float[Tensor, "cin d"]
    style_bias: Float[Tensor, " cin"]


class Colours(NamedTuple):
    """A level's 1×1 convolution to RGB, and the bias after its activation."""

    weight: Float[Tensor, "3 c"]
    bias: Float[Tensor, "3 1 1"]
    offset: Float[Tensor, "3 1 1"]


class PreparedLevel(NamedTuple):
    """The layers of one size."""

    up: Conv
    conv: Conv
    flow: Conv
    rgb: Colours


class Factors(NamedTuple):
    """Factors of one convolution for all frames: `leaky_relu(conv(x · style) + shift) · out`.

    This equals the activation of `conv(x · style) · out + bias` with `shift = bias / out`. `out` is None if it is
    folded into the style of the next convolution.
    """

    style: Float[Tensor, "t cin"]
    shift: Float[Tensor, "t cout"]
    out: Float[Tensor, "t cout"] | None

    def at(self, now: slice) -> "Factors":
        """Selects frames."""
        return Factors(self.style[now], self.shift[now], None if self.out is None else self.out[now])


class SharedMaps(NamedTuple):
    """Inputs shared by all frames of a clip: features as tables, the last one as colours, and all factors."""

    tables: list[Tensor]
    colours: Float[Tensor, "1 3 h w"]
    first: Factors
    levels: list[tuple[Factors, Factors, Factors]]

    def at(self, now: slice) -> "SharedMaps":
        """Selects frames."""
        levels = [(up.at(now), conv.at(now), flow.at(now)) for up, conv, flow in self.levels]
        return self._replace(first=self.first.at(now), levels=levels)


class State(NamedTuple):
    """The state of some frames between levels: activations, raw flow and mask, RGB."""

    now: slice
    x: Float[Tensor, "n c h w"]
    raw: Float[Tensor, "n 3 h w"] | None
    rgb: Float[Tensor, "n 3 h w"] | None

    def split(self, at_once: int) -> "list[State]":
        """Splits into states of at most `at_once` frames."""
        if len(self.x) <= at_once:
            return [self]
        starts = range(self.now.start, self.now.stop, at_once)
        nows = [slice(start, min(start + at_once, self.now.stop)) for start in starts]
        none = [None] * len(nows)
        raws, rgbs = (none if it is None else it.split(at_once) for it in (self.raw, self.rgb))
        return list(map(State, nows, self.x.split(at_once), raws, rgbs))


def phase_weight(weight: Float[Tensor, "cout cin 3 3"]) -> Float[Tensor, "phases cin 2 2"]:
    """Merges a transposed convolution of stride 2 and [1, 1] ⊗ [1, 1] into one convolution to channels (2, 2, cout).

    The two kernels combine to 4×4 taps; phase p of the output uses every second tap, from the p-th on.
    """
    wide = F.pad(weight, (1, 1, 1, 1))
    wide = wide[..., :-1, :] + wide[..., 1:, :]
    taps = wide[..., :-1] + wide[..., 1:]
    rows = torch.stack([taps[:, :, [p + 2, p]] for p in (0, 1)])
    return torch.stack([rows[..., [p + 2, p]] for p in (0, 1)], dim=1).flatten(0, 2)


class Engine:
    """A decoder prepared in `dtype`, on the device of its weights. It may stop after `num_levels`, 8×8 being the first.

    If `compiled`, torch.compile turns it into one program for batches of one size, replayed as a CUDA graph on a GPU.
    """

    def __init__(
        self, decoder: MotionDecoder, dtype: torch.dtype, *, num_levels: int | None = None, compiled: bool = False
    ):
        self.dtype = dtype
        self.fuses = not compiled and supports_fusion(dtype, decoder.input.input.device)
        self.start = decoder.input.input.to(dtype).contiguous(memory_format=torch.channels_last)
        self.first = self._layer(decoder.conv1, 4)
        ups, convs = decoder.convs[::2][:num_levels], decoder.convs[1::2][:num_levels]
        flows, rgbs = decoder.to_flows[:num_levels], decoder.to_rgbs[:num_levels]
        self.levels = [
            PreparedLevel(
                self._layer(up, size // 2), self._layer(conv, size), self._flow(to_flow, size), self._rgb(to_rgb)
            )
            for size, up, conv, to_flow, to_rgb in zip(
                (2**i for i in range(3, 3 + len(ups))), ups, convs, flows, rgbs, strict=True
            )
        ]
        if compiled:
            self._compiled = compiled_for(self.start.device, self._all_frames)

    def _layer(self, layer: Any, size: int) -> Conv:
        return self._conv(layer.conv, layer.activate.bias.flatten() * GAIN, size)

    def _flow(self, layer: Any, size: int) -> Conv:
        return self._conv(layer.conv, layer.bias.flatten(), size)

    def _conv(self, conv: ModulatedConv2d, bias: Tensor, size: int) -> Conv:
        weight = conv.weight[0].float() * conv.scale
        energy = weight.square().sum((2, 3)) if conv.demodulate else None
        inputs = [1, weight.shape[1], size, size]
        up = self._upsampling(conv) if isinstance(conv, UpsamplingModulatedConv2d) else None
        if up is not None:
            weight = phase_weight(weight) if up.phases else weight.transpose(0, 1)
        weight = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        folds, p = weight.numel() < math.prod(inputs), weight.shape[-1] // 2
        if not folds and self.fuses:
            if up is None or up.phases:
                weight = torch.ops.mkldnn._reorder_convolution_weight(weight, [p, p], [1, 1], [1, 1], 1, inputs)
            else:
                weight = torch.ops.mkldnn._reorder_convolution_transpose_weight(
                    weight, [0, 0], [0, 0], [2, 2], [1, 1], 1, inputs
                )
        return Conv(
            weight=weight,
            folds=folds,
            fuses=self.fuses,
            upsampling=up,
            energy=energy,
            bias=bias.float(),
            style_weight=conv.modulation.weight.float() * conv.modulation.scale,
            style_bias=conv.modulation.bias.float(),
        )

    def _upsampling(self, conv: UpsamplingModulatedConv2d) -> Upsampling:
        phases = self.dtype != torch.float32
        kernel = BINOMIAL.outer(BINOMIAL) if phases else conv.blur.kernel.float()
        blur = kernel.to(self.start).expand(conv.weight.shape[1], 1, -1, -1)
        return Upsampling(phases, blur.contiguous(memory_format=torch.channels_last), 0 if phases else 1)

    def _rgb(self, layer: Any) -> Colours:
        conv, activation = layer.conv
        weight = conv.weight[:, :, 0, 0].float() * conv.scale * GAIN
        return Colours(weight, activation.bias[0].float() * GAIN, layer.bias[0].float())

    def factors(self, conv: Conv, latents: Float[Tensor, "t d"], before: Tensor | None = None) -> Factors:
        """Computes modulation and demodulation of all frames. `before`: factor of the input channels."""
        style = F.linear(latents, conv.style_weight, conv.style_bias)
        if conv.energy is None:
            return Factors(style, conv.bias.expand(len(latents), -1), None)
        out = torch.rsqrt(style.square() @ conv.energy.T + 1e-8) * GAIN
        style = style if before is None else style * before
        return Factors(style, conv.bias / out, out)

    def shared(self, features: Features, latents: Float[Tensor, "t d"]) -> SharedMaps:
        """Computes the inputs that all frames share."""
        first = self.factors(self.first, latents)
        before, levels = first.out, []
        for level in self.levels:
            up = self.factors(level.up, latents, before)
            conv, flow = self.factors(level.conv, latents, up.out), self.factors(level.flow, latents)
            before = None
            levels.append((up._replace(out=None), conv, flow))
        return SharedMaps(
            tables=[table(feature, self.dtype) for feature in features[:-1]],
            colours=torch.einsum("oc,chw->ohw", self.levels[-1].rgb.weight, features[-1][0].float())[None],
            first=first._replace(out=None),
            levels=levels,
        )

    def frames(
        self, features: Features, latents: Float[Tensor, "t d"], *, at_most: int, memory_bytes: int
    ) -> Iterator[Float[Tensor, "n 3 h w"]]:
        """Decodes latents of one clip in batches of even sizes, at most `at_most` frames each.

        Large sizes are computed for fewer frames, to stay within `memory_bytes` and, on a CPU, within its caches.

        Raises:
            UserError: a frame is not finite.
        """
        shared = self.shared(features, latents.float())
        num_batches = math.ceil(len(latents) / at_most)
        bounds = [len(latents) * number // max(1, num_batches) for number in range(num_batches + 1)]
        for now in itertools.starmap(slice, itertools.pairwise(bounds)):
            for state in self._run_levels(0, self._begin(shared, now), shared, memory_bytes):
                yield self._check_finite(state.raw, state.rgb)

    def compiled_frames(
        self, features: Features, latents: Float[Tensor, "t d"], *, at_a_time: int
    ) -> Iterator[Float[Tensor, "n 3 h w"]]:
        """Decodes as `frames` does, with the compiled program; the last batch is padded with its last frame."""
        missing = -len(latents) % at_a_time
        shared = self.shared(features, torch.cat([latents, latents[-1:].expand(missing, -1)]).float())
        for start in range(0, len(latents), at_a_time):
            frames = self._check_finite(*self._compiled(shared.at(slice(start, start + at_a_time))))
            yield frames[: len(latents) - start]

    def _all_frames(self, shared: SharedMaps) -> tuple[Tensor | None, Tensor | None]:
        """Returns flows and colours of all frames at the last level."""
        state = self._begin(shared, slice(0, len(shared.first.style)))
        for number in range(len(self.levels)):
            state = self._level(number, state, shared)
        return state.raw, state.rgb

    @property
    def frame_bytes(self) -> int:
        """Approximate memory of one frame at the largest level."""
        size, channels = 4 << len(self.levels), len(self.levels[-1].conv.bias)
        return MAPS * size**2 * channels * self.dtype.itemsize

    def _begin(self, shared: SharedMaps, now: slice) -> State:
        x = self.start.expand(now.stop - now.start, -1, -1, -1)
        return State(now, modulated_conv(x, self.first, shared.first.at(now), activate=True), None, None)

    def _run_levels(self, number: int, state: State, shared: SharedMaps, memory_bytes: int) -> Iterator[State]:
        """Runs frames through the levels from `number` on, in smaller batches where the activations get too large."""
        if number == len(self.levels):
            yield state
            return
        bound = memory_bytes // MAPS
        if state.x.device.type == "cpu":
            bound = min(bound, CACHE_BYTES)
        of_a_frame = 4 * state.x[0].nbytes
        for part in state.split(max(1, bound // of_a_frame)):
            yield from self._run_levels(number + 1, self._level(number, part, shared), shared, memory_bytes)

    def _level(self, number: int, state: State, shared: SharedMaps) -> State:
        """Computes one level, at twice the size."""
        level, factors = self.levels[number], [factors.at(state.now) for factors in shared.levels[number]]
        if number < len(shared.tables):
            x, seen = enlarge(state.x, level, factors)
        else:  # the last features are used for the flow only
            x = state.x
            seen = torch.cat([enlarge(rows, level, factors)[1][:, :, own] for rows, own in bands(state.x)], dim=2)
        raw = seen.to(torch.float32, memory_format=torch.contiguous_format)
        raw = raw if state.raw is None else raw.add_(upsample_2x(state.raw))
        where, mask = torch.tanh(raw[:, :2]), torch.sigmoid(raw[:, 2:])
        if number < len(shared.tables):
            warped = masked_warp(shared.tables[number], where, mask)
            here = F.conv2d(warped, level.rgb.weight[:, :, None, None].to(x.dtype)).float()
            x = torch.addcmul(warped, x, (1 - mask).to(x.dtype))
        else:
            here = warp_few(shared.colours, where).mul_(mask)
        here = F.leaky_relu_(here.add_(level.rgb.bias), SLOPE).add_(level.rgb.offset)
        return State(state.now, x, raw, here if state.rgb is None else here.add_(upsample_2x(state.rgb)))

    def _check_finite(self, raw: Tensor | None, rgb: Tensor | None) -> Float[Tensor, "n 3 h w"]:
        """Returns the frames. Raises a UserError if they, or the last flow, which sums all levels, are not finite."""
        assert raw is not None
        assert rgb is not None
        if not torch.isfinite(raw.sum() + rgb.sum()):
            name = str(self.dtype).removeprefix("torch.")
            remedy = "check weights and motion" if self.dtype == torch.float32 else "use decoding.precision=float32"
            raise UserError(f"decoding in {name} produced NaN or infinite values; {remedy}")
        return rgb


def enlarge(x: Tensor, level: PreparedLevel, factors: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """Computes features at twice the size, and the raw flow and mask."""
    up, conv, flow = factors
    x = modulated_conv(modulated_conv(x, level.up, up, activate=True), level.conv, conv, activate=True)
    return x, modulated_conv(x, level.flow, flow, activate=False)


def bands(x: Float[Tensor, "n c h w"]) -> Iterator[tuple[Tensor, slice]]:
    """Yields row bands with halo, and the slice of the band's own rows after upsampling.

    One band of all rows, but on a CPU bands of at most CACHE_BYTES.
    """
    height = x.shape[2]
    rows = max(1, CACHE_BYTES // x[:, :, 0].nbytes) if x.device.type == "cpu" else height
    for top in range(0, height, rows):
        first, end = max(top - HALO, 0), min(top + rows, height)
        yield x[:, :, first : end + HALO], slice(2 * (top - first), 2 * (end - first))


def modulated_conv(x: Tensor, conv: Conv, factors: Factors, *, activate: bool) -> Tensor:
    """Computes a modulated convolution, with the factors applied where they cost least."""
    style, out, shift = factors.style.to(x.dtype), factors.out, factors.shift
    weight, groups, padding = conv.weight, 1, conv.weight.shape[-1] // 2
    if len(x) == 1 and conv.folds:
        transposed = conv.upsampling is not None and not conv.upsampling.phases  # weight is (cin, cout, k, k)
        weight = weight * (style[0, :, None, None, None] if transposed else style[0, :, None, None])
        if out is not None:
            weight, shift, out = weight.mul_(out[0, :, None, None, None].to(x.dtype)), shift * out, None
    else:
        x = x * style[..., None, None]
    if conv.upsampling is not None:
        x, weight = upsample(x, weight, conv.upsampling, fuses=conv.fuses), conv.upsampling.blur
        groups, padding = len(weight), conv.upsampling.padding
    bias = shift[0].to(x.dtype) if len(x) == 1 else None
    y = convolve(x, weight, bias, padding, groups, fuses=conv.fuses, activate=activate and bias is not None)
    if bias is None:
        y = y.add_(shift[..., None, None].to(x.dtype))
        y = F.leaky_relu_(y, SLOPE) if activate else y
    return y if out is None else y.mul_(out[..., None, None].to(x.dtype))


def upsample(
    x: Float[Tensor, "n cin h w"], weight: Tensor, upsampling: Upsampling, *, fuses: bool
) -> Float[Tensor, "n cout _ _"]:
    """Upsamples to twice the size plus a margin, which the blur removes."""
    if upsampling.phases:
        return from_phases(convolve(x, weight, None, 1, 1, fuses=fuses, activate=False))
    if fuses:
        return torch.ops.mkldnn._convolution_transpose_pointwise(
            x, weight, None, [0, 0], [0, 0], [2, 2], [1, 1], 1, "none", [], ""
        )
    return F.conv_transpose2d(x, weight, stride=2)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, groups: int, *, fuses: bool, activate: bool
) -> Tensor:
    """Computes a convolution and leaky ReLU, in one pass if oneDNN `fuses` them."""
    if fuses:
        name, values = ("leaky_relu", [SLOPE]) if activate else ("none", [])
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, [padding, padding], [1, 1], [1, 1], groups, name, values, ""
        )
    y = F.conv2d(x, weight, bias, padding=padding, groups=groups)
    return F.leaky_relu_(y, SLOPE) if activate else y


def from_phases(x: Float[Tensor, "n phases h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Rearranges channels (2, 2, c) as pixels."""
    n, channels, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h, w, 2, 2, channels // 4)
    return pixels.transpose(2, 3).reshape(n, 2 * h, 2 * w, channels // 4).permute(0, 3, 1, 2)
