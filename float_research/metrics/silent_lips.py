"""Motion of the lips where the recording is silent."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from float_research.errors import UserError
from float_research.metrics.landmarks import few_faces
from float_research.metrics.lip_sync import MouthReader, opening_reader
from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Trace, Watching
from float_research.metrics.voice import NO_SILENCE, at_rate, silent_frames, speech_frames, speech_segments


@dataclass(frozen=True, kw_only=True)
class SilentLips(FrameMetric):
    """Measures how much the lips move in silences of 0.3 s or more, as Silero VAD hears them.

    `silent_lip_motion`: mean speed of the mouth opening there, without `margin_s` before and after speech, in which
    lips prepare it and come to rest. `silent_lip_motion_share`: over the mean speed in speech, 0 if the lips rest, 1 if
    they move as much as in speech. `silence_share`: share of frames in such silences. The opening is that of
    `metrics=lip_sync`: of toy faces, that of `toy_mouth` in its own unit.
    """

    toy_mouth: MouthReader
    margin_s: float

    numbers = (
        Number("silent_lip_motion", "eye distances/s", Better.LOWER),
        Number("silent_lip_motion_share", "share of speech", Better.LOWER, headline=True),
        Number("silence_share", "share of frames", None),
    )
    needs = frozenset({Need.FRAMES, Need.AUDIO})

    def __post_init__(self) -> None:
        if self.margin_s < 0:
            raise UserError(f"metrics.silent_lips.margin_s={self.margin_s} must be 0 or more, such as 0.1")

    def obstacle(self, clip: Subject) -> str | None:
        if reason := super().obstacle(clip):
            return reason
        return clip.without(Need.PORTRAIT) if clip.toy else None

    def watch(self, clip: Subject) -> Watching:
        opening_of = opening_reader(clip, self.toy_mouth)
        seen: list[float] = []
        while (frames := (yield)) is not None:
            seen += opening_of(frames).tolist()
        opening = np.array(seen)
        assert clip.waveform is not None
        segments = speech_segments(at_rate(clip.waveform, clip.sampling_rate_hz))
        speaking = speech_frames(segments, len(opening), clip.fps)
        wide = [(begin - self.margin_s, end + self.margin_s) for begin, end in segments]
        silent = silent_frames(speaking, clip.fps)
        resting = silent & ~speech_frames(wide, len(opening), clip.fps)
        found = Findings(traces={"mouth_opening": opening, "speech": speaking.astype(float)})
        found.metrics["silence_share"] = float(silent.mean()) if len(silent) else 0.0
        names = ("silent_lip_motion", "silent_lip_motion_share")
        if reason := few_faces(opening) or (None if silent.any() else NO_SILENCE):
            found.absent.update(dict.fromkeys(names, reason))
            return found
        rest, speech = speed(opening, resting, clip.fps), speed(opening, speaking, clip.fps)
        if np.isnan(rest):
            reason = "no two frames in a row show a face in silence"
            found.absent.update(dict.fromkeys(names, reason))
            return found
        found.metrics["silent_lip_motion"] = rest
        if speech > 0:
            found.metrics["silent_lip_motion_share"] = rest / speech
        else:
            found.absent["silent_lip_motion_share"] = "needs speech in which the lips are seen to move"
        return found


def speed(opening: Trace, chosen: Bool[np.ndarray, " t"], fps: float) -> float:
    """Returns the mean absolute change of the opening per second between neighbours of chosen frames; NaN if none."""
    steps = np.abs(np.diff(opening))[chosen[1:] & chosen[:-1]]
    steps = steps[np.isfinite(steps)]
    return fps * float(steps.mean()) if len(steps) else float("nan")
