"""Where runs are told of beyond their records: the trackers' common words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from float_research.files import short_name
from float_research.tracking.runs import sweep_of, varied

if TYPE_CHECKING:
    import pandas as pd


NAME_BYTES = 128
"""Of the names that W&B takes."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run that has ended: with its record, or with an `error`. `sweep` names the sweep it belongs to.

    `sheet` makes a picture of the frames of a clip, by its record.
    """

    folder: Path
    config: Mapping[str, Any]
    overrides: Sequence[str]
    sweep: str | None
    sheet: Callable[[Mapping[str, Any]], Path]
    record: Mapping[str, Any] | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """Its settings, which tell it from others: in a sweep, those that vary."""
        told = varied(self.overrides, sweep_of(self.folder) if self.sweep else None)
        return short_name(" ".join(told) or self.folder.name, NAME_BYTES)

    def clips(self) -> Sequence[Mapping[str, Any]]:
        return self.record["clips"] if self.record else []


@runtime_checkable
class Tracker(Protocol):
    """Tells one service of runs and sweeps. May fail: results are complete before it is called."""

    def run(self, run: TrackedRun) -> str | None:
        """Tells of a run; returns a sentence on where to see it."""

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        """Tells of a finished sweep with one row a run, their `videos` below `folder`."""


def tell(trackers: Sequence[Tracker], say: Callable[[Tracker], str | None]) -> Iterator[str]:
    """Lets each tracker speak, and yields what it says, or why it could not."""
    for tracker in trackers:
        try:
            said = say(tracker)
        except Exception as error:
            reason = " ".join(str(error).split())
            said = f"not logged by {type(tracker).__name__} ({reason}); the results on disk are complete without it"
        if said is not None:
            yield said


def clip_numbers(clip: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a clip's record under flat names: `measured/evaluations`, `seconds/decode`, `metrics/NAME`, …"""
    shown = ("num_frames", "num_chunks", "declared", "measured", "emotion", "seconds", "metrics")
    return dict(_flat({name: clip.get(name) for name in shown}))


def run_numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The sums of a run's record, the mean of each number over its clips, and its metrics as `metrics/NAME`."""
    sums = dict(_flat({name: record[name] for name in ("totals", "load_s", "wall_s", "peak_memory_mb")}))
    clips = _means([clip_numbers({**clip, "metrics": {}}) for clip in record["clips"]])
    means = {f"mean/{name}": value for name, value in clips.items()}
    return sums | means | {f"metrics/{name}": value for name, value in mean_metrics(record).items()}


def mean_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """The mean of each metric over the clips that have it, and the metrics of the run as a whole."""
    return _means([clip.get("metrics") or {} for clip in record["clips"]]) | dict(record.get("metrics") or {})


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean(row[name] for row in rows if name in row) for name in names}


def run_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's record says in words, under the flat names of its numbers."""
    told = ("signature", "sources", "other_code", "solver_order", "overrides", "seed", "device", "started")
    groups = {"checkpoint": record["checkpoint"], "git": record.get("git") or {}, "absent": record.get("absent", {})}
    words = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    return {name: record[name] for name in told if name in record} | words


def clip_words(clip: Mapping[str, Any]) -> dict[str, Any]:
    """What a clip's record says in words, under the flat names of its numbers."""
    named = {name: clip[name] for name in ("id", "image", "audio")}
    return named | {f"absent/{name}": reason for name, reason in clip.get("absent", {}).items()}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"seconds/decode": 1}` → `{"seconds": {"decode": 1}}`: a record from its flat names."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, key = name.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise ValueError(f"{name} lies in {group}, which is a value")
        node[key] = value
    return tree


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            yield prefix + name, value
