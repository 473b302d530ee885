"""Settings on the comparison page in a real browser: means, intervals and baselines."""

import json
import shutil
from pathlib import Path

from browsing import Open
from small_sweep import change


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
