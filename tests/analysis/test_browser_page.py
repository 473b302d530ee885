"""The comparison page as a whole in a real browser: hostile names, sizes, keys, files and links."""

import json
import re
from pathlib import Path

import cv2
import pandas as pd
import pytest
from browsing import Open
from small_sweep import change

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
