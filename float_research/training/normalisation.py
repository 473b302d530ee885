"""Batch normalisation of the motion encoder during training, folded into its weights at the end.

Portraits look much alike, so most of each activation is constant across them, and what differs, such as the jaw, gets
hardly any gradient. With batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) the encoder learns motion in a
fifth of the steps; once folded, it has the official architecture again.
"""

from collections.abc import Iterator, Set
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn

from float_research.models.layers import EqualConv2d, FusedLeakyReLU
from float_research.models.motion_autoencoder import MotionEncoder

PREFIX = "motion_autoencoder.enc."
NUM_BATCHES = 64
"""Batches whose statistics are folded into the exported encoder."""


class Normalised(FusedLeakyReLU):
    """Batch normalisation and activation: `leaky_relu(norm(x) + bias, 0.2) · sqrt(2)`."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return super().forward(self.norm(x))


def _sequences(encoder: MotionEncoder) -> Iterator[tuple[str, nn.Sequential]]:
    """Yields each sequence that ends in a convolution and an activation, with the name of the convolution's weight."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Sequential) and isinstance(module[-1], FusedLeakyReLU):
            yield f"{name}.{len(module) - 2}.weight", module


def normalise(encoder: MotionEncoder) -> None:
    """Inserts batch normalisation before all activations."""
    for _, sequence in list(_sequences(encoder)):
        sequence[-1] = Normalised(sequence.get_parameter(f"{len(sequence) - 1}.bias").shape[1])


def _normalised(encoder: MotionEncoder) -> Iterator[tuple[str, nn.Sequential, EqualConv2d, Normalised]]:
    for name, sequence in list(_sequences(encoder)):
        convolution, activation = sequence[-2], sequence[-1]
        if isinstance(convolution, EqualConv2d) and isinstance(activation, Normalised):
            yield name, sequence, convolution, activation


@torch.no_grad()
def keep_trained(encoder: MotionEncoder, trained: Set[str], images: Float[Tensor, "b 3 h w"]) -> None:
    """Initialises the norms after `trained` weights (names in the whole model) as identities on these images."""
    for name, _, convolution, activation in _normalised(encoder):
        if PREFIX + name in trained:
            output = _output(encoder, convolution, images)
            activation.norm.weight.copy_(output.std((0, 2, 3)))
            activation.norm.bias.copy_(output.mean((0, 2, 3)))


def _output(encoder: MotionEncoder, module: nn.Module, images: Float[Tensor, "b 3 h w"]) -> Tensor:
    """Returns the output of one of the encoder's modules on images."""
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    encoder(images)
    hook.remove()
    return outputs[0]


@torch.no_grad()
def fold(encoder: MotionEncoder, batches: Iterator[Float[Tensor, "b 3 h w"]]) -> None:
    """Measures statistics on NUM_BATCHES batches and folds all norms into the weights before and the biases after."""
    for _, _, _, activation in _normalised(encoder):
        activation.norm.reset_running_stats()
        activation.norm.momentum = None  # cumulative mean over the batches
    encoder.train()
    for images in islice(batches, NUM_BATCHES):
        encoder(images)
    for _, sequence, convolution, activation in _normalised(encoder):
        norm, plain = activation.norm, FusedLeakyReLU(activation.bias.shape[1])
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        gain = norm.weight / torch.sqrt(variance + norm.eps)
        convolution.weight.mul_(gain[:, None, None, None])
        plain.bias.copy_(activation.bias + (norm.bias - mean * gain)[None, :, None, None])
        sequence[-1] = plain
