"""The entry point, `float-research COMMAND`."""

import subprocess
import sys
from pathlib import Path

import pytest

from float_research import __main__ as entry
from float_research import cli, program

ROOT = Path(__file__).parents[1]
FOR_DEVELOPERS = {"attack", "bench"}


def test_every_script_is_a_command() -> None:
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")} - FOR_DEVELOPERS
    assert scripts == set(entry.names())
    for name in scripts:
        assert (ROOT / "scripts" / f"{name}.py").read_text().splitlines()[1:] == [
            *["", "from float_research.__main__ import script", ""],
            *['if __name__ == "__main__":', "    script(__file__)"],
        ]


def test_the_list_of_commands_imports_no_package() -> None:
    code = "import sys; from float_research.__main__ import main; main(); print({*sys.modules} & {'hydra', 'torch'})"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert said.endswith("set()\n")
    for name in entry.names():
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(".")


@pytest.mark.parametrize("by_script", [True, False])
def test_further_processes_can_start_the_same_command(by_script: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning starts them by the module name and the arguments."""
    seen: list[object] = []

    def note(main: object, *, hydra: bool = False) -> None:
        seen.extend((sys.modules["__main__"].__spec__.name, sys.argv[1:], program.command("infer")))

    monkeypatch.setattr(cli, "run", note)
    monkeypatch.setenv(program.BY_SCRIPT, "")
    before = sys.modules["__main__"]
    if by_script:
        monkeypatch.setattr(sys, "argv", ["scripts/summary.py", "folder"])
        entry.script("scripts/summary.py")
    else:
        monkeypatch.setattr(sys, "argv", ["float-research", "summary", "folder"])
        entry.main()
    named = "scripts/infer.py" if by_script else "float-research infer"
    assert seen == ["float_research.commands.summary", ["folder"], named]
    assert sys.modules["__main__"] is before
