"""Reports runs and sweeps to Weights & Biases, and reads them back. The only module that imports wandb."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from float_research.errors import UserError, reading
from float_research.files import inside, short_name
from float_research.tracking.facts import metric_rows
from float_research.tracking.logger import (
    NAME_BYTES,
    BegunRun,
    BegunTraining,
    EndedRun,
    clip_numbers,
    clip_words,
    group_tags,
    nested,
    plain_settings,
    run_numbers,
    run_words,
)
from float_research.tracking.record import renewed, signature
from float_research.tracking.runs import Found, Run
from float_research.tracking.schema import check_run

if TYPE_CHECKING:
    import pandas as pd
    from lightning.pytorch.loggers import Logger

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
"""Keeps wandb from reporting errors and usage to its developers, unless the user sets it."""
AUTO, ONLINE, DISABLED = "auto", "online", "disabled"
MODES = (AUTO, ONLINE, "offline", DISABLED)
AGENT = "WANDB_RUN_ID"
"""Set by the agent of a W&B sweep for each run that it starts."""
SWEEP, INFER, TRAIN = "sweep", "infer", "train"
"""Job types."""
OPEN = "run"
STEP = "trainer/global_step"
"""Lightning's step."""
SETTINGS = "settings"
"""Where a run's config has all settings as nested, besides the plain ones."""
MEDIA = ("video", "image", "audio", "contact_sheet")
MAX_TRACED = 10
"""Clips whose traces are plotted."""
HEADER_BYTES = 7
"""The size of an offline run's file before W&B first writes to it, which it does after some 32 kB."""
INSPECT_S = 60
"""The longest time that W&B may take to read a run, in seconds."""


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases:
    """Logs one W&B run per run or training, and one more for a sweep's summary. Logging again updates them.

    `mode` auto: online if this machine is logged in and W&B answers, offline otherwise; disabled: nothing is logged.
    `group` null: the sweep's folder. `name` null: what varies in the sweep. `dir` null: the run's folder. `job_type`
    null: infer, or train. Without `tags`, those of the environment; the chosen options of groups are tags as well.

    Raises:
        UserError: an unknown mode.
    """

    project: str
    entity: str | None
    group: str | None
    name: str | None
    job_type: str | None
    tags: Sequence[str]
    notes: str | None
    dir: str | None
    mode: str
    _live: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"logger.wandb.mode={self.mode} is unknown; choose one of {', '.join(MODES)}")

    def begin(self, run: BegunRun) -> str | None:
        """Opens the W&B run before the work, so that it shows progress and the load of the machine.

        A killed run stays as crashed there, and is continued by the run that resumes it.
        """
        if self.mode == DISABLED:
            return None
        self._live[OPEN] = self._open_run(run)
        return _where(self._live[OPEN])

    def progress(self, numbers: Mapping[str, float]) -> None:
        if OPEN in self._live:
            self._live[OPEN].log(dict(numbers))

    def run(self, run: EndedRun) -> str | None:
        """Logs each clip's numbers, media and traces, a table of all clips, and the totals as summary."""
        if self.mode == DISABLED:
            return None
        begun = OPEN in self._live
        with self._live.pop(OPEN, None) or self._open_run(run) as opened:
            started = run.record["started"] if run.record else None
            if not (opened.resumed and opened.summary.get("started") == started):
                log_clips(opened, run)
            if run.record:
                opened.summary.update(run_numbers(run.record) | run_words(run.record))
            if run.error or opened.resumed:
                opened.summary["error"] = run.error
            if run.error:
                opened.finish(exit_code=1)
            return None if begun else _where(opened)

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        """Logs a table of all runs with their first videos, and one of their metrics, a row per run and metric."""
        if self.mode == DISABLED:
            return None
        import wandb

        place: dict[str, Any] = {"folder": folder, "sweep": folder.name, "job_type": SWEEP}
        name = f"summary of {folder.name}"
        with self._open(**place, id=run_id(folder, {}), name=name, config={}) as opened:
            shown = table.astype(object).where(table.notna(), None)
            rows = wandb.Table(columns=[*shown.columns, "video"])
            for values in shown.to_dict("records"):
                first = inside(folder / str(values["run"]), json.loads(values["videos"])[0])
                video = wandb.Video(str(first), format="mp4") if first.is_file() else None
                rows.add_data(*values.values(), video)
            tables = {"runs": rows}
            if metrics := metric_rows(table):
                tables["metrics"] = wandb.Table(columns=[*metrics[0]], data=[[*row.values()] for row in metrics])
            opened.log(tables)
            return _where(opened)

    def _open_run(self, run: BegunRun) -> Any:
        by_agent = run.sweep is None and AGENT in os.environ
        opened = self._open(
            folder=run.folder,
            sweep=run.sweep,
            job_type=self.job_type or INFER,
            tags=group_tags(run.overrides, run.config),
            id=None if by_agent else run_id(run.folder, run.config),
            name=self.name or run.name,
            config=config_of(run),
        )
        for shown in ("clip/*", "progress/*", "traces/*", *MEDIA):
            opened.define_metric(shown, summary="none")
        return opened

    @contextmanager
    def follow(self, training: BegunTraining) -> Iterator["Logger"]:
        """Opens a W&B run for the time of a training. Resuming online continues the same run."""
        from lightning.pytorch.loggers import WandbLogger
        from lightning.pytorch.loggers.logger import DummyLogger

        if self.mode == DISABLED:
            yield DummyLogger()
            return
        with self._open(
            folder=training.folder,
            sweep=None,
            job_type=self.job_type or TRAIN,
            tags=group_tags(training.overrides, training.config),
            id=training.id,
            name=self.name or training.name,
            config=config_of(training),
        ) as opened:
            opened.define_metric(STEP)
            opened.define_metric("*", step_metric=STEP, step_sync=True)
            opened.define_metric("held_out/loss", step_metric=STEP, step_sync=True, summary="min,last")
            yield WandbLogger(experiment=opened)

    def show(self, logger: Any, file: Path, step: int) -> None:
        import wandb

        if self.mode != DISABLED:
            kind = partial(wandb.Video, format="mp4") if file.suffix == ".mp4" else wandb.Image
            logger.experiment.log({"preview": kind(str(file)), STEP: step})

    def _open(
        self,
        *,
        folder: Path,
        sweep: str | None,
        job_type: str,
        id: str | None,
        name: str,
        config: dict[str, Any],
        tags: Sequence[str] = (),
    ) -> Any:
        import wandb

        online = self.mode == ONLINE or (self.mode == AUTO and logged_in())
        group = self.group or sweep
        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=group and short_name(group, NAME_BYTES),
            job_type=job_type,
            tags=list(dict.fromkeys([*(self.tags or environment_tags()), *tags])) or None,
            notes=self.notes,
            id=id,
            resume="allow" if online and id else None,
            name=short_name(name, NAME_BYTES),
            config=config,
            dir=self.dir or str(folder),
            mode="online" if online else "offline",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )


def run_id(folder: Path, config: Mapping[str, Any]) -> str:
    """Returns the W&B id of a run, a digest of settings, inputs and folder, the same each time it is logged."""
    inputs = {name: config.get(name) for name in ("data", "checkpoint")}
    known = [signature(config), inputs, str(folder.resolve())]
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]


def config_of(run: BegunRun | BegunTraining) -> dict[str, Any]:
    """Returns plain settings, which W&B compares between runs, and all of them nested as in `config.yaml`."""
    return {**plain_settings(run.config, run.overrides), SETTINGS: dict(run.config)}


def environment_tags() -> list[str]:
    return [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]


def log_clips(opened: Any, run: EndedRun) -> None:
    """Logs each clip as one step, then one table of all clips, and their traces as plots."""
    import wandb

    clips, rows = run.clips(), []
    for clip in clips:
        shown = {**clip_words(clip), **clip_numbers(clip)}
        found = media(run, clip)
        opened.log({f"clip/{name}": value for name, value in shown.items()} | found)
        rows.append({**shown, **{name: found.get(name) for name in ("video", "contact_sheet")}})
    if rows:
        names = dict.fromkeys(name for row in rows for name in row)
        table = wandb.Table(columns=[*names], data=[[row.get(name) for name in names] for row in rows])
        opened.log({"clips": table, **trace_plots(run)})


def trace_plots(run: EndedRun) -> dict[str, Any]:
    """Returns a plot for each trace, with a line for each of the first clips."""
    import wandb

    from float_research.tables import read_table

    lines: dict[str, dict[str, Any]] = {}
    for clip in run.clips()[:MAX_TRACED]:
        if clip.get("traces") is None:
            continue
        with suppress(UserError):
            table = read_table(inside(run.folder, clip["traces"]))
            for name in table.columns.drop(["frame", "time_s"], errors="ignore") if "frame" in table else ():
                known = table[["frame", name]].dropna()
                lines.setdefault(name, {})[clip["id"]] = (known["frame"].tolist(), known[name].tolist())
    return {
        f"traces/{name}": wandb.plot.line_series(
            xs=[xs for xs, _ in series.values()],
            ys=[ys for _, ys in series.values()],
            keys=list(series),
            title=name,
            xname="frame",
        )
        for name, series in lines.items()
    }


def media(run: EndedRun, clip: Mapping[str, Any]) -> dict[str, Any]:
    """Returns video, contact sheet, image and sound of a clip, if their hashes still match its record."""
    import wandb

    found: dict[str, Any] = {}
    kinds: dict[str, Any] = {"video": partial(wandb.Video, format="mp4"), "image": wandb.Image, "audio": wandb.Audio}
    for name, kind in kinds.items():
        if (path := run.unchanged(clip, name)) is not None:
            found[name] = kind(str(path), caption=path.name)
    if "video" in found:
        found["contact_sheet"] = wandb.Image(str(run.sheet(clip)), caption=Path(clip["video"]).name)
    return found


def logged_in() -> bool:
    """Returns whether this machine has a key that W&B accepts now."""
    import wandb

    try:
        return wandb.login(prompt=False)
    except wandb.errors.Error:
        return False


def _where(run: Any) -> str:
    if run.settings.mode == ONLINE:
        return f"W&B: {run.url}"
    return f"W&B, offline: {run.settings.sync_dir}; wandb sync uploads it"


def find_offline(folder: Path) -> Found:
    """Finds the runs that W&B logged offline, in its own files anywhere under a folder.

    Of a run that was logged several times, only the last counts.
    """
    folders = sorted((path for path in folder.rglob("offline-run-*") if path.is_dir()), key=lambda path: path.name)
    places = sorted({path.name.rpartition("-")[2]: path for path in folders}.values())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(inspect, places))
    logged = [
        _LoggedRun(name=place.name, folder=str(place / "files"), **run)
        for place, run in zip(places, read, strict=True)
        if run
    ]
    damaged = [place for place, run in zip(places, read, strict=True) if not run]
    return _sort_out(logged, damaged)


def find_project(project: str) -> Found:
    """Finds the runs of a W&B project, ENTITY/PROJECT. Their videos are at W&B.

    Raises:
        UserError: W&B does not answer, or has no such project.
    """
    import wandb

    try:
        logged = [
            _LoggedRun(
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
        raise UserError(f"wandb:{project} cannot be read ({reason}); run wandb login, or give a folder") from error
    return _sort_out(logged, [])


@dataclass(frozen=True, kw_only=True)
class _LoggedRun:
    """A run as logged to W&B."""

    name: str
    folder: str
    job_type: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]

    def record(self) -> dict[str, Any]:
        """Rebuilds the record as far as it was logged; of a repeated run, its last clips."""
        known: dict[Any, dict[str, Any]] = {}
        for step in self.history:
            if not any(name.startswith("clip/") for name in step):
                continue
            clip = {name.removeprefix("clip/"): value for name, value in step.items() if name.startswith("clip/")}
            video = step.get("video.path") or (step.get("video") or {}).get("path")
            known[clip.get("id", len(known))] = {**nested(clip), "video": video, "traces": None}
        clips = list(known.values())
        record = nested({name: value for name, value in self.summary.items() if value is not None})
        of_clips = {name for clip in clips for name in clip.get("metrics", {})}
        metrics = {name: value for name, value in record.get("metrics", {}).items() if name not in of_clips}
        return {**record, "metrics": metrics, "clips": clips}


def _sort_out(logged: Iterable[_LoggedRun], damaged: Sequence[Path]) -> Found:
    """Sorts logged runs into finished, failed and damaged ones, whose records are invalid."""
    runs, failed, unfinished, broken = [], [], [], [*damaged]
    for run in logged:
        if run.job_type in (SWEEP, TRAIN):
            continue
        if run.summary.get("error"):
            failed.append((run.name, "", str(run.summary["error"])))
            continue
        if "started" not in run.summary:
            unfinished.append(run.name)
            continue
        try:
            with reading(f"run {run.name}", "run it again"):
                record = run.record()
                check_run(record)
        except UserError:
            broken.append(Path(run.folder) if "://" in run.folder else Path(run.folder).parent)
            continue
        config = run.config.get(SETTINGS, run.config)  # older runs have no plain settings besides
        runs.append(Run(name=run.name, folder=run.folder, config=config, record=renewed(record)))
    return Found(runs=runs, damaged=broken, failed=failed, unfinished=unfinished)


def inspect(place: Path) -> dict[str, Any] | None:
    """Reads config, summary and steps of an offline run, all empty if it was killed early. None: W&B cannot read it."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place.resolve())]
    logged: dict[str, Any] = {"job_type": "", "config": {}, "summary": {}, "history": []}
    try:
        with reading(f"run {place}", "run it again"):
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSPECT_S)
            for kind, content in _entries(ended.stdout):
                if kind == "run":
                    logged["job_type"] = str(content.get("job_type", ""))
                    logged["config"] |= dict(content["config"]["update"])
                elif kind == "summary":
                    logged["summary"] |= dict(content.get("update", {}))
                elif kind == "history":
                    logged["history"].append(dict(content["item"]))
    except UserError:
        return None
    killed_early = place.is_dir() and [file.stat().st_size for file in place.glob("*.wandb")] == [HEADER_BYTES]
    return logged if logged["config"] or killed_early else None


def _entries(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in text.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            yield entry["type"], entry.get(entry["type"], {})
