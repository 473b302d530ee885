"""Batch normalisation that is added for training and folded at export."""

import pytest
import torch
from torch import Tensor

from float_research.models.motion_autoencoder import MotionEncoder
from float_research.training.normalisation import Normalised, fold, keep_trained, normalise

CHANNELS = {4: 8, 8: 8, 16: 8, 32: 8}


@pytest.fixture
def encoder() -> MotionEncoder:
    torch.manual_seed(0)
    return MotionEncoder(32, CHANNELS, 12, 5)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_folding_preserves_the_output(encoder: MotionEncoder, images: Tensor) -> None:
    names = list(encoder.state_dict())
    normalise(encoder)
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, Normalised):
                module.norm.weight.uniform_(0.5, 2)
                module.norm.bias.uniform_(-1, 1)
                module.bias.uniform_(-1, 1)
    encoder.train()
    wanted, features = encoder(images)
    fold(encoder, iter([images]))
    assert list(encoder.state_dict()) == names
    made, folded = encoder(images)
    torch.testing.assert_close(made, wanted, rtol=0.02, atol=0.02)  # batch variance is biased
    torch.testing.assert_close(folded[-1], features[-1], rtol=0.02, atol=0.02)


def test_statistics_are_averaged_over_all_batches(encoder: MotionEncoder, images: Tensor) -> None:
    normalise(encoder)
    first = next(module for module in encoder.modules() if isinstance(module, Normalised))
    taken = []
    first.norm.register_forward_hook(lambda _module, inputs, _output: taken.append(inputs[0].mean((0, 2, 3))))
    running = first.norm.running_mean
    assert running is not None
    fold(encoder, iter([images, 0.5 * images, images + 1]))
    torch.testing.assert_close(running, torch.stack(taken).mean(0))


def test_norms_after_trained_weights_are_identities(encoder: MotionEncoder, images: Tensor) -> None:
    trained = {f"motion_autoencoder.enc.{name}" for name in encoder.state_dict()}
    wanted = encoder(images)[0]
    normalise(encoder)
    assert not torch.allclose(encoder(images)[0], wanted, rtol=0.1)
    keep_trained(encoder, trained, images)
    torch.testing.assert_close(encoder(images)[0], wanted, rtol=1e-3, atol=1e-3)
