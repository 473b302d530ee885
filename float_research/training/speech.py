"""Stage 0: trains the audio encoder on phones and the emotion encoder on emotions.

The official pipeline uses pretrained encoders instead.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from float_research.data.audio import normalise
from float_research.errors import UserError
from float_research.models.float_model import FloatModel
from float_research.toyface.augment import Augmentation
from float_research.toyface.corpus import AGAIN, TRAIN, CorpusEntry, read_corpus
from float_research.toyface.corpus import HELD_OUT as HELD_OUT_SPLIT
from float_research.toyface.phones import PHONES, SILENCE
from float_research.toyface.speech import RATE_HZ, Phone
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey, Terms
from float_research.training.previews import Confusion, confusion


@dataclass(frozen=True, kw_only=True)
class SpeechBatch:
    """Normalised crops of utterances, with a phone per video frame and an emotion per utterance."""

    waveform: Float[Tensor, "b s"]
    phones: Int[Tensor, "b t"]
    emotion: Int[Tensor, " b"]

    def to(self, device: torch.device) -> "SpeechBatch":
        return SpeechBatch(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class SpeechCrops:
    """Random crops of a corpus, padded with silence. Held-out speech is not augmented."""

    folder: str
    crop_s: float
    batch_size: int
    fps: float
    emotions: Sequence[str]
    augmentation: Augmentation
    seed: int

    @cached_property
    def entries(self) -> dict[int, list[CorpusEntry]]:
        """The utterances of each stream."""
        return read_splits(Path(self.folder))

    def __call__(self, key: BatchKey) -> SpeechBatch:
        """Returns one batch of crops."""
        generator = np.random.default_rng(key.seed(self.seed))
        pool, num_samples = self.entries[key.stream], int(self.crop_s * RATE_HZ)
        waveforms, phones, labels = [], [], []
        for entry in (pool[i] for i in generator.integers(len(pool), size=self.batch_size)):
            waveform = entry.load().waveform
            start = int(generator.integers(max(len(waveform) - num_samples, 0) + 1))
            crop = np.pad(waveform[start : start + num_samples], (0, max(num_samples - len(waveform), 0)))
            if key.stream == TRAINING:
                crop = self.augmentation(crop, generator)
            waveforms.append(normalise(crop))
            phones.append(frame_phones(entry.phones, start / RATE_HZ, int(self.crop_s * self.fps), self.fps))
            labels.append(self.emotions.index(entry.emotion))
        return SpeechBatch(
            waveform=torch.from_numpy(np.stack(waveforms)),
            phones=torch.from_numpy(np.stack(phones)),
            emotion=torch.tensor(labels),
        )


def read_splits(folder: Path) -> dict[int, list[CorpusEntry]]:
    """Reads a corpus to train on. Raises a UserError if it is missing or has only one of the splits."""
    entries = {TRAINING: read_corpus(folder, TRAIN), HELD_OUT: read_corpus(folder, HELD_OUT_SPLIT)}
    for stream, split in ((TRAINING, TRAIN), (HELD_OUT, HELD_OUT_SPLIT)):
        if not entries[stream]:
            raise UserError(f"{folder} has no utterances of the split {split}; {AGAIN}")
    return entries


def frame_phones(phones: tuple[Phone, ...], start_s: float, num_frames: int, fps: float) -> Int[np.ndarray, " t"]:
    """Returns the index in `PHONES` of the phone at the middle of each frame; silence outside the utterance."""
    middles = start_s + (np.arange(num_frames) + 0.5) / fps
    ends = np.array([phone.end_s for phone in phones])
    labels = np.array([PHONES.index(phone.label) for phone in phones] + [PHONES.index(SILENCE)])
    return labels[np.searchsorted(ends, middles, side="right")]


@dataclass(frozen=True, kw_only=True)
class SpeechObjective:
    """The base of objectives that train an encoder on labelled speech."""

    speech: SpeechCrops

    def require_data(self) -> None:
        _ = self.speech.entries

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        """Does nothing: carried-over weights need no adjustment."""

    def finish(self, model: FloatModel) -> None:
        """Does nothing: there is nothing to fold into the weights."""

    def batch(self, key: BatchKey) -> SpeechBatch:
        return self.speech(key)


@dataclass(frozen=True, kw_only=True)
class PhoneObjective(SpeechObjective):
    """Cross entropy of the phone in each video frame, with a linear head on the last layer that is not exported."""

    trains: ClassVar[tuple[str, ...]] = ("audio_encoder.wav2vec2.", "phone_head.")
    exports: ClassVar[tuple[str, ...]] = ("audio_encoder.wav2vec2.",)

    def prepare(self, model: FloatModel) -> None:
        model.add_module("phone_head", nn.Linear(model.audio_encoder.wav2vec2.config.hidden_size, len(PHONES)))

    def losses(self, model: FloatModel, batch: SpeechBatch, device: torch.device) -> Terms:
        batch = batch.to(device)
        return {"phones": F.cross_entropy(self.logits(model, batch).flatten(0, 1), batch.phones.flatten())}

    def metrics(self, model: FloatModel, batch: SpeechBatch, device: torch.device) -> Terms:
        batch = batch.to(device)
        right = self.logits(model, batch).argmax(-1) == batch.phones
        return {"phone_accuracy": right.float().mean()}

    def preview(self, model: FloatModel, device: torch.device) -> Confusion:
        batch = self.batch(BatchKey(HELD_OUT, 0)).to(device)
        return confusion(PHONES, batch.phones, self.logits(model, batch).argmax(-1))

    def logits(self, model: FloatModel, batch: SpeechBatch) -> Float[Tensor, "b t k"]:
        encoder = model.audio_encoder
        features = encoder.frame_features(batch.waveform, batch.phones.shape[1])
        return model.get_submodule("phone_head")(encoder.wav2vec2.encoder(features).last_hidden_state).float()


@dataclass(frozen=True, kw_only=True)
class EmotionObjective(SpeechObjective):
    """Cross entropy of the utterance's emotion."""

    trains: ClassVar[tuple[str, ...]] = ("emotion_encoder.",)
    exports = trains

    def prepare(self, model: FloatModel) -> None:
        """Does nothing: keeps the initial weights of transformers."""

    def losses(self, model: FloatModel, batch: SpeechBatch, device: torch.device) -> Terms:
        batch = batch.to(device)
        likelihood = model.emotion_encoder(batch.waveform).float().clamp_min(1e-8)
        return {"emotion": F.nll_loss(likelihood.log(), batch.emotion)}

    def metrics(self, model: FloatModel, batch: SpeechBatch, device: torch.device) -> Terms:
        batch = batch.to(device)
        right = model.emotion_encoder(batch.waveform).argmax(-1) == batch.emotion
        return {"emotion_accuracy": right.float().mean()}

    def preview(self, model: FloatModel, device: torch.device) -> Confusion:
        batch = self.batch(BatchKey(HELD_OUT, 0)).to(device)
        return confusion(model.emotions, batch.emotion, model.emotion_encoder(batch.waveform).argmax(-1))
