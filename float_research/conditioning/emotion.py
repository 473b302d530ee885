"""Emotion sources: the emotion weights of each frame."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.keyframes import check_times, interpolate
from float_research.types import EmotionPredictor


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Input of an emotion source: normalised speech and its length in frames.

    `first_frame`: what comes before, in frames, where it is only a part of the speech.
    """

    waveform: Float[Tensor, "1 s"]
    first_frame: int
    num_frames: int
    fps: float
    sampling_rate_hz: int


@runtime_checkable
class EmotionSource(Protocol):
    """Computes the emotion weights of each frame, `(t, e)`, on the device of the speech."""

    def __call__(self, speech: Speech, predict: EmotionPredictor, /) -> Float[Tensor, "t e"]: ...


def one_hot(label: str, emotions: Sequence[str]) -> list[float]:
    if label not in emotions:
        raise UserError(f"emotion {label!r} is unknown; choose one of {', '.join(emotions)}")
    return [float(label == name) for name in emotions]


def normalise(weights: Mapping[str, float], emotions: Sequence[str]) -> list[float]:
    """Converts weights by label to a probability vector in the order of `emotions`: `w / Σ w`."""
    for label in weights:
        one_hot(label, emotions)
    values = [float(weights.get(name, 0.0)) for name in emotions]
    total = sum(values)
    if not all(math.isfinite(value) and value >= 0 for value in values) or total <= 0:
        raise UserError(f"emotion weights {dict(weights)} must be finite, not negative and not all zero")
    return [value / total for value in values]


def frame_times(speech: Speech) -> Float[Tensor, " t"]:
    """Returns the start time of each frame in seconds."""
    frames = torch.arange(speech.num_frames, device=speech.waveform.device, dtype=torch.float32)
    return (speech.first_frame + frames) / speech.fps


@dataclass(frozen=True, kw_only=True)
class Audio:
    """Predicted from the whole recording, the same for all frames, as in the official code."""

    def __call__(self, speech: Speech, predict: EmotionPredictor, /) -> Float[Tensor, "t e"]:
        return predict(speech.waveform).expand(speech.num_frames, -1)


@dataclass(frozen=True, kw_only=True)
class ConstantEmotion:
    """The same weights for all frames. Base of `Label`, `Blend` and `NoEmotion`."""

    emotions: Sequence[str]

    def weights(self) -> list[float]:
        raise TypeError("use one of the subclasses")

    def __post_init__(self) -> None:
        self.weights()

    def __call__(self, speech: Speech, predict: EmotionPredictor, /) -> Float[Tensor, "t e"]:
        weights = torch.tensor(self.weights(), dtype=speech.waveform.dtype, device=speech.waveform.device)
        return weights.expand(speech.num_frames, -1)


@dataclass(frozen=True, kw_only=True)
class Label(ConstantEmotion):
    """One emotion."""

    label: str

    def weights(self) -> list[float]:
        return one_hot(self.label, self.emotions)


@dataclass(frozen=True, kw_only=True)
class Blend(ConstantEmotion):
    """A mixture of emotions. `blend`: label → weight, normalised by their sum."""

    blend: Mapping[str, float]

    def weights(self) -> list[float]:
        return normalise(self.blend, self.emotions)


@dataclass(frozen=True, kw_only=True)
class NoEmotion(ConstantEmotion):
    """No emotion condition: all weights zero, as in the unconditional guidance branch."""

    def weights(self) -> list[float]:
        return [0.0] * len(self.emotions)


@dataclass(frozen=True, kw_only=True)
class Keyframes:
    """Labels or blends at given seconds, interpolated linearly. A keyframe: `{time_s: …, emotion: label or blend}`."""

    emotions: Sequence[str]
    keyframes: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        self._table()

    def _table(self) -> tuple[list[float], list[list[float]]]:
        times, values = [], []
        for item in self.keyframes:
            if set(item) != {"time_s", "emotion"}:
                raise UserError(f"emotion keyframe {dict(item)} must have exactly the keys time_s and emotion")
            emotion = item["emotion"]
            is_label = isinstance(emotion, str)
            values.append(one_hot(emotion, self.emotions) if is_label else normalise(emotion, self.emotions))
            times.append(float(item["time_s"]))
        check_times("emotion keyframes", times)
        return times, values

    def __call__(self, speech: Speech, predict: EmotionPredictor, /) -> Float[Tensor, "t e"]:
        times, values = self._table()
        device, dtype = speech.waveform.device, speech.waveform.dtype
        at = torch.tensor(times, device=device, dtype=torch.float32)
        return interpolate(frame_times(speech), at, torch.tensor(values, device=device, dtype=dtype))


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """Predicted per window of the recording and interpolated linearly between the windows' centres."""

    window_s: float
    hop_s: float

    def __post_init__(self) -> None:
        if not (self.window_s > 0 and self.hop_s > 0):
            raise UserError(f"emotion.window_s={self.window_s} and emotion.hop_s={self.hop_s} must be positive")
        if self.window_s < 0.1:
            raise UserError(f"emotion.window_s={self.window_s} is too short to predict emotion; use 0.1 s or more")

    def __call__(self, speech: Speech, predict: EmotionPredictor, /) -> Float[Tensor, "t e"]:
        rate, length = speech.sampling_rate_hz, speech.waveform.shape[1]
        window, hop = min(length, int(self.window_s * rate)), max(1, int(self.hop_s * rate))
        starts = [*range(0, length - window, hop), length - window]
        values = torch.cat([predict(speech.waveform[:, start : start + window]) for start in starts])
        begin_s = speech.first_frame / speech.fps
        times = torch.tensor([begin_s + (start + window / 2) / rate for start in starts], device=values.device)
        return interpolate(frame_times(speech), times.float(), values)
