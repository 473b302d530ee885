"""The interface of experiment loggers, and the flat names under which they get records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from float_research.errors import UserError
from float_research.files import inside, sha256, short_name
from float_research.tracking.record import PLACES
from float_research.tracking.runs import Run, sweep_of, varied

if TYPE_CHECKING:
    import pandas as pd
    from lightning.pytorch.loggers import Logger


NAME_BYTES = 128
"""The limit of W&B's names."""
TAG_BYTES = 64
"""The limit of W&B's tags."""
EXPERIMENT = "experiment"
"""A group that leaves no setting of its name."""


@dataclass(frozen=True, kw_only=True)
class BegunRun:
    """A run that begins or resumes. `sweep` names its sweep."""

    folder: Path
    config: Mapping[str, Any]
    overrides: Sequence[str]
    sweep: str | None

    @property
    def name(self) -> str:
        """Its overrides, in a sweep those that vary."""
        settings = varied(self.overrides, sweep_of(self.folder) if self.sweep else None)
        return short_name(" ".join(settings) or self.folder.name, NAME_BYTES)


@dataclass(frozen=True, kw_only=True)
class EndedRun(BegunRun):
    """A run that has ended, with its record or an `error`.

    `sheet` renders a contact sheet of a clip, given its record.
    """

    sheet: Callable[[Mapping[str, Any]], Path]
    record: Mapping[str, Any] | None = None
    error: str | None = None

    def clips(self) -> Sequence[Mapping[str, Any]]:
        return self.record["clips"] if self.record else []

    def unchanged(self, clip: Mapping[str, Any], kind: str) -> Path | None:
        """Returns the `video`, `image` or `audio` of a clip, or None if it has another hash or is a video elsewhere.

        A record may name any file, and what a logger uploads leaves the machine.
        """
        with suppress(UserError):
            path = inside(self.folder, clip.get(kind)) if kind == "video" else Path(str(clip.get(kind)))
            if sha256(path) == clip.get(f"{kind}_sha256"):
                return path
        return None


@runtime_checkable
class RunLogger(Protocol):
    """Reports runs and sweeps to one service. It may fail: results are complete on disk before it is called."""

    def run(self, run: EndedRun) -> str | None:
        """Reports a run; returns a sentence that says where to see it."""

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        """Reports a finished sweep with one row per run, whose `videos` are relative to the run's folder."""


@runtime_checkable
class LiveLogger(Protocol):
    """Also reports a run while it is at work. It may fail, as other loggers."""

    def begin(self, run: BegunRun) -> str | None:
        """Opens the run; returns a sentence that says where to see it."""

    def progress(self, numbers: Mapping[str, float]) -> None:
        """Reports how far the open run is."""


@dataclass(frozen=True, kw_only=True)
class BegunTraining:
    """A training that begins or resumes. `id` stays the same when it resumes."""

    folder: Path
    id: str
    name: str
    config: Mapping[str, Any]
    overrides: Sequence[str]


@runtime_checkable
class TrainingLogger(Protocol):
    """Follows a training through one of Lightning's loggers."""

    def follow(self, training: BegunTraining) -> AbstractContextManager["Logger"]:
        """Opens a logger for the time of the training. An exception in the context marks the training as failed."""

    def show(self, logger: Any, file: Path, step: int) -> None:
        """Logs a preview, a picture or a film with sound, to that logger."""


L = TypeVar("L")


def tell(loggers: Sequence[L], say: Callable[[L], str | None]) -> Iterator[str]:
    """Calls `say` for each logger, and yields the sentence it returns, or why it failed."""
    for logger in loggers:
        try:
            said = say(logger)
        except Exception as error:
            reason = " ".join(str(error).split())
            said = f"not logged by {type(logger).__name__} ({reason}); the results on disk are complete without it"
        if said is not None:
            yield said


def plain_settings(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns each setting by its command-line name, parts by their option: `{"solver": "euler", "nfe": 10}`."""
    return dict(Run(name="", folder="", config=config, record={"overrides": list(overrides)}).settings())


def group_tags(overrides: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Returns the chosen options of groups: `["solver=euler"]`."""
    pairs = [override.lstrip("+").partition("=") for override in overrides]
    return [
        short_name(f"{name}={value}", TAG_BYTES)
        for name, _, value in pairs
        if name == EXPERIMENT or (isinstance(config.get(name), Mapping) and name not in PLACES)
    ]


def clip_numbers(clip: Mapping[str, Any]) -> dict[str, float]:
    """Flattens the numbers of a clip's record: `measured/evaluations`, `seconds/decode`, `metrics/NAME`, …"""
    shown = ("num_frames", "num_windows", "declared", "measured", "emotion", "seconds", "metrics")
    return dict(_flat({name: clip.get(name) for name in shown}))


def run_numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Flattens a run's record: its totals, means over its clips as `mean/NAME`, and its metrics as `metrics/NAME`."""
    sums = dict(_flat({name: record[name] for name in ("totals", "load_s", "wall_s", "peak_memory_mb")}))
    clips = _means([clip_numbers({**clip, "metrics": {}}) for clip in record["clips"]])
    means = {f"mean/{name}": value for name, value in clips.items()}
    return sums | means | {f"metrics/{name}": value for name, value in mean_metrics(record).items()}


def mean_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Returns the mean of each metric over the clips that have it, and the metrics of the run as a whole."""
    return _means([clip.get("metrics") or {} for clip in record["clips"]]) | dict(record.get("metrics") or {})


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of each number over the rows that have it, and have it finite; NaN if none has."""
    held: dict[str, list[float]] = {name: [] for row in rows for name in row}
    for row in rows:
        for name, value in row.items():
            if isfinite(value):
                held[name].append(value)
    return {name: fmean(values) if values else nan for name, values in held.items()}


def run_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the other entries of a run's record by flat names."""
    shown = (
        "signature",
        "sources",
        "other_code",
        "solver_order",
        "overrides",
        "seed",
        "seeds",
        "suite",
        "device",
        "started",
    )
    groups = {"checkpoint": record["checkpoint"], "git": record.get("git") or {}, "absent": record.get("absent", {})}
    words = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    return {name: record[name] for name in shown if name in record} | words


def clip_words(clip: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the other entries of a clip's record by flat names."""
    named = {name: clip[name] for name in ("id", "image", "audio")}
    named |= {name: clip[name] for name in ("base_id", "seed") if clip.get(name) is not None}
    return named | {f"absent/{name}": reason for name, reason in clip.get("absent", {}).items()}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rebuilds a record from flat names: `{"seconds/decode": 1}` → `{"seconds": {"decode": 1}}`."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, key = name.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise ValueError(f"{name} is inside {group}, which is a value")
        node[key] = value
    return tree


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            yield prefix + name, value
