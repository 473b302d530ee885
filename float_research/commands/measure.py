"""Measures finished runs again, without sampling.

Settings are read from each run's record as data. Classes of your own are used only if you name their module by
trust=MODULE.
"""

import argparse
import sys
from pathlib import Path

from float_research import cli, options, recorded
from float_research.printing import say, stdout
from float_research.program import command
from float_research.tracking.record import RECORD
from float_research.tracking.summary import report


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("measure"), description=__doc__, epilog=options.parts(["metrics"]))
    parser.add_argument(
        "folder", type=Path, help="of a run or a sweep; every record.json under it is brought up to date"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help="metrics=[…] and their settings; those of conf/infer.yaml if not given; trust=MODULE for a class of yours",
    )
    arguments = parser.parse_args()
    from float_research.inference.measuring import told_absent

    chosen = recorded.choose_metrics(arguments.overrides)
    console, num_failed = stdout(), 0
    for path in sorted(arguments.folder.rglob(RECORD)):
        run = path.parent
        try:
            content = recorded.build_remeasuring(run, chosen).run()
        except Exception as error:  # one run costs no other
            if cli.WANTS_TRACEBACK:
                raise
            num_failed += 1
            told = f"{run}: {cli.sentence(error)[0]}"
            say(console, told, style="bold yellow")
            continue
        say(console, f"{run}: measured")
        if compressed := sorted({name for clip in content["clips"] for name in clip["from_video"]}):
            told = f"  of the encoded video, and not of the frames as they were made: {', '.join(compressed)}"
            say(console, told)
        for line in told_absent(content):
            say(console, f"  {line}")
    report(arguments.folder, console)
    if num_failed:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
