"""Windows of speech and motion for the flow matching transformer."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from float_research.data.audio import normalise, num_video_frames
from float_research.models.float_model import FloatModel
from float_research.sampling.chunking import Chunking
from float_research.toyface.corpus import HELD_OUT as HELD_OUT_SPLIT
from float_research.toyface.corpus import TRAIN, Entry, read_corpus
from float_research.toyface.motion import sample_motions
from float_research.toyface.performance import loudness, perform
from float_research.toyface.speech import RATE_HZ
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey


@dataclass(frozen=True, kw_only=True)
class Windows:
    """`n = p + l` frames each: `num_previous` and the window's. `first`: windows with nothing before them.

    `speech` are the outputs of all layers of Wav2Vec 2.0, `motion` and `reference` coordinates λ.
    """

    speech: Float[Tensor, "b n k"]
    motion: Float[Tensor, "b n m"]
    reference: Float[Tensor, "b m"]
    emotion: Float[Tensor, "b e"]
    first: Bool[Tensor, " b"]
    num_previous: int


@runtime_checkable
class Sequences(Protocol):
    """The same key, the same batch."""

    def __call__(self, model: FloatModel, key: BatchKey, device: torch.device) -> Windows: ...


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What a frozen model makes of an utterance, and the takes that were performed of it so far."""

    speech: Float[Tensor, "t k"]
    emotion: Float[Tensor, " e"]
    loudness: Float[Tensor, " t"]
    takes: dict[int, Float[Tensor, "t m"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ToySequences:
    """Performances of a corpus, `takes` of each utterance, in motion numbers: nothing needs to be rendered.

    Stage 1 taught the encoder to read these numbers as coordinates, times `coordinate_scale`. The emotion is the label
    in half of the windows, and what the emotion encoder hears in the others. What the frozen encoders make of an
    utterance is kept in memory.
    """

    folder: str
    takes: int
    batch_size: int
    chunking: Chunking
    coordinate_scale: float
    source_spread: float
    seed: int
    _spoken: dict[tuple[int, int], Spoken] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def entries(self) -> dict[int, list[Entry]]:
        return {
            TRAINING: read_corpus(Path(self.folder), TRAIN),
            HELD_OUT: read_corpus(Path(self.folder), HELD_OUT_SPLIT),
        }

    def __call__(self, model: FloatModel, key: BatchKey, device: torch.device) -> Windows:
        """The windows of one batch: of random utterances, from their very beginning or from anywhere."""
        generator, stream = np.random.default_rng(key.seed(self.seed)), key.stream
        num_directions = model.motion_autoencoder.dec.direction.weight.shape[1]
        speech, motion, emotion, first = [], [], [], []
        for number in generator.integers(len(self.entries[stream]), size=self.batch_size).tolist():
            spoken = self.spoken(model, number, stream, device)
            take = self.take(model, number, int(generator.integers(self.takes)), stream, device)
            last = max(len(take) - self.chunking.window_frames, 0)
            start = max(int(generator.integers(-self.chunking.previous_frames - 1, last + 1)), 0)
            speech.append(self.cut(spoken.speech, start))
            motion.append(self.cut(take, start))
            label = torch.eye(len(model.emotions))[model.emotions.index(self.entries[stream][number].emotion)]
            emotion.append(label if generator.random() < 0.5 else spoken.emotion)
            first.append(start == 0)
        still = sample_motions(self.batch_size, key.generator(self.seed, 1))
        spare = num_directions - still.shape[1]
        return Windows(
            speech=torch.stack(speech).to(device),
            motion=self.coordinate_scale * F.pad(torch.stack(motion), (0, spare)).to(device),
            reference=self.coordinate_scale * F.pad(self.source_spread * still, (0, spare)).to(device),
            emotion=torch.stack(emotion).to(device),
            first=torch.tensor(first, device=device),
            num_previous=self.chunking.previous_frames,
        )

    def cut(self, rows: Float[Tensor, "t k"], start: int) -> Float[Tensor, "n k"]:
        """The window from `start` with the frames before it; the last row again past the end, zeros before the start.

        So the sampler does it too.
        """
        before = rows[max(start - self.chunking.previous_frames, 0) : start]
        window = rows[start : start + self.chunking.window_frames]
        missing = self.chunking.window_frames - len(window)
        empty = rows.new_zeros(self.chunking.previous_frames - len(before), rows.shape[1])
        return torch.cat([empty, before, window, window[-1:].expand(missing, -1)])

    def spoken(self, model: FloatModel, number: int, stream: int, device: torch.device) -> Spoken:
        """An utterance as the frozen encoders hear it."""
        key = (stream, number)
        if key not in self._spoken:
            waveform = self.entries[stream][number].load().waveform
            num_frames = num_video_frames(len(waveform), RATE_HZ, model.fps)
            normal = torch.from_numpy(normalise(waveform).astype(np.float32))[None].to(device)
            with torch.no_grad():
                self._spoken[key] = Spoken(
                    speech=model.audio_encoder.layers(normal, num_frames)[0].float().cpu(),
                    emotion=model.emotion_encoder(normal)[0].float().cpu(),
                    loudness=loudness(torch.from_numpy(waveform), num_frames),
                )
        return self._spoken[key]

    def take(
        self, model: FloatModel, number: int, take: int, stream: int, device: torch.device
    ) -> Float[Tensor, "t m"]:
        """One performance of an utterance."""
        spoken, entry = self.spoken(model, number, stream, device), self.entries[stream][number]
        if take not in spoken.takes:
            generator = BatchKey(stream, number).generator(self.seed, take, 2)
            spoken.takes[take] = perform(
                entry.phones, spoken.loudness, entry.emotion, fps=model.fps, generator=generator
            )
        return spoken.takes[take]
