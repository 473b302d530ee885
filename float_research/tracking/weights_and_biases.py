"""Runs and sweeps told to Weights & Biases, and read back from there. The one module that imports wandb."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from float_research.errors import UserError, reading
from float_research.files import inside
from float_research.tracking.runs import Found, Run
from float_research.tracking.schema import check_run
from float_research.tracking.tracker import TrackedRun, clip_numbers, clip_words, nested, run_numbers, run_words

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
"""Unless it is asked to, wandb tells its makers nothing of errors and usage, not even offline."""
MODES = ("auto", "online", "offline")
SWEEP = "sweep"
INSPECT_S = 60
"""Longest time that W&B may take to read a run."""


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases:
    """One W&B run a run, and one more for a sweep's summary.

    `mode` auto: online where this machine is logged in and W&B answers, offline elsewhere. `group` null: the sweep's
    folder.

    Raises:
        UserError: an unknown mode.
    """

    project: str
    entity: str | None
    group: str | None
    job_type: str
    tags: Sequence[str]
    notes: str | None
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"logger.wandb.mode={self.mode} is unknown; choose one of {', '.join(MODES)}")

    def run(self, run: TrackedRun) -> str | None:
        """Config; each clip's numbers, video, contact sheet, image and sound as one step; sums in the summary."""
        import wandb

        with self._opened(run.folder, run.name, run.sweep, self.job_type, dict(run.config)) as opened:
            for step, clip in enumerate(run.clips()):
                shown: dict[str, Any] = {f"clip/{name}": value for name, value in clip_numbers(clip).items()}
                shown |= {f"clip/{name}": value for name, value in clip_words(clip).items()}
                shown["video"] = wandb.Video(str(run.folder / clip["video"]), caption=clip["id"], format="mp4")
                shown["image"] = wandb.Image(clip["image"], caption=Path(clip["image"]).name)
                shown["audio"] = wandb.Audio(clip["audio"], caption=Path(clip["audio"]).name)
                shown["contact_sheet"] = wandb.Image(str(run.sheet(clip)), caption=clip["id"])
                opened.log(shown, step=step)
            if run.record:
                opened.summary.update(run_numbers(run.record) | run_words(run.record))
            if run.error:
                opened.summary["error"] = run.error
                opened.finish(exit_code=1)
            return _where(opened)

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        """A table of all runs with their first videos."""
        import wandb

        with self._opened(folder, f"summary of {folder.name}", folder.name, SWEEP, {}) as opened:
            shown = table.astype(object).where(table.notna(), None)
            rows = wandb.Table(columns=[*shown.columns, "video"])
            for values in shown.to_dict("records"):
                first = inside(folder / values["run"], json.loads(values["videos"])[0])
                video = wandb.Video(str(first), format="mp4") if first.is_file() else None
                rows.add_data(*values.values(), video)
            opened.log({"runs": rows})
            return _where(opened)

    def _opened(
        self, folder: Path, name: str, sweep: str | None, job_type: str, config: dict[str, Any]
    ) -> AbstractContextManager[Any]:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group or sweep,
            job_type=job_type,
            tags=list(self.tags),
            notes=self.notes,
            name=name,
            config=config,
            dir=str(folder),
            mode="online" if self.mode == "online" or (self.mode == "auto" and logged_in()) else "offline",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )


def logged_in() -> bool:
    """Whether this machine has a key that W&B accepts just now."""
    import wandb

    try:
        return wandb.login(prompt=False)
    except wandb.errors.Error:
        return False


def _where(run: Any) -> str:
    if run.settings.mode == "online":
        return f"W&B: {run.url}"
    return f"W&B, offline: {run.settings.sync_dir}; wandb sync uploads it"


def find_offline(folder: Path) -> Found:
    """The runs that were told to W&B without a network, from its own files anywhere under a folder."""
    places = sorted(path for path in folder.rglob("offline-run-*") if path.is_dir())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(inspect, places))
    told = [
        _Told(name=place.name, folder=str(place / "files"), **run)
        for place, run in zip(places, read, strict=True)
        if run
    ]
    damaged = [place for place, run in zip(places, read, strict=True) if not run]
    return _found(told, damaged)


def find_project(project: str) -> Found:
    """The runs of a W&B project, ENTITY/PROJECT. Their videos are at W&B.

    Raises:
        UserError: W&B does not answer, or knows no such project.
    """
    import wandb

    try:
        told = [
            _Told(
                name=run.id,
                folder=f"{run.url}/files",
                job_type=run.job_type or "",
                config=dict(run.config),
                summary=dict(run.summary),
                history=list(run.scan_history()),
            )
            for run in wandb.Api().runs(project)
        ]
    except (wandb.errors.Error, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"wandb:{project} cannot be read ({reason}); run wandb login, or name a folder") from error
    return _found(told, [])


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What W&B knows of a run."""

    name: str
    folder: str
    job_type: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]

    def record(self) -> dict[str, Any]:
        """As on disk, as far as it was told."""
        clips = []
        for step in self.history:
            told = {name.removeprefix("clip/"): value for name, value in step.items() if name.startswith("clip/")}
            video = step.get("video.path") or (step.get("video") or {}).get("path")
            clips.append({**nested(told), "video": video, "traces": None})
        record = nested({name: value for name, value in self.summary.items() if value is not None})
        of_clips = {name for clip in clips for name in clip.get("metrics", {})}
        metrics = {name: value for name, value in record.get("metrics", {}).items() if name not in of_clips}
        return {**record, "metrics": metrics, "clips": clips}


def _found(told: Iterable[_Told], damaged: Sequence[Path]) -> Found:
    """The runs among what was told. What is no record of a run is damaged."""
    runs, failed, broken = [], [], [*damaged]
    for run in told:
        if run.job_type == SWEEP:
            continue
        if "error" in run.summary:
            failed.append((run.name, "", str(run.summary["error"])))
            continue
        try:
            with reading(f"run {run.name}", "run it again"):
                record = run.record()
                check_run(record)
        except UserError:
            broken.append(Path(run.folder) if "://" in run.folder else Path(run.folder).parent)
            continue
        runs.append(Run(name=run.name, folder=run.folder, config=run.config, record=record))
    return Found(runs=runs, damaged=broken, failed=failed)


def inspect(place: Path) -> dict[str, Any] | None:
    """Config, summary and steps of an offline run; None where W&B cannot read it."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place.resolve())]
    told: dict[str, Any] = {"job_type": "", "config": {}, "summary": {}, "history": []}
    try:
        with reading(f"run {place}", "run it again"):
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSPECT_S)
            for kind, content in _entries(ended.stdout):
                if kind == "run":
                    told["job_type"] = str(content.get("job_type", ""))
                    told["config"] |= dict(content["config"]["update"])
                elif kind == "summary":
                    told["summary"] |= dict(content.get("update", {}))
                elif kind == "history":
                    told["history"].append(dict(content["item"]))
    except UserError:
        return None
    return told if told["config"] else None


def _entries(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in text.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            yield entry["type"], entry.get(entry["type"], {})
