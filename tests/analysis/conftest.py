"""The small sweep, run once, and a browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright
from small_sweep import make_sweep

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
