"""An open comparison page, as tests see it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Page


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
