"""Clips that an earlier run finished: which are kept, and which code rendered them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from float_research.errors import UserError
from float_research.files import sha256
from float_research.folders import KEEP
from float_research.inference.plan import PlannedClip
from float_research.metrics.metric import Metric
from float_research.metrics.track import SUFFIX
from float_research.texts import count
from float_research.tracking import record
from float_research.tracking.record import RunIdentity
from float_research.types import WHOLE


@dataclass(frozen=True, kw_only=True)
class Before:
    """Existing clips of the same settings, weights and inputs, rendered by the same code or by other code."""

    same: Sequence[PlannedClip]
    other: Sequence[PlannedClip]

    def kept(self, resume: bool | str) -> list[PlannedClip]:
        return [*self.same, *(self.other if resume == KEEP else [])]

    def told(self, resume: bool | str) -> list[str]:
        """Returns a line that says what happens to clips of other code."""
        if not self.other:
            return []
        fate = "kept and marked" if resume == KEEP else "made again; resume=keep keeps them"
        return [f"{count(len(self.other), 'clip')} of other code or other versions of packages: {fate}"]


def made_before(planned: Sequence[PlannedClip], run: RunIdentity) -> Before:
    """Returns which of the planned clips exist."""
    made = [(item, run_of(item)) for item in planned]
    same = [item for item, said in made if said == str(run)]
    other = [item for item, said in made if said is not None and said != str(run) and run.but_for_code(said)]
    return Before(same=same, other=other)


def run_of(item: PlannedClip) -> str | None:
    """Returns the identity in a clip's record, if the inputs are the same and its video and motion are intact."""
    clip = item.clip
    try:
        made = record.read_clip(item.video.with_suffix(".json"))
        files = {"image": clip.image, "audio": clip.audio, "video": item.video}
        motion = item.video.with_suffix(SUFFIX)
        if "motion_sha256" in made and motion.exists():  # a user may delete it to save space
            files["motion"] = motion
        hashes = {f"{kind}_sha256": sha256(path) for kind, path in files.items()}
        wanted = {"id": clip.id, **clip.own, **hashes}
        said = replace(clip, emotion=None, excerpt=WHOLE, seed=None, crop=None, face=None, base_id=None).own | made
        return str(made.get("run")) if wanted.items() <= said.items() else None
    except (OSError, UserError):
        return None


def unmeasured(content: Mapping[str, Any], metrics: Sequence[Metric], measured_by: Mapping[str, str]) -> list[str]:
    """Returns the numbers that a record lacks, or has from other code, weights or settings of a metric."""
    said: dict[str, set[str]] = {}
    for part in (*content["clips"], content):
        by = part.get("measured_by") or {}
        for name in (part.get("metrics") or {}).keys() | (part.get("absent") or {}).keys():
            said.setdefault(name, set()).add(by.get(name, ""))
    return [name for metric in metrics for name in metric.names if said.get(name) != {measured_by.get(name)}]
