"""Correlation of mouth opening and loudness."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from float_research.errors import UserError
from float_research.metrics.landmarks import few_faces, lip_aperture, read_faces
from float_research.metrics.metric import (
    Better,
    Findings,
    FrameMetric,
    Frames,
    Need,
    Number,
    Subject,
    Trace,
    Watching,
)
from float_research.types import Image, Waveform


@runtime_checkable
class MouthReader(Protocol):
    """Reads the mouth opening from frames of a person, given their neutral portrait."""

    def __call__(self, portrait: Image, /) -> Callable[[UInt8[np.ndarray, "n h w 3"]], Float[np.ndarray, " n"]]: ...


@dataclass(frozen=True, kw_only=True)
class LipSync(FrameMetric):
    """Pearson correlation of the mouth opening with the loudness of the recording.

    `lip_correlation`: at lag 0. `lip_lag_frames`: the lag of the best correlation, up to `max_lag_frames`; positive if
    the mouth is late. `lip_correlation_at_lag`: that correlation. Toy faces are read by `toy_mouth`, which needs
    the portrait, all others by landmarks.
    """

    toy_mouth: MouthReader
    max_lag_frames: int

    numbers = (
        Number("lip_correlation", "correlation", Better.HIGHER, headline=True),
        Number("lip_correlation_at_lag", "correlation", Better.HIGHER),
        Number("lip_lag_frames", "frames", 0.0),
    )
    needs = frozenset({Need.FRAMES, Need.AUDIO})

    def obstacle(self, clip: Subject) -> str | None:
        if reason := super().obstacle(clip):
            return reason
        return clip.without(Need.PORTRAIT) if clip.toy else None

    def watch(self, clip: Subject) -> Watching:
        opening_of = opening_reader(clip, self.toy_mouth)
        seen: list[float] = []  # not small arrays, which would fragment freed memory
        while (frames := (yield)) is not None:
            seen += opening_of(frames).tolist()
        opening = np.array(seen)
        assert clip.waveform is not None
        level = audio_level(clip.waveform, len(opening), clip.fps, clip.sampling_rate_hz)
        found = Findings(traces={"mouth_opening": opening, "audio_level": level})
        try:
            by_lag = correlations(opening, level, self.max_lag_frames)
        except UserError as error:
            return Findings(absent=dict.fromkeys(self.names, str(error)), traces=found.traces)
        best = max(by_lag, key=lambda lag: by_lag[lag])
        found.metrics.update(
            {"lip_correlation": by_lag[0], "lip_correlation_at_lag": by_lag[best], "lip_lag_frames": float(best)}
        )
        return found


def opening_reader(clip: Subject, toy_mouth: MouthReader) -> Callable[[Frames], Trace]:
    """Returns what reads the mouth opening from frames: `toy_mouth` on toy faces, otherwise landmarks."""
    if not clip.toy:
        return lambda frames: lip_aperture(read_faces(frames).points)
    assert clip.portrait is not None
    read = toy_mouth(clip.portrait)
    return lambda frames: read(frames.images)


def audio_level(waveform: Waveform, num_frames: int, fps: float, sampling_rate_hz: int) -> Trace:
    """Returns the root mean square of the samples of each frame; 0 past the end of the recording."""
    edges = np.round(np.arange(num_frames + 1) * sampling_rate_hz / fps).astype(int)
    power = [np.square(waveform[start:end], dtype=np.float64).sum() for start, end in itertools.pairwise(edges)]
    return np.sqrt(np.array(power) / np.diff(edges))


def correlations(opening: Trace, level: Trace, max_lag_frames: int) -> dict[int, float]:
    """Returns lag → correlation, over the frames with a visible mouth and sound.

    Raises:
        UserError: too few frames show a mouth, or mouth or sound is constant.
    """
    if reason := few_faces(opening):
        raise UserError(reason)
    most = min(max_lag_frames, len(opening) // 2 - 1)
    if most < 0:
        raise UserError(f"needs two frames, and the clip has {len(opening)}")
    return {lag: _correlation(opening, level, lag) for lag in range(-most, most + 1)}


def _correlation(opening: Trace, level: Trace, lag: int) -> float:
    late, early = opening[max(lag, 0) :], level[max(-lag, 0) :]
    length = min(len(late), len(early))
    pair = np.stack([late[:length], early[:length]])
    pair = pair[:, np.isfinite(pair[0])]
    for name, values in zip(("mouth", "sound"), pair, strict=True):
        if len(values) < 2 or np.ptp(values) == 0:
            raise UserError(f"the {name} is constant")
    return float(np.corrcoef(pair)[0, 1])
