"""Finished runs as data frames with one row per run, clip or frame, read from disk or W&B."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from float_research.errors import UserError
from float_research.files import inside
from float_research.tables import read_table
from float_research.texts import count
from float_research.tracking.facts import costs, facts
from float_research.tracking.logger import mean_metrics
from float_research.tracking.runs import (
    WANDB,
    Found,
    Run,
    as_numbers,
    find,
    refuse_empty,
    require_folder,
    settings_of,
    word,
)
from float_research.tracking.weights_and_biases import find_offline, find_project

SETTINGS, COSTS, METRICS, EMOTIONS, NOTES = "settings", "costs", "metrics", "emotions", "notes"
"""Keys of a frame's `attrs`: its columns of settings, costs, metrics and emotion inputs, and notes for the user."""
CODE_FACTS = ("signature", "sources", "commit", "changed", "other_code")
FALLBACK_FPS = 25.0
RUN_FACTS = ("suite", "suite_sha256", "solver_order", "device", "trained", "started", *CODE_FACTS)


class Row(NamedTuple):
    """A run or clip, by where its record has the columns: no name says what it is."""

    settings: Mapping[str, Any]
    costs: Mapping[str, Any]
    emotions: Mapping[str, Any]
    facts: Mapping[str, Any]
    metrics: Mapping[str, Any]


def find_runs(source: str | Path) -> Found:
    """Finds runs in a folder, or in a folder that only has offline W&B runs, or in `wandb:ENTITY/PROJECT`.

    Raises:
        UserError: there is no readable run.
    """
    if str(source).startswith(WANDB):
        found = find_project(str(source).removeprefix(WANDB))
        if not found.runs:
            raise UserError(f"{source} holds no finished run; check the project's name")
        return found
    folder = Path(source)
    require_folder(folder, or_project=True)
    found = find(folder)
    if not (found.runs or found.damaged or found.failed or found.unfinished):
        offline = find_offline(folder)
        found = offline if offline.runs else found
    refuse_empty(found, folder)
    return found


def load_runs(source: str | Path) -> pd.DataFrame:
    """Returns one row per run: `run`, all its settings, costs, metrics (means over its clips), and places.

    Inputs, such as `data.image`, are settings if runs differ in them. `run` is an integer if all are. `attrs` names the
    columns of settings, costs and metrics. Runs that were left out are listed in a warning and in `attrs["notes"]`.
    """
    return _warn(run_table(find_runs(source)))


def load_clips(source: str | Path) -> pd.DataFrame:
    """Returns one row per clip: `run`, `clip`, settings, costs, metrics, the reasons of `absent` ones, and places.

    `seed` is the clip's own, where it has one; `base_id` is its id without it, if the run has several seeds.
    `video_path` and `traces_path` include the run's folder; None if a clip has none. Notes as in `load_runs`.
    """
    return _warn(clip_table(find_runs(source)))


def run_table(found: Found) -> pd.DataFrame:
    """Returns the frame of `load_runs`, without a warning."""
    rows = [
        Row(
            settings=settings,
            costs=_costs(run.record.get("totals") or {}, run.record),
            emotions={},
            facts={**facts(run), "notice": notice(run), "folder": run.folder},
            metrics=mean_metrics(run.record),
        )
        for run, settings in zip(found.runs, settings_of(found.runs), strict=True)
    ]
    return _frame(found, rows)


def clip_table(found: Found) -> pd.DataFrame:
    """Returns the frame of `load_clips`, without a warning."""
    of_runs = zip(found.runs, settings_of(found.runs), strict=True)
    return _frame(found, [row for run, settings in of_runs for row in _clip_rows(run, settings)])


def load_traces(clips: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per frame of clips from `load_clips`: `run`, `clip`, `frame`, `time_s`, and all traces.

    `settings` are those in which the clips differ, in words. Clips without traces are left out with a warning.
    """
    tables, without = [], 0
    for clip, settings in zip(clips.to_dict("records"), described(clips), strict=True):
        path = clip.get("traces_path")
        if not isinstance(path, str) or not Path(path).is_file():
            without += 1
            continue
        try:
            table = read_table(Path(path))
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        table = table.drop(columns=["run", "clip", SETTINGS], errors="ignore")
        table.insert(0, "clip", clip["clip"])
        table.insert(0, "run", clip["run"])
        table[SETTINGS] = settings
        tables.append(table)
    if without:
        warnings.warn(f"no traces: {without} of {count(len(clips), 'clip')}", stacklevel=2)
    none = pd.DataFrame(columns=["run", "clip", "frame", "time_s", SETTINGS])
    return pd.concat(tables, ignore_index=True) if tables else none


def varying(frame: pd.DataFrame) -> list[str]:
    """Returns the settings in which rows differ, ignoring rows without the setting."""
    return [name for name in frame.attrs[SETTINGS] if frame[name].dropna().astype(str).nunique() > 1]


def described(frame: pd.DataFrame) -> list[str]:
    """Returns for each row the settings in which rows differ, by the shortest ends of their names that are unique."""
    names = varying(frame)
    brief = {name: _end(name, names) for name in names}
    return [
        " ".join(f"{brief[name]}={_brief(row[name])}" for name in names if not pd.isna(row[name]))
        for row in frame[names].to_dict("records")
    ]


def _end(name: str, names: Sequence[str]) -> str:
    """Returns the shortest end of a dotted name that no other name has."""
    parts = name.split(".")
    ends = [".".join(parts[-count:]) for count in range(1, len(parts))]
    return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in names) == 1), name)


def _brief(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def notice(run: Run) -> str | None:
    """Returns the notice to show with a run's frames; older records imply it by their checkpoint option."""
    checkpoint = run.record.get("checkpoint") or {}
    if "notice" in checkpoint:
        return checkpoint["notice"]
    from float_research.models import checkpoint as kinds

    notices = {word(kind.__name__): kind.notice for kind in (kinds.Demo, kinds.Random)}
    return notices.get(str(run.settings().get("checkpoint")))


def _frame(found: Found, rows: Sequence[Row]) -> pd.DataFrame:
    """Builds a frame with the union of columns: identifiers, settings by name, costs and facts, metrics by name.

    A metric that has the name of another column, as one of the user's own may, is `metric.NAME`.
    """
    tables = [{**row.facts, **row.emotions} for row in rows]
    taken = {name for row, facts in zip(rows, tables, strict=True) for name in (*row.settings, *facts)}
    metrics = [{f"metric.{name}" if name in taken else name: row.metrics[name] for name in row.metrics} for row in rows]
    known, of_costs, emotions = _union(tables), _union(row.costs for row in rows), _union(row.emotions for row in rows)
    settings, measured = sorted(set(_union(row.settings for row in rows)) - set(known)), sorted(_union(metrics))
    table = pd.DataFrame(
        [{**row.settings, **own, **facts} for row, own, facts in zip(rows, metrics, tables, strict=True)]
    )
    table = table[[*(name for name in ("run", "clip") if name in known), *settings, *known, *measured]]
    table = table.loc[:, ~table.columns.duplicated()].copy()
    table["run"] = as_numbers(table["run"])
    notes = [*found.notes(), *_missing_videos(found.runs)]
    table.attrs = {SETTINGS: settings, COSTS: of_costs, METRICS: measured, EMOTIONS: emotions, NOTES: notes}
    return table


def _union(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _costs(part: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the costs of a clip or of a run's totals, and what they are spent on."""
    counted = {name: part.get(name, part.get(f"num_{name}")) for name in ("frames", "windows")}
    return counted | costs(part, record)


def _warn(table: pd.DataFrame) -> pd.DataFrame:
    if table.attrs[NOTES]:
        warnings.warn("; ".join(table.attrs[NOTES]), stacklevel=3)
    return table


def _clip_rows(run: Run, settings: Mapping[str, Any]) -> list[Row]:
    of_run, record = facts(run), run.record
    shared = {name: of_run[name] for name in RUN_FACTS}
    rows: list[Row] = []
    for clip in record["clips"]:
        absent = {**(record.get("absent") or {}), **(clip.get("absent") or {})}
        of_clip = _costs(clip, record)
        known = {
            "run": run.name,
            "clip": clip.get("id"),
            "base_id": clip.get("base_id") or clip.get("id"),
            **of_clip,
            **shared,
            "notice": notice(run),
            "absent": json.dumps(absent, ensure_ascii=False),
            "from_video": json.dumps(clip.get("from_video") or []),
            "fps": _fps(clip, run),
            **{f"{name}_path": clip.get(name) for name in ("image", "audio")},
            **{f"{name}_sha256": clip.get(f"{name}_sha256") for name in ("image", "audio")},
            **{f"{name}_path": _place(run.folder, clip.get(name)) for name in ("video", "traces")},
            "folder": run.folder,
        }
        own = settings if clip.get("seed") is None else {**settings, "seed": clip["seed"]}
        rows.append(
            Row(
                settings=own,
                costs=of_clip,
                emotions={f"emotion_{name}": value for name, value in (clip.get("emotion") or {}).items()},
                facts=known,
                metrics={**(record.get("metrics") or {}), **(clip.get("metrics") or {})},
            )
        )
    return rows


def _fps(clip: Mapping[str, Any], run: Run) -> float:
    """Returns the frame rate of a clip. Only those of other programs record their own."""
    settings = run.settings()
    known = (clip.get("fps"), settings.get("video.fps"), settings.get("chunking.fps"))
    return next((float(fps) for fps in known if isinstance(fps, int | float) and fps > 0), FALLBACK_FPS)


def _place(folder: str, name: object) -> str | None:
    """Returns the path of a run's file; None if it has none, or the record points outside the run."""
    if not isinstance(name, str):
        return None
    if "://" in folder:
        return f"{folder}/{name}"
    try:
        return str(inside(Path(folder), name))
    except UserError:
        return None


def _missing_videos(runs: Sequence[Run]) -> list[str]:
    """Returns a note with the number of missing videos, not counting those at W&B."""
    here = [run for run in runs if "://" not in run.folder]
    places = [_place(run.folder, clip.get("video")) for run in here for clip in run.record["clips"]]
    missing = sum(place is None or not Path(place).is_file() for place in places)
    return [f"missing: {missing} of {count(len(places), 'video')}"] if missing else []
