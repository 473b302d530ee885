"""FLOAT's scores by THEval, as published, beside those of our runs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

import pandas as pd
from rich.console import Console

from float_research.analysis.published import told_weights
from float_research.errors import printable
from float_research.metrics.theval import UNMEASURED
from float_research.metrics.theval_score import MEASURED
from float_research.printing import Table, say
from float_research.texts import count
from float_research.tracking.logger import mean_metrics
from float_research.tracking.runs import SOURCE, Run, find

PAPER, CODE = "arXiv 2511.04520", "github.com/Newbyl/THEval"
PARTIAL = "theval_partial_score"
PUBLISHED: Mapping[str, float] = MappingProxyType(
    {
        "theval_global_aesthetic": 0.8713,
        "theval_mouth_quality": 0.9868,
        "theval_face_quality": 0.9645,
        "theval_lip_dynamics": 0.4266,
        "theval_head_motion": 0.5115,
        "theval_brow_dynamics": 0.8945,
        "theval_silent_lip_stability": 0.6958,
        "theval_lip_sync": 0.9992,
    }
)
"""FLOAT's scores on THEval's data. Their mean, the final score, is 0.7938, the eighth of 17 methods."""
MOST_RUNS = 12
"""The most runs to show: those that come closest to real videos."""


def report(folder: Path, table: pd.DataFrame, console: Console) -> None:
    """Prints the published scores beside those of a folder's runs, if its summary `table` has any."""
    if any(f"{name}_score" in table for name in MEASURED):
        show(find(folder).runs, console)


def show(runs: Sequence[Run], console: Console) -> None:
    """Prints the scores of runs, with the means that they belong to, below the published ones, and what differs."""
    found = [(run, mean_metrics(run.record)) for run in runs]
    found = [(run, numbers) for run, numbers in found if any(f"{name}_score" in numbers for name in MEASURED)]
    if not found:
        return
    best = sorted(found, key=lambda one: one[1].get(PARTIAL, float("-inf")), reverse=True)[:MOST_RUNS]
    published = [PUBLISHED[name] for name in MEASURED]
    rows = [["FLOAT (published)", *(f"{value:.3f}" for value in (*published, fmean(published)))]]
    for run, numbers in best:
        cells = [_cell(numbers, name) for name in MEASURED]
        rows.append([_name(run), *cells, f"{numbers[PARTIAL]:.3f}" if PARTIAL in numbers else ""])
    headings = ["run", *(name.removeprefix("theval_") for name in MEASURED), "mean of these"]
    console.print(Table(headings, rows, f"THEval ({PAPER}), 1 is as real videos are: score (value)"))
    if len(found) > len(best):
        say(console, f"{count(len(found) - len(best), 'more run')} in the summary")
    others = ", ".join(f"{name.removeprefix('theval_')} {PUBLISHED[name]:.3f}" for name in UNMEASURED)
    total = fmean(PUBLISHED.values())
    say(console, f"not measured here: {others} (published); FLOAT's final score, the mean of all eight, is {total:.3f}")
    say(console, "What differs from THEval:")
    for line in dict.fromkeys(line for run, _ in best for line in _differences(run)):
        say(console, f"- {line}")


def _name(run: Run) -> str:
    return printable(run.record.get(SOURCE) or run.name or "run")


def _cell(numbers: Mapping[str, float], name: str) -> str:
    score = numbers.get(f"{name}_score")
    return "" if score is None else f"{score:.3f} ({numbers.get(name, float('nan')):.3g})"


def _differences(run: Run) -> Iterator[str]:
    record, settings = run.record, run.settings()
    if source := record.get(SOURCE):
        yield f"videos: those of {printable(source)}"
    else:
        yield f"weights: {told_weights(record.get('checkpoint') or {}, settings, 'THEval')}"
    held = record.get("suite") or {}
    data = printable(" ".join(str(held[key]) for key in ("name", "version") if key in held)) or "no suite"
    yield f"data: {data}, {count(len(record['clips']), 'clip')} here; 5,011 real videos of its own in THEval"
    yield "real videos: their means are metrics.theval_score.real, by default those of THEval's data; measure your own"
    yield "points: MediaPipe's Face Landmarker here, its earlier face mesh in THEval"
    yield (
        "head_motion: pose and centre by the landmarker here, by FaceXFormer and RetinaFace in THEval; in pixels of "
        "videos whose size there is not known"
    )
    yield f"speech: Silero VAD 6.2.3 here, 5.1.2 in THEval ({CODE})"
