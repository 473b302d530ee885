"""The runs of a sweep, and refused sweeps."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fuzz.processes import Ended, script
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from submitit.core.utils import FailedJobError

from float_research import cli, compose, options, overrides, suggestions, sweeping
from float_research.errors import UserError
from float_research.tracking.runs import find
from hydra_plugins.float_research_product import Composed

ROOT = Path(__file__).parents[1]
NOWHERE = "hydra_plugins.hydra_submitit_nowhere.Launcher"
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "metrics=none"]


def union(params: Any = None, zipped: Any = None, *given: str) -> list[str]:
    return [" ".join(run) for run in sweeping.union(params, zipped, sweeping.choices(given))]


def test_a_mapping_is_one_product_and_the_command_line_takes_precedence() -> None:
    assert union({"solver": "a,b", "nfe": "1,2"}) == [
        "solver=a nfe=1",
        "solver=a nfe=2",
        "solver=b nfe=1",
        "solver=b nfe=2",
    ]
    assert union({"solver": "a,b", "nfe": "1,2"}, None, "seed=3", "solver=c") == [
        "solver=c nfe=1 seed=3",
        "solver=c nfe=2 seed=3",
    ]
    assert union(None, None, "nfe=range(1,4)", "+x=choice(5,6)") == [
        f"nfe={n} +x={x}" for n in (1, 2, 3) for x in (5, 6)
    ]
    assert union({"+x": "1,2"}, None, "x=3") == ["x=3"]
    assert union({"precise": True, "window_s": 0.5, "points": [0, 1], "label": None}) == [
        "precise=True window_s=0.5 points=[0,1] label=null"
    ]
    assert union() == [""]


def test_blocks_are_a_union_and_multiply_with_the_command_line() -> None:
    params = [{"guidance": "zero_star", "guidance.audio.scale": "1,2"}, {"guidance": "none"}]
    own = ["guidance=zero_star guidance.audio.scale=1", "guidance=zero_star guidance.audio.scale=2", "guidance=none"]
    assert union(params) == own
    assert union(params, None, "nfe=5,10") == [f"{run} nfe={nfe}" for run in own for nfe in (5, 10)]
    assert union(params, None, "guidance=reference") == [
        "guidance=reference guidance.audio.scale=1",
        "guidance=reference guidance.audio.scale=2",
        "guidance=reference",
    ]
    assert union([{"nfe": "1,2"}, {"nfe": "2,3"}]) == ["nfe=1", "nfe=2", "nfe=3"], "each run once"
    assert union({"nfe": "1,1"}) == ["nfe=1", "nfe=1"], "except for repeated values"


def test_settings_are_paired_and_multiply_with_the_rest() -> None:
    pair = {"nfe": [4, 8], "name": ["a,b", "c"]}
    assert union(None, pair) == ["nfe=4 name='a,b'", "nfe=8 name='c'"]
    assert union({"solver": "x,y"}, {"nfe": "4,8", "seed": [1, 2]}, "batch_clips=1") == [
        "solver=x nfe=4 seed=1 batch_clips=1",
        "solver=x nfe=8 seed=2 batch_clips=1",
        "solver=y nfe=4 seed=1 batch_clips=1",
        "solver=y nfe=8 seed=2 batch_clips=1",
    ]
    assert union(None, [{"a": [1, 2]}, {"b": [3], "c": [4]}]) == ["a=1 b=3 c=4", "a=2 b=3 c=4"]
    assert union(None, {"nfe": [4, 8], "seed": [1, 2]}, "nfe=3") == ["seed=1 nfe=3", "seed=2 nfe=3"]


@pytest.mark.parametrize(
    ("params", "zipped", "given", "said"),
    [
        ("{nfe:3,4}", None, [], r"hydra\.sweeper\.params=\{nfe:3,4\} must be a mapping, or a list of mappings, as in"),
        ([{"nfe": 1}, 2], None, [], "must be a mapping, or a list of mappings"),
        (
            None,
            {"nfe": [1, 2], "seed": [3]},
            [],
            "the same number of values for each setting, but nfe has 2, seed has 1",
        ),
        ({"nfe": 1}, {"nfe": [1, 2]}, [], r"nfe is in both hydra\.sweeper\.params and hydra\.sweeper\.zip"),
        ({"experiment": "a,b"}, None, [], "give them on the command line: -m experiment=A,B"),
        (None, None, ["nfe=interval(1,3)"], r"interval\(1,3\) is a continuous interval; list values"),
        (None, None, ["solver=glob(_*)"], r"solver=glob\(_\*\) matches none of ab2, "),
    ],
)
def test_an_invalid_sweep_is_one_sentence(params: Any, zipped: Any, given: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        union(params, zipped, *given)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a user's config folder."""
    for name, text in {
        "experiment/mine": "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n",
        "solver/fancy": "_target_: float_research.sampling.solver.Euler\n",
    }.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        (tmp_path / "mine" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(overrides, "COMMAND_LINE", ["--config-dir", str(tmp_path / "mine")])
    return tmp_path / "mine"


def composed(*told: str) -> DictConfig:
    """Returns the config of `infer` with Hydra's own node."""
    loader = ConfigLoaderImpl(config_search_path=options.search_path())
    return loader.load_configuration("infer", list(told), RunMode.MULTIRUN, validate_sweep_overrides=False)


def sweeper(*told: str) -> SimpleNamespace:
    """Returns a sweeper as set up by Hydra."""
    Plugins.instance()
    loader = ConfigLoaderImpl(config_search_path=options.search_path())
    config = composed(*told, "hydra.mode=MULTIRUN")
    own = config.hydra.sweeper
    return SimpleNamespace(config=config, composed=Composed(loader), params=own.params, zip=own.get("zip"))


def test_experiments_bring_their_own_sweeps(mine: Path) -> None:
    given = ["experiment=paper_guidance,official,mine", "nfe=4,8"]
    runs = [" ".join(run) for run in sweeping.all_runs(sweeper(*given), given)]
    scales = [
        f"guidance.audio.scale={a} guidance.emotion.scale={e} experiment=paper_guidance" for a in "12" for e in "12"
    ]
    own = [*scales, "experiment=official", "seed=1 experiment=mine", "seed=2 experiment=mine"]
    assert runs == [f"{run} nfe={nfe}" for run in own for nfe in (4, 8)]


def test_a_search_cannot_be_combined_with_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="experiment=pareto_search is a search"):
        sweeping.all_runs(sweeper(), ["experiment=official,pareto_search"])
    given = ["experiment=glob([pareto_search,paper_guidance,official,demo_flow])"]
    assert len(sweeping.all_runs(sweeper(*given), given)) == 5
    assert (
        capsys.readouterr().err == "left out, since they are not product sweeps: experiment=demo_flow, pareto_search\n"
    )


def unknown(setting: str, *overrides: str) -> str | None:
    return suggestions.unknown_setting(HydraException(f"Could not override '{setting}'."), overrides)


def test_the_option_that_lacks_a_setting_is_named() -> None:
    given = ["guidance=zero_star,none", "guidance.audio.scale=1,2"]
    held = sweeper()
    with pytest.raises(UserError) as refused:
        sweeping.check(held, sweeping.all_runs(held, given))
    files = sorted((compose.config_folder() / "guidance").glob("*.yaml"))
    having = [path.stem for path in files if "\naudio:\n" in path.read_text()]
    assert {"incremental", "zero_star"} < set(having)
    assert str(refused.value).split("; ") == [
        "guidance=none has no setting guidance.audio.scale",
        f"choose another guidance: {', '.join(having)}, or sweep in blocks: "
        f"hydra.sweeper.params=[{{guidance: {having[0]}, guidance.audio.scale: …}}, {{guidance: none}}]",
    ]
    named, schedule = unknown("guidance.audio.t_hi"), "schedule@guidance.audio"
    assert named == f"{schedule}=constant has no setting guidance.audio.t_hi; add {schedule}=interval"
    two = unknown("solver.skip_end", "solver=euler")
    assert two == "solver=euler has no setting solver.skip_end; choose solver=heun2 or solver=rk4"
    assert str(unknown("nfee", "nfee=3")).startswith("unknown setting nfee (did you mean nfe?)")
    assert suggestions.unknown_setting(HydraException("nfee"), []) is None


@pytest.mark.parametrize("told", ["--config-dir {}", "hydra.searchpath=[{}]", "--config-dir {0} --config-name main"])
def test_the_users_own_options_are_known(told: str, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overrides, "COMMAND_LINE", told.format(mine).split())
    (mine / "main.yaml").write_text("defaults: [infer, _self_]\n")
    assert "fancy" in options.parts(["solver"])
    assert sweeping.choices(["solver=glob([fancy,euler])"]) == {"solver": ["solver=euler", "solver=fancy"]}
    held = options.Catalogue(options.main(), ["solver=fancy"])
    assert "solver.order" not in held.settings
    assert "nfe" in held.settings
    group, chosen, having = held.owner("solver.rtol") or ("", [], [])
    assert (group, chosen) == ("solver", ["fancy"])
    assert "dopri5" in having


@pytest.mark.parametrize("given", ["", "guidance=history search=best_of", "experiment=official", "metrics=[fid,csim]"])
def test_settings_read_without_composing_are_those_composed(given: str) -> None:
    read, made = options.Catalogue("infer", given.split()), composed(*given.split())
    assert set(read.settings) == set(options.keys(made))


def test_a_search_path_of_the_main_config_is_known(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.yaml").write_text(f"defaults: [infer, _self_]\nhydra: {{searchpath: [{mine}]}}\n")
    monkeypatch.setattr(overrides, "COMMAND_LINE", ["--config-dir", str(tmp_path), "--config-name", "main"])
    assert "fancy" in options.options_of("solver")


def infer(folder: Path, *given: str) -> Ended:
    return script("infer", [*given[:1], *TINY, *given[1:]], folder)


def plans(ended: Ended) -> list[str]:
    """Returns the overrides of each run of a dry sweep besides `TINY`."""
    lines = [line.split(": ", 1)[1] for line in ended.error.splitlines() if line.startswith("\t#")]
    return [" ".join(word for word in line.split() if word not in {*TINY, "dry_run=True"}) for line in lines]


def test_dry_runs_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for mode in "hydra.mode=RUN", "-m":
        ended = infer(tmp_path, mode, "dry_run=true", "hydra/launcher=submitit_local", "hydra.run.dir=mine")
        assert ended.code == 0, ended.error
        assert "nothing was written" in ended.output
        assert "no record" not in ended.output + ended.error
    ended = infer(
        tmp_path, "-m", "dry_run=true", "nfe=0,4", "hydra.sweep.dir=out", "hydra.sweep.subdir=a/b/${hydra.job.num}"
    )
    assert (ended.code, plans(ended)) == (2, ["nfe=0", "nfe=4"])
    assert "nfe=0 must be at least 1" in ended.error
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "tmp", "mine"}
    assert (tmp_path / "mine").is_dir(), "an empty folder that was there stays"


def test_an_experiment_with_a_sweep_needs_no_m(tmp_path: Path) -> None:
    ended = infer(tmp_path, "experiment=nfe_ablation", "dry_run=true")
    assert plans(ended) == [f"nfe={nfe} experiment=nfe_ablation" for nfe in (2, 5, 10, 20)]
    blocks = 'hydra.sweeper.params=[{nfe: "3,4"},{temperature: 0.5}]'
    ended = infer(tmp_path, "experiment=nfe_ablation", "dry_run=true", blocks)
    assert plans(ended) == [f"{own} experiment=nfe_ablation" for own in ("nfe=3", "nfe=4", "temperature=0.5")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (['hydra.sweeper.params={nfe: "3,4"}'], "hydra.sweeper.params asks for a sweep; add -m"),
        (["-m", "hydra.sweeper.params={nfe:3,4}"], "as in 'hydra.sweeper.params={nfe: \"5,10\"}'"),
        (["-m", "hydra/sweeper=basic", "nfe=3,4"], "hydra/sweeper=basic is not supported; use hydra/sweeper=product"),
        (["-m", "hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0 must be at least 1"),
        (["-m", "--cfg", "job"], "Only one of --run, --multirun, --cfg, --info"),
        (["submit=true"], "submit=true only applies to sweeps; add -m"),
        (["-m", "submit=true", "nfe=3,4"], "submit=true needs hydra/launcher=submitit_slurm or submitit_local"),
        (["-m", "experiment=pareto_search", "submit=true"], "a search must wait for its runs"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true would break relative paths"),
        (["-m", "hydra.job.chdir=true", "nfe=3,4"], "hydra.job.chdir=true would break relative paths"),
        (["-m", "hydra/launcher=submitit_local", f"hydra.launcher._target_={NOWHERE}", "nfe=3,4"], "is not installed"),
        (["solver=_tolerances"], "solver=_tolerances is unknown; choose one of ab2, ab3, abm2"),
        (["guidance=none", "guidance.audio.scale=2"], "guidance=none has no setting guidance.audio.scale; "),
    ],
)
def test_a_refused_sweep_is_one_sentence_and_leaves_nothing(given: list[str], said: str, tmp_path: Path) -> None:
    ended = infer(tmp_path, *given)
    assert ended.code == 2
    assert said in ended.error
    assert ended.error.startswith("error: ")
    assert ended.error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "tmp"}


def test_a_training_stays_in_its_working_directory(tmp_path: Path) -> None:
    ended = script("train", ["hydra.job.chdir=true", "model=tiny"], tmp_path)
    assert (ended.code, ended.error.partition(" would")[0]) == (2, "error: hydra.job.chdir=true")


def test_a_queue_that_rejects_runs_is_one_sentence() -> None:
    error = FailedJobError("sbatch: error: Unknown host\nsbatch: fatal: no configuration")
    said = (
        "SLURM rejected the runs (sbatch: error: Unknown host sbatch: fatal: no configuration); start the sweep where"
    )
    assert cli.sentence(error) == (f"{said} sbatch works", cli.EXIT_USER_ERROR)


def test_a_missing_accelerator_names_its_setting(tmp_path: Path) -> None:
    for name in "tpu", "nonsense":
        given = [f"trainer.accelerator={name}", f"output_dir={tmp_path}"]
        cfg = compose.compose_config(given)
        with pytest.raises(UserError, match=rf"trainer\.accelerator={name} cannot be used here \(.*use trainer\.accel"):
            compose.build_trainer(cfg)
        with pytest.raises(UserError, match=rf"trainer\.accelerator={name} cannot be used here"):
            compose.build_training(compose.compose_config([*given, "stage=autoencoder"], "train")).build_trainer()


def test_a_finished_sweep_is_extended(speech: Callable[[float], Path], tmp_path: Path) -> None:
    where = ["hydra.sweep.dir=out", f"data.audio={speech(0.3)}"]
    assert infer(tmp_path, "-m", *where, "nfe=2,3").code == 0
    made = [(tmp_path / "out" / run / "record.json").stat().st_mtime_ns for run in "01"]
    ended = infer(tmp_path, "-m", *where, "nfe=4,3,2", "resume=true")
    assert ended.code == 0, ended.error
    assert ended.output.count("finished before") == 2
    assert [(tmp_path / "out" / run / "record.json").stat().st_mtime_ns for run in "01"] == made
    found = find(tmp_path / "out")
    assert [(run.name, run.settings()["nfe"]) for run in found.runs] == [("0", 2), ("1", 3), ("2", 4)]
    ended = infer(tmp_path, "-m", *where, "nfe=4,5", "resume=true")
    assert ended.code == 2
    assert "nfe=4,3,2 trainer.accelerator=cpu; choose another hydra.sweep.dir" in ended.error


def test_submitted_runs_continue_and_are_collected(speech: Callable[[float], Path], tmp_path: Path) -> None:
    launcher = ["hydra/launcher=submitit_local", "submit=true", "hydra.sweep.dir=out"]
    command = [sys.executable, str(ROOT / "scripts" / "infer.py"), "-m", *TINY, *launcher, f"data.audio={speech(5)}"]
    ended = subprocess.run([*command, "nfe=2,3"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not find(tmp_path / "out").complete(), "runs hold the streams of the submitting process"
    assert ended.returncode == 0, ended.stderr
    first, look, collect = ended.stdout.splitlines()
    assert first == "submitted 2 runs, which continue without this program"
    assert look.startswith("monitor: ps -p ")
    assert collect == "collect: python scripts/summary.py out"
    assert len(json.loads((tmp_path / "out" / "sweep.json").read_text())["runs"]) == 2
    while not find(tmp_path / "out").complete():
        time.sleep(0.5)
    collected = script("summary", ["out"], tmp_path)
    assert collected.code == 0, collected.error
    assert "2 runs: out/summary.csv" in collected.output


def test_unfinished_runs_are_reported(speech: Callable[[float], Path], tmp_path: Path) -> None:
    where = ["hydra.sweep.dir=out", f"data.audio={speech(0.3)}"]
    assert infer(tmp_path, "-m", *where, "nfe=2,3").code == 0
    (tmp_path / "out" / "1" / "record.json").unlink()
    ended = script("summary", ["out"], tmp_path)
    assert "the sweep has not ended: 1 of its 2 runs are finished" in ended.output
    assert not find(tmp_path / "out").ended
    (tmp_path / "out" / "0" / "record.json").unlink()
    assert "none of 2 runs in out has ended; wait, or resume" in script("summary", ["out"], tmp_path).error
