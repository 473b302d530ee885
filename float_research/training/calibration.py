"""Initial weights from data (LSUV, Mishkin and Matas 2016, arXiv 1511.06422), for an encoder without normalisation.

Portraits are much alike: with random weights nearly all of an activation is the same in every one of them, and what
differs, such as a jaw, gets hardly any gradient. After this, each channel has mean 0 and variance 1 over the data.
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from float_research.models.layers import EqualConv2d, EqualLinear, FusedLeakyReLU
from float_research.models.motion_autoencoder import MotionEncoder

FLOOR = 1e-3


@torch.no_grad()
def calibrate(encoder: MotionEncoder, images: Float[Tensor, "b 3 h w"]) -> None:
    """Rescales every layer of the encoder in turn, so that what it makes of `images` is normal per channel."""
    modules = list(encoder.modules())
    for module, after in itertools.zip_longest(modules, modules[1:]):
        if isinstance(module, EqualConv2d):
            mean, std = _statistics(encoder, module, images)
            module.weight.div_(std[:, None, None, None])
            if isinstance(after, FusedLeakyReLU):
                after.bias.copy_((-mean / std)[None, :, None, None])
        elif isinstance(module, EqualLinear):
            mean, std = _statistics(encoder, module, images)
            module.weight.div_(std[:, None])
            module.bias.copy_((module.bias - mean) / std)


def _statistics(encoder: MotionEncoder, module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of what a module makes of the images."""
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    encoder.fc(encoder(images)[0])
    hook.remove()
    dims = [dim for dim in range(outputs[0].ndim) if dim != 1]
    return outputs[0].mean(dims), outputs[0].std(dims) + FLOOR
