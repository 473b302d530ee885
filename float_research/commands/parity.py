"""Compares networks and sampler with golden tensors of the official model."""

import argparse
import sys
from pathlib import Path

from rich.text import Text

from float_research import cli
from float_research.errors import UserError, printable
from float_research.printing import Table, stdout
from float_research.program import command


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("parity"), description=__doc__)
    parser.add_argument("folder", type=Path, help="NAME.json, NAME.safetensors and NAME.keys.json of each case")
    parser.add_argument(
        "--tolerance", type=float, help="allowed relative error; default 1e-4, or 1e-3 for cases stored in float16"
    )
    arguments = parser.parse_args()
    if not any(arguments.folder.glob("*.json")):
        raise UserError(f"{printable(arguments.folder, 1000)} has no golden case (NAME.json with NAME.safetensors)")
    from float_research.inference.parity import compare_folder

    rows: list[list[str | Text]] = []
    failures = 0
    for row in compare_folder(arguments.folder, arguments.tolerance):
        failures += not row.passed
        verdict = "ok" if row.passed else Text("WRONG", style="red")
        rows.append([row.case, row.tensor, f"{row.error:.1e}", f"{row.tolerance:.0e}", verdict])
    stdout().print(Table(["case", "tensor", "relative error", "tolerance", ""], rows))
    print(f"{len(rows) - failures} of {len(rows)} agree")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    cli.run(main)
