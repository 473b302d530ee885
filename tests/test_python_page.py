"""The scripts of docs/reference/python.md, as they stand there, on the tiny model."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import float_research
from float_research import loading
from float_research.data.examples import example
from float_research.inference import inputs
from float_research.inference.api import Pipeline
from float_research.inference.result import DecodedClip, Result
from float_research.video.reader import probe

TEXT = (Path(__file__).parents[1] / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
SHORT, LONG = re.findall(r"^```python\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL)
CALLS = {
    f"{kind.__name__}.{name}"
    for kind in (Pipeline, DecodedClip, Result)
    for name, value in vars(kind).items()
    if callable(value) and not name.startswith("_")
}
LEFT_OUT = {"Pipeline.with_core", "Pipeline.portrait", "DecodedClip.frames", "DecodedClip.save", "Result.findings"}
"""For other modules; or used by those that the script calls."""


@pytest.fixture
def place(tmp_path: Path, speech: Callable[[float], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a working directory with the files that the page names. The address is answered from there."""
    shutil.copy(example("portrait"), tmp_path / "me.png")
    shutil.copy(speech(0.6), tmp_path / "hello.wav")
    monkeypatch.chdir(tmp_path)
    tiny = ["model=tiny", "checkpoint=random", "face=none"]
    monkeypatch.setattr(float_research, "load", lambda overrides: loading.load([*tiny, *overrides]))
    return tmp_path


def test_the_three_lines(place: Path) -> None:
    exec(compile(SHORT, "python.md", "exec"), {})
    assert probe(place / "out.mp4").num_frames == 15


def test_every_call(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    downloaded: list[str] = []

    def download(what: str, address: str, file: Path, limits: Any) -> None:
        downloaded.append(address)
        shutil.copy(place / "me.png", file)

    monkeypatch.setattr(inputs, "download", download)
    shown: list[Any] = []
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
    scope: dict[str, Any] = {}
    exec(compile(LONG, "python.md", "exec"), scope)
    result, latents = scope["result"], scope["latents"]
    assert shown == [result]
    assert downloaded == ["https://example.org/me.png"]
    assert {path.name for path in place.iterdir()} == {
        *("me.png", "hello.wav", "out.mp4", "out.motion.safetensors", "whole.mp4", "0.mp4", "1.mp4", "calmer.mp4")
    }
    assert len(latents) == len(result.motion) == 15
    said = capsys.readouterr().out
    assert said.startswith("Result('clip', 15 frames, 0.6 s at 25 fps, 64 × 64 px, ")
    assert "motion_amplitude" in said
    assert "image lost.png does not exist" in said
    assert "3 3\n" in said
    assert said.count("(64, 64, 3)") == 2 * said.count("live (64, 64, 3) torch.Size([32])") == 30
    frames = [next(scope["pipeline"].decode("me.png", motion).frames()) for motion in (scope["motion"], latents)]
    assert not np.array_equal(*frames)


def test_the_script_has_every_call_and_is_short() -> None:
    lines = [line for line in LONG.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 30
    missing = {call for call in CALLS if f".{call.partition('.')[2]}(" not in LONG}
    assert missing <= LEFT_OUT
