"""THEval's measures of motion and lips (arXiv 2511.04520), after the code that its published values belong to.

That is github.com/Newbyl/THEval at 3603338 (Apache-2.0), which differs from the paper where a docstring says so. THEval
finds points by MediaPipe's earlier face mesh; here they are those of its Face Landmarker. Points are x, y in units of
the picture's width and height; a frame without a face is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from float_research.errors import UserError
from float_research.landmarks.points import (
    LEFT_BROW_LOWER,
    LEFT_BROW_UPPER,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    RIGHT_BROW_LOWER,
    RIGHT_BROW_UPPER,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from float_research.landmarks.pose import angles_deg
from float_research.metrics.landmarks import LIPS, few_faces, read_faces
from float_research.metrics.metric import (
    Findings,
    FrameMetric,
    Frames,
    Need,
    Number,
    Subject,
    Trace,
    Watching,
    tabulate,
)
from float_research.metrics.voice import (
    NO_SILENCE,
    RATE_HZ,
    at_rate,
    silent_frames,
    speech_frames,
    speech_segments,
)
from float_research.types import Waveform

SIDE = 256
"""THEval measures lips in frames that it resizes to squares of this side."""
MIN_SPEECH_SHARE, WINDOW_S = 0.1, 0.05
"""The least share of frames with speech, and the window of loudness."""
TIME_DIGITS = 1
"""Decimal places of seconds to which silero-vad rounds the segments that THEval asks for."""

BROWS = ([*RIGHT_BROW_LOWER, *RIGHT_BROW_UPPER], [*LEFT_BROW_LOWER, *LEFT_BROW_UPPER])
EYES = (sorted({*RIGHT_LID_LOWER, *RIGHT_LID_UPPER}), sorted({*LEFT_LID_LOWER, *LEFT_LID_UPPER}))
CORNERS = (RIGHT_LID_LOWER[0], RIGHT_LID_LOWER[-1]), (LEFT_LID_LOWER[0], LEFT_LID_LOWER[-1])
"""Outer and inner corner of each eye, the person's right eye first."""
UPPER, LOWER = list(LIPS_INNER_UPPER[1:9]), list(LIPS_INNER_LOWER[1:9])
"""Points of the inner lips, of which THEval leaves out those at the corners and beside the left one."""

UNMEASURED: Mapping[str, str] = MappingProxyType(
    {
        "theval_global_aesthetic": "TOPIQ-IAA",
        "theval_mouth_quality": "MUSIQ",
        "theval_face_quality": "TOPIQ's face model",
    }
)
"""Numbers of picture quality, and the networks that THEval computes them by."""
Points = Float[np.ndarray, "n 478 2"]
Lips = Float[np.ndarray, "n 40 2"]


@dataclass(frozen=True, kw_only=True)
class Theval(FrameMetric):
    """Measures a clip by THEval's definitions; `metrics=theval` also scores a run by them.

    `theval_lip_dynamics`: mean standard deviation of the distances between 40 points of the lips. `theval_head_motion`:
    √(σ(angles) · var(Δ angles) + var(centre)), each a mean, in degrees and pixels of the video; the pose is the
    landmarker's and the centre that of its points, where THEval takes FaceXFormer and RetinaFace.
    `theval_brow_dynamics`: mean change of the distance between brow and eye from frame to frame, in eye distances; the
    paper has its standard deviation. `theval_silent_lip_stability`: median absolute deviation of the mouth opening from
    its mean, in eye distances, in silences of 0.3 s or more; 0 if the lips are still. `theval_lip_sync`: mean
    difference of mouth opening and loudness in speech, each scaled to [0, 1].
    """

    numbers = (
        Number("theval_lip_dynamics", "px at 256 px", None),
        Number("theval_head_motion", "√(°³ + px²)", None),
        Number("theval_brow_dynamics", "eye distances", None),
        Number("theval_silent_lip_stability", "eye distances", None),
        Number("theval_lip_sync", "share of the range", None),
        *(Number(name, "score", None) for name in UNMEASURED),
    )
    needs = frozenset({Need.FRAMES})

    def watch(self, clip: Subject) -> Watching:
        def measured(frames: Frames) -> np.ndarray:
            faces, size = read_faces(frames), np.array(frames.images.shape[2:0:-1], dtype=float)
            points = faces.points[..., :2]
            lips = (points[:, LIPS] / size).reshape(len(points), -1)
            columns = [lips, angles_deg(faces.pose), centres(points), brow_heights(points)]
            return np.column_stack([*columns, openings(points / size), wide_openings(points / size)])

        table = yield from tabulate(2 * len(LIPS) + 9, measured)
        lips, angles, middle, brows, both = np.split(table, np.cumsum([2 * len(LIPS), 3, 2, 2]), axis=1)
        opening, wide = both.T
        found = Findings(traces={"theval_mouth_opening": opening})
        for name, network in UNMEASURED.items():
            found.absent[name] = f"needs {network}, a network that this package does not have"
        if reason := few_faces(opening):
            found.absent.update({name: reason for name in self.names if name not in UNMEASURED})
            return found
        seen = np.isfinite(opening)
        found.metrics["theval_lip_dynamics"] = lip_dynamics(lips[seen].reshape(-1, len(LIPS), 2))
        found.metrics["theval_head_motion"] = head_motion(angles[seen], middle[seen])
        found.metrics["theval_brow_dynamics"] = brow_dynamics(brows[seen])
        found.add(self._spoken(clip, opening, wide))
        return found

    def _spoken(self, clip: Subject, opening: Trace, wide: Trace) -> Findings:
        """Returns the numbers that need the recording."""
        names = ("theval_silent_lip_stability", "theval_lip_sync")
        if reason := clip.without(Need.AUDIO):
            return Findings(absent=dict.fromkeys(names, reason))
        assert clip.waveform is not None
        sound = at_rate(clip.waveform, clip.sampling_rate_hz)
        segments = speech_segments(sound)
        found = Findings(traces={"speech": speech_frames(segments, len(opening), clip.fps).astype(float)})
        rounded = [(round(begin, TIME_DIGITS), round(end, TIME_DIGITS)) for begin, end in segments]
        speaking = speech_frames(rounded, len(opening), clip.fps)
        level = loudness(sound, len(opening), clip.fps)
        measures = (
            lambda: silent_lip_stability(opening, silent_frames(speaking, clip.fps)),
            lambda: lip_sync(wide, level, speaking),
        )
        for name, measure in zip(names, measures, strict=True):
            try:
                found.metrics[name] = measure()
            except UserError as error:
                found.absent[name] = str(error)
        return found


def lip_dynamics(lips: Lips) -> float:
    """Returns the mean standard deviation over time of the distances between all pairs of points.

    It divides by the number of frames n; the paper by n - 1.
    """
    spread = [
        np.linalg.norm(lips[:, k + 1 :] - lips[:, k, None], axis=-1).std(axis=0) for k in range(lips.shape[1] - 1)
    ]
    return SIDE * float(np.concatenate(spread).mean())


def head_motion(angles: Float[np.ndarray, "n 3"], middle: Float[np.ndarray, "n 2"]) -> float:
    """Returns √(mean σ of the angles · mean variance of their changes + mean variance of the face's centre)."""
    turning = angles.std(axis=0).mean() * (np.diff(angles, axis=0).var(axis=0).mean() if len(angles) > 1 else 0)
    return float(np.sqrt(turning + middle.var(axis=0).mean()))


def brow_dynamics(heights: Float[np.ndarray, "n 2"]) -> float:
    """Returns the mean absolute change of both brows' heights from one frame with a face to the next."""
    return float(np.abs(np.diff(heights, axis=0)).mean()) if len(heights) > 1 else 0.0


def silent_lip_stability(opening: Trace, silent: Bool[np.ndarray, " n"]) -> float:
    """Returns the median absolute deviation of the silent frames' opening from its mean; the paper: from its median.

    Raises:
        UserError: too few silent frames show a face.
    """
    if not silent.any():
        raise UserError(NO_SILENCE)
    held = opening[silent]
    held = held[np.isfinite(held)]
    if len(held) < 2:
        raise UserError(f"a face was found in {len(held)} of {silent.sum()} silent frames")
    return float(np.median(np.abs(held - held.mean())))


def lip_sync(opening: Trace, level: Trace, speaking: Bool[np.ndarray, " n"]) -> float:
    """Returns the mean absolute difference of opening and loudness in speech, each scaled to [0, 1] there.

    Raises:
        UserError: there is too little speech, or too few of its frames show a face.
    """
    if speaking.mean() < MIN_SPEECH_SHARE:
        raise UserError(f"speech was heard in {speaking.sum()} of {len(speaking)} frames; needs a tenth of them")
    held = speaking & np.isfinite(opening)
    if held.sum() < 2:
        raise UserError(f"a face was found in {held.sum()} of {speaking.sum()} frames with speech")
    return float(np.abs(_scaled(opening[held]) - _scaled(level[held])).mean())


def _scaled(values: Trace) -> Trace:
    return (values - values.min()) / (np.ptp(values) + 1e-8)


def openings(points: Points) -> Trace:
    """Returns the mean vertical gap between the inner lips over the distance between the outer corners of the eyes."""
    gaps = np.abs(points[:, UPPER, 1] - points[:, LOWER, 1]).mean(axis=1)
    return gaps / np.linalg.norm(points[:, CORNERS[0][0]] - points[:, CORNERS[1][0]], axis=-1)


def wide_openings(points: Points) -> Trace:
    """Returns the vertical gap between the middles of the inner lips over the horizontal one between the eyes' centres.

    It is what THEval compares with loudness.
    """
    gaps = np.abs(points[:, UPPER, 1].mean(axis=1) - points[:, LOWER, 1].mean(axis=1))
    right, left = (points[:, corners, 0].mean(axis=1) for corners in CORNERS)
    return gaps / np.abs(left - right)


def centres(points: Points) -> Float[np.ndarray, "n 2"]:
    """Returns the middle of the box that encloses the points."""
    return (points.min(axis=1) + points.max(axis=1)) / 2


def brow_heights(points: Points) -> Float[np.ndarray, "n 2"]:
    """Returns the distance between the centres of brow and eye over that between the eyes, for both sides."""
    eyes = np.stack([points[:, eye].mean(axis=1) for eye in EYES], axis=1)
    brows = np.stack([points[:, brow].mean(axis=1) for brow in BROWS], axis=1)
    apart = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1)
    return np.linalg.norm(brows - eyes, axis=-1) / apart[:, None]


def loudness(waveform: Waveform, num_frames: int, fps: float) -> Trace:
    """Returns the root mean square of windows of `WINDOW_S` at `RATE_HZ`, interpolated at the frames' times.

    Windows are centred on multiples of their length, with silence before and after the recording.
    """
    length = int(RATE_HZ * WINDOW_S)
    padded = np.pad(waveform.astype(np.float64), length // 2)
    windows = padded[: len(padded) // length * length].reshape(-1, length)
    level = np.sqrt(np.square(windows).mean(axis=1))
    return np.interp(np.arange(num_frames) / fps, np.arange(len(level)) * WINDOW_S, level)
