"""Sixty things that people type wrongly, and the words that tell them what to type.

`python tests/test_misuses.py` starts each as a process of its own, and prints what was typed, the answer and seconds.
"""

import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from float_research import compose, program
from float_research.errors import UserError
from float_research.metrics import requirements

ROOT = Path(__file__).parents[1]
MISUSES = {
    "infer image=me.png": ("image", "did you mean data.image?"),
    "infer audio=hello.wav": ("audio", "did you mean data.audio?"),
    "infer steps=20": ("steps", "did you mean nfe?"),
    "infer device=cuda": ("device", "did you mean trainer.accelerator?"),
    "infer out=here": ("out", "did you mean hydra.run.dir?"),
    "infer label=happy": ("label", "did you mean emotion=label emotion.label=…?"),
    "infer scale=3": ("scale", "did you mean guidance.audio.scale or guidance.emotion.scale"),
    "infer fps=30": ("fps", "did you mean video.fps?"),
    "infer nfee=3": ("nfee", "did you mean nfe?"),
    "infer +nfee=3": ("unknown setting nfee", "did you mean nfe?"),
    "infer wibble=3": ("wibble", "--cfg job lists all settings"),
    "infer guidance.audoi.scale=3": ("audoi", "did you mean guidance.audio"),
    "infer emotion=happy": ("emotion=happy is unknown", "write emotion=label emotion.label=happy"),
    "infer emotion=Sad": ("emotion=Sad is unknown", "write emotion=label emotion.label=sad"),
    "infer emotion=angri": ("emotion=angri is unknown", "choose one of audio, blend, keyframes"),
    "infer emotion.label=happy": ("emotion=audio has no setting emotion.label", "add emotion=label"),
    "infer emotion=blend": ("emotion.blend is not set", "'emotion.blend={happy: 0.6, neutral: 0.4}'"),
    "infer emotion=keyframes": ("emotion.keyframes is not set", "{time_s: 2, emotion: happy}"),
    "infer 'emotion={happy: 1}'": ("not an option of emotion", "emotion=blend 'emotion.blend={happy: 1}'"),
    "infer time_grid=explicit": ("time_grid.points is not set", "'time_grid.points=[0, 0.3, 1]'"),
    "infer data=manifest": ("data.file is not set", "data.file=clips.csv"),
    "infer data=grid": ("data.audios is not set", "data.audios=FOLDER"),
    "infer checkpoint=stages": ("checkpoint.weights is not set", "checkpoint.weights=["),
    "infer --image me.png": ("--image me.png is not NAME=VALUE", "write data.image=me.png"),
    "infer --image=me.png": ("image", "did you mean data.image?"),
    "infer me.png hello.wav": ("me.png hello.wav", "write data.image=me.png data.audio=hello.wav"),
    "infer 'my face.png'": ("my face.png", "write data.image='my face.png'"),
    "infer clips.csv": ("clips.csv", "write data=manifest data.file=clips.csv"),
    "infer --nfe 5": ("--nfe 5", "write nfe=5"),
    "infer --solver midpoint": ("--solver midpoint", "write solver=midpoint"),
    "infer -x midpoint": ("-x is unknown", "settings are NAME=VALUE"),
    "infer nfe 5": ("nfe 5", "write nfe=5"),
    "infer nfe = 5": ("nfe = 5", "write nfe=5"),
    "infer nfe= 5": ("nfe= 5", "write nfe=5"),
    "infer nfe:5": ("nfe:5", "write nfe=5"),
    "infer seed": ("seed is not NAME=VALUE", "write seed=…"),
    "infer midpoint": ("midpoint", "write solver=midpoint"),
    "infer solver_ablation": ("solver_ablation", "write experiment=solver_ablation"),
    "infer data.image=my photo.png": ("photo.png", "quote an argument with spaces"),
    "infer solver=Eulr": ("solver=Eulr is unknown", "did you mean euler?"),
    "infer solver=euler solver.skip_end=1": ("solver=euler has no", "choose solver=heun2 or solver=rk4"),
    "infer guidance=none guidance.audio.scale=2": ("guidance=none has no", "choose another guidance: apg"),
    "infer guidance=3": ("guidance=3 is not an option", "did you mean guidance.audio.scale=3?"),
    "infer metrics=[motoin]": ("metrics=motoin is unknown", "did you mean motion?"),
    "infer metrics.csim.network=a.pt": (
        "belongs to metrics=csim",
        "add metrics=[motion,lip_sync,sharpness,flicker,csim]",
    ),
    "infer checkpoint=a/float.pth": ("checkpoint=a/float.pth", "checkpoint=unified checkpoint.file=a/float.pth"),
    "infer data=clips.csv": ("data=clips.csv is unknown", "write data=manifest data.file=clips.csv"),
    "infer data=toy": ("this data option is for scripts/train.py", "choose data=pair"),
    "infer solver=euler,midpoint": ("solver=euler,midpoint has several values", "add -m"),
    "infer experiment=demo_flow": ("experiment=demo_flow", "run scripts/train.py experiment=demo_flow"),
    "infer experiment=solver_ablatoin": ("solver_ablatoin is unknown", "did you mean solver_ablation?"),
    "infer stage=flow": ("stage", "which is one of scripts/train.py"),
    "infer ~nfe": ("~nfe removes a setting", "leave it out"),
    "infer submit=true": ("submit=true only applies to sweeps", "add -m"),
    "infer -m nfe=interval(1,3)": ("is a continuous interval", "list values"),
    "infer -m nfe=3,4 hydra/launcher=nowhere": ("nowhere", "joblib"),
    "infer nfe=ten": ("nfe=ten", "must be an integer"),
    "train experiment=solver_ablation": ("experiment=solver_ablation", "run scripts/infer.py experiment="),
    "train solver=rk4": ("solver", "which is one of scripts/infer.py"),
    "train stage=flw": ("stage=flw is unknown", "did you mean flow?"),
    "train data=video_folder": ("data.folder is not set", "data.folder=FOLDER"),
    "make_portraits num=many": ("num=many", "must be an integer"),
    "cache cler": ("cler is unknown", "did you mean clear?"),
    "report nowhere": ("nowhere is not a folder", "give that of a run or of a sweep"),
    "infer face=none metrics=fid": ("metrics=fid needs real videos", "metrics_missing=ok"),
    "infer face=none metrics=[csim]": ("metrics=csim needs weights", "metrics.csim.network=FILE"),
    "infer face=none metrics_missing=maybe": ("metrics_missing=maybe is unknown", "choose refuse or ok"),
    "infer face=none data.image=nowhere.png": ("image nowhere.png does not exist", "give the path of a portrait"),
    "infer face=none solver=rk4 budget=evaluations nfe=3": ("nfe=3 is too small", "takes 4 evaluations"),
}
"""What is typed → words of the answer: what was wrong, and the remedy. Nothing has to be read but config files."""
AT_ONCE = [typed for typed in MISUSES if not typed.startswith(("make_portraits", "report"))]
MOST_S = 1.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a portrait."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("me.png")
    return tmp_path


def test_there_are_sixty() -> None:
    assert len(MISUSES) >= 60


@pytest.mark.parametrize("typed", MISUSES)
def test_an_answer_is_true_and_names_the_remedy(
    typed: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    name, *arguments = shlex.split(typed)
    path = str(ROOT / "scripts" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(path, run_name="__main__")
    said = capfd.readouterr()
    assert (end.value.code, said.out) == (2, "" if name != "report" else said.out)
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert all(words in said.err for words in MISUSES[typed]), said.err
    assert {path.name for path in place.iterdir()} == {"me.png"}, "it leaves nothing"


def test_evaluations_that_are_left_over_are_told() -> None:
    settings = ["solver=rk4", "budget=evaluations"]
    (said,) = compose.build_sampler(compose.compose_config([*settings, "nfe=6"])).notes()
    assert said.startswith("nfe=6: solver rk4 uses only 4 evaluations")
    assert said.endswith("nfe=4 or nfe=8 leaves none over")
    assert compose.build_sampler(compose.compose_config([*settings, "nfe=8"])).notes() == []


@pytest.mark.parametrize("in_clone", [True, False])
def test_a_hint_for_an_extra_installs_it(in_clone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    monkeypatch.setattr(program, "SCRIPTS", program.SCRIPTS if in_clone else tmp_path)
    said = "-e '.[faces]' -c constraints.txt" if in_clone else "'float-research[faces]'"
    settings = ["metrics=[identity]", "model=tiny", "checkpoint=random", "output_dir=."]
    with pytest.raises(UserError) as refused:
        compose.build_job(compose.compose_config(settings)).run(Console(quiet=True))
    assert str(refused.value) == f"metrics=identity needs dlib; pip install {said}; or metrics_missing=ok leaves it out"


@pytest.mark.parametrize("typed", ["infer --image me.png", "infer experiment=demo_flow", "train solver=rk4"])
def test_a_refusal_loads_no_model_library(typed: str, place: Path) -> None:
    name, *arguments = shlex.split(typed)
    lines = [
        "import atexit, runpy, sys",
        "atexit.register(lambda: print({*sys.modules} & {'torch', 'lightning', 'cv2', 'pandas'}))",
        f"sys.argv = [{str(ROOT / 'scripts' / f'{name}.py')!r}, *{arguments!r}]",
        "runpy.run_path(sys.argv[0], run_name='__main__')",
    ]
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "set()\n"), ended.stderr


def show() -> None:
    """Prints the table of what is typed, the answer and seconds, each as a process of its own."""
    from float_research.printing import Table, stdout

    rows = []
    for typed in MISUSES:
        name, *arguments = shlex.split(typed)
        began = time.monotonic()
        command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        taken_s = time.monotonic() - began
        late = "" if typed not in AT_ONCE or taken_s <= MOST_S else "late"
        rows.append([typed, ended.stderr.strip(), str(ended.returncode), f"{taken_s:.2f}", late])
    stdout().print(Table(["typed", "answer", "code", "seconds", ""], rows))


if __name__ == "__main__":
    show()
