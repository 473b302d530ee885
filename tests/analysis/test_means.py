"""Settings on the comparison page: means, reasons for no interval, ranks, and what cannot be compared."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats
from small_sweep import crossed

from float_research.analysis import means
from float_research.analysis.load import clip_table, find_runs
from float_research.analysis.means import compared
from float_research.analysis.page import write_page
from float_research.analysis.pairs import settings
from float_research.analysis.statistics import compare

NAN, INF = math.nan, math.inf
NUMBERS = ("flicker", "seam_jump", "fid", "mine")


def clips(**solvers: list[tuple[float, ...]]) -> pd.DataFrame:
    """Returns clips of solvers: each of another recording, with the values of `NUMBERS`."""
    rows = [
        {"run": solver, "clip": f"r{place}", "seed": 15, "solver": solver, "audio_sha256": f"a{place}", "absent": "{}"}
        | dict(zip(NUMBERS, values, strict=True))
        for solver, of_clips in solvers.items()
        for place, values in enumerate(of_clips)
    ]
    table = pd.DataFrame(rows)
    table.attrs = {"settings": ["seed", "solver"], "metrics": list(NUMBERS), "costs": []}
    return table


THREE = clips(
    euler=[(1.0, 0.5, 7.0, INF), (2.0, 0.6, 7.0, 1.0), (4.0, 1.4, 7.0, 2.0)],
    ab2=[(1.5, 0.9, 8.0, NAN), (2.0, 0.9, 8.0, NAN), (4.5, 0.9, 8.0, NAN)],
    rk4=[(3.0, 2.0, 9.0, 1.0), (3.5, 2.1, 9.0, NAN), (6.0, 2.3, 9.0, NAN)],
)


def test_the_interval_is_that_of_the_crossed_variance() -> None:
    found = compared(THREE).content
    low, high = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert found["means"]["flicker"][0] == ["2.3", f"{low:.1f}", f"{high:.1f}"]


def test_a_mean_without_an_interval_has_a_reason() -> None:
    found = compared(THREE).content

    def said(name: str) -> list[Any]:
        return [[cell[0], found["why"][cell[1]]] if cell and len(cell) == 2 else cell for cell in found["means"][name]]

    assert said("mine") == [["∞", "infinite in some clips"], None, [1, "one clip"]]
    assert said("fid")[0] == [7, "one number for all clips of a run"]
    assert said("seam_jump")[1] == [0.9, "the same in all 3 clips"]
    twice = pd.concat([THREE, THREE[:1].assign(run="again")], ignore_index=True)
    twice.attrs = THREE.attrs
    found = compared(twice).content
    assert found["why"][found["means"]["flicker"][0][1]] == "clips that occur twice"
    assert found["refused"].startswith("solver=euler has clip r0 with seed 15 2 times, in the runs euler, again;")


def test_ranks_and_differences_are_those_of_a_comparison(made: Path, tmp_path: Path) -> None:
    folder = crossed(made / "0", tmp_path / "crossed", ("euler", "<b>", "abm2", "rk4"))
    table = clip_table(find_runs(folder))
    found, groups = compared(table), settings(table, [])
    for place, baseline in enumerate(groups):
        expected = compare(groups, None, baseline)
        for item in expected.differences:
            cell = found.baselines[place][item.number.name][found.content["short"].index(item.setting)]
            assert cell is not None
            assert (cell[0], f"[{cell[1]}, {cell[2]}]", cell[3:]) == (
                *item.shown()[1:],
                [f"{item.p:.2g}", item.separable],
            )
        assert found.baselines[place]["mine"][place] is None
    for name, best in expected.best.items():
        first, *others = found.content["ranked"][name]
        assert found.content["short"][first] == best
        alike = [other for other in others if found.content["apart"][name][max(first, other)][min(first, other)] == "0"]
        assert {found.content["short"][other] for other in alike} == expected.inseparable[name]
    write_page(folder, tmp_path / "page", "small")
    script = (tmp_path / "page" / "differences" / "0001.js").read_text()
    assert script.startswith("addDifferences(1,{")
    assert json.loads(script[len("addDifferences(1,") : -len(");\n")]) == found.baselines[1]
    assert "<b>" not in (tmp_path / "page" / "index.html").read_text().partition('id="data">')[2].partition("<")[0]


def test_numbers_that_cannot_be_compared_have_a_reason() -> None:
    found = compared(THREE).content
    assert found["untold"]["fid"].startswith("fid is one number for all clips of a run")
    assert found["untold"]["mine"].startswith("mine is missing in ")
    assert found["tested"] == ["flicker", "seam_jump"]
    assert found["ranked"]["seam_jump"] == [1, 0, 2], "by the mean distance to 1"


def test_too_many_settings_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "MOST_SETTINGS", 2)
    found = compared(THREE)
    assert found.content["refused"] == "these are 3 settings, and a page compares at most 2"
    assert found.baselines == []
    alone = compared(clips(euler=[(1.0, 1.0, 1.0, 1.0), (2.0, 1.0, 1.0, 1.0)]))
    assert alone.content["refused"] == "these runs do not differ in a setting; give two runs, or a sweep over a setting"
    assert len(alone.content["means"]["flicker"][0]) == 3
