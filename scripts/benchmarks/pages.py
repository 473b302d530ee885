"""Benchmarks of the analysis of many runs."""

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.runs import SOLVERS, infer
from benchmarks.timing import timed
from float_research.analysis.load import load_runs
from float_research.analysis.page import write_page
from float_research.texts import count
from float_research.tracking.record import write_json


def analysis(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times loading many runs as a data frame, writing their comparison page, and opening it in a browser."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "sweep"
        infer(f"hydra.run.dir={folder / '0'}", *arguments.overrides)
        record = json.loads((folder / "0" / "record.json").read_text())
        for number in range(1, arguments.runs):
            shutil.copytree(folder / "0", folder / str(number), copy_function=os.link)
            varied = [f"solver={SOLVERS[number % len(SOLVERS)]}", f"nfe={2 + number % 20}", f"seed={number}"]
            write_json(folder / str(number) / "record.json", {**record, "overrides": [*record["overrides"], *varied]})
        figures = {"load_runs_s": timed(lambda: load_runs(folder))}
        figures["write_page_s"] = timed(lambda: write_page(folder, folder / "report", "bench"))
        if browser := shutil.which("chromium"):
            figures["open_page_s"] = time_opening(browser, folder / "report" / "index.html")
    for name, seconds in figures.items():
        print(f"{name.removesuffix('_s').replace('_', ' ')}, {count(arguments.runs, 'run')}: {seconds:.2f} s")
    return figures


def time_opening(browser: str, page: Path) -> float:
    """Returns the seconds from requesting a page until its table and first video are shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=browser).new_page(viewport={"width": 1500, "height": 1500})
        started = time.perf_counter()
        window.goto(page.as_uri())
        window.locator("#table tbody tr").first.wait_for()
        window.locator("video").first.wait_for()
        return time.perf_counter() - started
