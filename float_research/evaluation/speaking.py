"""Lip sync, effects of guidance and emotion, and differences between seeds.

All are read from generated frames by the motion reader.
"""

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.data.audio import normalise, num_video_frames
from float_research.data.image import to_tensor
from float_research.evaluation.figure import Figure, Goal
from float_research.inference.api import Pipeline
from float_research.inference.result import Result
from float_research.program import command
from float_research.toyface.motion import MOTION
from float_research.toyface.performance import MOODS, lips, loudness, perform
from float_research.toyface.reader import MotionReader
from float_research.toyface.speech import RATE_HZ, Utterance
from float_research.types import Image

JAW, YAW, LIDS = (MOTION.index(name) for name in ("jaw", "yaw", "lids"))
EXPRESSION = [MOTION.index(name) for name in ("pitch", "width", "smile", "raise", "furrow", "lids")]
"""The motion parameters that emotions change."""
MAX_LAG = 5
NUM_SYNTHETIC = 24
FRAMES_A_BATCH = 64
NUM_TAKES = 16
"""Simulated performances of each emotion, to average over."""
NO_SPEECH = f"needs corpus=FOLDER, created by {command('make_speech')}"


def correlation(a: Float[Tensor, " t"], b: Float[Tensor, " u"], lag: int = 0) -> float:
    """Returns the Pearson correlation of the common frames, with `a` late by `lag` frames; 0 if one is constant."""
    a, b = a[max(lag, 0) :], b[max(-lag, 0) :]
    length = min(len(a), len(b))
    value = torch.corrcoef(torch.stack([a[:length], b[:length]]).cpu().double())[0, 1]
    return float(value.nan_to_num())


def mean_correlation(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    return statistics.mean(correlation(a, b) for a, b in pairs)


def least_gain(values: Sequence[float]) -> float:
    """Returns the smallest step from one value to the next: positive if the values increase."""
    return min(b - a for a, b in itertools.pairwise(values))


def best_lag(pairs: Sequence[tuple[Tensor, Tensor]]) -> int:
    """Returns the lag, in frames, of the highest mean correlation."""

    def mean(lag: int) -> float:
        return statistics.mean(correlation(a, b, lag) for a, b in pairs)

    return max(range(-MAX_LAG, MAX_LAG + 1), key=mean)


def expected_jaw(speech: Utterance, num_frames: int, fps: float) -> Float[Tensor, " t"]:
    """Returns the jaw opening that the phones and the loudness of a recording imply."""
    mouth = lips(speech.phones, loudness(torch.from_numpy(speech.waveform), num_frames), fps=fps)
    return mouth[:, 0] * (1 - mouth[:, 3].clamp_max(1))


def seam_ratio(motion: Float[Tensor, "t d"], window_frames: int) -> float:
    """Returns the mean step of the motion into each new window over the median step between frames."""
    steps = motion.diff(dim=0).norm(dim=1)
    return float(steps[window_frames - 1 :: window_frames].mean() / steps.median())


@dataclass(frozen=True, kw_only=True)
class Speaking:
    """Animates a neutral portrait with the pipeline from `load`, and reads motion from its frames.

    `load` takes further overrides. `coordinate_scale`: the motion coordinates that stand for a motion parameter of 1.
    """

    load: Callable[[Sequence[str]], Pipeline]
    reader: MotionReader
    portrait: Image
    recordings: Sequence[Utterance]
    """Real speech."""
    synthetic: Sequence[Utterance]
    """Held-out speech of the corpus; may be empty."""
    coordinate_scale: float
    _loaded: dict[tuple[str, ...], Pipeline] = field(default_factory=dict, init=False, repr=False)

    def figures(self) -> Iterator[Figure]:
        yield from self.lip_sync()
        yield from self.guidance()
        yield from self.emotion()
        yield from self.emotion_heard()
        yield from self.seeds()

    def speak(self, speech: Utterance, *overrides: str, emotion: str | None = None) -> Result:
        return self._pipeline(*overrides)(
            self.portrait, speech.waveform, rate_hz=RATE_HZ, id=speech.id, emotion=emotion
        )

    def read(self, speech: Utterance, *overrides: str, emotion: str | None = None) -> Float[Tensor, "t m"]:
        """Returns the motion parameters of each generated frame."""
        return self._read(self.speak(speech, *overrides, emotion=emotion).frames())

    def meant(self, speech: Utterance, *overrides: str) -> Float[Tensor, "t m"]:
        """Returns the motion parameters that a clip's coordinates stand for, which nobody has to read from frames.

        The decoder was trained to show true motion parameters, times `coordinate_scale`, in the first coordinates.
        """
        coordinates = self.speak(speech, *overrides).motion @ self._pipeline().core.directions
        return (coordinates[:, : len(MOTION)] / self.coordinate_scale).cpu()

    def shown(self, meant: Float[Tensor, "t m"]) -> Float[Tensor, "t m"]:
        """Returns the motion parameters that are read from decoded frames whose coordinates stand for `meant`."""
        pipeline = self._pipeline()
        directions = pipeline.core.directions
        motion = self.coordinate_scale * meant.to(directions) @ directions[:, : len(MOTION)].T
        return self._read(pipeline.decode(self.portrait, motion).frames())

    def _read(self, images: Iterable[Image]) -> Float[Tensor, "t m"]:
        frames = np.stack(list(images))
        with torch.inference_mode():
            batches = torch.from_numpy(frames).permute(0, 3, 1, 2).split(FRAMES_A_BATCH)
            neutral = to_tensor(self.portrait, len(self.portrait))[None]
            return torch.cat([self.reader(batch / 127.5 - 1, neutral) for batch in batches])

    def lip_sync(self) -> Iterator[Figure]:
        """Correlates the jaw with the expected opening of the same sentence and of another."""
        jaws = [self.read(speech)[:, JAW] for speech in self.recordings]
        wanted = [self._wanted(speech, len(jaw)) for speech, jaw in zip(self.recordings, jaws, strict=True)]
        own, others = list(zip(jaws, wanted, strict=True)), list(zip(jaws, wanted[1:] + wanted[:1], strict=True))
        yield Figure(name="jaw of real speech, correlation", value=mean_correlation(own), goal=("≥", 0.6))
        yield Figure(name="best lag of real speech, absolute", value=abs(best_lag(own)), unit="frames", goal=("≤", 1))
        yield Figure(name="jaw of another sentence, correlation", value=mean_correlation(others), goal=("≤", 0.2))
        yield from self._synthetic_lip_sync()

    def guidance(self) -> Iterator[Figure]:
        """Measures lip amplitude over the audio guidance scale, and correlation without audio."""
        amplitudes = []
        for scale in (1, 2, 3):
            jaws = [self.read(speech, f"guidance.audio.scale={scale}")[:, JAW] for speech in self.recordings]
            amplitudes.append(statistics.mean(float(jaw.std()) for jaw in jaws))
            yield Figure(name=f"lip amplitude at audio scale {scale}", value=amplitudes[-1])
        yield Figure(name="least gain in lip amplitude", value=least_gain(amplitudes), goal=("≥", 0))
        dropped = ("guidance.audio.scale=0", "guidance.emotion.scale=0")
        pairs = [(jaw := self.read(s, *dropped)[:, JAW], self._wanted(s, len(jaw))) for s in self.recordings]
        yield Figure(name="jaw without audio, correlation", value=mean_correlation(pairs), goal=("≤", 0.2))

    def emotion(self) -> Iterator[Figure]:
        """Compares the mean expression of each label with true performances, and measures it over guidance scales."""
        true = {label: self._true_expression(label) for label in MOODS}
        strengths = []
        for scale in (1, 2, 3):
            setting = f"guidance.emotion.scale={scale}"
            made = {
                label: torch.cat([self.read(s, setting, emotion=label)[:, EXPRESSION] for s in self.recordings]).mean(0)
                for label in MOODS
            }
            if scale == 1:
                nearest = {
                    label: min(true, key=lambda other: float((face - true[other]).norm()))
                    for label, face in made.items()
                }
                right = sum(label == found for label, found in nearest.items())
                yield Figure(name="emotions whose own expression is nearest, of 7", value=right, goal=("≥", 6))
            along = []
            for label in set(MOODS) - {"neutral"}:
                direction = true[label] - true["neutral"]
                along.append(float((made[label] - made["neutral"]) @ direction / direction.square().sum()))
            strengths.append(statistics.mean(along))
            yield Figure(name=f"expression at emotion scale {scale}, of the true one", value=strengths[-1])
        yield Figure(name="least gain in expression", value=least_gain(strengths), goal=("≥", 0))

    def emotion_heard(self) -> Iterator[Figure]:
        """Measures the accuracy of the emotion encoder on held-out prosody."""
        name, goal = "emotion heard in synthetic speech, accuracy", ("≥", 0.8)
        if not self.synthetic:
            yield Figure(name=name, value=None, goal=goal, absent=NO_SPEECH)
            return
        model = self._pipeline().core.model
        right = []
        with torch.inference_mode():
            for speech in self.synthetic:
                waveform = torch.from_numpy(normalise(speech.waveform))[None]
                right.append(model.emotions[int(model.emotion_encoder(waveform).argmax())] == speech.emotion)
        yield Figure(name=name, value=statistics.mean(right), goal=goal)

    def seeds(self) -> Iterator[Figure]:
        """Compares two seeds, which should share lips but not head motion and blinks, and measures window seams."""
        first, second = ([self.read(s, f"seed={seed}") for s in self.recordings] for seed in (15, 16))
        goals: list[tuple[str, int, Goal]] = [
            ("jaw", JAW, ("≥", 0.8)),
            ("yaw", YAW, ("≤", 0.5)),
            ("lids", LIDS, ("≤", 0.5)),
        ]
        for name, column, goal in goals:
            pairs = [(a[:, column], b[:, column]) for a, b in zip(first, second, strict=True)]
            yield Figure(name=f"{name} of two seeds, correlation", value=mean_correlation(pairs), goal=goal)
        window_frames = self._pipeline().core.sampler.chunking.window_frames
        ratios = [seam_ratio(self.speak(s).motion, window_frames) for s in self.recordings]
        yield Figure(name="jump between windows, of the median step", value=statistics.mean(ratios), goal=("≤", 1.5))

    def _synthetic_lip_sync(self) -> Iterator[Figure]:
        name, goal = "jaw of synthetic speech, correlation", ("≥", 0.75)
        if not self.synthetic:
            yield Figure(name=name, value=None, goal=goal, absent=NO_SPEECH)
            return
        few = self.synthetic[:NUM_SYNTHETIC]
        pairs = [(jaw := self.read(s)[:, JAW], self._wanted(s, len(jaw))) for s in few]
        yield Figure(name=name, value=mean_correlation(pairs), goal=goal)

    @property
    def fps(self) -> float:
        """The frame rate of the model."""
        return self._pipeline().loader.fps

    def _pipeline(self, *overrides: str) -> Pipeline:
        if overrides not in self._loaded:
            self._loaded[overrides] = self.load(overrides)
        return self._loaded[overrides]

    def _wanted(self, speech: Utterance, num_frames: int) -> Float[Tensor, " t"]:
        return expected_jaw(speech, num_frames, self.fps)

    def _true_expression(self, label: str) -> Float[Tensor, " k"]:
        """Averages many simulated performances of the recordings under one label."""
        takes = []
        for seed in range(NUM_TAKES):
            speech = self.recordings[seed % len(self.recordings)]
            fps, generator = self.fps, torch.Generator().manual_seed(seed)
            loud = loudness(torch.from_numpy(speech.waveform), num_video_frames(len(speech.waveform), RATE_HZ, fps))
            takes.append(perform(speech.phones, loud, label, fps=fps, generator=generator)[:, EXPRESSION])
        return torch.cat(takes).mean(0)
