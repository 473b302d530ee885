from typing import Any

import pytest
import torch

from float_research.conditioning.emotion import Audio, Blend, Keyframes, Label, NoEmotion, Speech, Windowed
from float_research.errors import UserError

EMOTIONS = ("angry", "happy", "sad")
SPEECH = Speech(
    waveform=torch.arange(16000 * 4)[None].float(), first_frame=0, num_frames=100, fps=25.0, sampling_rate_hz=16000
)


def predict(waveform: torch.Tensor) -> torch.Tensor:
    """Predicts an emotion that grows with time: the middle of the waveform, in seconds."""
    middle = waveform.mean(dim=1, keepdim=True) / 16000
    return torch.cat([middle, 1 - middle, torch.zeros(1, 1)], dim=1)


def test_audio_is_predicted_once_for_all_frames() -> None:
    weights = Audio()(SPEECH, predict)
    assert weights.shape == (100, 3)
    assert weights[:, 0].tolist() == pytest.approx([2.0] * 100, abs=1e-3)


def test_a_label_is_one_hot() -> None:
    assert Label(emotions=EMOTIONS, label="happy")(SPEECH, predict).tolist() == [[0, 1, 0]] * 100


def test_a_blend_sums_to_one() -> None:
    weights = Blend(emotions=EMOTIONS, blend={"sad": 3, "angry": 1})(SPEECH, predict)
    assert weights[7].tolist() == [0.25, 0, 0.75]


def test_no_emotion_is_the_unconditional_branch() -> None:
    assert NoEmotion(emotions=EMOTIONS)(SPEECH, predict).abs().sum() == 0


def test_keyframes_are_interpolated_frame_by_frame() -> None:
    source = Keyframes(
        emotions=EMOTIONS,
        keyframes=[{"time_s": 1, "emotion": "happy"}, {"time_s": 2.0, "emotion": {"sad": 1, "angry": 1}}],
    )
    weights = source(SPEECH, predict)
    assert weights[0].tolist() == weights[25].tolist() == [0, 1, 0]
    assert weights[30].tolist() == pytest.approx([0.1, 0.8, 0.1])
    assert weights[50].tolist() == weights[99].tolist() == [0.5, 0, 0.5]
    one = Keyframes(emotions=EMOTIONS, keyframes=[{"time_s": 3.0, "emotion": "sad"}])
    assert one(SPEECH, predict).tolist() == [[0, 0, 1]] * 100


def test_windows_follow_the_speech() -> None:
    weights = Windowed(window_s=1.0, hop_s=0.5)(SPEECH, predict)
    times = torch.arange(100) / 25
    assert torch.allclose(weights[:, 0], times.clamp(0.5, 3.5), atol=1e-3)
    whole = Windowed(window_s=10.0, hop_s=1.0)(SPEECH, predict)
    assert torch.allclose(whole, Audio()(SPEECH, predict))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Label, {"label": "bored"}, "'bored' is unknown; choose one of angry, happy, sad"),
        (Blend, {"blend": {"bored": 1.0}}, "'bored' is unknown"),
        (Blend, {"blend": {"sad": -1.0}}, "not negative"),
        (Blend, {"blend": {"sad": 0.0}}, "not all zero"),
        (Blend, {"blend": {"sad": float("nan")}}, "finite"),
        (Keyframes, {"keyframes": []}, "at least one"),
        (Keyframes, {"keyframes": [{"time_s": 1, "emotion": "sad"}] * 2}, "strictly increasing"),
        (Keyframes, {"keyframes": [{"time": 1, "emotion": "sad"}]}, "keys time_s and emotion"),
        (Keyframes, {"keyframes": [{"time_s": 1, "emotion": "bored"}]}, "'bored' is unknown"),
    ],
)
def test_invalid_settings_are_rejected(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(emotions=EMOTIONS, **settings)


def test_windows_must_be_long_enough() -> None:
    with pytest.raises(UserError, match="positive"):
        Windowed(window_s=1.0, hop_s=0.0)
    with pytest.raises(UserError, match="too short"):
        Windowed(window_s=0.01, hop_s=0.01)
