"""Settings on the comparison page in a real browser: means, intervals and baselines."""

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from browsing import Open
from small_sweep import change, crossed

from float_research.commands import compare

SOLVERS = ("euler", "midpoint", "<b>bold</b>")


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Path:
    return crossed(made / "0", tmp_path / "crossed", SOLVERS)


def printed(folder: Path, baseline: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict:
    """Returns mean, difference, interval and p of each metric and setting, as the command prints them."""
    monkeypatch.setattr(sys, "argv", ["compare", str(folder), "--baseline", f"solver={baseline}"])
    compare.main()
    names = "|".join(map(re.escape, SOLVERS))
    rows = re.findall(rf"^(\w+) +({names}) +(\S+) +(\S+) +(\[.*?\]) +(\S+)", capsys.readouterr().out, re.MULTILINE)
    return {(metric, setting): held for metric, setting, *held in rows}


def test_differences_are_those_of_the_command(
    settings: Path, show: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (seen := show(settings)).page
    baselines = page.locator("#baseline")
    assert baselines.locator("option").all_inner_texts() == ["none", *SOLVERS]
    baselines.focus()
    for place, baseline in enumerate(SOLVERS):
        page.keyboard.press("ArrowDown")
        seen.until(f"view.baseline === {place}")
        expected = printed(settings, baseline, monkeypatch, capsys)
        assert len(expected) == 4
        for metric in ("lip_correlation", "flicker"):
            others = [setting for setting in SOLVERS if setting != baseline]
            cells = [text for at, text in enumerate(seen.column(metric)) if at != place]
            for setting, cell in zip(others, cells, strict=True):
                _, difference, interval, p = expected[metric, setting]
                sign = "" if float(p) >= 0.05 else "▲" if difference[0] != "-" else "▼"
                assert cell == f"{sign}{difference}\n{interval}"
        signs = sorted(sign for sign in "".join(seen.column("lip_correlation")) if sign in "▲▼")
        assert "".join(signs) == "▲" * (2 - place) + "▼" * place
        assert "baseline" in seen.column("run")[place]
        assert seen.column("mine")[place].count("[") == 1, "means of the baseline"
    assert "▼" not in seen.column("mine")[0], "numbers that are not tested have no marks"
    assert f"difference to {SOLVERS[-1]}" in page.inner_text("#plot .axes")
    assert page.locator("#plot circle").count() == 3
    with page.expect_download() as saved:
        page.locator("#csv").click()
    table = pd.read_csv(saved.value.path())
    _, difference, interval, _ = expected["flicker", "euler"]
    row = table[["flicker_difference", "flicker_low", "flicker_high"]].loc[0]
    assert list(row) == [float(text) for text in re.findall(r"-?[\d.]+", difference + interval)]


def test_means_have_intervals_and_the_best_is_marked(settings: Path, show: Open) -> None:
    page = (seen := show(settings, height=2400)).page
    assert page.inner_text("#table-title") == "Settings"
    marks = [text[0] for text in seen.column("lip_correlation")]
    assert marks == ["0", "0", "★"]
    assert all(re.fullmatch(r"[★☆](2\.0|1\.9)\d+\n\[1\.9\d+, 2\.0\d+\]", text) for text in seen.column("flicker"))
    assert {text[0] for text in seen.column("mine")} == {"1", "2", "3"}
    assert page.locator("#plot circle").evaluate_all("found => found.map((mark) => mark.dataset.index)")[0] == " ".join(
        map(str, range(12))
    )
    page.get_by_label("How it is computed").click()
    assert "compare.py FOLDER --baseline solver=euler" in page.inner_text("#dialog-list")
    page.get_by_label("Close").click()
    page.locator("#plot circle").first.click()
    assert seen.count() == "36 shown, 12 selected"
    assert page.inner_text("#plot-said").startswith("12 clips (run 0): flicker ")
    assert seen.filtered("seed=15") == "18 of 36 shown, 12 selected"
    assert all(re.fullmatch(r"2|2\.0\d*|1\.9\d*", text) for text in seen.column("flicker")), "means without intervals"
    assert page.inner_text("#told").endswith("Settings of which the filter hides clips have no interval.")
    assert seen.filtered("solver!=euler") == "24 of 36 shown, 12 selected"
    assert [text[0] for text in seen.column("lip_correlation")] == ["0", "★"]
    page.locator("#rows").select_option("clips")
    assert len(seen.column("lip_correlation")) == page.locator("#plot circle").count() == 24


def test_a_link_restores_the_baseline(settings: Path, show: Open) -> None:
    page = (seen := show(settings)).page
    page.locator("#baseline").select_option(label="midpoint")
    seen.until("location.hash.includes('baseline=solver%3Dmidpoint')")
    assert page.context.browser is not None
    other = page.context.browser.new_page()
    other.goto(page.url)
    other.locator("tr.baseline").wait_for()
    assert other.input_value("#baseline") == "solver=midpoint"
    assert other.inner_text("#table") == page.inner_text("#table")
    page.locator("#rows").select_option("clips")
    assert page.input_value("#baseline") == "", "single clips have none"
    other.goto("about:blank")
    other.goto(page.url.partition("#")[0] + "#baseline=solver%3Drk9")
    assert other.input_value("#baseline") == ""
    other.close()


def test_a_sweep_that_cannot_be_compared_says_why(settings: Path, made: Path, show: Open) -> None:
    clips = json.loads((settings / "1" / "record.json").read_text())["clips"]
    change(settings / "1", clips=clips[:1])
    page = (seen := show(settings)).page
    assert page.locator("#baseline").is_disabled()
    assert page.input_value("#baseline") == ""
    assert page.locator("#baseline option").all_inner_texts() == ["not possible"]
    reason = "No baseline: solver=euler and solver=midpoint were run on different clips: 11 of 12 of solver=euler"
    assert reason in page.inner_text("#told")
    intervals = ["\n[" in text for text in seen.column("lip_correlation")]
    assert intervals == [True, False, True]
    assert page.locator("#table td[title='one clip: no interval']").first.inner_text().startswith(("1.9", "2"))
    single = show(made).page
    assert "there is one pair only" in single.inner_text("#told") or "different clips" in single.inner_text("#told")
    assert single.locator("#rows").is_hidden()
    assert single.locator("#baseline").is_disabled()
