"""Atomic writes and file locks."""

import os
import threading
from pathlib import Path

import pytest

from float_research.files import alone, whole


def test_a_file_lock_is_exclusive(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_atomically_written_files_have_the_modes_of_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with whole(tmp_path / "a.safetensors") as part:
            part.write_bytes(b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode
