"""Loads speech from files and arrays as mono waveforms at the model's rate."""

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from float_research.errors import UserError, named
from float_research.media import BOUNDS, Limits
from float_research.sound import (
    MONO,
    SoundBlock,
    Tally,
    mono_blocks,
    parts,
    read_sound,
    require_finite,
    resample_blocks,
)
from float_research.types import WHOLE, Excerpt, Waveform

SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4"})
SILENCE = 1e-5
"""Peak below which a recording counts as silent: less than one step of 16-bit audio."""
QUIET, CANCELLED = 1e-4, 0.05
"""Relative power below which a channel counts as silent (to the loudest channel), and the mean of the channels as
cancelled (to the mean of independent channels)."""
IN_MEMORY_BYTES = 64 * 2**20
"""17 minutes at 16 kHz. Longer waveforms are memory-mapped from a temporary file, whose pages can be evicted."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A recording as the model receives it: mono, at the model's rate.

    `excerpt`: its source, with the selected track and channel, so that the video gets the same sound. `facts` are for
    the record, `notes` for the user.
    """

    waveform: Waveform
    excerpt: Excerpt
    facts: Mapping[str, Any]
    notes: Sequence[str]


@dataclass
class _Levels:
    """Powers of the channels and of their mean, the peak and the original rate of a recording."""

    channels: np.ndarray = field(default_factory=lambda: np.zeros(0))
    mean: float = 0.0
    peak: float = 0.0
    rate_hz: int = 0

    def see(self, blocks: Iterable[SoundBlock]) -> Iterator[SoundBlock]:
        """Measures blocks and yields the mean of the channels of each."""
        for block in blocks:
            self.rate_hz = self.rate_hz or block.rate_hz
            more = max(0, len(block.samples) - len(self.channels))
            self.channels = np.pad(self.channels, (0, more))
            self.channels[: len(block.samples)] += np.square(block.samples, dtype=np.float64).sum(axis=1)
            mean = block.mono
            self.mean += float(np.square(mean, dtype=np.float64).sum())
            self.peak = max(self.peak, float(block.samples.max()), -float(block.samples.min()))
            yield SoundBlock(mean[None], block.rate_hz, MONO)

    @property
    def loudest(self) -> int:
        """Index of the first of the loudest channels."""
        return int((self.channels > self.channels.max() * 0.99).argmax())

    def why_one(self) -> str | None:
        """Returns why one channel should be used instead of the mean of all; None if it should not."""
        powers = self.channels
        if len(powers) < 2 or not powers.any():
            return None
        if (powers > powers.max() * QUIET).sum() == 1:
            return "the others are silent"
        return "they cancel each other" if self.mean < powers.sum() / len(powers) ** 2 * CANCELLED else None


def listen(path: Path, sampling_rate_hz: int, limits: Limits = BOUNDS, excerpt: Excerpt = WHOLE) -> Heard:
    """Reads an excerpt of an audio file, resample_blocks as in the official code (soxr_hq), in bounded memory.

    Without a track in `excerpt`, reads the first track that is not silent; without a channel, the mean of all channels,
    or the loudest one if the others are silent or they cancel each other.
    """
    name, notes = named("audio", path), list[str]()
    chosen = replace(excerpt, track=excerpt.track or 0)
    waveform, levels, tally = _hear(path, chosen, sampling_rate_hz, limits)
    for track in range(1, tally.tracks) if excerpt.track is None else []:
        if levels.peak >= SILENCE:
            break
        chosen = replace(excerpt, track=track)
        waveform, levels, tally = _hear(path, chosen, sampling_rate_hz, limits)
    if not len(waveform) and excerpt.start_s:
        raise UserError(f"{name} ends before start_s={excerpt.start_s:g}; choose an earlier start")
    if chosen.track and excerpt.track is None:
        notes.append(f"{name}: using track {chosen.track}, because the tracks before it are silent (data.track)")
    num_channels = tally.channels
    if excerpt.channel is None and (reason := levels.why_one()):
        chosen = replace(chosen, channel=levels.loudest)
        notes.append(f"{name}: using only channel {chosen.channel}, because {reason} (data.channel)")
        waveform, _, tally = _hear(path, chosen, sampling_rate_hz, limits)
    if tally.dropped:
        notes.append(f"{name}: skipped {tally.dropped} of {tally.packets} packets, which are damaged")
    if tally.missing_s:
        notes.append(f"{name} is damaged or truncated: {tally.missing_s:.2f} s are missing")
    facts = {
        "tracks": tally.tracks,
        "channels": num_channels,
        "rate_hz": levels.rate_hz,
        "packets": tally.packets,
        "dropped": tally.dropped,
        "missing_s": round(tally.missing_s, 3),
        **asdict(chosen),
    }
    return Heard(waveform=waveform, excerpt=chosen, facts=facts, notes=notes)


def _hear(path: Path, excerpt: Excerpt, rate_hz: int, limits: Limits) -> tuple[Waveform, _Levels, Tally]:
    """Returns the waveform of one track, its levels and the counts of its packets."""
    levels, tally = _Levels(), Tally()
    means = levels.see(read_sound(path, excerpt, limits, tally))
    return join_parts(part[0] for part in resample_blocks(means, rate_hz)), levels, tally


def join_parts(parts: Iterable[Waveform]) -> Waveform:
    """Joins blocks to a waveform; a long one is on disk, see `IN_MEMORY_BYTES`."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype=np.float32).data)
        size = file.tell()
        if size > IN_MEMORY_BYTES:
            return np.asarray(np.memmap(file, dtype=np.float32, mode="r+"))
        file.seek(0)
        return np.frombuffer(bytearray(file.read()), dtype=np.float32)


def resample(waveform: Waveform, rate_hz: int, target_hz: int) -> Waveform:
    """Resamples with soxr_hq, librosa's default."""
    return join_parts(part[0] for part in resample_blocks(mono_blocks(waveform, rate_hz), target_hz))


def check_waveform(waveform: Waveform, *, name: str, sampling_rate_hz: int, fps: float) -> None:
    """Raises a UserError for audio that is empty, not finite, too short or silent."""
    if not len(waveform):
        raise UserError(f"audio {name} is empty; give a recording of speech")
    require_finite(waveform, f"audio {name}")
    if len(waveform) < sampling_rate_hz / fps:
        raise UserError(
            f"audio {name} lasts {len(waveform) / sampling_rate_hz:.3f} s, less than one frame ({1 / fps:g} s); "
            "give a longer recording"
        )
    if max(waveform.max(), -waveform.min()) < SILENCE:
        raise UserError(f"audio {name} is silent; give a recording of speech")


def normalise(waveform: Waveform) -> Waveform:
    """Normalises to zero mean and unit variance, as transformers' `Wav2Vec2FeatureExtractor(do_normalize=True)`."""
    mean = waveform.mean(dtype=np.float64)
    variance = math.fsum(np.square(part - mean).sum() for part in parts(waveform)) / len(waveform)
    deviation = math.sqrt(variance + 1e-7)
    return join_parts((part - mean) / deviation for part in parts(waveform))


def num_video_frames(num_samples: int, sampling_rate_hz: int, fps: float) -> int:
    """Returns `ceil(samples · fps / rate)`."""
    return math.ceil(num_samples * fps / sampling_rate_hz)
