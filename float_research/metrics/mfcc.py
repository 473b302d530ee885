"""Mel-frequency cepstral coefficients as computed by python_speech_features, on which SyncNet was trained."""

import numpy as np
from jaxtyping import Float
from scipy.fft import dct

from float_research.types import Waveform

WINDOW_S, STEP_S = 0.025, 0.01
NUM_FFT, NUM_FILTERS, NUM_CEPSTRA, LIFTER, PREEMPHASIS = 512, 26, 13, 22, 0.97


def mfcc(waveform: Waveform, sampling_rate_hz: int) -> Float[np.ndarray, "t 13"]:
    """Returns 100 rows per second of a waveform in [-1, 1], scaled to 16 bits; the first column is the log energy."""
    samples = np.append(waveform[:1], waveform[1:] - PREEMPHASIS * waveform[:-1]) * 32768.0
    length, step = round(WINDOW_S * sampling_rate_hz), round(STEP_S * sampling_rate_hz)
    num_rows = 1 + max(0, -(-(len(samples) - length) // step))
    padded = np.pad(samples, (0, max(0, (num_rows - 1) * step + length - len(samples))))
    rows = np.lib.stride_tricks.sliding_window_view(padded, length)[::step][:num_rows]
    power = np.abs(np.fft.rfft(rows, NUM_FFT)) ** 2 / NUM_FFT
    energy, mel = power.sum(1), power @ filters(sampling_rate_hz).T
    tiny = np.finfo(float).eps
    cepstra = dct(np.log(np.where(mel == 0, tiny, mel)), type=2, axis=1, norm="ortho")[:, :NUM_CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(NUM_CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstra


def filters(sampling_rate_hz: int) -> Float[np.ndarray, "26 257"]:
    """Returns triangular filters, equally spaced in `mel = 2595 log10(1 + Hz / 700)`, with corners on spectrum bins."""
    mel = np.linspace(0, 2595 * np.log10(1 + sampling_rate_hz / 2 / 700), NUM_FILTERS + 2)
    corners = np.floor((NUM_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / sampling_rate_hz)
    bins = np.arange(NUM_FFT // 2 + 1)
    low, middle, high = (corners[i : i + NUM_FILTERS, None] for i in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.where((bins >= low) & (bins < middle), rising, np.where((bins >= middle) & (bins < high), falling, 0.0))
