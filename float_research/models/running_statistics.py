"""Statistics of speech so far, in place of those of a whole recording."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import Wav2Vec2Model

from float_research.devices import widest
from float_research.models.wav2vec2 import Statistics, group_norm


class RunningStatistics:
    """Mean and variance of all samples so far, and of each channel of the first convolution if a norm needs them.

    The convolution is linear, so it is computed once for each sample, of the speech as it is; the statistics of
    normalised speech follow from it: `conv((x - μ) / σ) = (conv(x) - μ Σw) / σ` before the bias.
    """

    def __init__(self, encoder: Wav2Vec2Model) -> None:
        self.conv = encoder.feature_extractor.conv_layers[0].conv
        self.needs_conv = group_norm(encoder) is not None
        weight = self.conv.weight
        self.exact = widest(weight.device)
        self.num_samples, self.sum, self.squares = 0, 0.0, 0.0
        self.num_outputs = 0
        self.conv_sum = self.conv_squares = torch.zeros(1, len(weight), 1, dtype=self.exact, device=weight.device)
        self.rest = torch.zeros(1, 0, dtype=weight.dtype, device=weight.device)

    def add(self, samples: Float[Tensor, "1 s"], *, padding: int = 0) -> None:
        """Counts the next samples. `padding`: how often the convolution sees the last one again."""
        wide = samples.double() if self.exact == torch.float64 else samples.cpu().double()
        self.num_samples += samples.shape[1]
        self.sum += float(wide.sum())
        self.squares += float(wide.square().sum())
        if not self.needs_conv:
            return
        heard = torch.cat([self.rest, samples.to(self.rest), samples[:, -1:].to(self.rest).expand(-1, padding)], 1)
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        num_outputs = max(0, (heard.shape[1] - kernel) // stride + 1)
        self.rest = heard[:, num_outputs * stride :]
        if num_outputs:
            outputs = F.conv1d(heard[:, None], self.conv.weight, None, stride).to(self.exact)
            self.num_outputs += num_outputs
            self.conv_sum = self.conv_sum + outputs.sum(-1, keepdim=True)
            self.conv_squares = self.conv_squares + outputs.square().sum(-1, keepdim=True)

    @property
    def mean(self) -> float:
        return self.sum / self.num_samples

    @property
    def deviation(self) -> float:
        """`sqrt(variance + 1e-7)`, by which a whole recording is divided too."""
        return math.sqrt(max(0.0, self.squares / self.num_samples - self.mean**2) + 1e-7)

    def normalise(self, samples: Float[Tensor, "1 s"]) -> Float[Tensor, "1 s"]:
        """Returns samples with the mean and variance of all so far subtracted and divided."""
        return (samples - self.mean) / self.deviation

    def of_conv(self) -> Statistics | None:
        """Returns the statistics of the first convolution of normalised speech; None if no norm needs them."""
        if not self.needs_conv:
            return None
        weight, bias = self.conv.weight, self.conv.bias
        mean = self.conv_sum / self.num_outputs
        variance = (self.conv_squares / self.num_outputs - mean.square()).clamp(min=0) / self.deviation**2
        mean = (mean - self.mean * weight.sum(dim=(1, 2), dtype=self.exact)[:, None]) / self.deviation
        if bias is not None:
            mean = mean + bias.to(self.exact)[:, None]
        return mean.to(weight.dtype), variance.to(weight.dtype)
