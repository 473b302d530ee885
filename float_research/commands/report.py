"""Writes the comparison page of a sweep, to open in a browser."""

import argparse
from pathlib import Path

from float_research import cli
from float_research.printing import Table, say, stdout
from float_research.program import command
from float_research.texts import count
from float_research.tracking.runs import WANDB, require_folder


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("report"), description=__doc__)
    parser.add_argument("sweep", help="folder of runs or of offline W&B runs; wandb:ENTITY/PROJECT for numbers only")
    parser.add_argument("--output", type=Path, help="folder of the page; default: SWEEP/report")
    parser.add_argument(
        "--blind",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings in the blind comparison, such as solver=euler solver=midpoint,nfe=8; default: all of the sweep",
    )
    arguments = parser.parse_args()
    if not (online := arguments.sweep.startswith(WANDB)):
        require_folder(Path(arguments.sweep), or_project=True)
    from float_research.analysis.page import write_page
    from float_research.tracking.facts import format_value

    title = arguments.sweep.removeprefix(WANDB) if online else Path(arguments.sweep).resolve().name
    console, folder = stdout(), arguments.output or Path("outputs" if online else arguments.sweep) / "report"
    say(console, f"reading the runs of {arguments.sweep}")
    page = write_page(arguments.sweep, folder, title, arguments.blind, lambda line: say(console, line))
    for note in page.notes:
        say(console, note, style="bold yellow")
    measured = page.slopes.dropna(subset=["slope"])
    if not measured.empty:
        rows = [
            [f"{value:.4g}" if isinstance(value, float) else format_value(value) for value in row]
            for row in measured.itertuples(index=False)
        ]
        console.print(Table(list(measured.columns), rows, "measured convergence"))
    counts = ", ".join([count(page.num_runs, "run"), count(page.num_clips, "clip"), count(page.num_videos, "video")])
    say(console, f"{counts}: open {page.path} in a browser")
    if page.num_comparisons:
        say(console, f"{count(page.num_comparisons, 'blind comparison')}: open {page.path.with_name('blind.html')}")


if __name__ == "__main__":
    cli.run(main)
