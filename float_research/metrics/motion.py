"""Statistics of the motion latents."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from float_research.metrics.metric import Better, Findings, MotionMetric, Need, Number, Subject
from float_research.metrics.track import MotionTrack
from float_research.texts import count

DERIVATIVES = {"motion_velocity": "s", "motion_acceleration": "s²", "motion_jerk": "s³"}
STILL = "the motion is constant"
NEGLIGIBLE = 1e-3
"""The share of the motion's energy below which a direction is left out of `repetition`."""


@dataclass(frozen=True, kw_only=True)
class Motion(MotionMetric):
    """Amplitude, derivatives, and jumps between windows, in units of the latent and seconds.

    `motion_amplitude`: `sqrt(mean_τ ‖r_τ - mean r‖²)`. Velocity, acceleration, jerk: mean norms of the first to third
    difference times fps, fps², fps³. `seam_jump`: mean step into a new window over the median step, 1 if seams are
    invisible. `repetition`: the largest autocorrelation `Σ c_τ c_(τ+l) / Σ c_τ²` of a coordinate minus its mean, over
    directions and over lags l of at least a window; near 1 for looped motion. `off_directions`: `‖r - r Q Qᵀ‖ / ‖r‖`,
    the share of the motion outside the span of the decoder's directions.
    """

    numbers = (
        Number("motion_amplitude", "latent units", None, headline=True),
        *(Number(name, f"latent units/{unit}", None) for name, unit in DERIVATIVES.items()),
        Number("seam_jump", "median steps", 1.0, headline=True),
        Number("repetition", "autocorrelation", Better.LOWER, headline=True),
        Number("off_directions", "share of motion", Better.LOWER),
    )
    needs = frozenset({Need.MOTION})

    def measure(self, clip: Subject, track: MotionTrack) -> Findings:
        motion, basis = track.motion.double(), track.directions.double()
        found = Findings()
        found.metrics["motion_amplitude"] = float((motion - motion.mean(0)).square().sum(1).mean().sqrt())
        steps = motion
        for order, name in enumerate(DERIVATIVES, 1):
            steps = steps.diff(dim=0) * clip.fps
            if len(steps):
                found.metrics[name] = float(steps.norm(dim=1).mean())
            else:
                found.absent[name] = f"needs more than {count(order, 'frame')}, and the clip has {len(motion)}"
        _seams(found, motion, track.window_starts)
        coordinates, length = motion @ basis, motion.norm()
        _repetition(found, coordinates, track.window_starts)
        if length > 0:
            found.metrics["off_directions"] = float((motion - coordinates @ basis.T).norm() / length)
        else:
            found.absent["off_directions"] = STILL
        found.traces.update(_traces(clip, track, coordinates))
        return found


def _seams(found: Findings, motion: Float[Tensor, "t d"], window_starts: Int[Tensor, " c"]) -> None:
    steps = motion.diff(dim=0).norm(dim=1)
    if len(window_starts) < 2:
        found.absent["seam_jump"] = "the clip is one window"
    elif not steps.median() > 0:
        found.absent["seam_jump"] = STILL
    else:
        found.metrics["seam_jump"] = float(steps[window_starts[1:] - 1].mean() / steps.median())


def _repetition(found: Findings, coordinates: Float[Tensor, "t m"], window_starts: Int[Tensor, " c"]) -> None:
    centred = coordinates - coordinates.mean(0)
    energy = centred.square().sum(0)
    moving = energy > NEGLIGIBLE * energy.sum()
    if len(window_starts) < 2:
        found.absent["repetition"] = "the clip is one window"
    elif not moving.any():
        found.absent["repetition"] = STILL
    else:
        spectrum = torch.fft.rfft(centred[:, moving], n=2 * len(centred), dim=0)
        products = torch.fft.irfft(spectrum.abs().square(), n=2 * len(centred), dim=0)
        window = int(window_starts[1] - window_starts[0])
        found.metrics["repetition"] = float((products[window : len(centred)] / energy[moving]).max())


def _traces(clip: Subject, track: MotionTrack, coordinates: Float[Tensor, "t m"]) -> dict[str, Float[np.ndarray, " t"]]:
    """Returns for each frame the velocity into it, its window, its coordinates along the directions, its emotion."""
    num_frames = len(track.motion)
    velocity = np.full(num_frames, np.nan)
    velocity[1:] = track.motion.double().diff(dim=0).norm(dim=1).numpy() * clip.fps
    window = torch.searchsorted(track.window_starts, torch.arange(num_frames), right=True) - 1
    traces = {"motion_velocity": velocity, "window": window.double().numpy()}
    traces |= {f"direction_{k:02}": column.numpy() for k, column in enumerate(coordinates.unbind(1))}
    emotion = track.emotion.double()
    return traces | {f"emotion_{name}": emotion[:, k].numpy() for k, name in enumerate(clip.emotions)}
