"""Speech with known phones, as synthesised by voices and stored in a corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import librosa

from float_research.toyface.phones import SILENCE
from float_research.types import Waveform

RATE_HZ = 16000
SHORTEST_S = 1e-3
"""Shorter gaps do not count as silence."""


class Phone(NamedTuple):
    """A phone in speech: ARPAbet label, start and end, and stress (0 none, 0.5 secondary, 1 primary)."""

    label: str
    start_s: float
    end_s: float
    stress: float


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A spoken sentence: mono, float32, 16 kHz. Its phones cover the waveform without gaps."""

    id: str
    text: str
    voice: str
    emotion: str
    waveform: Waveform
    phones: tuple[Phone, ...]

    @property
    def duration_s(self) -> float:
        return len(self.waveform) / RATE_HZ


def fill_gaps(phones: Sequence[Phone], duration_s: float) -> tuple[Phone, ...]:
    """Returns the phones without overlaps and empty ones, with gaps from 0 to `duration_s` filled with silence."""
    covered: list[Phone] = []
    now = 0.0

    def silence(end_s: float) -> None:
        if covered and covered[-1].label == SILENCE:
            covered[-1] = covered[-1]._replace(end_s=end_s)
        else:
            covered.append(Phone(SILENCE, now, end_s, 0.0))

    for phone in phones:
        start, end = max(phone.start_s, now), min(phone.end_s, duration_s)
        start = now if start - now < SHORTEST_S else start
        if end <= start:
            continue
        if start > now or phone.label == SILENCE:
            silence(end if phone.label == SILENCE else start)
        if phone.label != SILENCE:
            covered.append(phone._replace(start_s=start, end_s=end))
        now = end
    if covered and duration_s - now < SHORTEST_S:
        covered[-1] = covered[-1]._replace(end_s=duration_s)
    else:
        silence(duration_s)
    return tuple(covered)


def resample(waveform: Waveform, rate_hz: int, target_hz: int) -> Waveform:
    """Resamples with librosa's default, soxr_hq."""
    return librosa.resample(waveform, orig_sr=rate_hz, target_sr=target_hz)
