"""The installed package: a wheel in its own environment, used outside the source tree."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
MISSING = [name for name in ("hatchling", "pip", "venv") if find_spec(name) is None]
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "metrics=[motion]"]
SOLVER = """
from float_research.sampling.solver import Midpoint


class Mine(Midpoint):
    pass
"""
STUDY = """
defaults: [infer, override solver: mine, _self_]
hydra: {searchpath: ["pkg://float_research.conf"]}
nfe: 7
"""
ORIGINS = """
import float_research.conf, hydra_plugins.float_research_product, hydra_plugins.float_research_optuna
for module in float_research, float_research.conf, *vars(hydra_plugins).values():
    if "float_research" in getattr(module, "__name__", ""):
        print(module.__file__)
"""
Call = Callable[..., str]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"building a wheel needs {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the programs of an environment with the wheel and its dependencies, but not this source tree."""
    place = tmp_path_factory.mktemp("wheel")
    offline = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    wheel = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", str(place), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *wheel], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (built,) = place.glob("*.whl")
    install = ["--python", str(programs / "python"), "install", *offline, str(built)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    (installed,) = place.glob("venv/**/site-packages")
    packages = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (installed / "packages.pth").write_text("\n".join(packages))
    return programs


@pytest.fixture(scope="module")
def call(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Returns `call("infer", …)`, the output of `float-research infer …` in a folder with only a user's parts."""
    work = tmp_path_factory.mktemp("work")
    for name, text in {
        "code/mine.py": SOLVER,
        "conf/solver/mine.yaml": "_target_: mine.Mine",
        "conf/study.yaml": STUDY,
    }.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    told = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLOAT_", "HYDRA_"))}
    told |= {
        "PYTHONPATH": str(work / "code"),
        "FLOAT_CACHE_DIR": str(work / "cache"),
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }

    def called(name: str, *arguments: str, program: str = "float-research", code: int = 0) -> str:
        ended = subprocess.run(
            [str(environment / program), name, *arguments],
            cwd=work,
            env=told,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    return called


def record(place: Path) -> dict[str, object]:
    content = json.loads((place / "record.json").read_text())
    assert isinstance(content, dict)
    return content


def test_everything_comes_from_the_wheel(environment: Path, call: Call) -> None:
    origins = call("-c", ORIGINS, program="python").splitlines()
    assert len(origins) == 4
    assert all(Path(origin).is_relative_to(environment.parent) for origin in origins)
    (built,) = environment.parents[1].glob("*.whl")
    assert built.stat().st_size < 20e6


def test_a_run_is_generated_measured_and_reported(call: Call, tmp_path: Path) -> None:
    call("infer", *TINY, "nfe=2", f"hydra.run.dir={tmp_path / 'run'}")
    assert len(list(tmp_path.glob("run/videos/*.mp4"))) == 1
    assert "motion_jerk" in record(tmp_path / "run")["clips"][0]["metrics"]  # type: ignore[index]
    assert "measured" in call("measure", str(tmp_path / "run"), "metrics=[sharpness]")
    assert "sharpness" in record(tmp_path / "run")["clips"][0]["metrics"]  # type: ignore[index]
    assert "1 run, 1 clip, 1 video" in call("report", str(tmp_path / "run"))
    assert (tmp_path / "run" / "report" / "index.html").is_file()


def test_a_joblib_sweep_takes_a_users_part(call: Call, tmp_path: Path) -> None:
    settings = ["--config-dir", "conf", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "nfe=3"]
    assert "2 runs" in call("infer", "-m", *TINY, *settings, "solver=midpoint,mine", f"hydra.sweep.dir={tmp_path}")
    table = pd.read_csv(tmp_path / "summary.csv")
    assert table["solver"].tolist() == ["midpoint", "mine"]
    assert table["measured_evaluations"].nunique() == 1
    assert "_target_: mine.Mine" in (tmp_path / "1" / "config.yaml").read_text()
    assert "2 runs" in call("summary", str(tmp_path))


def test_a_users_config_includes_ours(call: Call) -> None:
    shown = call("infer", "--config-path", "conf", "--config-name", "study", "--cfg", "job")
    assert "_target_: mine.Mine" in shown
    assert "nfe: 7" in shown


def test_help_and_errors_name_the_used_command(call: Call) -> None:
    assert "float-research train stage=phones" in call("train", "--help")
    assert "float-research infer --cfg job lists all settings" in call("infer", "nfee=3", code=2)
    assert (
        call("infr", code=2)
        == "error: unknown command infr (did you mean infer?); float-research --help lists all commands\n"
    )
    listed = call("--help")
    assert all(f"\n  {name} " in listed for name in ("infer", "train", "measure", "report", "summary"))
    assert call("-m", "float_research", program="python") == listed
