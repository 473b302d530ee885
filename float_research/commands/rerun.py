"""Repeats a finished run in another folder, optionally with other settings, and reports what differs."""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from float_research import cli
from float_research.folders import fresh
from float_research.printing import say, stdout
from float_research.program import command

PLACE, TRUST = "output_dir=", "trust="


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("rerun"), description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="settings to change, such as nfe=20; output_dir=FOLDER of the new run, by default outputs/infer/TIME; "
        "trust=MODULE for your own classes",
    )
    arguments = parser.parse_args()
    from float_research import compose, rerunning

    given = arguments.overrides
    places = [Path(text.removeprefix(PLACE)) for text in given if text.startswith(PLACE)]
    again = rerunning.again(
        arguments.folder,
        [text for text in given if not text.startswith((PLACE, TRUST))],
        places[-1] if places else Path("outputs/infer") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}",
        [text.removeprefix(TRUST) for text in given if text.startswith(TRUST)],
    )
    if not places and not again.config.dry_run:
        again.config.output_dir = str(fresh(Path(again.config.output_dir)))
    console = stdout()
    for line in [*again.differs, *rerunning.other_code(again)] or ["settings, code and versions are the same"]:
        say(console, line)
    content = compose.build_job(again.config).run(console)
    if content is None or again.config.dry_run:
        return
    for line in rerunning.compare(again.record, content):
        say(console, line)
    if content.get("failed"):
        sys.exit(cli.EXIT_INCOMPLETE)


if __name__ == "__main__":
    cli.run(main)
