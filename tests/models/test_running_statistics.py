"""Running statistics: those of a whole recording, once it is over."""

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Model

from float_research.data.audio import normalise
from float_research.models.running_statistics import RunningStatistics
from float_research.models.wav2vec2 import _statistics, build_wav2vec2

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "conv_dim": [8] * 7}


@pytest.fixture(params=[False, True], ids=["no bias", "bias"])
def encoder(request: pytest.FixtureRequest) -> Wav2Vec2Model:
    torch.manual_seed(0)
    return build_wav2vec2({**TINY, "conv_bias": request.param}).eval()


@torch.inference_mode()
def test_they_are_those_of_normalised_speech(encoder: Wav2Vec2Model) -> None:
    speech = (0.3 + 0.1 * np.random.default_rng(0).standard_normal(5003)).astype(np.float32)
    running, samples = RunningStatistics(encoder), torch.from_numpy(speech)[None]
    for part in samples.split([1, 8, 1, 4000, 993], dim=1):
        running.add(part, padding=7 if part.shape[1] == 993 else 0)
    normalised = torch.from_numpy(normalise(speech))[None]
    assert torch.allclose(running.normalise(samples), normalised, atol=1e-5)
    found = running.of_conv()
    assert found is not None
    conv = encoder.feature_extractor.conv_layers[0].conv
    for value, exact in zip(found, _statistics(conv, normalised, 5010, 1000), strict=True):
        assert torch.allclose(value, exact, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_norm_over_channels_needs_none() -> None:
    running = RunningStatistics(build_wav2vec2({**TINY, "feat_extract_norm": "layer"}))
    running.add(torch.zeros(1, 100))
    assert running.of_conv() is None
    assert running.normalise(torch.zeros(1, 3)).eq(0).all()
