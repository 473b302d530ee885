"""Numbers that the paper of FLOAT gives for settings of an experiment, beside those of our runs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from float_research.errors import printable
from float_research.printing import Table, say
from float_research.tracking.logger import mean_metrics
from float_research.tracking.runs import Run, Value, find

EXPERIMENT, PAPER = "experiment", "arXiv 2412.01064v5"
SETTINGS: Mapping[str, Value] = {
    "solver": "euler",
    "budget": "grid_points",
    "nfe": 10,
    "time_grid": "uniform",
    "guidance": "incremental",
    "guidance.audio.scale": 2,
    "guidance.emotion.scale": 1,
    "emotion": "audio",
    "chunking.window_s": 2,
    "chunking.previous_frames": 10,
    "stitch": "autoregressive",
    "search": "none",
    "temperature": 1,
    "guidance_reuse": 1,
}
"""The paper's settings, as far as the table of an experiment does not vary them."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A table of the paper: `rows` gives its `numbers`, as printed there, for values of the settings `swept`."""

    table: str
    data: str
    swept: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: Mapping[tuple[Value, ...], tuple[float, ...]]
    remarks: tuple[str, ...] = ()


_FRAMES_AND_LIPS = ("fid", "fvd", "e_fid", "lse_d")
_EMOTION_REMARK = "emotion: emotion=none leaves out the condition; the paper may have trained a model without it"
PUBLISHED: Mapping[str, Sequence[Published]] = {
    "paper_nfe": [
        Published(
            table="Table 5",
            data="HDTF",
            swept=("nfe",),
            numbers=_FRAMES_AND_LIPS,
            rows={
                (2,): (21.785, 178.831, 1.542, 7.559),
                (5,): (21.440, 164.463, 1.331, 7.155),
                (10,): (21.100, 162.052, 1.229, 7.290),
                (20,): (21.158, 164.392, 1.293, 7.343),
            },
            remarks=("evaluations: nfe counts grid points here, as in the official script: 10 are 9 steps of Euler",),
        )
    ],
    "paper_guidance": [
        Published(
            table="Table 6",
            data="RAVDESS",
            swept=("guidance.audio.scale", "guidance.emotion.scale"),
            numbers=_FRAMES_AND_LIPS,
            rows={
                (1, 1): (33.066, 171.047, 1.555, 7.049),
                (1, 2): (31.844, 166.041, 1.334, 7.212),
                (2, 1): (31.681, 166.359, 1.367, 6.994),
                (2, 2): (32.253, 162.658, 1.351, 6.994),
            },
        )
    ],
    "paper_emotion": [
        Published(
            table="Table 2",
            data="HDTF",
            swept=("emotion",),
            numbers=_FRAMES_AND_LIPS,
            rows={("audio",): (21.100, 162.052, 1.229, 7.290), ("none",): (21.235, 155.032, 1.254, 7.264)},
            remarks=(_EMOTION_REMARK,),
        ),
        Published(
            table="Table 2",
            data="RAVDESS",
            swept=("emotion",),
            numbers=_FRAMES_AND_LIPS,
            rows={("audio",): (31.681, 166.359, 1.367, 6.994), ("none",): (32.035, 166.866, 1.502, 7.222)},
            remarks=(_EMOTION_REMARK,),
        ),
    ],
}
"""The tables by experiment, which of an experiment differ in their data alone.

LSE-D, the rows of the default settings, and E-FID of Tables 2 and 6 agree in two independent transcriptions of the
paper; the other numbers were found in one. Two numbers of the paper are left out, because no metric here has their
definition: P-FID, of rotation and translation of the head, where `p_fid` has rotation only, and frames per second on a
V100.
"""


def report(folder: Path, table: pd.DataFrame, console: Console) -> None:
    """Prints what the paper gives for the runs of a folder, if its summary `table` has runs of such an experiment."""
    if EXPERIMENT in table and not PUBLISHED.keys().isdisjoint(table[EXPERIMENT]):
        show(find(folder).runs, console)


def show(runs: Sequence[Run], console: Console) -> None:
    """Prints the numbers of runs beside those of the paper, why some are missing, and what differs."""
    for experiment, tables in PUBLISHED.items():
        own = [run for run in runs if f"{EXPERIMENT}={experiment}" in (run.record.get("overrides") or ())]
        compared = [run for run in own if row_of(run, tables[0]) in tables[0].rows]
        if not compared:
            continue
        for published in tables:
            console.print(_table(compared, published))
        for line in dict.fromkeys(_missing(compared, tables[0].numbers)):
            say(console, line)
        say(console, "What differs from the paper:")
        for line in dict.fromkeys(line for run in compared for line in _differences(run, tables)):
            say(console, f"- {line}")


def row_of(run: Run, published: Published) -> tuple[Value, ...]:
    """Returns the values that a run has for the settings of a table."""
    settings = run.settings()
    return tuple(settings.get(name) for name in published.swept)


def _table(runs: Sequence[Run], published: Published) -> Table:
    names = ["run", *published.swept]
    for name in published.numbers:
        names += [name, f"{name} (paper)"]
    rows = []
    for run in runs:
        values, measured = row_of(run, published), mean_metrics(run.record)
        cells = [run.name, *map(str, values)]
        for name, value in zip(published.numbers, published.rows[values], strict=True):
            cells += [f"{measured[name]:.3f}" if name in measured else "", f"{value:.3f}"]
        rows.append(cells)
    return Table(names, rows, f"published values: FLOAT ({PAPER}), {published.table}, {published.data}")


def _missing(runs: Sequence[Run], numbers: Collection[str]) -> Iterator[str]:
    """Yields why numbers were not measured."""
    from float_research.inference.measuring import told_absent  # loads PyTorch

    for run in runs:
        parts = [
            {"absent": {name: reason for name, reason in (part.get("absent") or {}).items() if name in numbers}}
            for part in (run.record, *run.record["clips"])
        ]
        yield from told_absent({"clips": parts})


def _differences(run: Run, tables: Sequence[Published]) -> Iterator[str]:
    record, settings = run.record, run.settings()
    data = " and ".join(published.data for published in tables)
    yield f"weights: {told_weights(record.get('checkpoint') or {}, settings)}"
    held = record.get("suite") or {}
    suite = printable(" ".join(held[key] for key in ("name", "version") if key in held)) or "no suite"
    yield f"data: {suite} here; {data} in the paper, the first frame of each video with its own sound"
    yield f"crops: face={printable(settings.get('face'))} here, a face alignment model in the paper"
    measured = mean_metrics(record).keys() & set(tables[0].numbers)
    later = {name for clip in record["clips"] for name in clip.get("from_video") or ()}
    encoded = measured & (later | (record.get("metrics") or {}).keys())  # a run's own metrics read its videos
    raw = f", but frames before encoding for {', '.join(sorted(measured - encoded))}" if measured - encoded else ""
    yield f"codec: video={printable(settings.get('video'))} here{raw}; not known of the paper"
    if measured:
        yield "networks: the files that you gave; SyncNet here looks at faces found by landmarks"
    swept = tables[0].swept
    for name, value in SETTINGS.items():
        if name not in swept and (own := settings.get(name)) != value:
            yield f"settings: {name}={printable(own)} here, {value} in the paper"
    yield from tables[0].remarks


def told_weights(held: Mapping[str, Any], settings: Mapping[str, Value], other: str = "the paper") -> str:
    """Returns what the weights of a run are, and whether its numbers compare with those of `other`."""
    if held.get("toy") or held.get("trained") is False:
        what = "the demo's, trained on a toy world" if held.get("toy") else "random"
        return f"{what}; no number here can be compared with those of {other}"
    option, digest = printable(settings.get("checkpoint")), printable(held.get("hash"), 12)
    return f"checkpoint={option}, sha256 {digest}; those of {other} if FLOAT's authors published these files"
