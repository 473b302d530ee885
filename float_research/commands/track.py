"""Logs finished runs with loggers such as W&B.

Runs that were logged before are updated, not duplicated.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from operator import methodcaller
from pathlib import Path

from rich.console import Console

from float_research import cli, compose, options
from float_research.errors import UserError
from float_research.printing import say, stdout
from float_research.program import command
from float_research.tracking.logger import EndedRun, RunLogger
from float_research.tracking.runs import SWEEP, Run, find, refuse_empty, require_folder, sweep_of


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("track"), description=__doc__, epilog=options.parts(["logger"]))
    parser.add_argument("folder", type=Path, help="folder of a run or a sweep; every finished run under it is logged")
    parser.add_argument(
        "overrides", nargs="+", help="logger=wandb, or logger=[…], and settings such as logger.wandb.project=NAME"
    )
    arguments = parser.parse_args()
    loggers = choose(arguments.overrides)
    require_folder(arguments.folder)
    found = find(arguments.folder)
    refuse_empty(found, arguments.folder)
    console, failures = stdout(), 0
    for note in found.notes():
        say(console, note, style="bold yellow")
    for run in found.runs:
        failures += log(loggers, methodcaller("run", to_ended(run)), run.folder, console)
    if (arguments.folder / SWEEP).is_file():
        from float_research.analysis.summary import summarise

        summed = methodcaller("sweep", arguments.folder, summarise(found))
        failures += log(loggers, summed, str(arguments.folder), console)
    if failures:
        sys.exit(1)


def choose(overrides: Sequence[str]) -> list[RunLogger]:
    """Builds the loggers of the command line."""
    for override in overrides:
        if override.lstrip("+~").split("=")[0].split(".")[0] != "logger":
            raise UserError(f"{override} cannot be changed in a finished run; give only logger=… and its settings")
    loggers = compose.build_loggers(compose.compose_config([*overrides, "output_dir=."]))
    if not loggers:
        raise UserError("logger=none logs nothing; choose another, such as logger=wandb")
    return loggers


def to_ended(run: Run) -> EndedRun:
    """Converts a run on disk to what loggers get when a run ends."""
    from float_research.inference.run_folder import RunFolder

    folder = Path(run.folder)
    sweep = sweep_of(folder)
    return EndedRun(
        folder=folder,
        config=run.config,
        overrides=run.record.get("overrides") or [],
        sweep=sweep.name if sweep else None,
        sheet=RunFolder(folder).sheet,
        record=run.record,
    )


def log(loggers: Sequence[RunLogger], report: Callable[[RunLogger], str | None], what: str, console: Console) -> int:
    """Calls `report` for all loggers, prints what they return, and returns how many failed."""
    failures = 0
    for logger in loggers:
        try:
            line = report(logger) or f"{what}: logged"
        except Exception as error:  # the other runs are still logged
            if cli.WANTS_TRACEBACK:
                raise
            failures += 1
            cli.complain(f"{what}: not logged ({cli.sentence(error)[0]})")
            continue
        say(console, line)
    return failures


if __name__ == "__main__":
    cli.run(main)
