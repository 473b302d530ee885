"""Clips that fail without ending the run."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from float_research.data.listing import names
from float_research.errors import UserError, printable
from float_research.texts import count
from float_research.types import Clip, FailedClip

R = TypeVar("R")


@dataclass(kw_only=True)
class Failures:
    """The failed clips among `num_clips`. Without `skip`, the first failure ends the run."""

    num_clips: int
    skip: bool
    clips: list[FailedClip] = field(default_factory=list)

    def sift(self, clips: Sequence[Clip], find: Callable[[Clip], R]) -> list[tuple[Clip, R]]:
        """Returns the clips for which `find` succeeds, with its results. Collects each UserError as a failed clip."""
        found = []
        for clip in clips:
            try:
                found.append((clip, find(clip)))
            except UserError as error:
                self.add(FailedClip(clip=clip, reason=str(error)), error)
        return found

    def add(self, failed: FailedClip, error: UserError | None = None) -> None:
        """Collects a failed clip. Without `skip`, raises its error."""
        if not self.skip:
            raise error or UserError(failed.reason)
        self.clips.append(failed)

    def require_some(self, tell: Callable[[str], None]) -> None:
        """Raises a UserError if all clips failed; reports all reasons through `tell` if they differ."""
        if len(self.clips) < self.num_clips or not self.clips:
            return
        reasons = [clip.reason for clip in self.clips]
        if len(set(reasons)) > 1:
            for line in self.lines():
                tell(line)
        raise UserError(reasons[0] if self.num_clips == 1 else f"all {self.num_clips} clips failed: {reasons[0]}")

    def lines(self) -> list[str]:
        """Returns the number of failed clips and a line for each reason."""
        if not self.clips:
            return []
        by_reason: dict[str, list[object]] = defaultdict(list)
        for failed in self.clips:
            by_reason[failed.reason].append(failed.clip.id)
        summary = f"failed: {len(self.clips)} of {count(self.num_clips, 'clip')}"
        return [summary, *(f"  {names(ids)}: {printable(reason, 2000)}" for reason, ids in by_reason.items())]

    def record(self) -> list[dict[str, Any]]:
        """Returns the failures for the run's record."""
        return [
            {
                "id": failed.clip.id,
                "image": str(failed.clip.image),
                "audio": str(failed.clip.audio),
                "reason": failed.reason,
            }
            for failed in self.clips
        ]
