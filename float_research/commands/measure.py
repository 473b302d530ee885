"""Measures finished runs again, without sampling.

Settings are read from each run's record as data. Your own classes are only used if you name their module with
trust=MODULE.
"""

import argparse
import sys
import time
from pathlib import Path

from float_research import cli, options
from float_research.printing import say, stdout
from float_research.program import command
from float_research.tracking.record import RECORD
from float_research.tracking.runs import require_folder


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("measure"), description=__doc__, epilog=options.parts(["metrics"]))
    parser.add_argument("folder", type=Path, help="folder of a run or a sweep; every record.json under it is updated")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="metrics=[…] and their settings, by default those of conf/infer.yaml; trust=MODULE for your own classes",
    )
    arguments = parser.parse_args()
    from float_research import recorded

    chosen = recorded.choose_metrics(arguments.overrides)
    require_folder(arguments.folder)
    from float_research.inference.measuring import told_absent
    from float_research.tracking.summary import report

    console, num_failed = stdout(), 0
    paths = sorted(arguments.folder.rglob(RECORD))
    for number, path in enumerate(paths, 1):
        run, began = path.parent, time.monotonic()
        say(console, f"{number}/{len(paths)} {run}: measuring")
        try:
            content = recorded.build_remeasuring(run, chosen).run()
        except Exception as error:  # the other runs are still measured
            if cli.WANTS_TRACEBACK:
                raise
            num_failed += 1
            say(console, f"  {cli.sentence(error)[0]}", style="bold yellow")
            continue
        say(console, f"  measured {len(content['clips'])} clips in {time.monotonic() - began:.1f} s")
        if compressed := sorted({name for clip in content["clips"] for name in clip["from_video"]}):
            say(console, f"  measured on the encoded video, not on the original frames: {', '.join(compressed)}")
        for line in told_absent(content):
            say(console, f"  {line}")
    report(arguments.folder, console)
    if num_failed:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
