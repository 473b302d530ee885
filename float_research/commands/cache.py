"""Shows or clears the disk cache that runs share."""

import argparse
from pathlib import Path

from float_research import cli
from float_research.errors import UserError, guess, printable
from float_research.printing import Table, stdout
from float_research.program import command
from float_research.texts import count


def show(folder: Path, limit_mb: float) -> None:
    """Prints the number, size and last use of the entries of each kind."""
    import pandas as pd

    from float_research import cache

    rows = []
    entries = pd.DataFrame(
        [(path.parent.parent.name, size / 1e6, used) for path, size, used in cache.entry_files(folder)],
        columns=["kind", "mb", "used"],
    )
    for kind, group in entries.groupby("kind"):
        used = pd.to_datetime(group["used"].max(), unit="s").isoformat(" ", "seconds")
        rows.append([str(kind), str(len(group)), f"{group['mb'].sum():,.1f}", f"{used} UTC"])
    if rows:
        stdout().print(Table(["kind", "entries", "MB", "last used"], rows))
    print(
        f"{printable(folder, 1000)}: {count(len(entries), 'entry')}, {entries['mb'].sum():,.1f} of {limit_mb:,.0f} MB"
    )


def clear(folder: Path, limit_mb: float) -> None:
    """Deletes all entries, and nothing else."""
    from float_research import cache

    if folder.exists() and not cache.is_marked(folder):
        raise UserError(
            f"{folder} is not a cache of float-research (it has no {cache.MARKER} of ours); nothing was deleted"
        )
    entries = cache.entry_files(folder)
    for path, _, _ in entries:
        path.unlink(missing_ok=True)
    print(f"{printable(folder, 1000)}: {count(len(entries), 'entry')} deleted")


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("cache"), description=__doc__)
    parser.add_argument("action", nargs="?", default="show", help="show, the default, or clear")
    parser.add_argument("overrides", nargs="*", help=f"settings of {command('infer')}, such as cache.folder=FOLDER")
    arguments = parser.parse_args()
    actions = {"show": show, "clear": clear}
    action, overrides = arguments.action, arguments.overrides
    if "=" in action:
        action, overrides = "show", [action, *overrides]
    if action not in actions:
        raise UserError(f"{printable(action)} is unknown{guess(action, list(actions))}; choose show or clear")
    from float_research import compose

    kept = compose.build(compose.compose_config(overrides).cache)
    actions[action](kept.place, kept.disk_mb)


if __name__ == "__main__":
    cli.run(main)
