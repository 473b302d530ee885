"""Refusals and help: without heavy imports, and as strict as the annotations of what is built."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml
from hydra.utils import get_class

from float_research import __main__ as entry
from float_research.checking import PLAIN, annotations, declared
from float_research.metrics.metric import Metric
from float_research.sampling.solver import ExplicitAdams, FixedStep
from float_research.sampling.steps import OneStep

ROOT = Path(__file__).parents[1]
TARGET = "_target_"
HEAVY = ("av", "cv2", "librosa", "lightning", "matplotlib", "pandas", "scipy", "torch", "torchmetrics", "transformers")
REFUSED = {
    "infer nfe=ten": "nfe=ten must be an integer",
    "infer nfe=0": "nfe=0 must be at least 1",
    "infer data.image=none.png": "image none.png does not exist",
    "infer metrics=fid": "metrics=fid needs real videos",
    "infer metrics=[csim]": "metrics=csim needs weights",
    "infer solver=rk4 budget=evaluations nfe=3": "one step of solver rk4 takes 4 evaluations",
    "train seed=x": "seed=x must be an integer",
    "convert half=3 output=x": "half=3 must be true or false",
    "evaluate_demo num_pairs=x": "num_pairs=x must be an integer",
    "evaluate_demo coordinate_scale=0": "coordinate_scale=0 must be a positive number",
    "fit_solver tolerance=x": "tolerance=x must be a number",
    "make_portraits num=many": "num=many must be an integer",
    "report none": "none is not a folder",
    "compare none": "none is not a folder",
    "measure none": "none is not a folder",
    "summary none": "none is not a folder",
    "rerun none": "does not exist",
    "parity none": "none has no golden case",
    "preview none.mp4": "video none.mp4 does not exist",
}  # fmt: skip
RUN_ALL = """
import contextlib, io, json, sys
from float_research.__main__ import run
from float_research import overrides
heavy, found = set(sys.argv[1].split()), {}
for line in sys.argv[2].split("\\n"):
    said = io.StringIO()
    name, *arguments = line.split()
    sys.argv, overrides.COMMAND_LINE[:] = ["scripts/infer.py"], []
    from hydra.core.global_hydra import GlobalHydra
    GlobalHydra.instance().clear()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        run(name, arguments)
    found[line] = [said.getvalue(), sorted(heavy & sys.modules.keys())]
print(json.dumps(found))
"""


def run_all(lines: Sequence[str], folder: Path) -> Mapping[str, tuple[str, list[str]]]:
    """Runs commands in one new process; returns what each said, and the heavy modules imported so far."""
    arguments = [sys.executable, "-c", RUN_ALL, " ".join(HEAVY), "\n".join(lines)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "0"}
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert ran.returncode == 0, ran.stderr
    return yaml.safe_load(ran.stdout.splitlines()[-1])


def test_help_and_refusals_import_nothing_heavy(tmp_path: Path) -> None:
    told = run_all([*(f"{name} --help" for name in entry.names()), *REFUSED], tmp_path)
    for line, (said, heavy) in told.items():
        assert not heavy, line
        assert REFUSED.get(line, "") in said, line
        assert said, line


def configured() -> set[str]:
    """Returns every class of ours that a config names."""
    configs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "conf").rglob("*.yaml")]
    targets = {config.get("_target_") for config in configs if isinstance(config, dict)}
    return {target for target in targets if target and target.startswith("float_research.")}


def plain(hint: Any) -> tuple[type, bool] | None:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    known = [get_origin(kind) or kind for kind in kinds if kind is not NoneType]
    known = [{Sequence: list, Mapping: dict}.get(kind, kind) for kind in known]
    return (known[0], len(kinds) > 1) if len(known) == 1 and known[0] in PLAIN.values() else None


@pytest.mark.parametrize("target", sorted(configured()))
def test_annotations_are_read_as_python_reads_them(target: str) -> None:
    hints = get_type_hints(get_class(target).__init__)
    wanted = {name: kind for name, hint in hints.items() if name != "return" and (kind := plain(hint))}
    assert annotations(target) == wanted


def options(group: str) -> list[dict[str, Any]]:
    """Returns the settings of every option of a group of conf/ that names a class."""
    found = [yaml.safe_load(path.read_text()) or {} for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
    return [
        each for option in found for each in (option, *option.values()) if isinstance(each, dict) and TARGET in each
    ]


@pytest.mark.parametrize("option", options("metrics"), ids=lambda option: option[TARGET])
def test_a_metric_requires_what_is_found_without_importing_it(option: dict[str, Any]) -> None:
    kind = get_class(option[TARGET])
    assert issubclass(kind, Metric)
    requires = declared(option[TARGET], "requires")
    assert requires is kind.requires
    if requires is not None:
        assert {*requires.given, *requires.weights} <= option.keys()
        assert (ROOT / "conf" / "metrics" / f"{requires.option}.yaml").is_file()


@pytest.mark.parametrize("option", options("solver"), ids=lambda option: option[TARGET])
def test_a_one_step_solver_costs_what_is_found_without_importing_it(option: dict[str, Any]) -> None:
    kind = get_class(option[TARGET])
    nodes = declared(option[TARGET], "nodes")
    assert nodes is None or nodes is kind.nodes
    assert (nodes is not None) == (
        issubclass(kind, FixedStep) and kind.evaluation_times is not ExplicitAdams.evaluation_times
    )
    for skips in (False, True) if "skip_end" in option else (False,) if nodes else ():
        solver = kind(skip_end=skips) if "skip_end" in option else kind()
        for num_steps in (1, 5):
            assert OneStep(name="", nodes=nodes, skip_end=skips).evaluations(num_steps) == solver.evaluations(num_steps)
