"""Motion of values over the frames of a clip; NaN where a frame shows no face."""

import numpy as np
from jaxtyping import Float
from scipy.signal import savgol_filter

from float_research.metrics.metric import Trace

SMOOTH_S = 0.2
"""Length of the parabola that gives a velocity: landmarks tremble more from frame to frame than heads move."""


def filled(values: Trace) -> Trace:
    """Returns the values with missing ones interpolated, or repeated at the ends."""
    seen = np.isfinite(values)
    numbers = np.arange(len(values))
    return np.interp(numbers, numbers[seen], values[seen]) if seen.any() else values


def velocity(values: Float[np.ndarray, "t *k"], fps: float) -> Float[np.ndarray, "t *k"]:
    """Returns the change in a second, by parabolas fitted to `SMOOTH_S` (Savitzky and Golay, 1964).

    It is NaN where a value is missing, and for clips that are shorter.
    """
    window = max(5, 2 * round(SMOOTH_S * fps / 2) + 1)
    if len(values) < window:
        return np.full(values.shape, np.nan)
    columns = np.stack([filled(column) for column in values.reshape(len(values), -1).T], axis=1)
    change = savgol_filter(columns, window, 2, deriv=1, delta=1 / fps, axis=0).reshape(values.shape)
    return np.where(np.isfinite(values), change, np.nan)


def spectrum(values: Trace, fps: float) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """Returns frequencies in Hz and the variance of the values about each, from Hann's window, without the mean."""
    window = np.hanning(len(values) + 2)[1:-1]
    known = filled(values)
    power = np.abs(np.fft.rfft(window * (known - known.mean()))) ** 2
    power[1 : (len(values) + 1) // 2] *= 2
    return np.fft.rfftfreq(len(values), 1 / fps), power / len(values) / (window**2).sum()


def correlation(a: Trace, b: Trace) -> float:
    """Returns Pearson's correlation where both are known; NaN if one of them is constant there."""
    seen = np.isfinite(a) & np.isfinite(b)
    if seen.sum() < 2 or np.ptp(a[seen]) == 0 or np.ptp(b[seen]) == 0:
        return float("nan")
    return float(np.corrcoef(a[seen], b[seen])[0, 1])
