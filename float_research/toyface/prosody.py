"""Emotion as prosody: changes of pitch, tempo, loudness, pauses and timbre for each of the seven emotions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from float_research.errors import UserError
from float_research.toyface.augment import tilt
from float_research.toyface.phones import SILENCE
from float_research.toyface.speech import RATE_HZ, Phone, fill_gaps, resample
from float_research.types import Waveform

CONTROL_HZ = 200
"""Sampling rate of the pitch and loudness curves."""
OVERSAMPLING = 4
PAUSE_S = 0.12
"""Shorter silences are closures of the mouth, not pauses."""
LEVEL_DB = -25.0
"""Root mean square of neutral speech without pauses, relative to full scale."""
PEAK = 0.97


@dataclass(frozen=True, kw_only=True)
class Prosody:
    """Prosody of an utterance. Neutral factors are 1 and neutral differences 0; pitch differences are in semitones."""

    pitch: float
    """Factor of the mean pitch."""
    rate: float
    """Factor of the tempo."""
    pause: float
    """Factor of the length of pauses."""
    hesitation: float
    """Probability of a pause after a word."""
    gain_db: float
    slope: float
    """Change of pitch from the first sound to the last."""
    final: float
    """Additional change of pitch over the last 0.4 s."""
    accent: float
    """Rise of pitch on stressed vowels."""
    accent_db: float
    """Rise of loudness on stressed vowels."""
    tremor: float
    """Amplitude of pitch tremor at 5 to 7 Hz, with a loudness tremor in phase."""
    tilt_db: float
    """Spectral tilt: decibels per octave, relative to 1 kHz."""


def _prosody(**changes: float) -> Prosody:
    plain = {field.name: 0.0 for field in fields(Prosody)} | {"pitch": 1.0, "rate": 1.0, "pause": 1.0, "slope": -2.0}
    return Prosody(**{**plain, **changes})


PROSODIES = {
    "angry": _prosody(pitch=0.98, rate=1.2, pause=0.6, gain_db=6, slope=-4, final=-2, accent=2, accent_db=8, tilt_db=4),
    "disgust": _prosody(
        pitch=0.84, rate=0.8, pause=1.5, hesitation=0.05, slope=-6, final=-5, accent=-1.5, accent_db=3, tilt_db=0.5
    ),
    "fear": _prosody(
        pitch=1.25, rate=1.35, pause=1.2, hesitation=0.08, gain_db=-4, slope=1, tremor=1.5, accent=0.5, tilt_db=-1
    ),
    "happy": _prosody(
        pitch=1.2, rate=1.08, pause=0.8, gain_db=3, slope=1, final=-2, accent=5.5, accent_db=2, tilt_db=1.5
    ),
    "neutral": _prosody(),
    "sad": _prosody(
        pitch=0.9, rate=0.72, pause=2.2, hesitation=0.12, gain_db=-7, slope=-2, accent=-0.5, accent_db=-4, tilt_db=-3
    ),
    "surprise": _prosody(pitch=1.15, rate=0.9, pause=1.2, gain_db=2, slope=4, final=7, accent=1.5, accent_db=2),
}
SPREAD = {
    "pitch": 0.03,
    "rate": 0.04,
    "pause": 0.15,
    "hesitation": 0.02,
    "gain_db": 1.0,
    "slope": 0.8,
    "final": 0.6,
    "accent": 0.4,
    "accent_db": 0.7,
    "tremor": 0.08,
    "tilt_db": 0.3,
}
"""Standard deviations between utterances: of the logarithm for factors, else of the value."""


def sample_prosody(emotion: str, generator: np.random.Generator) -> Prosody:
    """Samples the prosody of an utterance with an emotion.

    Raises:
        UserError: the emotion is unknown.
    """
    if emotion not in PROSODIES:
        raise UserError(f"emotion {emotion!r} is unknown; choose one of {', '.join(PROSODIES)}")
    values = {}
    for field in fields(Prosody):
        value, change = getattr(PROSODIES[emotion], field.name), SPREAD[field.name] * generator.standard_normal()
        values[field.name] = value * np.exp(change) if field.name in {"pitch", "rate", "pause"} else value + change
    return Prosody(**{name: float(value) for name, value in values.items()})


def add_hesitations(text: str, prosody: Prosody, generator: np.random.Generator) -> str:
    """Inserts commas into the text where its speaker hesitates."""
    words = text.split()
    for i, word in enumerate(words[:-1]):
        if generator.random() < prosody.hesitation and word[-1].isalpha() and word.lower() not in {"a", "an", "the"}:
            words[i] = word + ","
    return " ".join(words)


def inflect(
    waveform: Waveform,
    rate_hz: int,
    phones: Sequence[Phone],
    prosody: Prosody,
    generator: np.random.Generator,
) -> tuple[Waveform, tuple[Phone, ...]]:
    """Gives neutral speech a pitch curve, accents, pauses, loudness and timbre; returns it at 16 kHz with new timings.

    Pitch is changed by the playback speed: a stretch of source time `ds` lasts `ds / factor`, which also shifts the
    formants. Pauses last `pause` times as long. The same time warp is applied to the phones.
    """
    duration_s = len(waveform) / rate_hz
    time = np.arange(int(duration_s * CONTROL_HZ) + 2) / CONTROL_HZ
    stress, silent = _curves(phones, time)
    spoken = [phone for phone in phones if phone.label != SILENCE]
    begin, end = (spoken[0].start_s, spoken[-1].end_s) if spoken else (0.0, duration_s)
    progress = ((time - begin) / max(end - begin, 0.1)).clip(0, 1)
    phase = 2 * np.pi * (generator.uniform(5, 7) * time + generator.random())
    trembling = np.sin(phase)
    semitones = (
        prosody.slope * (progress - 0.5)
        + prosody.final * ((time - end) / 0.4 + 1).clip(0, 1)
        + prosody.accent * stress
        + prosody.tremor * trembling
    )
    factor = prosody.pitch * 2 ** (semitones / 12)
    lasting = np.where(silent, prosody.pause, 1 / factor)
    new_time = np.concatenate([[0.0], np.cumsum((lasting[1:] + lasting[:-1]) / 2) / CONTROL_HZ])
    total_s = float(np.interp(duration_s, time, new_time))
    fine = resample(waveform, rate_hz, rate_hz * OVERSAMPLING)
    places = np.interp(np.arange(int(total_s * rate_hz * OVERSAMPLING)) / (rate_hz * OVERSAMPLING), new_time, time)
    loudness_db = prosody.accent_db * stress + 2.0 * prosody.tremor * trembling
    fine = np.interp(places * rate_hz * OVERSAMPLING, np.arange(len(fine)), fine)
    fine = fine * 10 ** (np.interp(places, time, loudness_db) / 20)
    new = resample(fine.astype(np.float32), rate_hz * OVERSAMPLING, RATE_HZ)
    moved = [
        phone._replace(
            start_s=float(np.interp(phone.start_s, time, new_time)), end_s=float(np.interp(phone.end_s, time, new_time))
        )
        for phone in phones
    ]
    covered = fill_gaps(moved, len(new) / RATE_HZ)
    return level(tilt(new, prosody.tilt_db), covered, LEVEL_DB + prosody.gain_db), covered


def level(waveform: Waveform, phones: Sequence[Phone], level_db: float) -> Waveform:
    """Scales the speech to a root mean square of `level_db` relative to full scale, or less if it would clip."""
    time = np.arange(len(waveform)) / RATE_HZ
    sounding = np.zeros(len(waveform), dtype=bool)
    for phone in phones:
        sounding |= (phone.label != SILENCE) & (time >= phone.start_s) & (time < phone.end_s)
    rms = np.sqrt(np.square(waveform[sounding]).mean()) if sounding.any() else 0.0
    gain = min(10 ** (level_db / 20) / max(rms, 1e-6), PEAK / max(float(np.abs(waveform).max(initial=0)), 1e-6))
    return (waveform * gain).astype(np.float32)


def _curves(phones: Sequence[Phone], time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns stress as a smooth curve in [0, 1], and a mask of pauses."""
    stress, silent = np.zeros(len(time)), np.zeros(len(time), dtype=bool)
    for phone in phones:
        inside = (time >= phone.start_s) & (time < phone.end_s)
        silent |= inside & (phone.label == SILENCE) & (phone.end_s - phone.start_s > PAUSE_S)
        stress = np.maximum(stress, phone.stress * inside)
    window = np.hanning(int(0.1 * CONTROL_HZ) + 2)
    return np.convolve(stress, window / window.sum(), "same"), silent
