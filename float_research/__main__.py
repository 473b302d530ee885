"""The command line: `float-research infer solver=midpoint`, or `python -m float_research infer solver=midpoint`."""

import ast
import os
import runpy
import sys
from pathlib import Path

from float_research import printing
from float_research.errors import guess
from float_research.program import BY_SCRIPT, PROGRAM

COMMANDS = Path(__file__).parent / "commands"


def main() -> None:
    """Runs the command that the first argument names; without one, lists them."""
    name, *arguments = sys.argv[1:] or ["--help"]
    os.environ[BY_SCRIPT] = "0"
    if name in ("-h", "--help"):
        printing.prepare()
        with printing.require_output():
            print(listing())
        return
    if name not in names():
        from float_research import cli

        cli.fail(
            f"unknown command {name}{guess(name, names())}; {PROGRAM} --help lists all commands", cli.EXIT_USER_ERROR
        )
    run(name, arguments)


def script(path: str) -> None:
    """Runs the command of a file in scripts/."""
    os.environ[BY_SCRIPT] = "1"
    run(Path(path).stem, sys.argv[1:])


def run(name: str, arguments: list[str]) -> None:
    """Runs a command as `python -m float_research.commands.NAME`, from which Lightning can start further processes."""
    given, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        runpy.run_module(f"float_research.commands.{name}", run_name="__main__", alter_sys=True)
    finally:
        sys.argv = given


def names() -> list[str]:
    return sorted(path.stem for path in COMMANDS.glob("[!_]*.py"))


def listing() -> str:
    """Lists all commands with the first lines of their docstrings, which are parsed without importing them."""
    lines = [f"usage: {PROGRAM} COMMAND …; {PROGRAM} COMMAND --help shows its options", ""]
    for name in names():
        docstring = ast.get_docstring(ast.parse((COMMANDS / f"{name}.py").read_text(encoding="utf-8"))) or ""
        lines.append(f"  {name:<16}{docstring.splitlines()[0]}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
