"""Augments clean speech with rooms, microphones and noise, without changing its timing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from librosa.effects import pitch_shift
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from float_research.toyface.speech import RATE_HZ
from float_research.types import Waveform

PEAK = 0.99


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random recording conditions. Pairs are ranges of uniform distributions; probabilities are per utterance."""

    gain_db: Sequence[float]
    tilt_db: Sequence[float]
    """Spectral tilt in decibels per octave."""
    room_probability: float
    reverberation_s: Sequence[float]
    """Reverberation time (RT60) of the room."""
    direct_to_room_db: Sequence[float]
    noise_probability: float
    snr_db: Sequence[float]
    shift_probability: float
    shift_semitones: Sequence[float]

    def __call__(self, waveform: Waveform, generator: np.random.Generator) -> Waveform:
        """Returns the augmented waveform, of the same length and never clipped."""
        if generator.random() < self.shift_probability:
            waveform = shift_speaker(waveform, _uniform(self.shift_semitones, generator))
        waveform = tilt(waveform, _uniform(self.tilt_db, generator))
        if generator.random() < self.room_probability:
            seconds, ratio_db = _uniform(self.reverberation_s, generator), _uniform(self.direct_to_room_db, generator)
            waveform = reverberate(waveform, seconds, ratio_db, generator)
        if generator.random() < self.noise_probability:
            waveform = add_noise(waveform, _uniform(self.snr_db, generator), generator.uniform(0, 2), generator)
        gain = 10 ** (_uniform(self.gain_db, generator) / 20)
        gain = min(gain, PEAK / max(float(np.abs(waveform).max(initial=0)), 1e-6))
        return (waveform * gain).astype(np.float32)


def tilt(waveform: Waveform, db_per_octave: float) -> Waveform:
    """Applies a zero-phase spectral tilt: gain `(f / 1 kHz)^(dB/octave / 6.02)` between 125 Hz and 8 kHz."""
    return _filter(waveform, lambda hz: (hz.clip(125, 8000) / 1000) ** (db_per_octave / 6.0206))


def reverberate(
    waveform: Waveform, seconds: float, direct_to_room_db: float, generator: np.random.Generator
) -> Waveform:
    """Adds reverberation: white noise that decays by 60 dB in `seconds`, from 2 ms after the direct sound on."""
    time = np.arange(max(int(seconds * RATE_HZ), 64)) / RATE_HZ
    room = generator.standard_normal(len(time)) * 10 ** (-3 * time / seconds) * (time > 0.002)
    room *= 10 ** (-direct_to_room_db / 20) / np.sqrt(np.square(room).sum())
    size = next_fast_len(len(waveform) + len(room), real=True)
    wet = irfft(rfft(waveform, size) * rfft(room, size), size)[: len(waveform)]
    return (waveform + wet).astype(np.float32)


def add_noise(waveform: Waveform, snr_db: float, colour: float, generator: np.random.Generator) -> Waveform:
    """Adds noise with power `1 / f^colour` (0 white, 1 pink, 2 brown), `snr_db` below the speech's mean power."""
    noise = generator.standard_normal(len(waveform)).astype(np.float32)
    noise = _filter(noise, lambda hz: hz.clip(60) ** (-colour / 2))
    power = np.square(waveform).mean() / max(float(np.square(noise).mean()), 1e-20)
    return (waveform + noise * np.sqrt(power) * 10 ** (-snr_db / 20)).astype(np.float32)


def shift_speaker(waveform: Waveform, semitones: float) -> Waveform:
    """Imitates another speaker: shifts pitch and formants with a phase vocoder, which preserves the timing."""
    return pitch_shift(waveform, sr=RATE_HZ, n_steps=semitones, n_fft=1024).astype(np.float32)


def _filter(waveform: Waveform, gain: Callable[[np.ndarray], np.ndarray]) -> Waveform:
    size = next_fast_len(len(waveform) + 2048, real=True)
    filtered = irfft(rfft(waveform, size) * gain(rfftfreq(size, 1 / RATE_HZ)), size)
    return filtered[: len(waveform)].astype(np.float32)


def _uniform(ends: Sequence[float], generator: np.random.Generator) -> float:
    low, high = ends
    return generator.uniform(low, high)
