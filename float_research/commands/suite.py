"""Lists portraits and recordings with the hashes of their content, for data=suite data.file=FILE.

A run with such a list refuses files that have changed since, and its record says on which suite it was measured.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from float_research import cli
from float_research.printing import say, stdout
from float_research.program import command
from float_research.texts import count


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=command("suite"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = "files, or folders whose files are recognised by content"
    parser.add_argument("output", type=Path, help="file to write: NAME.yaml, or NAME.csv without name and version")
    parser.add_argument("--portraits", nargs="+", type=Path, required=True, metavar="PATH", help=what)
    parser.add_argument("--recordings", nargs="+", type=Path, required=True, metavar="PATH", help=what)
    parser.add_argument("--name", help="of the suite; default: that of the file")
    parser.add_argument("--version", default="1", help="of the suite; give another one if files change; default: 1")
    arguments = parser.parse_args()
    from float_research.data import audio, image
    from float_research.data.listing import is_recording, names, sort
    from float_research.data.suite import read_suite, write_suite
    from float_research.errors import UserError

    console = stdout()

    def listed(
        paths: list[Path], holds: Callable[[Path], bool], suffixes: tuple[str, ...] | frozenset[str], kind: str
    ) -> list[Path]:
        found: list[Path] = []
        for path in paths:
            if not path.is_dir():
                found.append(path)
                continue
            files = sort(path, holds, suffixes, f"--{kind}")
            if not files.found:
                raise UserError(f"--{kind} {path} contains no {kind}")
            if files.others:
                say(console, f"{path}: left out {len(files.others)} without {kind} ({names(files.others)})")
            found += files.found
        return found

    if arguments.output.suffix.lower() not in (".yaml", ".yml", ".csv"):
        raise UserError(f"{arguments.output} must end in .yaml or .csv")
    if arguments.output.suffix.lower() == ".csv" and (arguments.name or arguments.version != "1"):
        raise UserError(f"{arguments.output}: a CSV file has neither --name nor --version; write a .yaml file")
    write_suite(
        arguments.output,
        name=arguments.name or arguments.output.stem,
        version=arguments.version,
        portraits=listed(arguments.portraits, image.is_picture, image.SUFFIXES, "portraits"),
        recordings=listed(arguments.recordings, is_recording, audio.SUFFIXES, "recordings"),
    )
    suite = read_suite(arguments.output)
    counts = f"{count(len(suite.portraits), 'portrait')} × {count(len(suite.recordings), 'recording')}"
    say(console, f"{arguments.output}: {counts}, sha256 {suite.digest}")
    say(console, f"{command('infer')} data=suite 'data.file={arguments.output}'")


if __name__ == "__main__":
    cli.run(main)
