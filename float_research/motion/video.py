"""Motion taken from the frames of a video, by the motion encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError, printable
from float_research.files import present, require_file
from float_research.motion.curve import Strength
from float_research.motion.edit import Coordinates, Edit
from float_research.motion.meanings import ByAtlas

HOLD, LOOP = ENDS = ("hold", "loop")
"""What follows the last frame of a video that is shorter than the clip."""


@dataclass(frozen=True, kw_only=True)
class FromVideo(Edit):
    """Takes the motion of a video: `λ + s (λ_video - λ)`, or of some meanings alone `m + s (m_video - m)`.

    `take`: names or groups of meanings, by the atlas in `atlas_file`; null: all motion, for which none is needed.
    `relative`: its change since its first frame is added to the portrait's own motion. `end`: hold or loop.
    `strength` s: 0 to 1, a number or keyframes; 0 changes nothing.
    """

    file: str
    take: Sequence[str] | None
    relative: bool
    end: str
    atlas_file: str
    strength: Strength

    limits = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(Path(present(self.file)), "motion.video.file", "give the path of a video")
        if self.end not in ENDS:
            raise UserError(f"motion.video.end={printable(self.end)} is unknown; choose {' or '.join(ENDS)}")
        if self.atlas is not None:
            self.atlas.places("motion.video.take", self.take or ())

    @property
    def atlas_place(self) -> str | None:
        return None if self.take is None else self.atlas_file

    @property
    def driver(self) -> str:
        return self.file

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        strength, driving = self.strength_at(motion.times_s), motion.video(self.file)
        if self.relative:
            driving = motion.portrait + driving - driving[0]
        num = len(driving)
        change = driving[motion.frames % num if self.end == LOOP else motion.frames.clamp(max=num - 1)] - motion.values
        if self.atlas is None:
            return motion.values + strength * change
        places = self.atlas.places("motion.video.take", self.take or ())
        moved = change @ self.atlas.map[places].T.to(change)
        return motion.values + strength * moved @ self.atlas.inverse(places).T.to(change)


@dataclass(frozen=True, kw_only=True)
class Dub(ByAtlas):
    """Takes the motion of the video that the portrait is of, and keeps only `meanings`, such as the mouth, of speech.

    `λ + s (λ_dub - λ)`, where λ_dub is the motion of the video with these meanings of λ. Beyond its end, the video
    holds. `strength` s: 0 to 1, a number or keyframes; 0 changes nothing.
    """

    meanings: Sequence[str]
    strength: Strength

    limits = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.atlas.places("motion.dub.meanings", self.meanings)

    @property
    def dubs(self) -> bool:
        return True

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        strength, own = self.strength_at(motion.times_s), motion.own()
        shown = own[motion.frames.clamp(max=len(own) - 1)]
        places = self.atlas.places("motion.dub.meanings", self.meanings)
        spoken = (motion.values - shown) @ self.atlas.map[places].T.to(shown)
        return motion.values + strength * (shown + spoken @ self.atlas.inverse(places).T.to(shown) - motion.values)
