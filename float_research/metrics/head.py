"""Motion of the head, from its pose."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.landmarks.pose import ANGLES, angles_deg
from float_research.metrics.landmarks import eye_centres, eye_distance, few_faces, read_faces
from float_research.metrics.lip_sync import audio_level
from float_research.metrics.metric import Findings, FrameMetric, Frames, Need, Number, Subject, Watching, tabulate
from float_research.metrics.series import correlation, velocity

STILL = 1e-3
"""Degrees in a second: slower is no motion."""


@dataclass(frozen=True, kw_only=True)
class Head(FrameMetric):
    """Measures how fast the head turns and shifts, and whether it does so with the voice.

    `yaw_velocity_deg_s`, …: root mean square. `head_sway_energy`: mean square of the speed of turning, the sum of the
    squares of the three. `head_shift_velocity`: root mean square of the speed of the middle between the eyes in the
    picture. `head_loudness_correlation`: Pearson correlation of the speed of turning with the loudness. Velocities are
    those of parabolas over 0.2 s. The ranges of the angles are numbers of `face`.
    """

    numbers = (
        *(Number(f"{angle}_velocity_deg_s", "°/s", None) for angle in ANGLES),
        Number("head_sway_energy", "°²/s²", None),
        Number("head_shift_velocity", "eye distances/s", None),
        Number("head_loudness_correlation", "correlation", None),
    )
    needs = frozenset({Need.FRAMES})

    def watch(self, clip: Subject) -> Watching:
        def measured(frames: Frames) -> np.ndarray:
            seen = read_faces(frames)
            middle = eye_centres(seen.points)[..., :2].mean(1)
            return np.column_stack([angles_deg(seen.pose), middle, eye_distance(seen.points)])

        table = yield from tabulate(6, measured)
        if reason := few_faces(table[:, 0]):
            raise UserError(reason)
        turning = velocity(table[:, :3], clip.fps)
        if not np.isfinite(turning).any():
            raise UserError(f"needs 0.2 s of video, and the clip has {len(table)} frames")
        speed = np.linalg.norm(turning, axis=1)
        shift = np.linalg.norm(velocity(table[:, 3:5], clip.fps), axis=1) / np.nanmedian(table[:, 5])
        found = Findings(
            metrics={
                **{f"{name}_velocity_deg_s": rms for name, rms in zip(ANGLES, _rms(turning), strict=True)},
                "head_sway_energy": float(np.nanmean(speed**2)),
                "head_shift_velocity": float(_rms(shift)),
            },
            traces={"head_speed_deg_s": speed, "head_shift_velocity": shift},
        )
        if reason := clip.without(Need.AUDIO):
            found.absent["head_loudness_correlation"] = reason
            return found
        assert clip.waveform is not None
        level = audio_level(clip.waveform, len(table), clip.fps, clip.sampling_rate_hz)
        together = correlation(speed, level) if np.nanmax(speed) > STILL else np.nan
        if np.isfinite(together):
            found.metrics["head_loudness_correlation"] = together
        else:
            found.absent["head_loudness_correlation"] = "the head does not move, or the sound is constant"
        return found


def _rms(values: Float[np.ndarray, "t *k"]) -> Any:
    return np.sqrt(np.nanmean(values**2, axis=0))
