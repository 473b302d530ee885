"""Settings on the comparison page: means with intervals, which are best, and differences to any baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from float_research.analysis.crossed import Design, Estimate
from float_research.analysis.filling import plain
from float_research.analysis.load import COSTS, METRICS
from float_research.analysis.numbers import numbers_of_runs
from float_research.analysis.pairs import (
    Groups,
    Paired,
    compared_names,
    doubts,
    factors,
    keyed,
    settings,
)
from float_research.analysis.statistics import LEVEL, headlines, holm, paired, rounded, separable, shortened
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
        rows, untold, notes = paired(groups, numbers)
    except UserError as error:
        return Compared(content={**content, "refused": str(error)}, baselines=[])
    tested = [row for row in rows if row.number.name in headlines(groups)]
    places = range(len(groups))
    differences = {row.number.name: [_differences(row, place) for place in places] for row in rows}
    names_tested = [row.number.name for row in tested]
    content |= {
        "refused": None,
        "design": str(max((row.design for row in rows), key=lambda design: design.num_pairs)) if rows else "",
        "tested": names_tested,
        "untold": untold,
        "notes": [*doubts(groups), *notes],
        "ranked": {row.number.name: _ranked(row) for row in tested},
        "apart": _apart(tested),
    }
    return Compared(
        content=content,
        baselines=[
            _cells({name: of_baselines[place] for name, of_baselines in differences.items()}, names_tested, place)
            for place in places
        ],
    )


def _differences(row: Paired, baseline: int) -> Estimate:
    """Estimates the differences of all settings to one."""
    return row.design.estimate(row.compared - row.compared[baseline])


def _ranked(row: Paired) -> list[int]:
    """Returns the settings from the best mean to the worst; none if no direction is better."""
    return [] if row.number.better is None else np.argsort(-row.worth.mean(1), kind="stable").tolist()


def _apart(rows: Sequence[Paired]) -> dict[str, list[str]]:
    """Returns whether settings differ in each number: a row of digits per setting, one for each setting before it."""
    differ = separable(rows)
    return {
        row.number.name: [
            "".join(str(int(differ[row.number.name, other, one])) for other in range(one))
            for one in range(len(row.labels))
        ]
        for row in rows
    }


def _cells(found: Mapping[str, Estimate], tested: Sequence[str], baseline: int) -> dict[str, list[Cell]]:
    """Returns the differences to one setting in words. p is corrected as in `compare`: over all that are tested."""
    p = [np.delete(np.asarray(found[name].p), baseline) for name in tested]
    corrected = dict(zip(tested, np.split(holm(np.concatenate(p)), len(p)), strict=True)) if p else {}
    cells: dict[str, list[Cell]] = {}
    for name, own in found.items():
        mean, half_width = np.asarray(own.mean), np.asarray(own.half_width)
        low, high = mean - half_width, mean + half_width
        shown: list[list[Any]] = [
            [rounded(value, half) for value in values]
            for *values, half in zip(mean, low, high, (high - low) / 2, strict=True)
        ]
        if name in corrected:
            tests = np.insert(corrected[name], baseline, 1)
            shown = [[*cell, f"{value:.2g}", bool(value < LEVEL)] for cell, value in zip(shown, tests, strict=True)]
        cells[name] = [None if place == baseline else cell for place, cell in enumerate(shown)]
    return cells


def _means(groups: Groups, numbers: Sequence[str]) -> dict[str, Any]:
    """Returns the mean of each number over the clips of each setting, with its interval or the reason for none."""
    means: dict[str, list[Cell]] = {name: [] for name in numbers}
    why: dict[str, int] = {}
    for clips in groups.values():
        values = np.stack([pd.to_numeric(clips[name], errors="coerce").to_numpy(dtype=float) for name in numbers])
        known = ~np.isnan(values)
        frame = keyed(clips)
        table = factors([frame])
        designs: dict[bytes, Design] = {}
        for name, own, held in zip(numbers, values, known, strict=True):
            reason = _no_interval(name, own[held]) if frame.index.is_unique else "clips that occur twice"
            if not held.any():
                means[name].append(None)
            elif reason:
                runs = clips["run"][held] if name in numbers_of_runs() else np.arange(held.sum())
                mean = float(pd.Series(own[held]).groupby(np.asarray(runs)).first().mean())
                means[name].append([plain(mean), why.setdefault(reason, len(why))])
            else:
                design = designs.setdefault(held.tobytes(), Design.of(table[held]))
                found = design.estimate(own[held])
                mean, half = float(found.mean), float(found.half_width)
                means[name].append([rounded(value, half) for value in (mean, mean - half, mean + half)])
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
