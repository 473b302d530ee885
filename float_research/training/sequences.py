"""Windows of speech and motion for the flow matching transformer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from float_research.data.audio import normalise, num_video_frames
from float_research.models.float_model import FloatModel
from float_research.sampling.chunking import Chunking
from float_research.toyface.corpus import CorpusEntry
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION, sample_motions, within_range
from float_research.toyface.performance import loudness, perform
from float_research.toyface.render import render
from float_research.toyface.speech import RATE_HZ
from float_research.training.objective import HELD_OUT, BatchKey
from float_research.training.speech import read_splits
from float_research.training.videos import Shot, VideoFolder
from float_research.types import Waveform

ENCODED_TOGETHER = 16
DRAWN_PX = 128
"""Size of the toy heads in previews."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A batch of windows of `n = p + l` frames: `num_previous` frames, then the window's.

    `first`: windows at the start of a recording, without previous frames. `speech`: outputs of all layers of
    Wav2Vec 2.0. `motion`, `reference`: coordinates λ. `jaw`: index of the coordinate that opens the jaw, if known.
    """

    speech: Float[Tensor, "b n k"]
    motion: Float[Tensor, "b n m"]
    reference: Float[Tensor, "b m"]
    emotion: Float[Tensor, "b e"]
    first: Bool[Tensor, " b"]
    num_previous: int
    jaw: int | None


class Performance(NamedTuple):
    """Speech and motion of one recording, and the motion of a reference portrait."""

    speech: Float[Tensor, "t k"]
    motion: Float[Tensor, "t m"]
    reference: Float[Tensor, " m"]
    emotion: Float[Tensor, " e"]


@dataclass(frozen=True, kw_only=True)
class HeldOutClip:
    """A whole held-out recording. `draw` shows motion coordinates as images in [-1, 1]."""

    performance: Performance
    waveform: Waveform
    loudness: Float[Tensor, " t"]
    draw: Callable[[Float[Tensor, "t m"]], Float[Tensor, "t 3 h h"]]


@dataclass(frozen=True, kw_only=True)
class Sequences(ABC):
    """Produces windows of speech and motion. The same key gives the same batch."""

    batch_size: int
    chunking: Chunking
    seed: int

    @abstractmethod
    def perform(
        self, model: FloatModel, stream: int, generator: np.random.Generator, device: torch.device
    ) -> Performance:
        """Draws one performance from the stream."""

    @abstractmethod
    def require_data(self) -> None:
        """Raises a UserError for missing data."""

    @abstractmethod
    def clip(self, model: FloatModel, number: int, device: torch.device) -> HeldOutClip:
        """Returns a held-out recording; numbers beyond the last begin again."""

    @property
    def jaw(self) -> int | None:
        """The coordinate that opens the jaw."""
        return None

    def __call__(self, model: FloatModel, key: BatchKey, device: torch.device) -> Windows:
        """Returns one batch: windows at random positions of random performances, the start included."""
        generator = np.random.default_rng(key.seed(self.seed))
        performances, starts = [], []
        for _ in range(self.batch_size):
            performance = self.perform(model, key.stream, generator, device)
            last = max(len(performance.motion) - self.chunking.window_frames, 0)
            starts.append(max(int(generator.integers(-self.chunking.previous_frames - 1, last + 1)), 0))
            performances.append(performance)
        pairs = list(zip(performances, starts, strict=True))
        return Windows(
            speech=torch.stack([self.cut(performance.speech, start) for performance, start in pairs]).to(device),
            motion=torch.stack([self.cut(performance.motion, start) for performance, start in pairs]).to(device),
            reference=torch.stack([performance.reference for performance in performances]).to(device),
            emotion=torch.stack([performance.emotion for performance in performances]).to(device),
            first=torch.tensor([start == 0 for start in starts], device=device),
            num_previous=self.chunking.previous_frames,
            jaw=self.jaw,
        )

    def cut(self, frames: Float[Tensor, "t k"], start: int) -> Float[Tensor, "n k"]:
        """Cuts the window at `start` and its previous frames.

        Repeats the last frame past the end and puts zeros before the start, as the sampler does.
        """
        before = frames[max(start - self.chunking.previous_frames, 0) : start]
        window = frames[start : start + self.chunking.window_frames]
        missing = self.chunking.window_frames - len(window)
        empty = frames.new_zeros(self.chunking.previous_frames - len(before), frames.shape[1])
        return torch.cat([empty, before, window, window[-1:].expand(missing, -1)])


def encode_speech(
    model: FloatModel, waveform: Waveform, num_frames: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Runs the frozen encoders: `(t, k)` layers of Wav2Vec 2.0 and `(e,)` emotion probabilities, on the CPU."""
    normal = torch.from_numpy(normalise(waveform))[None].to(device)
    with torch.no_grad():
        speech = model.audio_encoder.layers(normal, num_frames)[0].float().cpu()
        return speech, model.emotion_encoder(normal)[0].float().cpu()


@dataclass(frozen=True, kw_only=True)
class SpokenFeatures:
    """Outputs of the frozen encoders for an utterance, and its takes so far."""

    speech: Float[Tensor, "t k"]
    emotion: Float[Tensor, " e"]
    loudness: Float[Tensor, " t"]
    takes: dict[int, Float[Tensor, "t m"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ToySequences(Sequences):
    """Synthetic performances of a corpus, `takes` per utterance, as motion parameters: nothing is rendered.

    Stage 1 trains the encoder to read these parameters, times `coordinate_scale`, as coordinates. Even takes perform
    the emotion of the speech, conditioned on the emotion encoder's output. Odd takes perform a random label and are
    conditioned on it, so that a label overrides the voice. Encoder outputs are kept in memory.
    """

    folder: str
    takes: int
    coordinate_scale: float
    source_spread: float
    _spoken: dict[tuple[int, int], SpokenFeatures] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def jaw(self) -> int:
        return MOTION.index("jaw")

    @cached_property
    def entries(self) -> dict[int, list[CorpusEntry]]:
        """The utterances of each stream."""
        return read_splits(Path(self.folder))

    def require_data(self) -> None:
        _ = self.entries

    def perform(
        self, model: FloatModel, stream: int, generator: np.random.Generator, device: torch.device
    ) -> Performance:
        number = int(generator.integers(len(self.entries[stream])))
        take = int(generator.integers(self.takes))
        return self.performed(model, (stream, number, take), int(generator.integers(1 << 31)), device)

    def performed(self, model: FloatModel, which: tuple[int, int, int], seed: int, device: torch.device) -> Performance:
        """Returns a take, by stream, utterance and its own number, with a reference portrait drawn from `seed`."""
        stream, number, take = which
        spoken = self.spoken(model, number, stream, device)
        motion = self.take(model, number, take, stream, device)
        label = self.label(model, number, take, stream)
        still = sample_motions(1, torch.Generator().manual_seed(seed))[0]
        spare = model.motion_autoencoder.dec.direction.weight.shape[1] - len(still)
        return Performance(
            speech=spoken.speech,
            motion=self.coordinate_scale * F.pad(motion, (0, spare)),
            reference=self.coordinate_scale * F.pad(self.source_spread * still, (0, spare)),
            emotion=spoken.emotion if label is None else torch.eye(len(model.emotions))[label],
        )

    def clip(self, model: FloatModel, number: int, device: torch.device) -> HeldOutClip:
        number %= len(self.entries[HELD_OUT])
        looks = sample_identities(1, torch.Generator().manual_seed(number)).to(device)

        def draw(coordinates: Float[Tensor, "t m"]) -> Float[Tensor, "t 3 h h"]:
            motion = within_range(coordinates[:, : len(MOTION)].to(device) / self.coordinate_scale)
            return torch.cat([render(looks.expand(len(part), -1), part, DRAWN_PX).image for part in motion.split(16)])

        return HeldOutClip(
            performance=self.performed(model, (HELD_OUT, number, 0), number, device),
            waveform=self.entries[HELD_OUT][number].load().waveform,
            loudness=self.spoken(model, number, HELD_OUT, device).loudness,
            draw=draw,
        )

    def spoken(self, model: FloatModel, number: int, stream: int, device: torch.device) -> SpokenFeatures:
        """Returns the encoder outputs of an utterance, computed on first use."""
        key = (stream, number)
        if key not in self._spoken:
            waveform = self.entries[stream][number].load().waveform
            num_frames = num_video_frames(len(waveform), RATE_HZ, model.fps)
            speech, emotion = encode_speech(model, waveform, num_frames, device)
            loud = loudness(torch.from_numpy(waveform), num_frames)
            self._spoken[key] = SpokenFeatures(speech=speech, emotion=emotion, loudness=loud)
        return self._spoken[key]

    def take(
        self, model: FloatModel, number: int, take: int, stream: int, device: torch.device
    ) -> Float[Tensor, "t m"]:
        """Returns one performance of an utterance, computed on first use."""
        spoken, entry = self.spoken(model, number, stream, device), self.entries[stream][number]
        if take not in spoken.takes:
            label = self.label(model, number, take, stream)
            emotion = entry.emotion if label is None else model.emotions[label]
            generator = BatchKey(stream, number).generator(self.seed, take, 2)
            spoken.takes[take] = perform(entry.phones, spoken.loudness, emotion, fps=model.fps, generator=generator)
        return spoken.takes[take]

    def label(self, model: FloatModel, number: int, take: int, stream: int) -> int | None:
        """Returns the emotion index that an odd take performs; None for an even take."""
        if take % 2 == 0:
            return None
        return BatchKey(stream, number).seed(self.seed, take, 3) % len(model.emotions)


@dataclass(frozen=True, kw_only=True)
class VideoSequences(Sequences):
    """Stretches of real videos; the frozen motion encoder reads the coordinates from their frames.

    The emotion is the emotion encoder's output. All encoder outputs are kept in memory: 4 bytes × (k + m) per frame.
    """

    videos: VideoFolder
    stretch_s: float
    _known: dict[tuple[int, int, int], Performance] = field(default_factory=dict, init=False, repr=False, compare=False)

    def perform(
        self, model: FloatModel, stream: int, generator: np.random.Generator, device: torch.device
    ) -> Performance:
        shots, length = self.videos.shots[stream], int(self.stretch_s * model.fps)
        number = int(generator.integers(len(shots)))
        stretch = int(generator.integers(math.ceil(len(shots[number]) / length)))
        key = (stream, number, stretch)
        if key not in self._known:
            begin = min(stretch * length, max(len(shots[number]) - length, 0))
            self._known[key] = self.read(model, shots[number], begin, min(length, len(shots[number])), device)
        known = self._known[key]
        return known._replace(reference=known.motion[int(generator.integers(len(known.motion)))])

    def require_data(self) -> None:
        _ = self.videos.shots

    def clip(self, model: FloatModel, number: int, device: torch.device) -> HeldOutClip:
        shots = self.videos.shots[HELD_OUT]
        shot = shots[number % len(shots)]
        num_frames = min(int(self.stretch_s * model.fps), len(shot))
        waveform = shot.waveform[: int(num_frames * model.sampling_rate_hz / model.fps)]

        def draw(coordinates: Float[Tensor, "t m"]) -> Float[Tensor, "t 3 h h"]:
            autoencoder = model.motion_autoencoder
            identity, features = autoencoder.encode(shot.frame(0)[None].to(device))
            drawn = []
            for part in coordinates.to(device).split(ENCODED_TOGETHER):
                latent = identity + autoencoder.dec.direction(part)
                repeated = [feature.expand(len(part), *feature.shape[1:]) for feature in features]
                drawn.append(list(autoencoder.dec.levels(repeated, latent))[-1].rgb)
            return torch.cat(drawn)

        return HeldOutClip(
            performance=self.read(model, shot, 0, num_frames, device),
            waveform=waveform,
            loudness=loudness(torch.from_numpy(np.asarray(waveform)), num_frames),
            draw=draw,
        )

    def read(self, model: FloatModel, shot: Shot, begin: int, length: int, device: torch.device) -> Performance:
        """Runs the frozen encoders on `length` frames from `begin` on."""
        samples = model.sampling_rate_hz / model.fps
        waveform = shot.waveform[int(begin * samples) : int((begin + length) * samples)]
        speech, emotion = encode_speech(model, waveform, length, device)
        coordinates = []
        with torch.no_grad():
            for numbers in torch.arange(begin, begin + length).split(ENCODED_TOGETHER):
                images = torch.stack([shot.frame(number) for number in numbers.tolist()]).to(device)
                identity, _ = model.motion_autoencoder.encode(images)
                coordinates.append(model.motion_autoencoder.coordinates(identity).float().cpu())
        motion = torch.cat(coordinates)
        return Performance(speech=speech, motion=motion, reference=motion[0], emotion=emotion)
