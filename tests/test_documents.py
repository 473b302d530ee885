"""The README and the pages of docs/: every command in them works, and what they name is there."""

import argparse
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filming import film
from fuzz.processes import script
from hydra.core.override_parser.overrides_parser import OverridesParser

from float_research import compose
from float_research.__main__ import names
from float_research.data.examples import example
from float_research.data.suite import write_suite

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGES = [path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.name != "extending.md"]
"""test_extending.py runs all of the page left out."""
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
COMPOSED = {
    r"infer\.py .*experiment=": "test_conf.py runs every experiment on the tiny model",
    r"checkpoint=(official|unified|stages)": "the weights are not here",
    r"sweep/first resume=true": "it is the sweep before, with one more solver",
    r"infer\.py .*hydra/launcher=": "test_launchers.py runs sweeps through every launcher",
    r"infer\.py .*motion=": "the atlas is of other weights; test_directions.py runs every edit on the tiny model",
    r"(train|make_speech|evaluate_demo|fit_solver)\.py": "takes minutes, or needs an extra: see tests/training",
    r"directions\.py": "takes a minute; test_directions.py makes an atlas of the tiny model",
}
PARSED = {
    r"bench\.py": "measuring takes minutes",
    r"track\.py": "W&B takes seconds to start; test_wandb.py logs finished runs",
    r"parity\.py": "test_parity.py runs it",
    r"cache\.py clear": "test_cache.py clears one",
    r"suite\.py": "test_suite.py lists files",
    r"live\.py": "test_live.py gives it speech on standard input",
    r"compare\.py": "needs a sweep with metrics; test_scripts.py compares one",
}
"""Patterns of commands whose settings are only composed, or whose arguments are only parsed, and why."""
OTHERS = {
    "FLOAT_SWEEP=": "test_notebooks.py runs the notebooks",
    "arecord": "needs a microphone",
    "git clone": "needs the network",
    "pip install": "needs the network; test_locks.py and test_wheel.py check what is installed",
    "python tests/analysis/simulate_statistics.py": "test_statistics.py draws fewer designs",
    "python tests/media_cases": "its own tests run it",
    "source .venv/bin/activate": "is the shell's",
    "wandb sweep docs/wandb_sweep.yaml": "needs a login",
}
"""Commands that are not of this project, and why they are not run."""


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: str
    text: str

    def reason(self, table: dict[str, str]) -> str | None:
        return next((reason for pattern, reason in table.items() if re.search(pattern, self.text)), None)

    @property
    def words(self) -> list[str]:
        """Script and arguments, without a redirected input."""
        return shlex.split(self.text.partition(" < ")[0], comments=True)[1:]


def found() -> Iterator[Command]:
    """All commands: lines after a `$` in blocks of code, and whole commands in running text."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8").replace("\\\n", "")
        lines = re.findall(r"^(?:\$ |(?=python scripts/))(.+)$", text, re.MULTILINE)
        lines += [" ".join(line.split()) for line in re.findall(r"`((?:python|float-research) [^`]+)`", text)]
        lines += [f"python scripts/{line}" for line in re.findall(r"`(bench\.py [^`]+)`", text)]
        for line in lines:
            loop = re.fullmatch(r"for (\w+) in (.+?); do (.+); done", line)
            each = [loop[3].replace(f"${loop[1]}", value) for value in loop[2].split()] if loop else [line]
            for text in each:
                yield Command(str(path.relative_to(ROOT)), text.replace("infer/…/", "infer/RUN/").removesuffix(" …"))


COMMANDS = sorted({command.text: command for command in found()}.values(), key=lambda command: command.text)
PLACEHOLDER = re.compile(r"NAME|COMMAND|…")
OURS = [command for command in COMMANDS if re.match(r"python scripts/(?!.*(NAME|…))", command.text)]


def once(overrides: list[str]) -> list[str]:
    """The overrides of a sweep's first run."""
    parsed = OverridesParser.create().parse_overrides([text for text in overrides if text != "-m"])
    return [
        f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        if override.is_sweep_override()
        else override.input_line or ""
        for override in parsed
    ]


def parse(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a script parse its arguments, and composes the overrides among them, but does nothing else."""

    class Parsed(BaseException):
        pass

    def stopping(parse_args: Callable[[argparse.ArgumentParser], argparse.Namespace]) -> Callable[..., None]:
        def stop(parser: argparse.ArgumentParser) -> None:
            raise Parsed(parse_args(parser))

        return stop

    for method in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, method, stopping(getattr(argparse.ArgumentParser, method)))
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(ROOT / "scripts")  # as Python does for a script
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    compose.compose_config([*getattr(parsed.value.args[0], "overrides", []), "output_dir=out"])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    inputs = tmp_path_factory.mktemp("inputs")
    samples, rate_hz = soundfile.read(example("speech"))
    for name in ("me.png", "faces/a.png"):
        (inputs / name).parent.mkdir(exist_ok=True)
        shutil.copy(example("portrait"), inputs / name)
    for name in ("hello.wav", "lecture.wav", "speech/b.wav"):
        (inputs / name).parent.mkdir(exist_ok=True)
        soundfile.write(inputs / name, samples[: rate_hz // 2], rate_hz)
    film(inputs / "clip.mp4", [np.full((64, 64, 3), 99, np.uint8)] * 3)
    (inputs / "clips.csv").write_text("image,audio\nme.png,hello.wav\n")
    files = {"portraits": [inputs / "me.png"], "recordings": [inputs / "hello.wav"]}
    write_suite(inputs / "mine.yaml", name="mine", version="1", **files)
    return inputs


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that the pages name, all of them one of the tiny model."""
    folder = tmp_path_factory.mktemp("finished")
    told = [*TINY, f"data.image={inputs / 'me.png'}", f"data.audio={inputs / 'hello.wav'}", "nfe=3"]
    ended = script("infer", [*told, "name=portrait-arctic_a0007", "hydra.run.dir=outputs/infer/RUN"], folder)
    assert ended.code == 0, ended.error
    for name in ("speech", "faces"):
        shutil.copytree(inputs / name, folder / name)
    (folder / "official").mkdir()
    for video in folder.glob("outputs/infer/RUN/videos/*.mp4"):
        shutil.copy(video, folder / "official")
        shutil.copy(video, folder / "example.mp4")
    for name in ("FOLDER", "first", "solvers", "front"):
        shutil.copytree(folder / "outputs" / "infer" / "RUN", folder / "outputs" / "sweep" / name / "0")
    return folder


@pytest.mark.parametrize("command", OURS, ids=lambda command: command.text)
def test_a_command_works(command: Command, inputs: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, *arguments = command.words
    name = Path(path).stem
    assert (ROOT / path).is_file()
    shows = {"--help", "--cfg"} & set(arguments)
    if command.reason(COMPOSED) and not shows:
        folder = ["output_dir=out"] if name in ("infer", "train") else []
        compose.compose_config([*once(arguments), *folder], name)
    elif command.reason(PARSED):
        parse(name, arguments, monkeypatch)
    else:
        if name == "infer" and not shows:
            arguments += [*TINY, "dry_run=true"]
        if name == "render":
            arguments += TINY
        ended = script(name, arguments, inputs if name == "infer" else finished)
        assert ended.code == 0, ended.error


def test_commands_of_others_are_known() -> None:
    """A new command is run, or is in a table with the reason why not."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = [*OTHERS, *(f"make {target}" for target in targets), *(f"float-research {name}" for name in names())]
    unknown = [command for command in COMMANDS if command not in OURS and not command.text.startswith(tuple(known))]
    assert [command for command in unknown if not PLACEHOLDER.search(command.text)] == []


def test_all_of_the_tables_is_used() -> None:
    for table in (COMPOSED, PARSED):
        assert all(any(re.search(pattern, command.text) for command in OURS) for pattern in table)
    assert all(any(command.text.startswith(text) for command in COMMANDS) for text in OTHERS)


def test_the_house_has_all_rooms_of_the_import_contract() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {name for layer in layers for name in re.findall(r"\w+", layer)} - {"__main__", "conf"}
    picture = (ROOT / "docs" / "house.svg").read_text(encoding="utf-8")
    drawn = set(re.findall(r'class="name(?: small)?">([^<]+)<', picture))
    assert drawn == {*rooms, "conf/"}


@pytest.mark.parametrize(
    ("name", "line"), [("CITATION.cff", "version: {}\n"), ("README.md", "{{{}}}"), ("CHANGELOG.md", "\n## {} ")]
)
def test_the_version_is_the_same_everywhere(name: str, line: str) -> None:
    assert line.format(PROJECT["project"]["version"]) in (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 600
