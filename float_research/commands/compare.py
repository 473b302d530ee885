"""Compares settings or runs by their paired clips: which differences are real, with intervals and tests.

compare.py FOLDER solver=euler solver=midpoint compares settings of a sweep, compare.py FOLDER all its settings, and
compare.py RUN RUN two runs. The first is the baseline. compare.py --votes votes.csv FOLDER evaluates votes that were
given on the blind page of a sweep (see report.py). docs/statistics.md says what is computed.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from float_research import cli
from float_research.errors import UserError, printable
from float_research.printing import Table, say, stdout
from float_research.program import command
from float_research.tracking.runs import WANDB, require_folder


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=command("compare"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Writes comparison.csv, .md and .tex, and plots as .pdf and .png: the differences and, for three or "
        "more settings, their ranks. With --votes: preferences.csv and strengths.csv.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="FOLDER|NAME=VALUE",
        help="folders of runs or sweeps, or one of a sweep and settings in it, such as solver=euler,nfe=8",
    )
    parser.add_argument("--baseline", help="a setting or folder that all others are compared with; default: the first")
    parser.add_argument("--numbers", help="metrics or costs, separated by commas; default: the headline metrics")
    parser.add_argument("--output", type=Path, help="folder of the files; default: that of the sweep")
    parser.add_argument(
        "--votes", nargs="+", default=[], metavar="CSV", help="files of votes of the sweep, saved on its blind page"
    )
    arguments = parser.parse_args()
    if arguments.votes:
        evaluate_votes([*arguments.votes, *arguments.what], arguments)
        return
    chosen = [word for word in arguments.what if "=" in word and not Path(word).is_dir()]
    sources = [word for word in arguments.what if word not in chosen]
    if not sources or (chosen and len(sources) > 1):
        raise UserError("give one folder with settings in it, or only folders; see --help")
    for source in sources:
        if not source.startswith(WANDB):
            require_folder(Path(source), or_project=True)
    from float_research.analysis.load import NOTES, clip_table, find_runs
    from float_research.analysis.pairs import settings
    from float_research.analysis.statistics import compare
    from float_research.analysis.tables import write

    console = stdout()
    tables = {source: clip_table(find_runs(source)) for source in dict.fromkeys(sources)}
    for note in dict.fromkeys(note for table in tables.values() for note in table.attrs[NOTES]):
        say(console, note, style="bold yellow")
    groups = settings(tables[sources[0]], chosen) if len(tables) == 1 else tables
    numbers = arguments.numbers.split(",") if arguments.numbers else None
    comparison = compare(groups, numbers, arguments.baseline or next(iter(groups)))
    for note in comparison.notes:
        say(console, note, style="bold yellow")
    cells = [
        [
            item.number.name,
            item.setting,
            *item.shown(),
            f"{item.p:.2g}",
            f"{item.p_sign_flip:.2g}",
            f"{item.effect:.2f}",
        ]
        for item in comparison.differences
    ]
    names = ("metric", "setting", "mean", "difference", "95 % interval", "p (Holm)", "p (sign flip)", "effect")
    console.print(Table(names, cells, f"paired differences to {comparison.differences[0].baseline}"))
    for difference in comparison.differences:
        say(console, str(difference))
    online = any(source.startswith(WANDB) for source in sources)
    folder = arguments.output or Path("outputs" if online else os.path.commonpath(map(os.path.abspath, sources)))
    files, notes = write(comparison, folder)
    for note in notes:
        say(console, note)
    say(console, f"written: {', '.join(map(str, files))}")


def evaluate_votes(words: Sequence[str], arguments: argparse.Namespace) -> None:
    """Evaluates files of votes. The one folder among `words` is the sweep."""
    folders = [word for word in words if word.startswith(WANDB) or Path(word).is_dir()]
    files = [Path(word) for word in words if word not in folders]
    if len(folders) != 1 or not files or arguments.baseline or arguments.numbers:
        raise UserError(
            f"--votes {printable(' '.join(words))}: give files of votes and the one folder of their sweep, "
            "without other options than --output"
        )
    from float_research.analysis.blind import ballot
    from float_research.analysis.load import clip_table, find_runs
    from float_research.analysis.preferences import poll
    from float_research.analysis.tables import write_poll
    from float_research.analysis.votes import read_votes

    console, known = stdout(), ballot(clip_table(find_runs(folders[0])))
    if known is None:
        raise UserError(f"the runs of {folders[0]} do not differ in a setting, so votes cannot be of them")
    found = poll(read_votes(files, known))
    for note in found.notes:
        say(console, note, style="bold yellow")
    cells = [
        [
            item.first,
            item.second,
            *map(str, (item.num_first, item.num_same, item.num_second)),
            f"{item.share:.2f}",
            f"[{item.low:.2f}, {item.high:.2f}]",
            f"{item.p:.2g}",
        ]
        for item in found.preferences
    ]
    names = ("first", "second", "for first", "neither", "for second", "share of first", "95 % interval", "p (Holm)")
    console.print(Table(names, cells, "preferences"))
    if found.strengths:
        cells = [
            [item.setting, str(item.num_votes), f"{item.strength:.2f}", f"[{item.low:.2f}, {item.high:.2f}]"]
            for item in found.strengths
        ]
        console.print(Table(("setting", "votes", "strength", "95 % interval"), cells, "Bradley-Terry strengths"))
    for preference in found.preferences:
        say(console, str(preference))
    say(console, str(found))
    folder = arguments.output or Path("outputs" if folders[0].startswith(WANDB) else folders[0])
    say(console, f"written: {', '.join(map(str, write_poll(found, folder)))}")


if __name__ == "__main__":
    cli.run(main)
