"""Table, filter, plot and selection of the comparison page in a real browser."""

import json
import re
import shutil
from pathlib import Path

from browsing import Open
from small_sweep import change


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


def test_the_table_fills_its_space_and_tells_that_it_scrolls(made: Path, show: Open) -> None:
    page = (seen := show(made, width=1440, height=900)).page
    held, player = page.locator("#table").bounding_box(), page.locator("#player").bounding_box()
    assert held is not None
    assert player is not None
    assert 0 <= player["y"] - held["y"] - held["height"] < 110
    assert re.fullmatch(r"(\d+) more columns →, more rows ↓", page.inner_text("#more"))
    page.locator("#table").evaluate("table => table.scrollTo(1e5, 1e5)")
    seen.until("document.getElementById('more').textContent === ''")


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
