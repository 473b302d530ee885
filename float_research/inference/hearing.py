"""Speech that arrives in blocks: kept as long as it is needed, and encoded window by window."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.conditioning.emotion import EmotionSource, Speech
from float_research.data.audio import num_video_frames
from float_research.models.float_model import FloatModel
from float_research.models.running_statistics import RunningStatistics
from float_research.sound import Resampler
from float_research.types import Waveform


class SpeechBuffer:
    """The latest samples at the model's rate, of blocks at any rate."""

    def __init__(self, rate_hz: int, model_rate_hz: int) -> None:
        self.resampler = None if rate_hz == model_rate_hz else Resampler(rate_hz, model_rate_hz, 1)
        self.first = self.num_samples = 0
        self.ended = False
        self.blocks: list[Waveform] = []

    def add(self, samples: Waveform) -> None:
        self._append(samples if self.resampler is None else self.resampler(samples[None])[0])

    def end(self) -> None:
        self.ended = True
        if self.resampler is not None:
            self._append(self.resampler.end()[0])

    def between(self, start: int, end: int) -> Waveform:
        """Returns the samples from `start` to `end` of the stream, which are not yet dropped."""
        if len(self.blocks) > 1:
            self.blocks = [np.concatenate(self.blocks)]
        return self.blocks[0][start - self.first : end - self.first]

    def drop(self, until: int) -> None:
        """Drops the samples before `until`."""
        kept = self.between(until, self.num_samples)
        self.first, self.blocks = until, [kept.copy()]

    def _append(self, samples: Waveform) -> None:
        self.blocks.append(samples)
        self.num_samples += len(samples)


@dataclass(frozen=True, kw_only=True)
class HeardPart:
    """Conditions of consecutive frames, the first of which is frame `first` of the stream."""

    first: int
    audio: Float[Tensor, "t a"]
    emotion: Float[Tensor, "t e"]


class Hearing:
    """Encodes speech of a stream for one window after the other, by a bounded part of it.

    The encoders hear `context_frames` before a window, the window, and `ahead_frames` behind it. What they need of the
    whole recording is taken of all speech up to the end of this part: mean and variance of the samples, and those of
    the first convolution's channels.
    """

    def __init__(
        self, model: FloatModel, emotion: EmotionSource, rate_hz: int, *, context_frames: int, ahead_frames: int
    ) -> None:
        self.model, self.emotion = model, emotion
        self.context_frames, self.ahead_frames = context_frames, ahead_frames
        self.buffer = SpeechBuffer(rate_hz, model.sampling_rate_hz)
        self.statistics = RunningStatistics(model.audio_encoder.wav2vec2)
        self.counted = 0

    @property
    def num_frames(self) -> int | None:
        """The frames of the whole speech; None before its end."""
        if not self.buffer.ended:
            return None
        return num_video_frames(self.buffer.num_samples, self.model.sampling_rate_hz, self.model.fps)

    def has(self, end: int) -> bool:
        """Returns whether there is speech beyond the look-ahead of a window that ends at frame `end`."""
        return self.buffer.num_samples > self._sample(end + self.ahead_frames)

    def encode(self, start: int, end: int) -> HeardPart:
        """Encodes the frames from `start`, the context before them included, to `end` or the last frame."""
        buffer, model = self.buffer, self.model
        first, last = max(0, start - self.context_frames), end + self.ahead_frames
        stop, padding = self._sample(last), 0
        if buffer.num_samples <= stop:
            num_frames = self.num_frames
            assert num_frames is not None
            end, last, stop = min(end, num_frames), num_frames, buffer.num_samples
            padding = max(0, self._sample(last) - stop)
        like = model.motion_autoencoder.dec.direction.weight
        if stop > self.counted:
            self.statistics.add(torch.from_numpy(buffer.between(self.counted, stop))[None], padding=padding)
            self.counted = stop
        begin = model.audio_encoder.first_sample(first)
        speech = self.statistics.normalise(torch.from_numpy(buffer.between(begin, stop))[None].double())
        speech = speech.float().to(like.device, like.dtype)
        padded = torch.cat([speech, speech[:, -1:].expand(-1, padding)], dim=1)
        audio = model.audio_encoder.excerpt(padded, first, last - first, self.statistics.of_conv())[0]
        heard = Speech(
            waveform=speech if speech.shape[1] >= self._sample(1) else padded,
            first_frame=first,
            num_frames=last - first,
            fps=model.fps,
            sampling_rate_hz=model.sampling_rate_hz,
        )
        emotion = self.emotion(heard, model.emotion_encoder)
        num = end - first
        return HeardPart(first=first, audio=audio[:num], emotion=emotion[:num])

    def forget(self, start: int) -> None:
        """Drops speech that no window from frame `start` on needs."""
        first = self.model.audio_encoder.first_sample(max(0, start - self.context_frames))
        self.buffer.drop(max(self.buffer.first, min(first, self.counted)))

    def _sample(self, frame: int) -> int:
        return math.floor(frame * self.model.sampling_rate_hz / self.model.fps)
