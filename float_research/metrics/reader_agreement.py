"""Agreement of the two ways to read a mouth, on drawn heads."""

from dataclasses import dataclass

import numpy as np

from float_research.metrics.landmarks import few_faces, lip_aperture, read_faces
from float_research.metrics.lip_sync import MouthReader
from float_research.metrics.metric import (
    Better,
    Findings,
    FrameMetric,
    Frames,
    Need,
    Number,
    Subject,
    Watching,
    tabulate,
)
from float_research.metrics.series import correlation


@dataclass(frozen=True, kw_only=True)
class ReaderAgreement(FrameMetric):
    """Compares the mouth that landmarks see with what the toy reader sees, which `lip_sync` uses on toy faces.

    `reader_correlation`: Pearson correlation of both over the frames. `reader_face_share`: share of the frames in which
    the landmarker found the drawn head.
    """

    toy_mouth: MouthReader

    numbers = (
        Number("reader_correlation", "correlation", Better.HIGHER),
        Number("reader_face_share", "share of frames", Better.HIGHER),
    )
    needs = frozenset({Need.FRAMES, Need.PORTRAIT})

    def obstacle(self, clip: Subject) -> str | None:
        return super().obstacle(clip) or (None if clip.toy else "the toy reader reads toy faces only")

    def watch(self, clip: Subject) -> Watching:
        assert clip.portrait is not None
        read = self.toy_mouth(clip.portrait)

        def measured(frames: Frames) -> np.ndarray:
            return np.column_stack([lip_aperture(read_faces(frames).points), read(frames.images)])

        aperture, opening = (yield from tabulate(2, measured)).T
        found = Findings(metrics={"reader_face_share": float(np.isfinite(aperture).mean())})
        together = correlation(aperture, opening)
        if reason := few_faces(aperture):
            found.absent["reader_correlation"] = reason
        elif np.isfinite(together):
            found.metrics["reader_correlation"] = together
        else:
            found.absent["reader_correlation"] = "the mouth is constant"
        return found
