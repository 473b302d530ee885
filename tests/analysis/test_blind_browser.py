"""The blind page in a real browser, opened from disk and driven by keys alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from float_research.analysis.blind import ballot
from float_research.analysis.load import load_clips
from float_research.analysis.page import write_page
from float_research.analysis.preferences import poll
from float_research.analysis.votes import COLUMNS, read_votes

KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "same": "ArrowDown"}
NUM_SETTINGS = 12
TELLTALES = ("solver", "euler", "midpoint", "nfe", "guidance", "happy", "emotion", "chunking", "speech")
"""Words of settings, and of the names of clips and files."""

Open = Callable[[Path], Page]


@pytest.fixture
def blind(browser: Browser) -> Iterator[Open]:
    """Yields `blind(folder)`, which opens a blind page; checks at the end for messages and requests."""
    said: list[str] = []
    asked: list[str] = []
    opened: list[Page] = []

    def act(folder: Path) -> Page:
        page = browser.new_page(viewport={"width": 1024, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / "blind.html").as_uri())
        opened.append(page)
        return page

    yield act
    for page in opened:
        page.close()
    assert [text for text in said if "ERR_FILE_NOT_FOUND" not in text] == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def until(page: Page, told: str) -> None:
    """Waits until an expression is true: the page's policy forbids the browser's own polls."""
    for _ in range(200):
        if page.evaluate(told):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"it never holds: {told}")


def vote(page: Page, choice: str, key: str | None = None) -> tuple[Any, ...]:
    """Votes by a key; returns the row that is expected, without its seconds."""
    until(page, "session.since !== null")
    shown = page.evaluate(
        """() => {
          const { clip, left, right } = session.current;
          return [...data.clips[clip], data.settings[left], data.settings[right]];
        }"""
    )
    page.keyboard.press(key or KEYS[choice])
    return (*shown, choice)


def saved(page: Page) -> Path:
    with page.expect_download() as found:
        page.keyboard.press("s")
    return found.value.path()


def test_twenty_votes_by_keys_with_a_reload_are_evaluated(made: Path, tmp_path: Path, blind: Open) -> None:
    assert write_page(made, tmp_path, "euler against midpoint").num_comparisons == NUM_SETTINGS * (NUM_SETTINGS - 1) / 2
    page = blind(tmp_path)
    page.keyboard.press("ArrowLeft")
    assert "20 comparisons, without names" in page.inner_text("#rest"), "an arrow starts nothing"
    page.keyboard.press("Enter")
    choices = ["left", "right", "same"] * 6 + ["right", "left"]
    cast = [vote(page, choices[0])]
    until(page, "session.since !== null")
    seen = page.evaluate("document.body.innerText + document.querySelector('main').outerHTML + document.title").lower()
    assert [word for word in TELLTALES if word in seen] == [], "nothing says which setting it is"
    assert page.evaluate("screens().map((video) => video.muted)") == [False, True]
    assert page.inner_text("#progress") == "2 of 20"
    cast += [vote(page, choice, "=" if choice == "same" else None) for choice in choices[1:9]]
    vote(page, "left")
    page.keyboard.press("Backspace")
    until(page, "own().length === 9")
    page.reload()
    assert "You have judged 9. Save the votes, or go on with 11 comparisons." in page.inner_text("#rest")
    page.keyboard.press("Enter")
    assert page.inner_text("#progress") == "10 of 20"
    cast += [vote(page, choice) for choice in choices[9:]]
    assert "Thank you" in page.inner_text("#rest")
    path = saved(page)
    table = pd.read_csv(path, dtype=str)
    assert list(table) == COLUMNS
    assert list(map(tuple, table[["clip", "seed", "left", "right", "choice"]].to_numpy())) == cast
    assert list(table["order"].astype(int)) == list(range(1, 21))
    assert table["rater"].nunique() == 1
    assert table["seconds"].astype(float).between(0.01, 20).all()
    held = ballot(load_clips(made))
    assert held is not None
    found = poll(read_votes([path], held))
    assert sum(item.num_votes for item in found.preferences) == 20
    assert (found.lefts, found.num_decided) == (7, 14)
    assert found.notes[-1] == "no comparison was judged by several raters, so nothing is known of their agreement"


def test_raters_judge_the_same_in_orders_of_their_own(made: Path, tmp_path: Path, blind: Open) -> None:
    write_page(made, tmp_path, "small", ["solver=euler,nfe=8", "solver=euler,nfe=16", "solver=midpoint,nfe=4"])
    page = blind(tmp_path)
    for _ in range(2):
        page.keyboard.press("Enter")
        for _ in range(3):
            vote(page, "left")
        assert "That was all" in page.inner_text("#rest")
        page.keyboard.press("n")
        assert "3 comparisons, without names" in page.inner_text("#rest")
    page.evaluate("localStorage.clear()")
    page.reload()
    assert page.inner_text("#kept") == "6 votes are kept in this browser only.", "the tab's own storage is enough"
    table = pd.read_csv(saved(page))
    first, second = (own for _, own in table.groupby("rater"))
    pairs = [{frozenset(pair) for pair in own[["left", "right"]].to_numpy()} for own in (first, second)]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 3
    held = ballot(load_clips(made))
    assert held is not None
    (tmp_path / "votes.csv").write_text(table.to_csv(index=False))
    assert poll(read_votes([tmp_path / "votes.csv"], held)).num_shared == 3
    planned = "[...'01234567'].map((rater) => JSON.stringify(planOf(rater)))"
    plans = page.evaluate(planned)
    assert len(set(plans)) > 4, "orders and sides differ"
    assert plans == page.evaluate(planned)


def test_what_cannot_be_played_or_kept_is_said(made: Path, tmp_path: Path, blind: Open) -> None:
    write_page(made, tmp_path, "small", ["solver=euler,nfe=8", "solver=euler,nfe=16", "solver=midpoint,nfe=4"])
    sorted((tmp_path / "blind").iterdir())[0].unlink()
    page = blind(tmp_path)
    page.keyboard.press("Enter")
    vote(page, "right")
    until(page, "session.current === null")
    assert "That was all" in page.inner_text("#rest")
    assert page.inner_text("#said") == "A video cannot be played here; its comparison is left out."
    assert len(pd.read_csv(saved(page))) == 1
    for store in ("localStorage", "sessionStorage"):
        page.evaluate(f'{store}.setItem(KEY, \'{{"rater": "<img>", "entries": 1}}\')')
    page.reload()
    assert page.inner_text("#said") == "The votes in this browser are damaged and cannot be continued."
    page.keyboard.press("Enter")
    vote(page, "same")
    for store in ("localStorage", "sessionStorage"):
        assert len(json.loads(page.evaluate(f"{store}.getItem(KEY)"))["entries"]) >= 1


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_it_fits_phones_and_desktops(made: Path, tmp_path: Path, blind: Open, width: int) -> None:
    write_page(made, tmp_path, "small")
    page = blind(tmp_path)
    page.set_viewport_size({"width": width, "height": 800})
    page.keyboard.press("Enter")
    until(page, "session.since !== null")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    left, right, button = (page.locator(place).bounding_box() for place in ("#left", "#right", "#choose-same"))
    assert left is not None
    assert right is not None
    assert button is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"], "side by side"
    assert button["y"] + button["height"] <= 800, "no scrolling to vote"
