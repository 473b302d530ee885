"""Where a recording holds speech, by Silero VAD 6.2.3 (github.com/snakers4/silero-vad, MIT) in PyTorch, on the CPU.

The weights are in this package (`convert_voice.py`). The original needs TorchScript, which PyTorch is retiring, or
another runtime, and its wheel is 20 times as large.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from float_research.sound import mono_blocks, resample_blocks
from float_research.tensors import read_module
from float_research.types import Waveform

FILE = Path(__file__).parents[1] / "assets" / "voice_activity.safetensors"
RATE_HZ, CHUNK, CONTEXT = 16_000, 512, 64
"""Samples of a chunk, for each of which the network gives a probability, and samples before it that it also sees."""
FFT, HOP = 256, 128
AT_ONCE = 1024
"""Chunks whose spectra are computed together, which bounds the memory for long recordings."""
STARTS, CONTINUES = 0.5, 0.35
"""Speech begins at the first probability and goes on until the probability stays below the second."""
MIN_SPEECH, MIN_SILENCE, PADDING = 4000, 1600, 480
"""Samples: shorter speech is dropped, shorter silence inside speech is kept as speech, and speech is extended."""
MIN_SILENCE_S = 0.3
"""The shortest silence in which metrics watch the lips."""
NO_SILENCE = f"needs a silence of {MIN_SILENCE_S} s, and the recording has none"

Segment = tuple[float, float]
"""Begin and end of speech, in seconds."""


class VoiceNetwork(nn.Module):
    """Spectrum, four convolutions and an LSTM over the chunks of a recording."""

    basis: Float[Tensor, "258 1 256"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", fourier_basis(), persistent=False)
        self.convolutions = nn.Sequential(
            *(nn.Conv1d(129, 128, 3, padding=1), nn.ReLU()),
            *(nn.Conv1d(128, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv1d(64, 128, 3, padding=1), nn.ReLU()),
        )
        self.lstm = nn.LSTM(128, 128)
        self.head = nn.Linear(128, 1)

    def forward(self, chunks: Float[Tensor, "n 576"]) -> Float[Tensor, " n"]:
        """Returns the probability of speech in each of the consecutive chunks, which overlap by `CONTEXT` samples."""
        features = torch.cat([self.features(part) for part in chunks.split(AT_ONCE)])
        return self.head(self.lstm(features)[0].relu())[:, 0].sigmoid()

    def features(self, chunks: Float[Tensor, "n 576"]) -> Float[Tensor, "n 128"]:
        padded = nn.functional.pad(chunks[:, None], (0, CONTEXT), mode="reflect")
        real, imaginary = nn.functional.conv1d(padded, self.basis, stride=HOP).chunk(2, dim=1)
        return self.convolutions(torch.hypot(real, imaginary))[..., 0]


def fourier_basis() -> Float[Tensor, "258 1 256"]:
    """Returns cosines, then negative sines, of each frequency under a periodic Hann window."""
    samples = torch.arange(FFT, dtype=torch.float64)
    angles = 2 * torch.pi / FFT * samples * torch.arange(FFT // 2 + 1)[:, None]
    waves = torch.cat([angles.cos(), -angles.sin()]) * torch.hann_window(FFT, dtype=torch.float64)
    return waves[:, None].float()


@lru_cache(maxsize=1)
def voice_network(file: Path = FILE) -> VoiceNetwork:
    """Returns the network with the weights of `file`, loaded once per process."""
    return read_module(VoiceNetwork(), file, what="voice activity detector")


def at_rate(waveform: Waveform, rate_hz: int) -> Waveform:
    """Returns a recording at `RATE_HZ`."""
    return np.concatenate(
        [block[0] for block in resample_blocks(mono_blocks(waveform, rate_hz), RATE_HZ)] or [waveform]
    )


def speech_probabilities(waveform: Waveform) -> Float[np.ndarray, " n"]:
    """Returns the probability of speech for each `CHUNK` samples at `RATE_HZ`; the last chunk is filled with zeros."""
    if not len(waveform):
        return np.empty(0)
    samples = torch.from_numpy(np.array(waveform, dtype=np.float32))
    padded = nn.functional.pad(samples, (CONTEXT, -len(samples) % CHUNK))
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return voice_network()(padded.unfold(0, CONTEXT + CHUNK, CHUNK)).double().numpy()


def speech_segments(waveform: Waveform) -> list[Segment]:
    """Returns when there is speech in a recording at `RATE_HZ`, by the rules and values of silero-vad."""
    merged: list[list[int]] = []
    start, quiet = None, None
    for number, probability in enumerate(speech_probabilities(waveform)):
        at = number * CHUNK
        if probability >= STARTS:
            start, quiet = at if start is None else start, None
        elif probability < CONTINUES and start is not None:
            quiet = at if quiet is None else quiet
            if at - quiet >= MIN_SILENCE:
                merged.append([start, quiet])
                start, quiet = None, None
    if start is not None:
        merged.append([start, len(waveform)])
    kept = [segment for segment in merged if segment[1] - segment[0] > MIN_SPEECH]
    if kept:
        kept[0][0], kept[-1][1] = max(0, kept[0][0] - PADDING), min(len(waveform), kept[-1][1] + PADDING)
    for before, after in pairwise(kept):
        more = min(PADDING, (after[0] - before[1]) // 2)
        before[1], after[0] = before[1] + more, after[0] - more
    return [(begin / RATE_HZ, end / RATE_HZ) for begin, end in kept]


def speech_frames(segments: Sequence[Segment], num_frames: int, fps: float) -> Bool[np.ndarray, " n"]:
    """Returns which frames have speech, from the frame in which a segment begins to that in which it ends."""
    speaking = np.zeros(num_frames, dtype=bool)
    for begin, end in segments:
        speaking[max(0, int(begin * fps)) : int(end * fps) + 1] = True
    return speaking


def silent_frames(speaking: Bool[np.ndarray, " n"], fps: float) -> Bool[np.ndarray, " n"]:
    """Returns which frames are in a silence of `MIN_SILENCE_S` or more."""
    silent = np.zeros_like(speaking)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], speaking, [True]])))
    for begin, end in pairwise(edges):
        if not speaking[begin] and end - begin >= MIN_SILENCE_S * fps:
            silent[begin:end] = True
    return silent
