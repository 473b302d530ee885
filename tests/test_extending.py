"""The code, the settings and the commands of docs/extending.md, as they stand there, on the tiny model."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.processes import script

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\$ PYTHONPATH=\. float-research infer (.+)$", TEXT, re.MULTILINE)
CLASSES = {target for text in FILES.values() for target in re.findall(r"_target_: (mine\.\S+)", text)}
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]


def test_every_block_of_the_guide_is_a_file_or_a_command() -> None:
    assert TEXT.count("\n```") == 2 * (len(FILES) + len(COMMANDS) + 1), "and one is the tree of folders"
    assert {name.split("/")[0] for name in FILES} == {"mine", "conf"}
    assert len(CLASSES) == sum(name.endswith(".py") for name in FILES)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with all files of the guide."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_all_commands_of_the_guide_run(project: Path, speech: Callable[[float], Path]) -> None:
    """Two windows, so that they are joined. Every class is used, and costs what it declares."""
    used = set[str]()
    for number, line in enumerate(COMMANDS):
        place = f"hydra.{'sweep' if ' -m ' in line else 'run'}.dir=runs/{number}"
        told = [*shlex.split(line), *TINY, f"data.audio={speech(2.2)}", place]
        ended = script("infer", told, project, modules=project)
        assert ended.code == 0, f"{line}\n{ended.error}"
        records = list((project / "runs" / str(number)).rglob("record.json"))
        assert records, line
        for path in records:
            totals = json.loads(path.read_text())["totals"]
            assert totals["declared"] == totals["measured"], line
            used.update(re.findall(r"_target_: (mine\.\S+)", (path.parent / "config.yaml").read_text()))
    assert used == CLASSES
