"""Speech: files and arrays → mono waveforms at the model's rate."""

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from float_research.errors import UserError, named
from float_research.media import BOUNDS, Limits
from float_research.sound import MONO, Block, Tally, mono_blocks, parts, read_sound, require_finite, resampled
from float_research.types import WHOLE, Excerpt, Waveform

SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4"})
SILENCE = 1e-5
"""Peak below which a recording counts as silent: less than one step of 16-bit audio."""
QUIET, CANCELLED = 1e-4, 0.05
"""Power of a channel, beside the loudest, that counts as silent; of a mean, beside that of independent channels, that
counts as cancelled."""
IN_MEMORY_BYTES = 64 * 2**20
"""17 minutes at 16 kHz. Longer waveforms lie in a nameless file, whose pages the system can take back at any time."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A recording as the model hears it: mono, at the model's rate.

    `excerpt`: what it is of, with the track and the channel that were chosen, for the video to speak the same. `facts`
    are for the record, `notes` for people.
    """

    waveform: Waveform
    excerpt: Excerpt
    facts: Mapping[str, Any]
    notes: Sequence[str]


@dataclass
class _Levels:
    """Powers of the channels and of their mean, and what a recording was made with."""

    channels: np.ndarray = field(default_factory=lambda: np.zeros(0))
    mean: float = 0.0
    peak: float = 0.0
    rate_hz: int = 0

    def see(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Passes blocks on, each as the mean of its channels."""
        for block in blocks:
            self.rate_hz = self.rate_hz or block.rate_hz
            more = max(0, len(block.samples) - len(self.channels))
            self.channels = np.pad(self.channels, (0, more))
            self.channels[: len(block.samples)] += np.square(block.samples, dtype=np.float64).sum(axis=1)
            mean = block.mono
            self.mean += float(np.square(mean, dtype=np.float64).sum())
            self.peak = max(self.peak, float(block.samples.max()), -float(block.samples.min()))
            yield Block(mean[None], block.rate_hz, MONO)

    @property
    def loudest(self) -> int:
        """The first of the loudest channels."""
        return int((self.channels > self.channels.max() * 0.99).argmax())

    def why_one(self) -> str | None:
        """Why one channel says more than the mean of all; None where it does not."""
        powers = self.channels
        if len(powers) < 2 or not powers.any():
            return None
        if (powers > powers.max() * QUIET).sum() == 1:
            return "the others are silent"
        return "they cancel each other" if self.mean < powers.sum() / len(powers) ** 2 * CANCELLED else None


def listen(path: Path, sampling_rate_hz: int, limits: Limits = BOUNDS, excerpt: Excerpt = WHOLE) -> Heard:
    """Reads what `excerpt` names of an audio file, resampled as the official code does (soxr_hq), in bounded memory.

    Where it names none, the first track with sound is heard, and the mean of its channels; or the loudest of them, if
    the others are silent or they cancel each other.
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
        raise UserError(f"{name} has ended before start_s={excerpt.start_s:g}; choose an earlier start")
    if chosen.track and excerpt.track is None:
        notes.append(f"{name}: track {chosen.track} is heard, for those before it are silent (data.track)")
    num_channels = tally.channels
    if excerpt.channel is None and (reason := levels.why_one()):
        chosen = replace(chosen, channel=levels.loudest)
        notes.append(f"{name}: channel {chosen.channel} is heard alone, for {reason} (data.channel)")
        waveform, _, tally = _hear(path, chosen, sampling_rate_hz, limits)
    if tally.dropped:
        notes.append(f"{name}: {tally.dropped} of {tally.packets} packets are damaged and were left out")
    if tally.missing_s:
        notes.append(f"{name} is damaged or cut off: {tally.missing_s:.2f} s of it are missing")
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
    """The waveform of one track, and what was met on the way."""
    levels, tally = _Levels(), Tally()
    means = levels.see(read_sound(path, excerpt, limits, tally))
    return gathered(part[0] for part in resampled(means, rate_hz)), levels, tally


def gathered(parts: Iterable[Waveform]) -> Waveform:
    """The waveform of these blocks; a long one on disk, see `IN_MEMORY_BYTES`."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype=np.float32).data)
        size = file.tell()
        if size > IN_MEMORY_BYTES:
            return np.asarray(np.memmap(file, dtype=np.float32, mode="r+"))
        file.seek(0)
        return np.frombuffer(bytearray(file.read()), dtype=np.float32)


def resample(waveform: Waveform, rate_hz: int, target_hz: int) -> Waveform:
    """Resamples as librosa's default, soxr_hq, does."""
    return gathered(part[0] for part in resampled(mono_blocks(waveform, rate_hz), target_hz))


def check_waveform(waveform: Waveform, *, name: str, sampling_rate_hz: int, fps: float) -> None:
    """Raises a UserError for audio that no video can be made from."""
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
    """Zero mean and unit variance over the clip, as transformers' `Wav2Vec2FeatureExtractor(do_normalize=True)`."""
    mean = waveform.mean(dtype=np.float64)
    variance = math.fsum(np.square(part - mean).sum() for part in parts(waveform)) / len(waveform)
    deviation = math.sqrt(variance + 1e-7)
    return gathered((part - mean) / deviation for part in parts(waveform))


def num_video_frames(num_samples: int, sampling_rate_hz: int, fps: float) -> int:
    """`ceil(samples · fps / rate)`."""
    return math.ceil(num_samples * fps / sampling_rate_hz)
