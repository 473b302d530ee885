"""The command that speaks while speech comes in."""

import io
import re
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from float_research.video.reader import probe

SCRIPT = Path(__file__).parents[1] / "scripts" / "live.py"
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "solver=euler", "nfe=3"]
Live = Callable[..., tuple[int, str, str]]


@pytest.fixture
def live(
    tmp_path: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Live]:
    """Yields `live(file, …)`, which runs the command with a file as its standard input."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job of a shell ignores

    def run(file: io.BufferedIOBase, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file, isatty=lambda: False))
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(portrait), *arguments])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    yield run
    signal.signal(signal.SIGINT, before)


def test_it_writes_a_video_and_says_how_fast(live: Live, speech: Callable[[float], Path], tmp_path: Path) -> None:
    content = speech(2.6).read_bytes()
    code, said, error = live(io.BytesIO(content), "--fast", "--look-ahead-s", "0.2", *TINY)
    assert code == 0, error
    assert re.search(r"^first frame after 2\.24 s of speech and \d\.\d\d s of computing$", said, re.MULTILINE)
    assert "65 frames of 2.60 s of speech: live.mp4" in said
    assert re.search(r"^real-time factor \d\.\d\d: .+ \(encode_image .+, sample .+, decode .+\)$", said, re.MULTILINE)
    video = probe(tmp_path / "live.mp4")
    assert video.num_frames == 65
    code, _, error = live(io.BytesIO(content), *TINY)
    assert (code, error) == (2, "error: live.mp4 exists; give another --output, or --overwrite to replace it\n")


class Interrupted(io.BytesIO):
    """Speech during which somebody presses Ctrl-C."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 0.5 * 32000:
            signal.raise_signal(signal.SIGINT)
        return super().read(size)


def test_a_signal_ends_the_speech_and_leaves_a_whole_video(
    live: Live, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    code, said, error = live(Interrupted(speech(2.6).read_bytes()[44:]), "--fast", "--raw", "s16le", *TINY)
    assert code == 128 + signal.SIGINT
    assert error == "error: stopped by SIGINT; no partial files were left\n"
    assert "13 frames of 0.52 s of speech" in said
    assert probe(tmp_path / "live.mp4").num_frames == 13


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "standard input is not a WAV"),
        (["--raw", "s16le"], "standard input held no samples"),
        (["--raw", "s16le", "--rate-hz", "1"], "standard input has a sampling rate of 1 Hz"),
        (["--raw", "u8"], "u8 is no known format of samples; choose s16le, s32le, f32le"),
        (["--output", "live.avi"], "live.avi must end in .mp4"),
        (["--raw", "s16le", "--look-ahead-s", "-1"], "look_ahead_s=-1.0 must be 0 or more seconds"),
    ],
)
def test_it_refuses_in_a_sentence(live: Live, arguments: list[str], said: str, tmp_path: Path) -> None:
    code, _, error = live(io.BytesIO(), *arguments, *TINY)
    assert code == 2, error
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
