"""The videos of the comparison page in a real browser: in step, in the grid, in view."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from browsing import Open
from playwright.sync_api import Page
from small_sweep import lengthen, synthetic

FRAME_S = 1 / 25
PLAYED_S, EVERY_MS = 5, 100
NUM_TRIES = 4
"""The share of five seconds that must be in step: a busy machine falls behind at times."""


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


def test_silence_and_closures_of_the_lips_are_bands_behind_traces(made: Path, show: Open) -> None:
    page = show(made).page
    assert "silence" in page.inner_text("#legend")
    assert "m, b, p" in page.inner_text("#legend")
    assert not {"speech", "bilabial"} & set(page.locator("#trace option").all_inner_texts())
    page.locator(".cell").first.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    top = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data]"
    row = np.array(page.locator(".trace canvas").first.evaluate(top)).reshape(-1, 4)
    changes = np.flatnonzero((row[1:] != row[:-1]).any(1)) + 1
    silence, closure, speech = np.split(row, changes)[:3]
    assert silence[0].tolist() == [239, 238, 233, 255]
    assert closure[0].tolist() == [243, 211, 218, 255]
    assert speech[0].tolist() == [0, 0, 0, 0], "neither"
    assert len(silence) > 3 * len(closure), "of half the frames, and of one"
    page.locator("#trace").select_option("emotion")
    assert "silence" not in page.inner_text("#legend")


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


def test_a_thousand_runs_load_few_videos(made: Path, show: Open, tmp_path: Path) -> None:
    many = synthetic(made / "0", tmp_path / "many", 1000)
    video = next((made / "0" / "videos").glob("*.mp4"))
    for run in many.iterdir():
        (run / "videos").mkdir()
        (run / "videos" / video.name).hardlink_to(video)
    seen = show(many)
    page = seen.page
    assert seen.count() == "1000 shown"
    assert page.locator("#table tbody tr").count() == 20, "one for each setting"
    page.locator("#rows").select_option("clips")
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
