"""Runs the fuzz and fault-injection suite: `python scripts/attack.py`, from a source checkout; see `--help`."""

import importlib
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"


def main() -> int:
    if not (TESTS / "fuzz" / "suite.py").is_file():
        print(f"error: {TESTS / 'fuzz'} does not exist; scripts/attack.py needs a source checkout", file=sys.stderr)
        return 2
    sys.path.insert(0, str(TESTS))
    return int(importlib.import_module("fuzz.suite").main())


if __name__ == "__main__":
    sys.exit(main())
