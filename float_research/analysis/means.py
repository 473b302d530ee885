"""Settings on the comparison page: means with intervals, which are best, and differences to any baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from float_research.analysis.crossed import Design
from float_research.analysis.filling import plain
from float_research.analysis.load import COSTS, METRICS
from float_research.analysis.numbers import numbers_of_runs
from float_research.analysis.pairs import Groups, compared_names, doubts, factors, keyed, pair, settings
from float_research.analysis.statistics import (
    Sample,
    differences,
    headlines,
    pairs_apart,
    rounded,
    sample,
    shortened,
)
from float_research.errors import UserError

MOST_SETTINGS = 100
"""Of which each may be the baseline: their differences grow with the square."""
Cell = list[Any] | None
"""`[mean, low, high]` in words; `[mean, why]` with the place of the reason for no interval; None without a value."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the page tells of settings.

    `content`: of the page itself. `baselines`: for each setting as the baseline, number → a cell for each setting:
    `[difference, low, high]` in words, then p and whether it is separable for the headline metrics, which alone are
    tested; None for the baseline itself.
    """

    content: Mapping[str, Any]
    baselines: Sequence[Mapping[str, Sequence[Cell]]]


def compared(clips: pd.DataFrame) -> Compared:
    """Returns the means of all settings of the clips, and their differences if they have pairs."""
    names = compared_names(clips)
    groups = settings(clips, []) if names else {"all": clips}
    numbers = [*clips.attrs[METRICS], *clips.attrs[COSTS]]
    content: dict[str, Any] = {
        "names": names,
        "groups": [own.index.tolist() for own in groups.values()],
        "labels": list(groups),
        "short": shortened(list(groups)),
        **(_means(groups, numbers) if len(groups) < len(clips) else {"means": {}, "why": []}),
    }
    try:
        if len(groups := settings(clips, [])) > MOST_SETTINGS:
            raise UserError(f"these are {len(groups)} settings, and a page compares at most {MOST_SETTINGS}")
        pairs, frames = pair(groups)
    except UserError as error:
        return Compared(content={**content, "refused": str(error)}, baselines=[])
    notes, reasons = doubts(groups), dict[str, str]()
    samples: dict[str, Sample] = {}
    for name in numbers:
        try:
            samples[name] = sample(name, pairs, frames)
        except UserError as error:
            reasons[name] = str(error)
            continue
        if absent := len(pairs) - samples[name].design.num_pairs:
            notes.append(f"{name}: {absent} of {len(pairs)} pairs have no value on either side and are left out")
    tested = {name: samples.pop(name) for name in headlines(groups) if name in samples}
    content |= {
        "refused": None,
        "design": str(Design.of(pairs)),
        "tested": list(tested),
        "untold": reasons,
        "notes": notes,
        "ranked": {name: own.ranked for name, own in tested.items()},
        "apart": {
            name: ["".join(str(int(differ)) for differ in row[:place]) for place, row in enumerate(apart)]
            for name, apart in zip(tested, pairs_apart(list(tested.values())), strict=True)
        },
    }
    labels = list(groups)
    return Compared(
        content=content,
        baselines=[
            _cells(list(tested.values()), labels, place, tells_p=True)
            | _cells(list(samples.values()), labels, place, tells_p=False)
            for place in range(len(labels))
        ],
    )


def _cells(samples: Sequence[Sample], labels: Sequence[str], baseline: int, *, tells_p: bool) -> dict[str, list[Cell]]:
    """Returns the differences of all settings to one."""
    found: dict[str, list[Cell]] = {own.number.name: [None] * len(labels) for own in samples}
    places = {label: place for place, label in enumerate(labels)}
    for item in differences(samples, labels, baseline):
        half = (item.high - item.low) / 2
        cell: list[Any] = [rounded(value, half) for value in (item.difference, item.low, item.high)]
        found[item.number.name][places[item.setting]] = [*cell, f"{item.p:.2g}", item.separable] if tells_p else cell
    return found


def _means(groups: Groups, numbers: Sequence[str]) -> dict[str, Any]:
    """Returns the mean of each number over the clips of each setting, with its interval or the reason for none."""
    means: dict[str, list[Cell]] = {name: [] for name in numbers}
    why: dict[str, int] = {}
    for label, clips in groups.items():
        values = np.stack([pd.to_numeric(clips[name], errors="coerce").to_numpy(dtype=float) for name in numbers])
        known = ~np.isnan(values)
        try:
            table, twice = factors([keyed(label, clips)]), None
        except UserError as error:
            table, twice = None, str(error)
        designs: dict[bytes, Design] = {}
        for name, own, held in zip(numbers, values, known, strict=True):
            reason = twice or _no_interval(name, own[held])
            if not held.any():
                means[name].append(None)
            elif reason or table is None:
                runs = clips["run"][held] if name in numbers_of_runs() else np.arange(held.sum())
                mean = float(pd.Series(own[held]).groupby(np.asarray(runs)).first().mean())
                means[name].append([plain(mean), why.setdefault(str(reason), len(why))])
            else:
                design = designs.setdefault(held.tobytes(), Design.of(table[held]))
                found = design.estimate(own[held])
                half = float(found.half_width)
                shown = [rounded(value, half) for value in (found.mean, found.mean - half, found.mean + half)]
                means[name].append(shown)
    return {"means": means, "why": list(why)}


def _no_interval(name: str, values: np.ndarray) -> str | None:
    """Returns why the mean of these values has no interval."""
    if name in numbers_of_runs():
        return "one number for all clips of a run"
    if len(values) == 1:
        return "one clip"
    if np.isinf(values).any():
        return "infinite in some clips"
    return f"the same in all {len(values)} clips" if len(values) and np.ptp(values) == 0 else None
