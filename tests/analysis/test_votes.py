"""Votes with known answers: shares, agreement, strengths, and refused files."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from float_research.analysis.blind import ballot
from float_research.analysis.load import load_clips
from float_research.analysis.page import write_page
from float_research.analysis.preferences import Poll, bradley_terry, krippendorff, poll, share_of
from float_research.analysis.votes import COLUMNS, read_votes
from float_research.commands import compare
from float_research.errors import UserError

RATERS = ("00000000000000a1", "00000000000000b2")
EULER, MIDPOINT, HEUN = "solver=euler", "solver=midpoint", "solver=heun"
CODINGS = {
    0.095: ("0100000010", "1110010000"),
    0.692: ("aabbdcccedda", "babbbccceddd"),
    0.743: ("123321412...", "1233224125.3", ".3332342251.", "12332441251."),
}
"""Krippendorff's nominal alpha → values of each rater, "Computing Krippendorff's Alpha-Reliability" (2011), A to C."""

BASEBALL = {
    "Milwaukee": [0, 7, 9, 7, 7, 9, 11],
    "Detroit": [6, 0, 7, 5, 11, 9, 9],
    "Toronto": [4, 6, 0, 7, 7, 8, 12],
    "New York": [6, 8, 6, 0, 6, 7, 10],
    "Boston": [6, 2, 6, 7, 0, 7, 12],
    "Cleveland": [4, 4, 5, 6, 6, 0, 6],
    "Baltimore": [2, 4, 1, 3, 1, 7, 0],
}
"""Wins of the American League in 1987: Agresti, "Categorical Data Analysis" (2002), table 10.10."""
FITTED = [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0]
"""Its Bradley-Terry log strengths above Baltimore's; the standard error of Milwaukee's is 0.343."""


def clips(settings: Sequence[str] = ("euler", "midpoint", "heun"), names: str = "abcd") -> pd.DataFrame:
    """Returns clips of some solvers, with two seeds each."""
    rows = [
        {"run": place, "clip": name, "solver": solver, "seed": seed, "audio_sha256": name, "image_sha256": "i"}
        for place, solver in enumerate(settings)
        for name, seed in itertools.product(names, (1, 2))
    ]
    table = pd.DataFrame(rows).assign(signature="s", sources="c")
    table.attrs = {"settings": ["seed", "solver"]}
    return table


HELD = ballot(clips())
assert HELD is not None


def rows(votes: str, left: str = EULER, right: str = MIDPOINT, rater: str = RATERS[0]) -> list[list[Any]]:
    """Returns rows of a file: l, r and s choose the left, the right and neither, of one clip after another."""
    subjects = itertools.product("abcd", (1, 2))
    words = {"l": "left", "r": "right", "s": "same"}
    return [
        [HELD.page, rater, number, clip, seed, left, right, words[vote], 1.5]
        for number, (vote, (clip, seed)) in enumerate(zip(votes, subjects, strict=False), 1)
    ]


def written(folder: Path, held: Sequence[Sequence[Any]], name: str = "votes.csv") -> Path:
    pd.DataFrame(held, columns=COLUMNS).to_csv(folder / name, index=False)
    return folder / name


def polled(folder: Path, held: Sequence[Sequence[Any]]) -> Poll:
    return poll(read_votes([written(folder, held)], HELD))


@pytest.mark.parametrize("alpha", CODINGS)
def test_published_agreement(alpha: float) -> None:
    units = list(zip(*CODINGS[alpha], strict=True))
    values = sorted({value for unit in units for value in unit} - {"."})
    counts = np.array([[unit.count(value) for value in values] for unit in units])
    assert krippendorff(counts) == pytest.approx(alpha, abs=5e-4)


def test_agreement_is_one_or_undefined() -> None:
    assert krippendorff(np.array([[2, 0, 0], [0, 0, 3], [1, 0, 0]])) == 1
    assert np.isnan(krippendorff(np.array([[2, 0, 0], [2, 0, 0]])))


def test_raters_who_choose_at_random_do_not_agree_over_many_settings() -> None:
    random, names = np.random.default_rng(0), [f"s{number:02d}" for number in range(12)]
    table = [
        {"first": first, "second": second, "clip": "a", "seed": "1", "rater": rater, "choice": "left", "value": value}
        for first, second in itertools.combinations(names, 2)
        for rater, value in zip("abcd", random.choice([-1, 1], 4), strict=True)
    ]
    assert abs(poll(pd.DataFrame(table)).alpha) < 0.1


def test_shares_are_of_decided_votes() -> None:
    share, low, high, p = share_of(10, 0)
    assert (share, low, high, p) == (1, pytest.approx(10 / (10 + 1.959964**2)), pytest.approx(1), 2 / 2**10)
    assert share_of(15, 5)[3] == pytest.approx(0.0414, abs=1e-4), "of the exact sign test"
    assert np.isnan(share_of(0, 0)[:3]).all()


def test_published_strengths() -> None:
    strengths, errors = bradley_terry(np.array(list(BASEBALL.values()), dtype=float))
    assert strengths - strengths[-1] == pytest.approx(FITTED, abs=1e-3)
    assert strengths.sum() == pytest.approx(0, abs=1e-9)
    assert errors.max() < 0.343, "above the mean they are known better than above Baltimore"


def test_strengths_of_two_settings_are_the_log_odds() -> None:
    strengths, errors = bradley_terry(np.array([[0, 12.0], [4, 0]]))
    assert strengths == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    assert errors == pytest.approx(np.sqrt(1 / 12 + 1 / 4) / 2)


def test_intervals_of_strengths_hold_the_truth() -> None:
    random, truth = np.random.default_rng(0), np.array([0.6, 0.2, -0.1, -0.7])
    chances = expit(truth[:, None] - truth)
    held = []
    for _ in range(100):
        upper = np.triu(random.binomial(40, chances), 1)
        strengths, errors = bradley_terry((upper + np.tril(40 - upper.T, -1)).astype(float))
        held.append(np.abs(strengths - truth) <= 1.96 * errors)
    assert 0.92 <= np.mean(held) <= 0.98


def test_a_poll_says_what_is_preferred(tmp_path: Path) -> None:
    held = [
        *rows("rrrrrrrr"),
        *rows("llllllls", MIDPOINT, EULER, RATERS[1]),
        *rows("lrlrs", EULER, HEUN),
        *rows("lrrrs", HEUN, EULER, RATERS[1]),
    ]
    found = polled(tmp_path, held)
    first, second = found.preferences
    assert (first.num_first, first.num_second, first.num_same, first.share) == (0, 15, 1, 0)
    assert str(first) == (
        "midpoint is preferred to euler in 100 % [80 %, 100 %] of 15 decided votes; 16 votes of 2 raters, "
        "1 without a difference, p < 0.001"
    )
    assert str(second) == (
        "euler and heun are not separable: euler is preferred in 62 % [31 %, 86 %] of 8 decided votes; "
        "10 votes of 2 raters, 2 without a difference, p = 0.73"
    )
    assert [item.setting for item in found.strengths] == ["midpoint", "euler", "heun"]
    assert (found.num_shared, found.lefts, found.num_decided) == (13, 10, 23)
    by_chance = 1 - (2 * 23 * 22 + 6 * 5) / (52 * 51)
    assert found.alpha == pytest.approx(1 - (4 / 13) / by_chance), "9 of 13 agree, and 3 of 26 votes are undecided"
    assert str(found).startswith(
        "2 raters; the left video was chosen in 10 of 23 decided votes; Krippendorff's alpha 0."
    )


def test_agreement_does_not_depend_on_the_order_of_settings(tmp_path: Path) -> None:
    held = [*rows("lrllls"), *rows("lrlsls", rater=RATERS[1])]
    turned = read_votes([written(tmp_path, held)], HELD)
    turned["value"] *= -1
    assert polled(tmp_path, held).alpha == poll(turned).alpha


def test_what_votes_cannot_say_is_noted(tmp_path: Path) -> None:
    never = polled(tmp_path, [*rows("lllll"), *rows("lllll", rater=RATERS[1])])
    assert never.strengths == []
    assert never.notes == [
        "there are no finite Bradley-Terry strengths: midpoint never won or drew against the other settings; "
        "gather more votes",
    ]
    assert never.alpha == 1, "they agree, even if one setting always wins"
    undecided = polled(tmp_path, [*rows("ss"), *rows("ss", rater=RATERS[1])])
    assert np.isnan(undecided.alpha)
    assert undecided.notes == ["no rater saw a difference in any shared comparison, so agreement has no measure"]
    (same,) = polled(tmp_path, rows("ss")).preferences
    assert str(same) == "euler and midpoint: no difference in all of 2 votes of 1 rater"
    assert same.p == 1


def test_the_identity_follows_what_is_shown() -> None:
    moved = clips().assign(run=7)
    moved.attrs = clips().attrs
    rerun = clips().assign(sources="other")
    rerun.attrs = clips().attrs
    pages = [held.page for table in (moved, rerun, clips(names="abc")) if (held := ballot(table))]
    assert pages[0] == HELD.page
    assert len({*pages}) == 3
    alone = clips(["euler"])
    assert ballot(alone) is None


def test_clips_of_other_recordings_are_no_rivals() -> None:
    table = clips()
    table.loc[table["solver"] == "heun", "audio_sha256"] = "other"
    held = ballot(table)
    assert held is not None
    assert held.rivals(EULER, MIDPOINT, "a", "1")
    assert not held.rivals(EULER, HEUN, "a", "1")


def changed(**cells: Any) -> list[list[Any]]:
    held = rows("lrs")
    for name, value in cells.items():
        held[1][COLUMNS.index(name)] = value
    return held


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            changed(page="0" * 16),
            f"is of the page {'0' * 16}, but the sweep's is {HELD.page}: it is another sweep, or has",
        ),
        (changed(left="solver=rk4"), "solver=rk4 is no setting of the sweep, which has solver=euler; solver=midpoint"),
        (
            changed(left=MIDPOINT),
            "the sweep has no clip a with seed 2 in solver=midpoint and another setting solver=mid",
        ),
        (changed(clip="z"), "the sweep has no clip z with seed 2 in solver=euler and another setting solver=midpoint"),
        (changed(seed=3), "the sweep has no clip a with seed 3 in solver=euler"),
        (changed(choice="both"), "choice both is none of left, right, same; save the votes on the blind page again"),
        (changed(choice=np.nan), "choice (empty) is none of"),
        (changed(rater="<b>"), "rater <b> is invalid; save"),
        (changed(order=0), "order 0 is invalid; save"),
        (changed(seconds=np.nan), "seconds (empty) is no time; save"),
        (changed(seconds="nan"), "seconds nan is no time; save"),
        (changed(seconds=-1), "seconds -1.0 is no time; save"),
        (changed(seed=1), "repeats vote 1 of VOTES: rater 00000000000000a1 judged solver=euler and solver=midpoint of"),
        (changed(seed=1, left=MIDPOINT, right=EULER), "repeats vote 1 of VOTES: rater"),
    ],
)
def test_bad_votes_are_one_sentence(tmp_path: Path, held: Sequence[Sequence[Any]], message: str) -> None:
    path = written(tmp_path, held)
    with pytest.raises(UserError) as said:
        read_votes([path], HELD)
    assert str(said.value).replace(str(path), "VOTES").startswith("vote 2 of VOTES")
    assert message in str(said.value).replace(str(path), "VOTES")


def test_other_files_are_one_sentence(tmp_path: Path) -> None:
    for content, message in {
        "a,b\n1,2\n": "have the columns a, b instead of page, rater, order",
        "": "have the columns (none) instead of page",
        ",".join(COLUMNS) + "\n": "there are no votes; vote on the blind page",
        ",".join(COLUMNS) + "\n" + ",".join("x" * 12) + "\n": "vote 1 of ",
        "\0\1\2": "save the votes on the blind page again",
    }.items():
        (tmp_path / "votes.csv").write_text(content)
        with pytest.raises(UserError) as said:
            read_votes([tmp_path / "votes.csv"], HELD)
        assert message in str(said.value)
    with pytest.raises(UserError, match=r"none\.csv does not exist; save the votes"):
        read_votes([tmp_path / "none.csv"], HELD)
    once = written(tmp_path, rows("ll"))
    with pytest.raises(UserError, match=r"repeats vote 1 of .*votes\.csv.*of a browser's files only the last"):
        read_votes([once, once], HELD)


def test_names_that_a_spreadsheet_takes_for_formulas_are_known(tmp_path: Path) -> None:
    held = ballot(clips(names=["-a", "'b"]))
    assert held is not None
    votes = [
        [held.page, RATERS[0], 1, "'-a", 1, EULER, MIDPOINT, "left", 1],
        [held.page, RATERS[0], 2, "'b", 1, EULER, MIDPOINT, "left", 1],
    ]
    assert list(read_votes([written(tmp_path, votes)], held)["clip"]) == ["-a", "'b"]


def run_compare(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, words)])
    compare.main()


def test_the_command_evaluates_votes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write_page(made, tmp_path / "page", "small", ["solver=euler,nfe=8", "solver=midpoint,nfe=8"])
    assert page.num_comparisons == 1
    held = ballot(load_clips(made))
    assert held is not None
    one, other = [name for name in held.rows if "nfe=8" in name]
    votes = [[held.page, rater, 1, "portrait-speech2.2", 15, one, other, "right", 2.5] for rater in RATERS]
    files = [written(tmp_path, [vote], f"{number}.csv") for number, vote in enumerate(votes)]
    run_compare(monkeypatch, "--votes", *files, made, "--output", tmp_path / "out")
    said = capsys.readouterr().out
    assert "is preferred in 100 % [34 %, 100 %] of 2 decided votes; 2 votes of 2 raters, 0 without a difference" in said
    assert "never won or drew against the other settings" in said
    table = pd.read_csv(tmp_path / "out" / "preferences.csv")
    assert (table["votes_second"][0], table["raters"][0]) == (2, 2)
    assert (tmp_path / "out" / "strengths.csv").read_text() == "setting,votes,strength,low,high\n"
    for words, message in {
        ("--votes", files[0]): "give files of votes and the one folder of their sweep",
        ("--votes", files[0], made, "--baseline", "x"): "without other options than --output",
        ("--votes", tmp_path / "no.csv", made): "no.csv does not exist",
    }.items():
        with pytest.raises(UserError, match=message):
            run_compare(monkeypatch, *words)
    (tmp_path / "out" / "strengths.csv").write_text("mine")
    with pytest.raises(UserError, match=r"strengths\.csv was not written by float-research"):
        run_compare(monkeypatch, "--votes", *files, made, "--output", tmp_path / "out")


def test_without_settings_there_is_no_blind_page(made: Path, tmp_path: Path) -> None:
    page = write_page(made / "0", tmp_path / "page", "one")
    assert page.num_comparisons == 0
    assert not (tmp_path / "page" / "blind.html").exists()
    with pytest.raises(UserError, match="no run has solver=rk9"):
        write_page(made, tmp_path / "page", "small", ["solver=rk9"])
