import copy

import pytest
import torch

from float_research import compose
from float_research.errors import UserError
from float_research.models.audio_encoder import AudioEncoder
from float_research.models.decoding import to_uint8
from float_research.models.float_model import FloatModel
from float_research.models.layers import ModulatedConv2d, UpsamplingModulatedConv2d
from float_research.models.wav2vec2 import conv_features

AUDIO = torch.randn(1, 16000 * 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [ModulatedConv2d, UpsamplingModulatedConv2d])
def test_modulating_activations_is_modulating_weights(kind: type[ModulatedConv2d]) -> None:
    """Compares with the definition: a weight per sample, scaled by its style and normalised."""
    torch.manual_seed(0)
    conv = kind(4, 6, 3, 5, demodulate=True).double()
    x, latent = torch.randn(2, 4, 8, 8).double(), torch.randn(2, 5).double()
    for sample in range(2):
        style = conv.modulation(latent[sample : sample + 1])[0]
        weight = conv.weight[0] * conv.scale * style[None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3)) + 1e-8)[:, None, None, None]
        expected = conv.convolve(x[sample : sample + 1], weight)
        assert torch.allclose(conv(x, latent)[sample], expected[0])


def test_directions_are_orthonormal_and_invertible(model: FloatModel) -> None:
    direction = model.motion_autoencoder.dec.direction
    assert torch.allclose(direction.basis.T @ direction.basis, torch.eye(20), atol=1e-5)
    coordinates = torch.randn(3, 20)
    assert torch.allclose(direction(coordinates) @ direction.basis, coordinates, atol=1e-4)


def test_uint8_clamps_and_truncates() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0])
    assert to_uint8(values.view(6, 1, 1, 1).expand(6, 3, 1, 1))[:, 0, 0, 0].tolist() == [0, 0, 127, 254, 255, 255]


@torch.inference_mode()
@pytest.mark.parametrize("which", ["group norm", "layer norm"])
@pytest.mark.parametrize("segment_frames", [1, 7, 50, 149])
def test_segmented_features_match_the_whole(model: FloatModel, which: str, segment_frames: int) -> None:
    encoder = (
        model.audio_encoder.wav2vec2 if which == "group norm" else model.emotion_encoder.wav2vec2_for_emotion.wav2vec2
    )
    whole = encoder.feature_extractor(AUDIO).transpose(1, 2)
    segments = conv_features(encoder, AUDIO, segment_frames)
    assert segments.shape == whole.shape
    assert torch.allclose(segments, whole, atol=1e-5)


@torch.inference_mode()
def test_layerwise_projection_matches_the_concatenation(model: FloatModel) -> None:
    encoder = model.audio_encoder
    hidden = torch.randn(1, 9, 32)
    layers = []
    hooks = [
        layer.register_forward_hook(lambda _m, _a, out: layers.append(out)) for layer in encoder.wav2vec2.encoder.layers
    ]
    encoder.wav2vec2.encoder(hidden)
    for hook in hooks:
        hook.remove()
    layers = [out if isinstance(out, torch.Tensor) else out[0] for out in layers]
    expected = encoder.audio_projection[0](torch.cat(layers, dim=-1))
    assert torch.allclose(encoder._project_layers(hidden), expected, atol=1e-5)


@torch.inference_mode()
def test_only_the_last_layer_can_be_used() -> None:
    wav2vec2 = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    encoder = AudioEncoder(
        wav2vec2={**wav2vec2, "conv_dim": [4] * 7},
        feature_dim=6,
        only_last_features=True,
        sampling_rate_hz=16000,
        fps=25.0,
        segment_frames=100,
        window_frames=None,
        overlap_frames=0,
    ).eval()
    assert encoder.audio_projection[0].in_features == 16
    assert encoder(AUDIO, 75).shape == (1, 75, 6)


@torch.inference_mode()
def test_windows_of_speech_approach_the_whole(model: FloatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, num_frames = model.audio_encoder, 75
    whole = encoder(AUDIO, num_frames)

    def error(window: int, overlap: int) -> float:
        monkeypatch.setattr(encoder, "window_frames", window)
        monkeypatch.setattr(encoder, "overlap_frames", overlap)
        features = encoder(AUDIO, num_frames)
        assert features.shape == whole.shape
        return float((features - whole).norm() / whole.norm())

    assert error(num_frames, 0) == 0
    assert error(20, num_frames) < 1e-5, "a window over everything is exact"
    assert error(1000, 0) == 0
    assert 0 < error(20, 40) < error(20, 0)


def test_an_empty_window_is_rejected(model: FloatModel) -> None:
    with pytest.raises(UserError, match=r"model\.audio_encoder\.window_frames=0 must be a positive number or null"):
        compose.build(compose.compose_config(["model=tiny", "model.audio_encoder.window_frames=0"]).model)


@torch.inference_mode()
def test_the_transformer_takes_any_window(model: FloatModel) -> None:
    """Positions further apart than depth × attention window do not influence each other."""
    from float_research.types import Conditions

    fmt = copy.deepcopy(model.fmt)
    reach = fmt.attention_window * len(fmt.blocks)
    previous, window = 3, 40

    def field(x: torch.Tensor) -> torch.Tensor:
        zeros = Conditions(
            audio=torch.zeros(1, window, 32),
            reference=torch.ones(1, 32),
            emotion=torch.zeros(1, previous + window, 7),
            previous_motion=torch.zeros(1, previous, 32),
            previous_audio=torch.zeros(1, previous, 32),
        )
        return fmt(torch.tensor(0.5), x, zeros)

    x = torch.randn(1, window, 32)
    changed = x.clone()
    changed[:, 20] += 1
    difference = (field(x) - field(changed))[0, previous:].abs().sum(-1)
    assert field(x).shape == (1, previous + window, 32)
    assert difference[20 - reach : 21 + reach].min() > 0
    assert difference[: 20 - reach].max() == difference[21 + reach :].max() == 0


@pytest.mark.gpu
@torch.inference_mode()
def test_the_gpu_computes_the_same_frames(model: FloatModel) -> None:
    image, motion = torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(4, 32)
    frames = {}
    for device in ("cpu", "cuda"):
        autoencoder = copy.deepcopy(model.motion_autoencoder).to(device)
        identity, features = autoencoder.encode(image.to(device))
        frames[device] = autoencoder.decode(features, identity + motion.to(device)).cpu()
    assert (frames["cpu"] - frames["cuda"]).norm() / frames["cpu"].norm() < 1e-2


@torch.inference_mode()
def test_speech_features_in_bfloat16_match_float32() -> None:
    """The demo's positional convolution has 8 channels per group, for which oneDNN's bfloat16 is wrong."""
    encoder = compose.build(compose.compose_config([]).model).audio_encoder.eval()
    speech = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    wanted = encoder(speech, 25)
    with torch.autocast("cpu", torch.bfloat16):
        heard = copy.deepcopy(encoder)(speech, 25)
    assert (heard - wanted).norm() / wanted.norm() < 0.05
