"""Speech to motion: co-articulated visemes, and random head sway, nods, blinks and glances.

One recording has many performances: the phones determine the lips, the rest is random. This one-to-many mapping is what
a flow matching model has to learn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.toyface.motion import MOTION, ONE_SIDED
from float_research.toyface.speech import Phone


@dataclass(frozen=True)
class Viseme:
    """Target mouth shape of a phone, and its dominance over neighbouring phones."""

    jaw: float
    width: float = 0.0
    pucker: float = 0.0
    press: float = 0.0
    strength: float = 1.0


VISEMES = {
    "SIL": Viseme(0.0, press=0.05, strength=0.7),
    "AA": Viseme(0.95),
    "AE": Viseme(0.85, 0.5),
    "AH": Viseme(0.60, 0.1),
    "AO": Viseme(0.75, pucker=0.45),
    "EH": Viseme(0.62, 0.4),
    "ER": Viseme(0.38, pucker=0.35),
    "IH": Viseme(0.40, 0.4),
    "IY": Viseme(0.28, 0.85),
    "UH": Viseme(0.38, pucker=0.6),
    "UW": Viseme(0.25, pucker=0.95),
    "B": Viseme(0.0, press=0.75, strength=3.0),
    "P": Viseme(0.0, press=0.85, strength=3.0),
    "M": Viseme(0.0, press=0.65, strength=3.0),
    "F": Viseme(0.06, 0.1, press=0.40, strength=2.0),
    "V": Viseme(0.08, 0.1, press=0.35, strength=2.0),
    "TH": Viseme(0.20, 0.1),
    "DH": Viseme(0.22, 0.1, strength=0.7),
    "T": Viseme(0.16, 0.2, strength=0.8),
    "D": Viseme(0.18, 0.2, strength=0.8),
    "N": Viseme(0.20, 0.2, strength=0.7),
    "L": Viseme(0.28, 0.15, strength=0.7),
    "S": Viseme(0.08, 0.35, strength=1.2),
    "Z": Viseme(0.10, 0.35, strength=1.2),
    "SH": Viseme(0.14, pucker=0.55, strength=1.3),
    "ZH": Viseme(0.14, pucker=0.55, strength=1.3),
    "CH": Viseme(0.14, pucker=0.50, strength=1.3),
    "JH": Viseme(0.14, pucker=0.50, strength=1.3),
    "K": Viseme(0.28, 0.1, strength=0.5),
    "G": Viseme(0.28, 0.1, strength=0.5),
    "NG": Viseme(0.28, 0.1, strength=0.5),
    "HH": Viseme(0.40, strength=0.3),
    "R": Viseme(0.20, pucker=0.45),
    "W": Viseme(0.12, pucker=0.95, strength=1.6),
    "Y": Viseme(0.20, 0.6),
}
DIPHTHONGS = {"AW": ("AA", "UH"), "AY": ("AA", "IY"), "EY": ("EH", "IY"), "OW": ("AO", "UW"), "OY": ("AO", "IY")}
"""Pairs of visemes, each for half of the phone."""
REACH_S = 0.04
"""Time constant of the decay of a viseme's dominance outside its phone."""
OPENING = 1.4
"""Gain that compensates the jaw peaks lost to co-articulation, so that lip motion is visible at 128 px."""


@dataclass(frozen=True, kw_only=True)
class Mood:
    """An emotion's offsets to the pose, and factors of the mouth's amplitude and the head's sway and tempo."""

    pose: dict[str, float] = field(default_factory=dict)
    mouth: float = 1.0
    sway: float = 1.0
    tempo: float = 1.0


MOODS = {
    "angry": Mood(
        pose={"smile": -0.45, "furrow": 0.9, "raise": -0.45, "lids": 0.12, "pitch": 0.2}, mouth=1.15, tempo=1.3
    ),
    "disgust": Mood(pose={"smile": -0.6, "furrow": 0.35, "raise": -0.2, "lids": 0.38, "width": 0.3}, sway=0.8),
    "fear": Mood(
        pose={"smile": -0.3, "furrow": -0.35, "raise": 0.75, "width": 0.4, "scale": -0.4}, sway=0.7, tempo=1.8
    ),
    "happy": Mood(pose={"smile": 0.85, "raise": 0.25, "width": 0.25, "furrow": -0.1}, mouth=1.1, sway=1.2, tempo=1.15),
    "neutral": Mood(),
    "sad": Mood(
        pose={"smile": -0.75, "furrow": 0.15, "raise": 0.3, "lids": 0.33, "pitch": 0.5}, mouth=0.75, sway=0.8, tempo=0.6
    ),
    "surprise": Mood(
        pose={"raise": 1.0, "furrow": -0.4, "jaw": 0.18, "pitch": -0.25, "smile": 0.15}, mouth=1.1, tempo=1.2
    ),
}


def loudness(waveform: Float[Tensor, " s"], num_frames: int) -> Float[Tensor, " t"]:
    """Returns the root mean square of each frame relative to the clip's 95th percentile, at most 1."""
    frames = torch.nn.functional.interpolate(waveform.square()[None, None], size=num_frames * 64, mode="area")
    level = frames.reshape(num_frames, 64).mean(1).sqrt()
    return (level / level.quantile(0.95).clamp_min(1e-6)).clamp(0, 1)


def lips(phones: Sequence[Phone], loud: Float[Tensor, " t"], *, fps: float) -> Float[Tensor, "t v"]:
    """Returns jaw, width, pucker and press of each frame.

    Co-articulation after Cohen and Massaro (1993): outside its phone, a viseme's dominance decays as
    `exp(-distance / REACH_S)`; a frame is the mean of all visemes weighted by dominance and strength. Jaws open more in
    loud or stressed speech.
    """
    targets, starts, ends = [], [], []
    for phone in phones:
        halves = DIPHTHONGS.get(phone.label, (phone.label,))
        length = (phone.end_s - phone.start_s) / len(halves)
        for i, label in enumerate(halves):
            viseme = VISEMES[label]
            jaw = min(viseme.jaw * (0.9 + 0.25 * phone.stress), 1.0)
            targets.append((jaw, viseme.width, viseme.pucker, viseme.press, viseme.strength))
            starts.append(phone.start_s + i * length)
            ends.append(phone.start_s + (i + 1) * length)
    table, start, end = torch.tensor(targets), torch.tensor(starts), torch.tensor(ends)
    time = (torch.arange(len(loud)) + 0.5)[:, None] / fps
    distance = torch.maximum(start - time, time - end).clamp_min(0)
    hold = torch.exp(-distance / REACH_S) * table[:, 4]
    curves = (hold @ table[:, :4]) / hold.sum(1, keepdim=True)
    curves[:, 0] = (OPENING * curves[:, 0] * (0.65 + 0.35 * loud)).clamp(max=1)
    return curves


def perform(
    phones: Sequence[Phone],
    loud: Float[Tensor, " t"],
    emotion: str,
    *,
    fps: float,
    generator: torch.Generator,
) -> Float[Tensor, "t m"]:
    """Samples one performance of a recording.

    Raises:
        UserError: the emotion is unknown.
    """
    if emotion not in MOODS:
        raise UserError(f"emotion {emotion!r} is unknown; choose one of {', '.join(MOODS)}")
    mood, num_frames = MOODS[emotion], len(loud)

    def wander(scale: float, seconds: float) -> Tensor:
        return scale * smooth_noise(num_frames, seconds * fps / mood.tempo, generator)

    mouth = lips(phones, loud, fps=fps)
    stress = _stress(phones, num_frames, fps)
    nods = float(torch.rand((), generator=generator)) * stress
    lifts = float(torch.rand((), generator=generator)) * stress
    gaze_x, gaze_y = _glances(num_frames, fps / mood.tempo, generator)
    strength = 1 + wander(0.12, 1.0)
    motion = {
        "yaw": mood.sway * wander(0.38, 0.7),
        "pitch": mood.sway * (wander(0.28, 0.6) + 0.35 * nods),
        "roll": mood.sway * wander(0.30, 0.9),
        "shift_x": wander(0.22, 1.0),
        "shift_y": wander(0.16, 1.0) + 0.06 * nods,
        "scale": wander(0.25, 1.3),
        "jaw": mood.mouth * mouth[:, 0],
        "width": mood.mouth * mouth[:, 1],
        "pucker": mouth[:, 2],
        "press": mouth[:, 3],
        "smile": wander(0.08, 1.0),
        "raise": wander(0.10, 0.8) + 0.25 * lifts,
        "furrow": wander(0.08, 1.0),
        "lids": torch.zeros(num_frames),
        "gaze_x": gaze_x,
        "gaze_y": gaze_y,
    }
    for name, offset in mood.pose.items():
        motion[name] = motion[name] + offset * strength
    motion["jaw"] = motion["jaw"] * (1 - mouth[:, 3].clamp_max(1))
    blinks = _blinks(num_frames, fps, generator)
    motion["lids"] = motion["lids"] + (1 - motion["lids"]) * blinks
    return torch.stack([motion[name].clamp(0 if name in ONE_SIDED else -1, 1) for name in MOTION], dim=1)


def smooth_noise(num_frames: int, time_constant: float, generator: torch.Generator) -> Float[Tensor, " t"]:
    """Samples a stationary Gaussian process of unit variance: white noise through two one-pole filters."""
    warm_up = math.ceil(6 * time_constant)
    decay = math.exp(-1 / time_constant)
    taps = torch.arange(warm_up, dtype=torch.float32)
    kernel = (taps + 1) * decay**taps
    noise = torch.randn(num_frames + warm_up - 1, generator=generator)
    return torch.nn.functional.conv1d(noise[None, None], (kernel / kernel.norm())[None, None])[0, 0]


def _stress(phones: Sequence[Phone], num_frames: int, fps: float) -> Float[Tensor, " t"]:
    """Returns a curve with a bump of a fifth of a second on each stressed phone."""
    time = (torch.arange(num_frames) + 0.5) / fps
    bumps = torch.zeros(num_frames)
    for phone in phones:
        middle = (phone.start_s + phone.end_s) / 2
        bumps = torch.maximum(bumps, phone.stress * torch.exp(-(((time - middle) / 0.11) ** 2)))
    return bumps


def _blinks(num_frames: int, fps: float, generator: torch.Generator) -> Float[Tensor, " t"]:
    """Samples blinks: lids close within 80 ms and open within 160 ms, every one to six seconds."""
    time = (torch.arange(num_frames) + 0.5) / fps
    lids = torch.zeros(num_frames)
    now = 2.5 * float(torch.rand((), generator=generator))
    while now < num_frames / fps:
        closing, opening = 1 - (now - time) / 0.08, 1 - (time - now) / 0.16
        lids = torch.maximum(lids, torch.where(time < now, closing, opening).clamp(0, 1))
        now += 1.0 + 5.0 * float(torch.rand((), generator=generator)) ** 1.5
    return lids


def _glances(num_frames: int, fps: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Samples gaze that rests on or near the viewer and jumps within one or two frames, every 0.5 to 2.5 seconds."""
    gaze = torch.zeros(num_frames, 2)
    start = 0
    while start < num_frames:
        end = start + max(int(fps * (0.5 + 2.0 * float(torch.rand((), generator=generator)))), 1)
        away = float(torch.rand((), generator=generator)) < 0.45
        target = torch.randn(2, generator=generator) * torch.tensor([0.45, 0.25])
        gaze[start:end] = target if away else 0.15 * target
        start = end
    eased = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(gaze.T[None], (1, 1), mode="replicate"), 3, 1)[0]
    return eased[0].clamp(-1, 1), eased[1].clamp(-1, 1)
