"""Motion of the lips, its rhythm, and whether they close where they must."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from float_research.errors import UserError
from float_research.metrics.alignment import PhoneTimes, SpokenPhone, read_alignment
from float_research.metrics.landmarks import actions, few_faces, lip_aperture, lip_width, read_faces
from float_research.metrics.lip_sync import audio_level
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
    tabulate,
)
from float_research.metrics.series import spectrum

SYLLABLES_HZ = (2.0, 7.0)
MIN_S = 1.0
"""The least length of a spectrum: shorter clips hardly hold two periods of the slowest syllables."""
CONSTANT = 1e-4
"""Eye distances: a mouth whose aperture varies less does not move."""
UNKNOWN = "the phones of this recording are not known; give metrics.lips.alignment=FILE.csv"


@dataclass(frozen=True, kw_only=True)
class Lips(FrameMetric):
    """Measures aperture, width and pucker of the lips, their rhythm, and their closure on m, b and p.

    `lip_aperture_…`: gap between the middles of the inner lips. `lip_width_…`: between the outer corners. `pucker_…`:
    blendshape mouthPucker. Means and standard deviations.

    `lip_dynamics`: standard deviation of the aperture between 2 and 7 Hz, the rhythm of syllables, to which mouths and
    voices are both tuned (Chandrasekaran et al., 2009, doi 10.1371/journal.pcbi.1000436). `lip_dynamics_hz`: mean
    frequency of the aperture, weighted by its variance. `lip_dynamics_ratio`: the share of the aperture's variance that
    lies between 2 and 7 Hz, over the same share of the loudness of the recording, the speech that is to be seen.

    `bilabial_closure`: share of m, b and p for which the aperture falls below `closed` eye distances within the phone,
    a frame before it, or one after it. `bilabial_dip`: how far below its mean the aperture then falls, on average, in
    its standard deviations. The phones are those in `alignment`, a CSV file with the columns id, phone, start_s and
    end_s, or else those that `phones` knows.
    """

    closed: float
    alignment: str | None
    phones: PhoneTimes

    numbers = (
        Number("lip_aperture_mean", "eye distances", None),
        Number("lip_aperture_std", "eye distances", None),
        Number("lip_width_mean", "eye distances", None),
        Number("lip_width_std", "eye distances", None),
        Number("pucker_mean", "0 to 1", None),
        Number("pucker_std", "0 to 1", None),
        Number("lip_dynamics", "eye distances", None),
        Number("lip_dynamics_hz", "Hz", None),
        Number("lip_dynamics_ratio", "ratio", 1.0),
        Number("bilabial_closure", "share of m, b, p", Better.HIGHER, headline=True),
        Number("bilabial_dip", "standard deviations", Better.HIGHER),
    )
    needs = frozenset({Need.FRAMES})

    def __post_init__(self) -> None:
        if not 0 < self.closed < 1:
            raise UserError(f"metrics.lips.closed={self.closed} must be between 0 and 1, such as 0.05")

    def watch(self, clip: Subject) -> Watching:
        def measured(frames: Frames) -> np.ndarray:
            seen = read_faces(frames)
            return np.column_stack([lip_aperture(seen.points), lip_width(seen.points), actions(seen, "mouthPucker")])

        aperture, width, pucker = (yield from tabulate(3, measured)).T
        if reason := few_faces(aperture):
            raise UserError(reason)
        traces = {"lip_aperture": aperture, "lip_width": width, "pucker": pucker}
        found = Findings(traces=traces)
        for name, values in traces.items():
            found.metrics[f"{name}_mean"], found.metrics[f"{name}_std"] = np.nanmean(values), np.nanstd(values)
        found.add(self._rhythm(clip, aperture))
        found.add(self._bilabials(clip, aperture))
        return found

    def _rhythm(self, clip: Subject, aperture: Trace) -> Findings:
        names = ("lip_dynamics", "lip_dynamics_hz", "lip_dynamics_ratio")
        if len(aperture) < MIN_S * clip.fps:
            return Findings(absent=dict.fromkeys(names, f"needs {MIN_S:g} s of video"))
        hz, power = spectrum(aperture, clip.fps)
        syllables = (hz >= SYLLABLES_HZ[0]) & (hz <= SYLLABLES_HZ[1])
        found = Findings(metrics={names[0]: float(np.sqrt(power[syllables].sum()))})
        if np.nanstd(aperture) < CONSTANT:
            found.absent.update(dict.fromkeys(names[1:], "the mouth is constant"))
            return found
        found.metrics[names[1]] = float((hz * power).sum() / power.sum())
        if reason := clip.without(Need.AUDIO):
            found.absent[names[2]] = reason
            return found
        assert clip.waveform is not None
        level = audio_level(clip.waveform, len(aperture), clip.fps, clip.sampling_rate_hz)
        _, heard = spectrum(level, clip.fps)
        if heard[syllables].sum() > 0:
            shares = [values[syllables].sum() / values.sum() for values in (power, heard)]
            found.metrics[names[2]] = float(shares[0] / shares[1])
        else:
            found.absent[names[2]] = "the sound is constant"
        return found

    def _bilabials(self, clip: Subject, aperture: Trace) -> Findings:
        names = ("bilabial_closure", "bilabial_dip")
        try:
            phones = [spoken for spoken in self._spoken(clip) if spoken.is_bilabial]
        except UserError as error:
            return Findings(absent=dict.fromkeys(names, str(error)))
        found = Findings(traces={"bilabial": spoken_frames(phones, len(aperture), clip.fps)})
        least = least_apertures(aperture, phones, clip.fps)
        if not len(least):
            found.absent.update(dict.fromkeys(names, "no m, b or p is spoken while a face is seen"))
            return found
        found.metrics[names[0]] = float((least < self.closed).mean())
        if (deviation := np.nanstd(aperture)) < CONSTANT:
            found.absent[names[1]] = "the mouth is constant"
        else:
            found.metrics[names[1]] = float((np.nanmean(aperture) - least.mean()) / deviation)
        return found

    def _spoken(self, clip: Subject) -> Sequence[SpokenPhone]:
        """Raises a UserError if the phones are not known."""
        if self.alignment is not None:
            return read_alignment(Path(self.alignment), clip.id)
        if reason := clip.without(Need.AUDIO):
            raise UserError(reason)
        assert clip.waveform is not None
        known = self.phones(clip.waveform, clip.sampling_rate_hz)
        if known is None:
            raise UserError(UNKNOWN)
        return [SpokenPhone(*phone[:3]) for phone in known]


def spoken_frames(phones: Sequence[SpokenPhone], num_frames: int, fps: float) -> Trace:
    """Returns 1 in the frames that show a part of one of the phones, and 0 in the others."""
    spoken = np.zeros(num_frames)
    for phone in phones:
        spoken[int(phone.start_s * fps) : int(np.ceil(phone.end_s * fps))] = 1
    return spoken


def least_apertures(aperture: Trace, phones: Sequence[SpokenPhone], fps: float) -> np.ndarray:
    """Returns the least aperture about each phone, for those in which a face is seen."""
    found = []
    for phone in phones:
        near = aperture[max(0, int(phone.start_s * fps) - 1) : int(np.ceil(phone.end_s * fps)) + 1]
        if np.isfinite(near).any():
            found.append(float(np.nanmin(near)))
    return np.array(found)
