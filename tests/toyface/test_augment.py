"""Augmentation changes the sound of speech, but not its timing."""

from dataclasses import replace

import numpy as np
import pytest

from float_research.toyface.augment import Augmentation, add_noise, reverberate, shift_speaker, tilt
from float_research.toyface.recordings import recordings

SPEECH = recordings()[0].waveform
ALL = Augmentation(
    gain_db=(-6, 3),
    tilt_db=(-2, 2),
    room_probability=1.0,
    reverberation_s=(0.1, 0.4),
    direct_to_room_db=(3, 12),
    noise_probability=1.0,
    snr_db=(10, 30),
    shift_probability=1.0,
    shift_semitones=(-1.5, 1.5),
)
NONE = replace(ALL, room_probability=0.0, noise_probability=0.0, shift_probability=0.0, gain_db=(0, 0), tilt_db=(0, 0))


def envelope(waveform: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(waveform[: len(waveform) // 160 * 160]).reshape(-1, 160).mean(1))


def lag(waveform: np.ndarray) -> int:
    """Returns the delay of the loudness curve to the original, in units of 10 ms."""
    one, two = (curve - curve.mean() for curve in (envelope(SPEECH), envelope(waveform)))
    return int(np.correlate(two, one, "full").argmax()) - len(one) + 1


@pytest.mark.parametrize("seed", range(4))
def test_length_and_timing_are_preserved(seed: int) -> None:
    new = ALL(SPEECH, np.random.default_rng(seed))
    assert new.shape == SPEECH.shape
    assert new.dtype == np.float32
    assert np.abs(new).max() <= 1
    assert abs(lag(new)) <= 1
    assert np.corrcoef(envelope(SPEECH), envelope(new))[0, 1] > 0.8


def test_augmentation_depends_on_the_generator() -> None:
    one, two, again = (ALL(SPEECH, np.random.default_rng(seed)) for seed in (1, 2, 1))
    assert np.array_equal(one, again)
    assert not np.allclose(one, two)
    np.testing.assert_allclose(NONE(SPEECH, np.random.default_rng(0)), SPEECH, atol=1e-5)


def test_each_augmentation_has_its_effect() -> None:
    generator = np.random.default_rng(0)
    noise = add_noise(SPEECH, 20.0, 1.0, generator) - SPEECH
    assert 20 * np.log10(SPEECH.std() / noise.std()) == pytest.approx(20, abs=0.5)
    room = reverberate(SPEECH, 0.3, 6.0, generator) - SPEECH
    assert 20 * np.log10(SPEECH.std() / room.std()) == pytest.approx(6, abs=3)
    tones = np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000).astype(np.float32)
    assert 20 * np.log10(tilt(tones, 3.0)[2000:14000].std() / tones.std()) == pytest.approx(3, abs=0.1)
    shifted = shift_speaker(tones, 12.0)
    assert np.abs(np.fft.rfft(shifted)).argmax() == pytest.approx(4000, abs=20)
