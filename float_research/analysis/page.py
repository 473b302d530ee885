"""The comparison page of a sweep: a static folder with videos and traces that a browser opens from disk."""

import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from float_research.analysis import blind
from float_research.analysis.convergence import slopes
from float_research.analysis.filling import MARK, embed_json, fill, plain
from float_research.analysis.load import COSTS, METRICS, NOTES, SETTINGS, clip_table, find_runs, varying
from float_research.analysis.means import Compared, compared
from float_research.analysis.numbers import COSTS as DECLARED_COSTS
from float_research.analysis.numbers import declared, declared_cost
from float_research.data.clips import file_name
from float_research.data.examples import asset
from float_research.errors import UserError
from float_research.files import short_name, sweep_parts, whole
from float_research.tables import read_table
from float_research.texts import count
from float_research.tracking.record import write_text
from float_research.tracking.runs import is_input

PAGE = "index.html"
VIDEOS, TRACES, DIFFERENCES = "videos", "traces", "differences"
OWN = re.compile(r"([0-9]{4,}(-.*\..*|\.js)|[0-9a-f]{16}\..*)$", re.DOTALL)
"""Names of a page's own files in these folders."""
SCRIPTS = (
    *("dom.js", "csv.js", "data.js", "later.js", "settings.js", "table.js", "plot.js", "traces.js", "player.js"),
    *("grid.js", "export.js", "main.js"),
)
VENDOR = "vendor"
LIBRARIES = ("d3.min.js", "plot.umd.min.js", "LICENSES.txt")
"""Of others, in the page's folder as they are: see NOTICE."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """The written page, its counts (`num_comparisons` of the blind page), and notes on what is missing."""

    path: Path
    num_runs: int
    num_clips: int
    num_videos: int
    num_comparisons: int
    notes: Sequence[str]
    slopes: pd.DataFrame


def ignore(line: str) -> None:
    """Tells nobody."""


Tell = Callable[[str], None]


def write_page(source: str | Path, output: Path, title: str, chosen: Sequence[str] = (), tell: Tell = ignore) -> Page:
    """Writes the page of all runs in `source` to the folder `output`, replacing an earlier page.

    `chosen`: settings in the blind comparison, such as `solver=euler`; all if empty. `tell` is given a line for each
    step.

    Videos are hard-linked where the file system allows it, else copied.

    Raises:
        UserError: there is no run, `output` holds other files, or no run has a setting of `chosen`.
    """
    clips = clip_table(find_runs(source))
    tell(f"{count(clips['run'].nunique(), 'run')}, {count(len(clips), 'clip')}")
    _claim(output)
    write_text(output / PAGE, MARK)  # first, to identify an interrupted page as ours
    _place_libraries(output / VENDOR)
    placing = [_place_video(clip, index, output / VIDEOS) for index, clip in enumerate(_records(clips))]
    videos = [name for name, _ in placing]
    for way, number in Counter(way for _, way in placing if way).items():
        tell(f"{count(number, 'video')} {way} to {output / VIDEOS}")
    traced, extent, damaged = _write_traces(clips, output / TRACES)
    tell(f"traces of {count(sum(traced), 'clip')}")
    placed, notices = [output / VIDEOS / name if name else None for name in videos], _notices(clips)
    num_comparisons = blind.write_blind(clips, placed, output, chosen, [notice["text"] for notice in notices])
    settings = compared(clips)
    _write_differences(settings, output / DIFFERENCES)
    measured, notes = slopes(clips), [*clips.attrs[NOTES], *damaged, *_elsewhere(clips)]
    content = {
        "title": title,
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "notes": notes,
        "notices": notices,
        "comparisons": num_comparisons,
        "slopes": _records(measured),
        "extent": extent,
        **_table(clips),
        "clips": [
            {"video": video, "traces": has_traces, "fps": fps, "absent": absent}
            for video, has_traces, fps, absent in zip(videos, traced, clips["fps"], _absent(clips), strict=True)
        ],
        "reasons": _reasons(clips),
        "compared": settings.content,
    }
    write_text(output / PAGE, fill("page.html", SCRIPTS, title, content))
    return Page(
        path=output / PAGE,
        num_runs=clips["run"].nunique(),
        num_clips=len(clips),
        num_videos=sum(video is not None for video in videos),
        num_comparisons=num_comparisons,
        notes=notes,
        slopes=measured,
    )


def _claim(output: Path) -> None:
    """Creates the folder, and clears it of an earlier page."""
    if output.is_dir() and any(output.iterdir()):
        earlier = output / PAGE
        if not (earlier.is_file() and MARK in earlier.read_text(encoding="utf-8", errors="replace")[:2000]):
            raise UserError(f"--output {output} holds other files; choose a new folder")
        sweep_parts(output)
        for name in (VIDEOS, TRACES, DIFFERENCES, blind.VIDEOS):
            for path in (output / name).glob("*") if not (output / name).is_symlink() else ():
                if OWN.match(path.name) and (path.is_file() or path.is_symlink()):
                    path.unlink()
    output.mkdir(parents=True, exist_ok=True)


def _place_libraries(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in LIBRARIES:
        with whole(folder / name) as part:
            shutil.copyfile(asset(f"page/{VENDOR}/{name}"), part)


def _here(path: object, folder: str) -> Path | None:
    """Returns the path of a run's file, if it is on this machine."""
    return Path(path) if isinstance(path, str) and "://" not in folder and Path(path).is_file() else None


def _place_video(clip: Mapping[str, Any], index: int, folder: Path) -> tuple[str | None, str | None]:
    """Returns the name of a clip's video on the page, and whether it was linked or copied."""
    video = _here(clip["video_path"], clip["folder"])
    if video is None:
        return None, None
    folder.mkdir(exist_ok=True)
    words = short_name(file_name(f"{clip['run']}-{clip['clip']}"), 80)
    name = f"{index:04d}-{words}.{file_name(video.suffix[:20])}"
    (folder / name).unlink(missing_ok=True)
    try:
        os.link(video.resolve(), folder / name)
    except OSError:
        shutil.copyfile(video, folder / name)
        return name, "copied"
    return name, "linked"


def _write_traces(clips: pd.DataFrame, folder: Path) -> tuple[list[bool], dict[str, list[float]], list[str]]:
    """Writes one script per clip, which the page loads when the clip comes into view.

    Returns which clips have traces, the range of each trace over all clips, and errors of unreadable files.
    """
    extent: dict[str, list[float]] = {}
    written, damaged = [], list[str]()
    for index, clip in enumerate(_records(clips)):
        columns = _traces(_here(clip["traces_path"], clip["folder"]), damaged)
        written.append(bool(columns))
        if not columns:
            continue
        for name, values in columns.items():
            known = [value for value in values if value is not None]
            if known:
                low, high = extent.setdefault(name, [known[0], known[0]])
                extent[name] = [min(low, *known), max(high, *known)]
        write_text(folder / f"{index:04d}.js", f"addTraces({index},{embed_json(columns)});\n")
    return written, extent, damaged


def _write_differences(found: Compared, folder: Path) -> None:
    """Writes one script per baseline, which the page loads when the baseline is chosen."""
    for place, numbers in enumerate(found.baselines):
        write_text(folder / f"{place:04d}.js", f"addDifferences({place},{embed_json(numbers)});\n")


def _traces(path: Path | None, damaged: list[str]) -> dict[str, list[float | None]]:
    if path is None:
        return {}
    try:
        table = read_table(path)
    except UserError as error:
        damaged.append(str(error))
        return {}
    return {
        str(name): [float(f"{value:.4g}") if math.isfinite(value) else None for value in table[name]] for name in table
    }


def _table(clips: pd.DataFrame) -> dict[str, Any]:
    """Returns columns and rows of what differs between the clips, and the settings that are the same for all."""
    settings = varying(clips)
    metrics = sorted(clips.attrs[METRICS], key=lambda name: not declared(name).headline)
    order = {name: place for place, name in enumerate(DECLARED_COSTS)}
    costs = sorted(clips.attrs[COSTS], key=lambda name: order.get(name, len(order)))
    identifiers = ["clip"] if clips["clip"].nunique() > 1 else []
    columns = [
        *(
            {"name": name, "kind": "setting", "shown": True, "better": None, "input": is_input(name)}
            for name in [*identifiers, *settings]
        ),
        *({"name": name, "kind": "metric", "shown": True, "better": declared(name).better} for name in metrics),
        *(
            {"name": name, "kind": "cost", "shown": number.headline, "better": number.better}
            for name, number in zip(costs, map(declared_cost, costs), strict=True)
        ),
    ]
    names = [column["name"] for column in columns]
    same = {name: plain(clips[name].iloc[0]) for name in clips.attrs[SETTINGS] if name not in settings}
    details = ["run", "clip", "device", "started", "signature", "sources", "commit", "changed", "folder"]
    return {
        "columns": columns,
        "rows": _rows(clips[names]),
        "details": {"names": details, "rows": _rows(clips[details])},
        "same": same,
    }


def _rows(table: pd.DataFrame) -> list[list[Any]]:
    return [[plain(value) for value in values] for values in table.itertuples(index=False, name=None)]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _reasons(clips: pd.DataFrame) -> list[str]:
    """Returns the distinct reasons of absent metrics."""
    return list(dict.fromkeys(reason for absent in clips["absent"] for reason in map(str, json.loads(absent).values())))


def _absent(clips: pd.DataFrame) -> list[dict[str, int]]:
    number = {reason: index for index, reason in enumerate(_reasons(clips))}
    return [{name: number[str(reason)] for name, reason in json.loads(absent).items()} for absent in clips["absent"]]


def _elsewhere(clips: pd.DataFrame) -> list[str]:
    away = int(clips["folder"].str.contains("://").sum())
    return [f"{count(away, 'video')} at W&B, not on the page"] if away else []


def _notices(clips: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the notices to show with the frames, and the number of clips of each."""
    counts = clips["notice"].dropna().value_counts(sort=False)
    return [{"text": str(text), "clips": int(count)} for text, count in counts.items()]
