"""Measures finished runs again, without sampling, or videos that other programs made.

measure.py FOLDER metrics=[…] measures runs. Settings are read from each run's record as data. Your own classes are only
used if you name their module with trust=MODULE.

measure.py --videos … name=official measures any videos, and records them so that summary, report and compare show them
beside runs. Metrics of the motion latents are absent.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from float_research import cli, options
from float_research.errors import UserError, printable
from float_research.printing import say, stdout
from float_research.program import command
from float_research.texts import count
from float_research.tracking.record import RECORD
from float_research.tracking.runs import require_folder, source_of


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=command("measure"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=options.parts(["metrics"]),
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FOLDER|NAME=VALUE",
        help="folder of a run or a sweep, of which every record.json is updated, and metrics=[…] with their settings, "
        "by default those of conf/infer.yaml",
    )
    outside = parser.add_argument_group("videos of other programs")
    outside.add_argument(
        "--videos",
        nargs="+",
        metavar="PATH",
        help="files, folders, or a CSV file with the column video and optionally id, audio, image, start_s, end_s, "
        "seed, crop and face; a clip's id, which pairs it with those of runs, is by default the name of its file",
    )
    outside.add_argument(
        "--audio",
        type=Path,
        help="the recording, or a folder of recordings named as the videos; default: their own sound",
    )
    outside.add_argument("--portrait", type=Path, help="the portrait, or a folder of portraits named as the videos")
    outside.add_argument("--output", type=Path, help="folder of the records; default: outputs/outside/NAME")
    arguments = parser.parse_intermixed_args()
    words = [*arguments.words, *(arguments.videos or ())]
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    paths = [Path(word) for word in words if word not in overrides]
    if arguments.videos is None:
        given = [name for name in ("audio", "portrait", "output") if getattr(arguments, name) is not None]
        if given:
            raise UserError(f"--{given[0]} is for videos of other programs; give them with --videos")
        if len(paths) != 1:
            raise UserError("give the folder of a run or of a sweep, or --videos; see --help")
        remeasure(paths[0], overrides, stdout())
    else:
        measure_outside(paths, overrides, arguments, stdout())


def measure_outside(
    paths: Sequence[Path], overrides: Sequence[str], arguments: argparse.Namespace, console: Console
) -> None:
    """Measures videos of other programs."""
    from float_research import recorded

    if not paths:
        raise UserError("--videos names none; give files, a folder or a CSV file")
    chosen = recorded.choose_outside(overrides)
    from float_research.analysis import theval
    from float_research.analysis.summary import report
    from float_research.data.footage import list_footage
    from float_research.inference.measuring import told_absent
    from float_research.inference.outside import told_rates

    footage, notes = list_footage(paths, arguments.audio, arguments.portrait)
    for note in notes:
        say(console, note, style="bold yellow")
    videos = recorded.build_outside(footage, arguments.output, chosen)
    content = videos.run(lambda line: say(console, line))
    for line in (*told_rates(content), *told_absent(content)):
        say(console, line)
    table, _ = report(videos.folder, console)
    theval.report(videos.folder, table, console)
    if content["failed"]:
        cli.incomplete()


def remeasure(folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Measures all runs in a folder."""
    from float_research import recorded

    chosen = recorded.choose_metrics(overrides)
    require_folder(folder)
    from float_research.analysis import theval
    from float_research.analysis.summary import report
    from float_research.inference.measuring import told_absent

    num_failed = 0
    paths = sorted(folder.rglob(RECORD))
    for number, path in enumerate(paths, 1):
        run, began = path.parent, time.monotonic()
        if source := source_of(run):
            say(console, f"{number}/{len(paths)} {run}: left as it is; measure {printable(source)} again with --videos")
            continue
        say(console, f"{number}/{len(paths)} {run}: measuring")
        try:
            content = recorded.build_remeasuring(run, chosen).run()
        except Exception as error:  # the other runs are still measured
            if cli.WANTS_TRACEBACK:
                raise
            num_failed += 1
            say(console, f"  {cli.sentence(error)[0]}", style="bold yellow")
            continue
        say(console, f"  measured {count(len(content['clips']), 'clip')} in {time.monotonic() - began:.1f} s")
        if compressed := sorted({name for clip in content["clips"] for name in clip["from_video"]}):
            say(console, f"  measured on the encoded video, not on the original frames: {', '.join(compressed)}")
        for line in told_absent(content):
            say(console, f"  {line}")
    table, _ = report(folder, console)
    theval.report(folder, table, console)
    if num_failed:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
