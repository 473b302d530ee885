"""The scripts as users call them: output, exit codes, files."""

import csv
import json
import os
import pickle
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fuzz.processes import Running
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file

from float_research.video.reader import probe

ROOT = Path(__file__).parents[1]
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
Script = Callable[..., "Ended"]


@dataclass
class Ended:
    """The exit code and output of a script."""

    code: int
    output: str
    error: str


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Script:
    """Returns `script("infer", …)`, which runs scripts/infer.py in this process."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.syspath_prepend(ROOT / "scripts")  # as Python does for a script

    def run(name: str, *arguments: str) -> Ended:
        path = str(ROOT / "scripts" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        code = 0
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capfd.readouterr())

    return run


def files(folder: Path) -> set[str]:
    """Returns the files of a run, except Hydra's own."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found}


def refused(script: Script, tmp_path: Path, *overrides: str) -> str:
    """Returns the only sentence of a run that is refused, and checks that it leaves nothing behind."""
    ended = script("infer", *TINY, f"hydra.run.dir={tmp_path / 'out'}", *overrides)
    assert ended.code == 2, ended.error
    assert ended.error.startswith("error: ")
    assert ended.error.count("\n") == 1
    assert "Traceback" not in ended.error
    assert ended.error.strip()[-1] != "."
    assert files(tmp_path / "out") == set()
    return ended.error


def test_the_sweep_of_the_how_to_measures_its_declared_costs(
    script: Script, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    sweep = ["-m", "solver=euler,midpoint,rk4", "budget=evaluations", "nfe=8,16"]
    ended = script("infer", *sweep, *TINY, f"hydra.sweep.dir={tmp_path}", f"data.audio={speech(2.2)}")
    assert ended.code == 0, ended.error
    seen = []
    for path in sorted(tmp_path.glob("*/record.json")):
        content = json.loads(path.read_text())
        totals = content["totals"]
        assert totals["declared"] == totals["measured"]
        clip = content["clips"][0]
        assert probe(path.parent / clip["video"]).num_frames == clip["num_frames"] == 55
        seen.append(totals["measured"]["evaluations"])
    assert seen == [2 * 8, 2 * 16] * 3
    summary = (tmp_path / "summary.csv").read_bytes()
    (tmp_path / "summary.csv").unlink()
    assert "6 runs" in script("summary", str(tmp_path)).output
    assert (tmp_path / "summary.csv").read_bytes() == summary, "the records are sufficient"


def test_the_summary_of_a_run_says_untrained(script: Script, speech: Callable[[float], Path], tmp_path: Path) -> None:
    ended = script("infer", *TINY, f"hydra.run.dir={tmp_path}", f"data.audio={speech(0.5)}", "nfe=3")
    assert ended.code == 0
    assert ended.error == ""
    assert "untrained" in ended.output
    assert "portrait-speech0.5.mp4" in ended.output
    assert f"record: {tmp_path / 'record.json'}" in ended.output


def test_help_names_every_group(script: Script) -> None:
    ended = script("infer", "--help")
    assert ended.code == 0
    for group in ("solver:", "budget:", "guidance:", "emotion:", "checkpoint:", "experiment:"):
        assert group in ended.output
    for other in ("parity", "bench", "cache", "measure", "preview", "report", "summary"):
        assert "usage" in script(other, "--help").output
    assert "checkpoint=official" in script("convert", "--help").output
    assert "output=corpus" in script("make_speech", "--help").output


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_lost_reader_ends_a_script_silently(buffered: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "infer.py"), "--help"]
    reads, writes = os.pipe()
    os.close(reads)
    environment = os.environ | {"PYTHONUNBUFFERED": buffered}
    ended = subprocess.run(command, check=False, stdout=writes, stderr=subprocess.PIPE, env=environment)
    os.close(writes)
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == b""


def test_a_page_is_written_for_existing_runs(script: Script, tmp_path: Path) -> None:
    assert script("report", str(tmp_path)).error == (
        f"error: {tmp_path} holds no record.json; give the folder of a run or of a sweep\n"
    )
    for number, nfe in enumerate((4, 8, 16)):
        (tmp_path / str(number)).mkdir()
        clip = {"id": "a", "video": "a.mp4", "metrics": {"sampling_error": nfe**-1.0}, "measured": {"evaluations": nfe}}
        record = {"overrides": ["solver=euler", f"nfe={nfe}"], "solver_order": 1, "clips": [clip]}
        (tmp_path / str(number) / "record.json").write_text(json.dumps(record))
    ended = script("report", str(tmp_path), "--output", str(tmp_path / "page"))
    assert ended.code == 0
    assert "missing: 3 of 3 videos" in ended.output
    assert re.search(r"euler\W+1\W+1\W+8\W+16", ended.output), "order 1, slope 1, from 8 to 16 evaluations"
    assert f"3 runs, 3 clips, 0 videos: open {tmp_path / 'page' / 'index.html'} in a browser" in ended.output
    assert script("report", str(tmp_path), "--output", str(tmp_path)).code == 2


def test_settings_of_a_sweep_are_compared(script: Script, tmp_path: Path) -> None:
    for number, solver in enumerate(("euler", "midpoint")):
        (tmp_path / str(number)).mkdir()
        clips = [
            {"id": name, "metrics": {"sampling_error": 0.5 - 0.1 * number + 0.01 * i**number}}
            for i, name in enumerate("abcd")
        ]
        record = {"overrides": [f"solver={solver}", "seed=1"], "clips": clips}
        (tmp_path / str(number) / "record.json").write_text(json.dumps(record))
    ended = script("compare", str(tmp_path), "solver=euler", "solver=midpoint")
    assert (ended.code, ended.error) == (0, "")
    assert re.search(
        r"midpoint beats euler in sampling_error by 0\.09\d \[.*\], 4 recordings, paired, p < 0.001", ended.output
    )
    assert {"comparison.csv", "comparison.md", "comparison.tex"} <= files(tmp_path)
    ended = script("compare", str(tmp_path), "solver=euler", "solver=rk4")
    assert (ended.code, ended.error) == (2, "error: no run has solver=rk4; solver is euler, midpoint\n")


def test_speech_is_not_generated_twice(script: Script, tmp_path: Path) -> None:
    ended = script("make_speech", f"output={tmp_path}")
    assert ended.code == 2
    assert ended.error == f"error: output={tmp_path} exists; delete it or give another folder\n"


BAD_SETTINGS = {
    "data.image=nowhere.png": "image nowhere.png does not exist",
    "data.audio=nowhere.wav": "audio nowhere.wav does not exist",
    "solver=eulr": "did you mean euler?",
    "emotion=angri": "choose one of audio, blend, keyframes",
    "metrics=[motoin]": "metrics=motoin is unknown (did you mean motion?)",
    "nfee=3": "unknown setting nfee (did you mean nfe?)",
    "guidance.audoi.scale=3": "did you mean guidance.audio",
    "nfe=1": "nfe=1",
    "nfe=0": "nfe=0",
    "nfe=-3": "nfe=-3",
    "nfe=2.5": "nfe=2.5 must be an integer",
    "guidance_reuse=0": "guidance_reuse=0 must be at least 1",
    "guidance_reuse=1.5": "guidance_reuse=1.5 must be an integer",
    "nfe=ten": "nfe=ten must be an integer",
    "chunking.previous_frames=60": "previous_frames=60",
    "chunking.previous_frames=-1": "previous_frames=-1",
    "batch_clips=0": "batch_clips=0",
    "model.fps=0": "model.fps=0 must be above 0",
    "background=blurple": "blurple",
    "data=manifest": "data.file",
    "data=grid": "data.audios",
    "checkpoint=official": "float.pth does not exist",
    "checkpoint=unified": "FLOAT.safetensors does not exist",
    "checkpoint=split": "does not exist",
}


@pytest.mark.parametrize(("override", "message"), BAD_SETTINGS.items(), ids=BAD_SETTINGS)
def test_a_bad_setting_is_one_sentence(override: str, message: str, script: Script, tmp_path: Path) -> None:
    assert message in refused(script, tmp_path, override)


def test_impossible_combinations_are_one_sentence(script: Script, tmp_path: Path) -> None:
    assert "'dread'" in refused(script, tmp_path, "emotion=label", "emotion.label=dread")
    assert "nfe=3" in refused(script, tmp_path, "solver=rk4", "budget=evaluations", "nfe=3")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "is empty"),
        (np.zeros(16000), "silent"),
        (np.full(300, 0.1), "less than one frame"),
        (np.append(np.full(16000, 0.1), np.nan), "NaN"),
    ],
    ids=["empty", "silent", "short", "nan"],
)
def test_bad_audio_is_one_sentence(samples: np.ndarray, message: str, script: Script, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    error = refused(script, tmp_path, f"data.audio={tmp_path / 'a.wav'}")
    assert "a.wav" in error
    assert message in error


@pytest.mark.parametrize(("kind", "name"), [("image", "a.png"), ("audio", "a.wav"), ("audio", "a.mp3")])
def test_unreadable_files_are_one_sentence(kind: str, name: str, script: Script, tmp_path: Path) -> None:
    for content in (b"", b"this is text"):
        (tmp_path / name).write_bytes(content)
        assert f"{name} " in refused(script, tmp_path, f"data.{kind}={tmp_path / name}")


def test_a_portrait_without_a_face_is_one_sentence(script: Script, tmp_path: Path) -> None:
    PillowImage.new("RGB", (200, 300), "grey").save(tmp_path / "a.png")
    error = refused(script, tmp_path, "face=mtcnn", f"data.image={tmp_path / 'a.png'}")
    assert "a.png" in error
    assert "no face found" in error


def test_bad_weights_are_one_sentence(script: Script, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    assert script("convert", "model=tiny", "checkpoint=random", f"output={good}").code == 0
    use = ["checkpoint=unified", f"checkpoint.file={bad}"]
    bad.write_bytes(good.read_bytes()[:-1000])
    assert "bad.safetensors" in refused(script, tmp_path, *use)
    weights = load_file(good)
    save_file(weights | {"fmt.decoder.linear.weight": torch.zeros(3, 3)}, bad)
    assert "fmt.decoder.linear.weight" in refused(script, tmp_path, *use)
    weights.pop("fmt.decoder.linear.bias")
    save_file(weights, bad)
    assert "fmt.decoder.linear.bias" in refused(script, tmp_path, *use)


class Evil:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (os.environ["EVIL"],)


def test_a_pickle_with_code_is_refused(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    folder = tmp_path / "checkpoints"
    for name in ("wav2vec2-base-960h", "wav2vec-english-speech-emotion-recognition"):
        (folder / name).mkdir(parents=True)
        (folder / name / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
        (folder / name / "config.json").write_text("{}")
    torch.save({}, folder / "float.pth")
    error = refused(script, tmp_path, "checkpoint=official", f"checkpoint.folder={folder}")
    assert "would run code" in error
    assert not (tmp_path / "evil").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = script("infer", *TINY, f"hydra.run.dir={tmp_path / 'file' / 'out'}")
    assert ended.code == 2
    assert ended.error.startswith("error: cannot use")
    assert ended.error.count("\n") == 1


def test_ddp_in_a_sweep_in_one_process_is_refused(script: Script, tmp_path: Path) -> None:
    ended = script("infer", "-m", *TINY, f"hydra.sweep.dir={tmp_path}", "nfe=3,4", "trainer.strategy=ddp")
    assert ended.code == 1
    assert ended.error.count("trainer.strategy=ddp cannot run in a sweep") == 2
    assert "failed: 2 of 2 runs" in ended.output
    assert "Traceback" not in ended.error
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_failing_run_does_not_stop_the_others(
    script: Script, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    where = [f"hydra.sweep.dir={tmp_path}", f"data.audio={speech(0.5)}"]
    ended = script("infer", "-m", *TINY, *where, "nfe=1,3")
    assert ended.code == 1
    assert "error in job 0" in ended.error
    assert "1 run, 1 failed" in ended.output
    assert (tmp_path / "0" / "failure.json").is_file()
    assert (tmp_path / "1" / "record.json").is_file()
    ended = script("infer", *TINY, f"hydra.run.dir={tmp_path / '0'}", f"data.audio={speech(0.5)}", "nfe=2")
    assert ended.code == 0
    assert not (tmp_path / "0" / "failure.json").exists(), "a successful run removes the failure"


def test_a_sweep_is_measured_again_as_far_as_possible(
    script: Script, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    where = [f"hydra.sweep.dir={tmp_path}", f"data.audio={speech(0.5)}", "metrics=none"]
    assert script("infer", "-m", *TINY, *where, "nfe=2,3").code == 0
    assert "motion_jerk" not in (tmp_path / "summary.csv").read_text()
    ended = script("measure", str(tmp_path), "metrics=[motion,csim]")
    assert ended.code == 0
    assert "not measured: repetition, seam_jump: the clip is one window" in ended.output
    assert "not measured: csim: needs weights; give their file with metrics.csim.network=FILE" in ended.output
    with (tmp_path / "summary.csv").open() as file:
        assert all(float(row["motion_jerk"]) > 0 for row in csv.DictReader(file))
    (tmp_path / "0" / "config.yaml").unlink()
    ended = script("measure", str(tmp_path), "metrics=[sharpness]")
    assert ended.code == 1
    assert "config.yaml does not exist" in ended.output
    assert "2 runs" in ended.output
    ended = script("measure", str(tmp_path), "nfe=3")
    assert ended.code == 2
    assert ended.error == "error: nfe=3 cannot be changed in a finished run; give settings of metrics, cache, limits\n"
    assert "choose one of csim, e_fid" in script("measure", str(tmp_path), "metrics=[sharp]").error


def test_parity_ends_with_1_when_a_tensor_is_wrong(script: Script, tmp_path: Path) -> None:
    golden = ROOT / "tests" / "data" / "golden"
    for file in golden.glob("crop.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert script("parity", str(tmp_path)).code == 0
    tensors = load_file(tmp_path / "crop.safetensors")
    save_file(tensors | {"crop.0": 255 - tensors["crop.0"]}, tmp_path / "crop.safetensors")
    ended = script("parity", str(tmp_path))
    assert ended.code == 1
    assert "2 of 3 agree" in ended.output
    assert script("parity", str(tmp_path / "nowhere")).code == 2


def half_written(folder: Path) -> list[Path]:
    """Returns partially written videos."""
    return [path for path in folder.rglob("*.mp4.*.part") if path.stat().st_size]


@pytest.mark.parametrize(
    ("kind", "overlap"),
    [
        (signal.SIGINT, "false"),
        (signal.SIGTERM, "false"),
        (signal.SIGHUP, "true"),
        (signal.SIGQUIT, "false"),
        (signal.SIGUSR2, "false"),
    ],
)
def test_an_interrupted_run_leaves_no_partial_video(
    kind: signal.Signals, overlap: str, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = Running(
        "infer",
        [*TINY, f"hydra.run.dir={out}", f"data.audio={speech(300)}", f"overlap={overlap}"],
        tmp_path / "process",
    )
    try:
        deadline = time.monotonic() + 120
        while not half_written(out) and run.wait(0.1) is None:
            assert time.monotonic() < deadline
        assert half_written(out), "it is running"
        run.kill(kind)
        ended = run.wait(120)
    finally:
        run.kill(signal.SIGKILL)
    assert ended is not None
    assert ended.code == 128 + kind
    assert ended.error == f"error: stopped by {kind.name}; no partial files were left\n"
    assert files(out) == {"config.yaml"}


def test_several_processes_share_the_clips(portrait: Path, speech: Callable[[float], Path], tmp_path: Path) -> None:
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("image", "audio", "id"), *((portrait, speech(0.3 + 0.1 * i), f"clip{i}") for i in range(3))]
        )
    command = [sys.executable, str(ROOT / "scripts" / "infer.py"), *TINY, f"hydra.run.dir={tmp_path / 'out'}"]
    spread = ["trainer.devices=2", "trainer.strategy=ddp_spawn", "data=manifest", f"data.file={tmp_path / 'clips.csv'}"]
    ended = subprocess.run([*command, *spread, "nfe=3"], check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    content = json.loads((tmp_path / "out" / "record.json").read_text())
    assert [clip["num_frames"] for clip in content["clips"]] == [8, 10, 13]
