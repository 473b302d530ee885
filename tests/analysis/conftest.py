"""The small sweep, run once, and a browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from browsing import Open, Seen
from playwright.sync_api import Browser, sync_playwright
from small_sweep import make_sweep

from float_research.analysis.page import write_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = [place for name in NAMES if (place := shutil.which(name))]
    if not found:
        pytest.skip(f"needs a Chromium, and none of {', '.join(NAMES)} is there; apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found[0])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> Path:
    """Runs the sweep, read-only for tests. One thread: more do not help small networks, and hurt on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = make_sweep(tmp_path_factory.mktemp("sweep"), speech(2.2))
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def sweep(made: Path, tmp_path: Path) -> Path:
    """Returns a copy that tests may change."""
    return Path(shutil.copytree(made, tmp_path / "sweep"))


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
