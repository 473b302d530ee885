"""The comparison page in a real browser, opened from disk."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page
from small_sweep import change, lengthen, synthetic

from float_research.analysis.page import write_page

FRAME_S = 1 / 25
PLAYED_S, EVERY_MS = 5, 100
NUM_TRIES = 4
"""The share of five seconds that must be in step: a busy machine falls behind at times."""


@dataclass
class Seen:
    """An open page, its console messages and its requests."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def count(self) -> str:
        return self.page.inner_text("#count")

    def column(self, name: str) -> list[str]:
        """Returns a column of the displayed table."""
        heads = self.page.locator("#table thead th").all_inner_texts()
        place = next(number for number, head in enumerate(heads) if re.fullmatch(rf"{re.escape(name)}( [↑↓])?", head))
        return self.page.locator(f"#table tbody td:nth-child({place + 1})").all_inner_texts()

    def filtered(self, text: str) -> str:
        """Applies a filter and returns the page's count."""
        before = self.page.evaluate("state.filter")
        self.page.fill("#filter", text)
        if before != text:
            for _ in range(50):
                self.page.wait_for_timeout(50)
                if self.page.evaluate("state.filter") == text:
                    break
        return self.count()

    def until(self, told: str) -> None:
        """Waits until an expression is true. The page's policy lets no poll of the browser's own evaluate texts."""
        for _ in range(100):
            if self.page.evaluate(told):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"it never holds: {told}")

    def spread(self) -> None:
        """Arranges the grid with one cell per run."""
        for control in ("#grid-rows", "#grid-columns"):
            self.page.locator(control).select_option("")

    def wait_for_videos(self, at_least: int) -> None:
        """Waits until that many videos can show a frame."""
        ready = "[...document.querySelectorAll('video')].filter((video) => video.readyState >= 2).length"
        for _ in range(100):
            if self.page.evaluate(ready) >= at_least:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("the videos do not load")


Open = Callable[..., Seen]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Yields `show(sweep, width=…)`, which opens the page of a sweep; checks at the end for messages and requests."""
    opened: list[Seen] = []

    def act(sweep: Path, *, title: str = "small", width: int = 1500, height: int = 1200, scheme: Any = "light") -> Seen:
        made = write_page(sweep, tmp_path / f"page{len(opened)}", title)
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        seen = Seen(page)
        page.on("console", lambda message: seen.said.append(message.text))
        page.on("pageerror", lambda error: seen.said.append(str(error)))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.goto(made.path.as_uri())
        opened.append(seen)
        return seen

    yield act
    for seen in opened:
        assert seen.said == []
        assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []
        seen.page.close()


def frame(time_s: float) -> int:
    """Returns the number of the frame shown at a time."""
    return int(time_s / FRAME_S + 1e-6)


def watched(page: Page) -> list[list[float]]:
    """Samples the number of videos, their earliest and latest time, the player's time, and the sound's."""
    return page.evaluate(
        """async ([seconds, every]) => {
          const seen = [], end = performance.now() + 1000 * seconds;
          while (performance.now() < end) {
            await new Promise((done) => setTimeout(done, every));
            const times = [...document.querySelectorAll("video")].map((video) => video.currentTime);
            const sound = player.audio.media.currentTime;
            seen.push([times.length, Math.min(...times), Math.max(...times), player.time, sound]);
          }
          return seen;
        }""",
        [PLAYED_S, EVERY_MS],
    )


def test_all_videos_play_in_step(sweep: Path, speech: Callable[[float], Path], show: Open) -> None:
    long_s = 2 + NUM_TRIES * (PLAYED_S + 1)
    seen = show(lengthen(sweep, speech(long_s), num_frames=long_s * 25), height=2400)
    page = seen.page
    seen.spread()
    seen.wait_for_videos(12)
    page.keyboard.press("m")
    page.keyboard.press("Space")
    page.wait_for_function("[...document.querySelectorAll('video')].every((video) => video.currentTime > 0)")
    page.wait_for_timeout(600)  # they synchronise meanwhile
    for left in reversed(range(NUM_TRIES)):
        times = watched(page)
        assert {count for count, *_ in times} == {12}
        assert times[-1][1] > times[0][1], "all are playing"
        apart = median(frame(last) - frame(first) for _, first, last, _, _ in times)
        late = median(abs(clock - first) for _, first, _, clock, _ in times)
        unheard = median(abs(clock - sound) for *_, clock, sound in times)
        if apart <= 1 and late <= 2 * FRAME_S and unheard <= 3 * FRAME_S:
            break
        assert left, f"{apart} frames apart, {late} s behind the clock, {unheard} s from the sound"
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => video.muted)"), "only one sound"
    page.evaluate("document.querySelector('video').currentTime += 0.2")
    for left in reversed(range(5 * NUM_TRIES)):
        page.wait_for_timeout(500)
        after = page.evaluate("[...document.querySelectorAll('video')].map((video) => video.currentTime)")
        if frame(max(after)) - frame(min(after)) <= 1:
            break
        assert left, f"a video out of step catches up: {after}"
    page.keyboard.press("Space")
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")


def test_frames_are_stepped_and_scrubbed_together(made: Path, show: Open) -> None:
    seen = show(made, height=2400)
    page = seen.page
    seen.spread()
    seen.wait_for_videos(12)
    page.locator("#scrub").fill("40")
    page.locator("body").click(position={"x": 2, "y": 2})
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert "frame 41" in page.inner_text("#clock")
    page.wait_for_timeout(500)
    frames = page.evaluate("[...document.querySelectorAll('video')].map((video) => Math.floor(video.currentTime * 25))")
    assert set(frames) == {41}
    cursors = page.locator(".trace i").evaluate_all("found => found.map((cursor) => cursor.style.transform)")
    assert {round(float(text.removeprefix("translateX(").removesuffix("%)"))) for text in cursors} == {75}
    page.keyboard.press("Home")
    assert "frame 0" in page.inner_text("#clock")


def test_table_sorts_and_filters(made: Path, show: Open) -> None:
    seen = show(made)
    page = seen.page
    seen.spread()
    assert seen.column("run") == [str(number) for number in range(12)]
    page.get_by_role("button", name="sampling_error", exact=True).click()
    errors = [float(text) for text in seen.column("sampling_error")]
    assert errors == sorted(errors)
    page.keyboard.press("Enter")
    assert [float(text) for text in seen.column("sampling_error")] == sorted(errors, reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert seen.column("run")[:3] == ["0", "1", "2"]
    assert seen.filtered("midpoint nfe>=8") == "2 of 12 shown"
    assert seen.column("run") == ["4", "5"]
    assert page.locator(".cell").count() == 2
    assert page.locator("#plot circle").count() == 2
    assert seen.filtered("nfe!=4 solver=euler") == "2 of 12 shown"
    assert seen.filtered("no-such-word") == "0 of 12 shown"
    assert "No run passes" in page.inner_text("#grid")
    assert seen.filtered("") == "12 shown"
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="measured_branches").check()
    assert len(seen.column("measured_branches")) == 12


def test_selection_is_shared_by_table_plot_and_videos(made: Path, show: Open) -> None:
    seen = show(made, height=2400)
    page = seen.page
    seen.spread()
    seen.wait_for_videos(5)
    page.locator("#table").get_by_label("Select run 4").check()
    assert page.locator("#plot circle.chosen").evaluate_all("found => found.map((mark) => mark.dataset.index)") == ["4"]
    page.locator("#plot circle[data-index='5']").click()
    assert seen.count() == "12 shown, 2 selected"
    page.get_by_label("only selected").check()
    assert seen.column("run") == ["4", "5"]
    assert page.locator(".cell.chosen").count() == 2
    page.keyboard.press("Escape")
    assert seen.count() == "12 shown"
    box = page.locator("#plot svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2)
    page.mouse.up()
    assert seen.count() == "12 shown, 12 selected"
    page.get_by_role("button", name="Clear selection").click()
    page.locator("#plot svg").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert seen.count() == "12 shown, 1 selected"
    assert "Run 3: sampling_error 0.04688 at measured_evaluations 8." in page.inner_text("#plot-said")


def test_grid_arranges_any_two_settings_and_stacks_the_rest(made: Path, show: Open) -> None:
    seen = show(made)
    page = seen.page
    assert page.locator("#grid tbody th").all_inner_texts() == ["solver euler", "solver midpoint"]
    assert page.locator("#grid thead th").all_inner_texts() == ["nfe 4", "nfe 8", "nfe 16"]
    cell = page.locator(".cell").first
    assert "run 0" in cell.inner_text()
    assert "1/7" in cell.inner_text()
    cell.get_by_label("Next run").click()
    assert "run 6" in cell.inner_text()
    seen.spread()
    assert page.locator(".cell").count() == 12
    page.locator("#trace").select_option("emotion")
    assert "emotion_happy" in page.inner_text("#legend")
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((x) => x > 0)"
    cell.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    assert page.locator(".trace canvas").first.evaluate(drawn)


def test_missing_data_is_reported(sweep: Path, show: Open) -> None:
    next((sweep / "0" / "videos").glob("*.mp4")).unlink()
    shutil.rmtree(sweep / "1" / "traces")
    (sweep / "3" / "record.json").write_text("{")
    clips = json.loads((sweep / "4" / "record.json").read_text())["clips"]
    change(sweep / "4", clips=[clips[0] | {"metrics": {"psnr_db": 30.0}, "absent": {"seam_jump": "one window only"}}])
    seen = show(sweep, height=2400)
    page = seen.page
    notices = page.inner_text("#notices")
    assert "untrained" in notices
    assert "missing: 1 of 11 videos" in notices
    assert "record.json is damaged" in notices
    seen.spread()
    page.wait_for_timeout(500)
    assert page.get_by_text("video missing").count() == 1
    assert page.get_by_text("no traces").count() == 1
    page.get_by_text("What was not measured").click()
    told = page.locator("#absent li").all_inner_texts()
    assert told == ["psnr_db: needs a reference video (10 of 11 clips)", "seam_jump: one window only (1 of 11 clips)"]
    assert page.locator("#table .missing[title='one window only']").count() == 1


HOSTILE = '<img src=x onerror="window.hurt=1">\'&amp;</script><script>window.hurt=1</script>'


def test_hostile_names_are_plain_text(sweep: Path, show: Open) -> None:
    run = (sweep / "0").rename(sweep / "<img src=x onerror=window.hurt=1>")
    clips = json.loads((run / "record.json").read_text())["clips"]
    change(
        run,
        overrides=[f"emotion.label={HOSTILE}", "solver=<b>bold</b>"],
        device=HOSTILE,
        checkpoint={"notice": HOSTILE},
        clips=[clips[0] | {"id": HOSTILE, "metrics": {f"<i>{HOSTILE}": 1.0}, "absent": {HOSTILE: HOSTILE}}],
    )
    seen = show(sweep, title=HOSTILE, height=2400)
    page = seen.page
    seen.spread()
    seen.wait_for_videos(5)
    assert page.inner_text("#title") == HOSTILE
    assert HOSTILE in page.inner_text("#notices")
    assert page.title().startswith(HOSTILE)
    page.locator("#table").get_by_text("<img src=x onerror=window.hurt=1>", exact=True).click()
    assert HOSTILE in page.inner_text("#dialog-list")
    page.get_by_label("Close").click()
    for control in ("#grid-rows", "#grid-columns", "#plot-colour"):
        page.locator(control).select_option("clip")
    page.locator("#plot-y").select_option(f"<i>{HOSTILE}")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hurt") is None
    assert page.locator("img, i b, td b b").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (820, "dark"), (2200, "light")])
def test_it_fits_phones_and_walls_in_light_and_dark(made: Path, show: Open, width: int, scheme: str) -> None:
    seen = show(made, width=width, height=900, scheme=scheme)
    page = seen.page
    page.locator("#videos").scroll_into_view_if_needed()
    seen.wait_for_videos(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = "getComputedStyle(document.documentElement).backgroundColor"
    dark = sum(map(int, re.findall(r"\d+", page.evaluate(back))[:3])) < 200
    assert dark == (scheme == "dark")
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.inner_text("#theme") == "Theme: dark"
    assert page.evaluate(back) == "rgb(18, 21, 24)"


def test_keys_work_except_while_typing(made: Path, show: Open) -> None:
    seen = show(made, height=2400)
    page = seen.page
    seen.spread()
    seen.wait_for_videos(5)
    page.keyboard.press("/")
    page.keyboard.type("m 4")
    assert page.input_value("#filter") == "m 4"
    assert page.inner_text("#sound") == "Sound off"
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    assert page.inner_text("#sound").startswith("Sound: ")
    page.keyboard.press("?")
    assert "play or pause" in page.inner_text("#dialog-list")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('dialog').open")


def test_a_thousand_runs_load_few_videos(made: Path, show: Open, tmp_path: Path) -> None:
    many = synthetic(made / "0", tmp_path / "many", 1000)
    video = next((made / "0" / "videos").glob("*.mp4"))
    for run in many.iterdir():
        (run / "videos").mkdir()
        (run / "videos" / video.name).hardlink_to(video)
    seen = show(many)
    page = seen.page
    assert seen.count() == "1000 shown"
    assert page.locator("#table tbody tr").count() == 100
    page.get_by_label("Next page").click()
    assert seen.column("run")[0] == "100"
    seen.spread()
    for _ in range(5):
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(200)
    assert page.locator(".cell").count() == 1000
    assert 0 < page.locator("video").count() <= 48
    assert page.locator(".cell").first.locator("video").count() == 0, "removed when out of view"
    assert seen.filtered("nfe=7 euler") == "0 of 1000 shown"
    assert seen.filtered("nfe=7 midpoint") == "50 of 1000 shown"


def test_a_wrong_filter_says_what_is_wrong(made: Path, show: Open) -> None:
    seen = show(made)
    page = seen.page
    said = {
        "nfe>abc": "nfe>abc: abc is not a number; nfe has 4, 8, 16",
        "nfe>": "nfe>: a value is missing, as in nfe>4",
        "solver>=euler": "solver>=euler: solver holds words; use = or !=, as in solver=euler",
        "solver=eulr": "solver=eulr: no run has it; solver has euler, midpoint",
        "nef=8": "nef=8: no column is named nef; there are run,",
    }
    for text, sentence in said.items():
        assert seen.filtered(f"midpoint {text}") == "3 of 12 shown", "the rest of the filter holds"
        assert page.inner_text("#filter-said").startswith(sentence)
        assert page.get_attribute("#filter", "aria-invalid") == "true"
    assert seen.filtered("midpoint") == "3 of 12 shown"
    assert page.inner_text("#filter-said") == ""


def test_videos_are_above_the_fold_and_play_on_a_click(made: Path, show: Open) -> None:
    page = (seen := show(made, width=1440, height=900)).page
    seen.wait_for_videos(3)
    screen = page.locator(".screen video").first
    box, player = screen.bounding_box(), page.locator("#player").bounding_box()
    assert box is not None
    assert player is not None
    assert box["y"] + box["height"] < player["y"], "a whole video is in view"
    screen.click()
    seen.until("[...document.querySelectorAll('video')].every((video) => !video.paused)")
    screen.click()
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")


def test_the_table_fills_its_space_and_tells_that_it_scrolls(made: Path, show: Open) -> None:
    page = (seen := show(made, width=1440, height=900)).page
    held, player = page.locator("#table").bounding_box(), page.locator("#player").bounding_box()
    assert held is not None
    assert player is not None
    assert 0 <= player["y"] - held["y"] - held["height"] < 110
    assert re.fullmatch(r"Scroll: (\d+) more columns →, more rows ↓", page.inner_text("#more"))
    page.locator("#table").evaluate("table => table.scrollTo(1e5, 1e5)")
    seen.until("document.getElementById('more').textContent === ''")


def test_a_box_selects_runs_and_no_text(made: Path, show: Open) -> None:
    seen = show(made, height=2400)
    page = seen.page
    box = page.locator("#plot svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] + 30, steps=3)
    page.mouse.up()
    assert seen.count() == "12 shown, 12 selected"
    assert page.evaluate("getSelection().toString()") == ""


def test_a_dot_is_the_mean_over_seeds_with_its_spread(sweep: Path, show: Open) -> None:
    for number in range(6, 12):
        shutil.rmtree(sweep / str(number))
    for number in range(6):
        run = sweep / str(number)
        (clip,) = json.loads((run / "record.json").read_text())["clips"]
        error = 0.1 * (1 + number % 2) + 0.01 * (number // 2)
        more = {"metrics": {"sampling_error": error}, "seed": number // 2}
        change(run, overrides=[f"nfe={(4, 8)[number % 2]}", "solver=euler"], clips=[clip | more])
    page = (seen := show(sweep, height=2400)).page
    page.locator("#plot-x").select_option("nfe")
    marks = page.locator("#plot circle")
    assert marks.evaluate_all("found => found.map((mark) => mark.dataset.index)") == ["0 2 4", "1 3 5"]
    assert page.locator("#plot g[aria-label='rule'] line").count() == 2
    marks.first.click()
    assert seen.count() == "6 shown, 3 selected"
    said = page.inner_text("#plot-said")
    assert said.startswith("Mean of 3 (runs 0, 2, 4): sampling_error 0.11 ± 0.01 at nfe 4.")
    assert "mean ± standard deviation over seed" in page.inner_text("#plot .legend")
    page.locator("#plot-over").select_option("")
    assert marks.count() == 6


def test_table_and_plot_are_saved(sweep: Path, show: Open) -> None:
    change(sweep / "0", overrides=["solver=euler", "nfe=4", "emotion.label=+1, a"])
    page = (seen := show(sweep)).page
    seen.filtered("nfe=4 solver=euler")
    with page.expect_download() as saved:
        page.locator("#csv").click()
    assert saved.value.suggested_filename == "small.csv"
    table = pd.read_csv(saved.value.path())
    assert list(table["run"]) == [0, 6, 7, 8, 9, 10, 11]
    assert table["emotion.label"][0] == "'+1, a", "no spreadsheet takes it for a formula"
    assert table["sampling_error"][0] == 0.375
    with page.expect_download() as saved:
        page.locator("#png").click()
    picture = cv2.imread(str(saved.value.path()))
    assert picture.shape[1] > 600
    assert len(set(map(tuple, picture.reshape(-1, 3)[::7].tolist()))) > 8, "it is drawn"


def test_a_link_restores_the_state(made: Path, show: Open) -> None:
    page = (seen := show(made)).page
    page.wait_for_timeout(400)
    assert "=" not in page.url, "the page as first opened needs no words"
    page.locator("#table").get_by_label("Select run 4").check()
    seen.filtered("nfe<=8")
    page.locator("#plot-y").select_option("seam_jump")
    page.locator("#grid-rows").select_option("")
    page.get_by_role("button", name="nfe", exact=True).click()
    page.locator("#trace").select_option("emotion")
    page.evaluate("setTime(0.5)")
    seen.until("location.hash.includes('frame=12') && location.hash.includes('emotion')")
    assert page.context.browser is not None
    other = page.context.browser.new_page()
    other.goto(page.url)
    assert other.input_value("#filter") == "nfe<=8"
    assert other.inner_text("#count") == page.inner_text("#count") == "10 of 12 shown, 1 selected"
    assert [other.input_value(place) for place in ("#plot-y", "#grid-rows", "#trace")] == ["seam_jump", "", "emotion"]
    assert other.locator("th[aria-sort]").get_attribute("data-name") == "nfe"
    assert "frame 12" in other.inner_text("#clock")
    other.goto("about:blank")
    wrong = '#plot-y=<b>&selected=[["9",2]]&columns=1&size=x&sort=-none&frame=NaN'
    other.goto(page.url.partition("#")[0] + wrong)
    assert other.input_value("#plot-y") == "sampling_error"
    assert other.inner_text("#count") == "12 shown"
    other.close()
