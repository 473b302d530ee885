"""Measures two things in one run and prints their difference or ratio: `python scripts/bench.py memory`."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from float_research import cli
from float_research.data.examples import example

ROOT = Path(__file__).parents[1]


def memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Peak memory of a long clip against a short one, each made by a process of its own."""
    speech, rate_hz = soundfile.read(example("speech"), dtype="float32")
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (arguments.short_s, arguments.long_s):
            audio, output = Path(folder) / f"{seconds}.wav", Path(folder) / str(seconds)
            soundfile.write(audio, np.resize(speech, int(seconds * rate_hz)), rate_hz)
            command = [sys.executable, str(ROOT / "scripts" / "infer.py"), f"data.audio={audio}"]
            subprocess.run(
                [*command, f"hydra.run.dir={output}", *arguments.overrides], check=True, stdout=subprocess.DEVNULL
            )
            record = json.loads((output / "record.json").read_text())
            peaks[f"{seconds:g} s"] = record["peak_memory_mb"]["host"]
            frames, wall_s = record["totals"]["frames"], record["wall_s"]
            print(
                f"{seconds:g} s clip: {frames} frames in {wall_s:.0f} s on {record['device']}, "
                f"peak {record['peak_memory_mb']['host']:.0f} MB"
            )
    short, long = peaks.values()
    print(f"the {arguments.long_s:g} s clip peaks {long - short:+.0f} MB against the {arguments.short_s:g} s clip")
    return {**peaks, "difference_mb": long - short}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("memory", help=memory.__doc__, description=memory.__doc__)
    command.add_argument("--short-s", type=float, default=10, help="seconds of the short clip")
    command.add_argument("--long-s", type=float, default=600, help="seconds of the long clip")
    command.add_argument("--json", type=Path, help="also write the figures to this file")
    command.add_argument(
        "overrides", nargs="*", default=["model=tiny", "checkpoint=random", "face=none"], help="settings of both runs"
    )
    command.set_defaults(measure=memory)
    arguments = parser.parse_args()
    figures = arguments.measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main)
