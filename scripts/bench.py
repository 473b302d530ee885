"""Benchmarks that compare two or more variants in one run: `python scripts/bench.py memory`."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.engines import clip, decode, sample, stream
from benchmarks.faces import landmarks
from benchmarks.live import live
from benchmarks.pages import analysis
from benchmarks.pictures import composite
from benchmarks.quality import search, solvers
from benchmarks.runs import memory, metrics, seeds, startup, sweep

from float_research import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tiny = ["model=tiny", "checkpoint=random", "face=none"]
    long = command(commands, memory, tiny)
    long.add_argument("--short-s", type=float, default=10, help="length of the short clip in seconds")
    long.add_argument("--long-s", type=float, default=600, help="length of the long clip in seconds")
    command(commands, sweep, [])
    command(commands, metrics, [])
    several = command(commands, seeds, [])
    several.add_argument("--seeds", type=int, default=3, help="number of seeds")
    add_networks(commands)
    starts = command(commands, startup, [])
    starts.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    starts.add_argument("--packages", type=int, default=12, help="number of packages to list")
    faces = command(commands, landmarks, [])
    faces.add_argument("--frames", type=int, default=48, help="number of frames of the shot")
    faces.add_argument("--rounds", type=int, default=5, help="number of repetitions; the median counts")
    faces.add_argument("--task", type=Path, help="face_landmarker.task, to time LiteRT too")
    pasting = ["data=manifest", "face=mtcnn", "video.crf=0", "metrics=none", "cache=none"]
    pasted = command(commands, composite, pasting)
    pasted.add_argument("--output", type=Path, help="a new folder for the videos and a sheet of each")
    many = command(commands, analysis, tiny)
    many.add_argument("--runs", type=int, default=1000, help="number of runs")
    arguments = parser.parse_args()
    figures = arguments.measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def add_networks(commands: Any) -> None:
    """Adds the sub-commands that measure networks, solvers and streams."""
    official = ["model=official", "checkpoint=random", "cache=none", "face=none"]
    decoders = command(commands, decode, official)
    decoders.add_argument("--frames", type=int, default=64, help="number of frames")
    decoders.add_argument("--at-once", type=int, default=16, help="frames per call")
    decoders.add_argument("--amplitude", type=float, default=0.3, help="standard deviation of the motion coordinates")
    samplers = command(commands, sample, official)
    samplers.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    fronts = command(commands, solvers, [])
    fronts.add_argument("--recordings", type=int, default=6, help="number of recordings")
    fronts.add_argument("--seeds", type=int, default=4, help="number of seeds")
    fronts.add_argument(
        "--solvers", default="euler,midpoint,ab2,ab3,abm2,dpm_2m", help="comma-separated, such as abm2,euler"
    )
    fronts.add_argument("--nfe", type=int, nargs="+", default=[4, 6, 8, 9, 12], help="evaluations per window")
    searches = command(commands, search, ["search=best_of", "search.n=8"])
    searches.add_argument("--recordings", type=int, default=6, help="number of recordings")
    searches.add_argument("--seeds", type=int, default=4, help="number of seeds")
    searches.add_argument("--seconds", type=float, default=60, help="maximum length of each recording")
    clips = command(commands, clip, official)
    clips.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    streams = command(commands, stream, [])
    streams.add_argument("--seconds", type=float, default=20, help="length of the clip")
    streams.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    lives = command(commands, live, [])
    lives.add_argument("--recordings", type=int, default=6, help="number of recordings")
    lives.add_argument("--seeds", type=int, default=2, help="number of seeds")
    lives.add_argument("--joined", action="store_true", help="also all recordings as one")
    lives.add_argument(
        "--look-ahead-s", type=float, nargs="+", default=[0, 0.5, 2, 4, 1], help="with the last of the contexts"
    )
    lives.add_argument(
        "--context-s", type=float, nargs="+", default=[1, 2, 4, 8], help="with the last of the look-aheads"
    )


def command(
    commands: Any, measure: Callable[[argparse.Namespace], dict[str, Any]], overrides: Sequence[str]
) -> argparse.ArgumentParser:
    """Adds a sub-command named after the function."""
    help_text = " ".join((measure.__doc__ or "").split())
    parser: argparse.ArgumentParser = commands.add_parser(measure.__name__, help=help_text, description=help_text)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("overrides", nargs="*", default=overrides, help=f"settings of all runs ({' '.join(overrides)})")
    parser.set_defaults(measure=measure)
    return parser


if __name__ == "__main__":
    cli.run(main)
