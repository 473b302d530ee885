"""Summarises a sweep from the records on disk, one row per run."""

import argparse
from pathlib import Path

from float_research import cli
from float_research.printing import stdout
from float_research.program import command
from float_research.tracking.runs import require_folder


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=command("summary"), description=__doc__, epilog="Writes summary.csv and summary.parquet to the folder."
    )
    parser.add_argument("folder", type=Path, help="folder of a sweep or a run; every record.json under it is included")
    arguments = parser.parse_args()
    require_folder(arguments.folder)
    from float_research.analysis import published, theval
    from float_research.analysis.summary import report

    table, _ = report(arguments.folder, stdout())
    published.report(arguments.folder, table, stdout())
    theval.report(arguments.folder, table, stdout())


if __name__ == "__main__":
    cli.run(main)
