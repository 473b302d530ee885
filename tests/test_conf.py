"""Every YAML file composes, resolves, and has exactly the arguments of its target's constructor."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra import initialize_config_dir
from hydra.errors import MissingConfigException
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from float_research import compose, options, suggestions
from float_research.data.examples import example
from float_research.data.suite import write_suite
from float_research.sweeping import blocks

CONF = compose.config_folder()
GROUPS = sorted({path.parent.name for path in CONF.glob("*/*.yaml")} - {"shared"})
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
TRAINING = {
    (group, option)
    for group, option in OPTIONS
    if group in ("stage", "callbacks", "debug")
    or (group, option) in {("data", "toy"), ("data", "video_folder")}
    or (group == "experiment" and "override /stage:" in (CONF / group / f"{option}.yaml").read_text())
}
"""Options of scripts/train.py; the others belong to scripts/infer.py."""
EXPERIMENTS = [option for group, option in OPTIONS if group == "experiment" and (group, option) not in TRAINING]
TRAININGS = [option for group, option in OPTIONS if group == "experiment" and (group, option) in TRAINING]
REQUIRED = {
    ("data", "grid"): ["data.images=a", "data.audios=b"],
    ("data", "manifest"): ["data.file=a.csv"],
    ("data", "video_folder"): ["data.folder=a"],
    ("checkpoint", "stages"): ["checkpoint.weights=[a.safetensors]"],
    ("emotion", "blend"): ["emotion.blend={happy: 1}"],
    ("emotion", "keyframes"): ["emotion.keyframes={0: happy}"],
    ("time_grid", "explicit"): ["time_grid.points=[0, 1]"],
    ("motion", "offset"): ["motion.offset.coordinates={0: 1}"],
    ("motion", "blend"): ["motion.blend.meanings={jaw: 1}"],
    ("motion", "video"): ["motion.video.file=a.mp4"],
}
"""Settings that a user must give besides the option's name."""


def composed(group: str, option: str, config_name: str = "infer") -> DictConfig:
    config_name = "train" if (group, option) in TRAINING else config_name
    override = f"schedule@guidance.audio={option}" if group == "schedule" else f"{group}={option}"
    required = REQUIRED.get((group, option), [])
    if config_name != "convert":
        required = [*required, "output_dir=out"]
    return compose.compose_config([override, *required], config_name)


def targets(node: Any) -> Iterator[DictConfig]:
    """Yields all nodes with a `_target_`, at any depth."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield node
        for child in node.values():
            yield from targets(child)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_resolves(group: str, option: str) -> None:
    cfg = composed(group, option)
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert OmegaConf.is_struct(cfg)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_keys_are_the_arguments_of_the_target(group: str, option: str) -> None:
    cfg = composed(group, option)
    for node in targets(cfg):
        keys = {str(key) for key in node} - {"_target_"}
        target = get_class(node._target_)
        parameters = inspect.signature(target).parameters
        if not node._target_.startswith("float_research."):
            assert keys - {"_partial_"} <= set(parameters)
        else:
            assert keys == set(parameters), node._target_
            defaults = [name for name, parameter in parameters.items() if parameter.default is not parameter.empty]
            assert defaults == [], "defaults live in YAML"


@pytest.mark.parametrize("path", sorted(CONF.glob("hydra/sweeper/*.yaml")), ids=lambda path: path.stem)
def test_keys_are_the_arguments_of_the_sweeper(path: Path) -> None:
    settings = yaml.safe_load(path.read_text())
    keys = settings.keys() - {"_target_", "_recursive_", "_convert_"}
    assert keys == set(inspect.signature(get_class(settings["_target_"])).parameters)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_is_used(path: Path) -> None:
    """Each file is an option, a main config, one of Hydra's, or included by another file."""
    folder = path.parent.relative_to(CONF)
    if folder.parts == ("shared",):
        including = (f"- /shared/{path.stem}@_here_\n", f"- shared/{path.stem}\n")
        assert any(line in other.read_text() for other in CONF.rglob("*.yaml") for line in including)
    elif folder.parts in {("hydra", "launcher"), ("hydra", "sweeper")}:
        compose.compose_config([f"{folder}={path.stem}", "output_dir=out"])
    elif folder.parts[:1] == ("hydra",):
        assert any(f"{folder}: {path.stem}\n" in main.read_text() for main in CONF.glob("*.yaml"))
    elif folder == Path():
        compose.compose_config([], path.stem)
    else:
        assert (str(folder), path.stem) in OPTIONS


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "checkpoint"])
def test_every_checkpoint_converts(option: str) -> None:
    OmegaConf.to_container(composed("checkpoint", option, "convert"), resolve=True, throw_on_missing=True)


def test_the_help_lists_every_option() -> None:
    templates = [(CONF / "hydra" / "help" / f"{name}.yaml").read_text() for name in ("float", "train")]
    listed = [name for template in templates for name in re.findall(r"\$\{parts:\[(.+?)\]\}", template)[0].split(", ")]
    assert sorted(set(listed)) == GROUPS
    assert "mtcnn" in options.parts(["face"])
    expected = {group: {option for of, option in TRAINING if of == group} for group in ("data", "experiment")}
    for line in options.training_parts(list(expected)).splitlines():
        group, _, names = line.strip().partition(":")
        assert set(names.strip().split(", ")) == expected[group]


def test_help_lists_the_experiments_of_its_command() -> None:
    for name, own in ("infer", EXPERIMENTS), ("train", TRAININGS):
        held = options.Catalogue(name)
        assert [one for one in options.options_of("experiment") if held.offers("experiment", one)] == own


def test_a_missing_value_is_told_with_its_format() -> None:
    for group, option in OPTIONS:
        settings = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8")) or {}
        parts = {f"{group}.{name}": part for name, part in settings.items() if isinstance(part, dict)}
        for place, part in {group: settings, **parts}.items():
            for name in (name for name, value in part.items() if value == "???"):
                assert f"{place}.{name}" in suggestions.FORMATS


def test_shared_files_are_no_options() -> None:
    assert not [option for _, option in OPTIONS if option.startswith("_")]
    with pytest.raises(MissingConfigException):
        compose.compose_config(["solver=_tolerances"])
    config = compose.compose_config(["solver=dopri5"])
    assert (config.solver.atol, config.face.margin) == (1e-5, 1.6)


def test_the_shared_settings_of_submitit_apply_to_both_launchers() -> None:
    for option, timeout_min in ("submitit_local", 7 * 24 * 60), ("submitit_slurm", 240):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            launcher = hydra.compose("infer", [f"hydra/launcher={option}"], return_hydra_config=True).hydra.launcher
        assert (launcher.cpus_per_task, launcher.mem_gb, launcher.timeout_min) == (4, 16, timeout_min)


@pytest.fixture(scope="module")
def short_suite(speech: Callable[[float], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of one clip of half a second."""
    path = tmp_path_factory.mktemp("suite") / "short.yaml"
    write_suite(path, name="short", version="1", portraits=[Path(example("portrait"))], recordings=[speech(0.5)])
    return path


@pytest.mark.parametrize("option", EXPERIMENTS)
def test_every_experiment_states_its_question_and_runs(option: str, short_suite: Path, tmp_path: Path) -> None:
    assert "?" in (CONF / "experiment" / f"{option}.yaml").read_text().split("defaults:")[0]
    small = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
    cfg = compose.compose_config([f"experiment={option}", *small, f"output_dir={tmp_path}"])
    if "file" in cfg.data:
        cfg.data.file = str(short_suite)
    content = compose.build_job(cfg).run(Console(quiet=True))
    assert content is not None
    assert content["totals"]["declared"] == content["totals"]["measured"]


SWEEPS = [option for option in EXPERIMENTS if option.endswith("_ablation") or option.startswith("paper_")]


@pytest.mark.parametrize("option", SWEEPS)
def test_every_ablation_has_a_suite_and_seeds(option: str) -> None:
    """Those with a reason of their own say so in their header."""
    cfg = compose.compose_config([f"experiment={option}", "output_dir=out"])
    other = {"order_ablation": (None, None), "long_clip_ablation": ("suites/toy.yaml", [15, 16, 17])}
    suite, seeds = other.get(option, ("suites/quick.yaml", [15, 16, 17]))
    assert cfg.seeds == seeds
    assert str(cfg.data.get("file")).endswith(str(suite))


@pytest.mark.parametrize("option", SWEEPS)
def test_every_ablation_sweeps_over_existing_settings(option: str) -> None:
    own = yaml.safe_load((CONF / "experiment" / f"{option}.yaml").read_text())["hydra"]
    assert own["mode"] == "MULTIRUN", "it needs no -m"
    several = blocks("params", own["sweeper"]["params"])
    for block in several:
        for name, values in block.items():
            choices = values.split(",")
            assert len(choices) > 1 or len(several) > 1
            for choice in choices:
                cfg = compose.compose_config([f"experiment={option}", f"{name}={choice}", "output_dir=out"])
                compose.build_sampler(cfg)


@pytest.mark.parametrize("option", TRAININGS)
def test_every_training_experiment_states_its_question_and_is_built(option: str) -> None:
    assert "?" in (CONF / "experiment" / f"{option}.yaml").read_text().split("defaults:")[0]
    cfg = compose.compose_config([f"experiment={option}"], "train")
    job = compose.build_training(cfg)
    assert job.output_dir == Path("outputs/train") / option.removeprefix("demo_")
    assert cfg.trainer.max_steps < 20000, "as its header says"


def test_the_official_experiment_is_the_official_script() -> None:
    cfg = compose.compose_config(["experiment=official", "output_dir=out"])
    assert (cfg.nfe, cfg.seed, cfg.model.fps, cfg.model.motion_autoencoder.image_size) == (10, 15, 25, 512)
    assert (cfg.guidance.audio.scale, cfg.guidance.emotion.scale) == (2, 1)
    assert (cfg.chunking.window_s, cfg.chunking.previous_frames, cfg.chunking.attention_window) == (2, 10, 2)
    sampler = compose.build_sampler(cfg)
    declared = sampler.declared_cost(130)
    assert declared is not None
    assert (declared.evaluations, declared.branches) == (3 * 9, 3 * 9 * 3), "10 grid points are 9 Euler steps"
