"""Wav2Vec 2.0 (arXiv 2006.11477) from transformers, with convolutional features computed in bounded memory."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from float_research.devices import widest


def build_wav2vec2(settings: Mapping[str, Any]) -> Wav2Vec2Model:
    """Builds the encoder with the defaults of transformers (those of wav2vec2-base), overridden by `settings`.

    Masking, which only training uses, is off, so the model has no `masked_spec_embed` parameter.
    """
    model = Wav2Vec2Model(Wav2Vec2Config(**{**settings, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}))
    position = model.encoder.pos_conv_embed.conv
    position.forward = partial(_conv_float32, position)
    return model


def _conv_float32(conv: nn.Conv1d, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c _"]:
    """Computes the convolution in float32 or higher.

    In bfloat16, oneDNN gives wrong results for fewer than 16 channels per group, as small models have (PyTorch 2.13,
    CPUs with matrix units).
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    bias = None if conv.bias is None else conv.bias.to(dtype)
    with torch.autocast(x.device.type, enabled=False):
        y = F.conv1d(x.to(dtype), conv.weight.to(dtype), bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    return y.to(x.dtype)


Statistics = tuple[Float[Tensor, "#b c 1"], Float[Tensor, "#b c 1"]]
"""Mean and variance over time of each channel of the first convolution."""


def hop_and_field(model: Wav2Vec2Model) -> tuple[int, int]:
    """Returns the samples from one convolutional feature to the next, and those that each of them covers."""
    strides = [layer.conv.stride[0] for layer in model.feature_extractor.conv_layers]
    kernels = [layer.conv.kernel_size[0] for layer in model.feature_extractor.conv_layers]
    return math.prod(strides), 1 + sum((k - 1) * math.prod(strides[:i]) for i, k in enumerate(kernels))


def group_norm(model: Wav2Vec2Model) -> nn.GroupNorm | None:
    """Returns the norm over time behind the first convolution, if the model has one."""
    norm = getattr(model.feature_extractor.conv_layers[0], "layer_norm", None)
    return norm if isinstance(norm, nn.GroupNorm) else None


def conv_features(
    model: Wav2Vec2Model,
    audio: Float[Tensor, "b s"],
    segment_frames: int,
    *,
    num_samples: int = 0,
    statistics: Statistics | None = None,
) -> Float[Tensor, "b f c"]:
    """Computes the features of the convolutional front end, `segment_frames` output frames at a time.

    Exact: segments overlap by the receptive field, and a group norm over time uses the statistics of the whole clip,
    or those given. Audio shorter than `num_samples` is padded with its last sample.
    """
    num_samples = max(num_samples, audio.shape[1])
    layers = list(model.feature_extractor.conv_layers)
    hop, field = hop_and_field(model)
    num_frames = (num_samples - field) // hop + 1
    norm = group_norm(model)
    if num_frames <= segment_frames and (norm is None or statistics is None):
        return model.feature_extractor(_cut(audio, 0, num_samples)).transpose(1, 2)

    if norm is not None and statistics is None:
        statistics = _statistics(layers[0].conv, audio, num_samples, segment_frames * hop)
    segments = []
    for start in range(0, num_frames, segment_frames):
        end = min(start + segment_frames, num_frames)
        x = _cut(audio, start * hop, (end - 1) * hop + field)[:, None]
        if norm is None or statistics is None:
            x = layers[0](x)
        else:
            mean, variance = statistics
            x = (layers[0].conv(x) - mean) * torch.rsqrt(variance + norm.eps)
            x = layers[0].activation(x * norm.weight[:, None] + norm.bias[:, None])
        for layer in layers[1:]:
            x = layer(x)
        segments.append(x.transpose(1, 2))
    return torch.cat(segments, dim=1)


def _cut(audio: Float[Tensor, "b s"], start: int, end: int) -> Float[Tensor, "b _"]:
    """Returns part of the audio, padded with its last sample past the end."""
    part = audio[:, start:end]
    missing = end - start - part.shape[1]
    return torch.cat([part, audio[:, -1:].expand(-1, missing)], dim=1) if missing else part


def _statistics(conv: nn.Conv1d, audio: Tensor, num_samples: int, segment_samples: int) -> Statistics:
    """Returns mean and variance over time of each channel of `conv(audio)`."""
    exact = widest(audio.device)
    total = squares = torch.zeros((), dtype=exact, device=audio.device)
    count = 0
    for segment in _conv_segments(conv, audio, num_samples, segment_samples):
        total = total + segment.sum(-1, keepdim=True, dtype=exact)
        squares = squares + segment.to(exact).square().sum(-1, keepdim=True)
        count += segment.shape[-1]
    mean = total / count
    return mean.to(audio.dtype), (squares / count - mean.square()).to(audio.dtype)


def _conv_segments(conv: nn.Conv1d, audio: Tensor, num_samples: int, segment_samples: int) -> Iterator[Tensor]:
    stride, kernel = conv.stride[0], conv.kernel_size[0]
    num_outputs = (num_samples - kernel) // stride + 1
    step = max(1, segment_samples // stride)
    for start in range(0, num_outputs, step):
        end = min(start + step, num_outputs)
        part = _cut(audio, start * stride, (end - 1) * stride + kernel)
        yield F.conv1d(part[:, None], conv.weight, conv.bias, stride)
