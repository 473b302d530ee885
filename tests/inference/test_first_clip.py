"""The first notebook: it makes and shows a video on the tiny model, installs nothing here, and is stored with one."""

import re
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import float_research
from float_research import loading
from float_research.video.reader import probe

PATH = Path(__file__).parents[2] / "notebooks" / "first_clip.ipynb"
VIDEO = re.compile(r'<video controls src="data:video/mp4;base64,([\w+/=]+)"></video>')
MAX_BYTES = 300_000


class WindowlessShell(InteractiveShell):
    """Runs cells as a notebook does, where plots need no loop of windows."""

    def enable_gui(self, gui: str | None = None) -> None:
        assert gui is None, "plots are inline"


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """Returns a shell that runs cells with the magic commands of notebooks."""
    yield WindowlessShell.instance()
    WindowlessShell.clear_instance()


def code() -> list[Any]:
    return [cell for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]


def test_it_makes_and_shows_a_video(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny = ["model=tiny", "checkpoint=random", "face=none"]
    monkeypatch.setattr(float_research, "load", lambda overrides: loading.load([*tiny, *overrides]))
    installed: list[str] = []
    shell.register_magic_function(installed.append, "line", "pip")
    shown: list[Any] = []
    for cell in code():
        with capture_output():
            ended = shell.run_cell(cell.source)
        ended.raise_error()
        if ended.result is not None:
            shown.append(shell.display_formatter.format(ended.result)[0])
    assert installed == [], "the package is here"
    (video,) = (found for data in shown if (found := VIDEO.search(data.get("text/html", ""))))
    (tmp_path / "a.mp4").write_bytes(b64decode(video[1]))
    assert probe(tmp_path / "a.mp4").num_frames == 100
    assert any("image/png" in data for data in shown)
    assert shell.user_ns["traces"]["speech"].notna().all()


def test_its_first_cell_installs_what_is_missing(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setitem(sys.modules, "float_research", None)

    def pip(line: str) -> None:
        installed.append(line)
        monkeypatch.setitem(sys.modules, "float_research", float_research)

    shell.register_magic_function(pip, "line", "pip")
    with capture_output():
        shell.run_cell(code()[0].source).raise_error()
    assert installed == ["install --quiet float-research"]


def test_it_is_stored_with_its_video_and_is_first_in_the_list() -> None:
    nbformat.validate(nbformat.read(PATH, as_version=4))
    outputs = [output for cell in code() for output in cell.outputs]
    assert any(VIDEO.search(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    assert PATH.stat().st_size < MAX_BYTES
    page = (PATH.parents[1] / "docs" / "howto" / "results.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)\.ipynb`", page, re.MULTILINE)[0] == PATH.stem
