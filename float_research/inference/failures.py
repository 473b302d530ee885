"""Clips that cannot be made, which do not keep a run from making the others."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from float_research.data.listing import names
from float_research.errors import UserError, printable
from float_research.types import Clip, FailedClip

R = TypeVar("R")


@dataclass(kw_only=True)
class Failures:
    """What failed so far of `num_clips`. Without `skip`, the first ends the run."""

    num_clips: int
    skip: bool
    clips: list[FailedClip] = field(default_factory=list)

    def sift(self, clips: Sequence[Clip], find: Callable[[Clip], R]) -> list[tuple[Clip, R]]:
        """The clips that something is found for. A UserError, which is a file's or a clip's own fault, is kept."""
        found = []
        for clip in clips:
            try:
                found.append((clip, find(clip)))
            except UserError as error:
                if not self.skip:
                    raise
                self.clips.append(FailedClip(clip=clip, reason=str(error)))
        return found

    def require_some(self, tell: Callable[[str], None]) -> None:
        """Raises a UserError where no clip is left to be made, and tells all reasons if there are several."""
        if len(self.clips) < self.num_clips or not self.clips:
            return
        reasons = [clip.reason for clip in self.clips]
        if len(set(reasons)) > 1:
            for line in self.lines():
                tell(line)
        raise UserError(reasons[0] if self.num_clips == 1 else f"none of {self.num_clips} clips is made: {reasons[0]}")

    def lines(self) -> list[str]:
        """How many clips are not made, and a line for each reason."""
        if not self.clips:
            return []
        by_reason: dict[str, list[object]] = defaultdict(list)
        for failed in self.clips:
            by_reason[failed.reason].append(failed.clip.id)
        told = [f"not made: {len(self.clips)} of {self.num_clips} clips"]
        return [*told, *(f"  {names(ids)}: {printable(reason, 2000)}" for reason, ids in by_reason.items())]

    def record(self) -> list[dict[str, Any]]:
        """As the run's record says it."""
        return [
            {
                "id": failed.clip.id,
                "image": str(failed.clip.image),
                "audio": str(failed.clip.audio),
                "reason": failed.reason,
            }
            for failed in self.clips
        ]
