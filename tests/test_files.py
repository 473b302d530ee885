"""Files that appear whole, and places for one at a time."""

import threading
from pathlib import Path

from float_research.files import alone


def test_nobody_enters_before_the_other_has_left(tmp_path: Path) -> None:
    place = tmp_path / "new" / ".lock"
    said, entered = [], threading.Event()

    def second() -> None:
        entered.set()
        with alone(place):
            said.append("second")

    with alone(place):
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(60)
        thread.join(0.2)
        said.append("first")
    thread.join(60)
    assert said == ["first", "second"]
