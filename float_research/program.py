"""How the program was called, so that a sentence names commands as its reader can type them."""

import os
from pathlib import Path

PROGRAM, BY_SCRIPT = "float-research", "FLOAT_BY_SCRIPT"
"""The environment's variable tells workers, too, that scripts/ are in use."""
SCRIPTS = Path(__file__).parents[1] / "scripts"


def command(name: str) -> str:
    """`scripts/NAME.py` or `float-research NAME`: as the program was called, else as it can be from here."""
    by_script = os.environ.get(BY_SCRIPT, str(int((SCRIPTS / "infer.py").is_file()))) == "1"
    return f"scripts/{name}.py" if by_script else f"{PROGRAM} {name}"


def typed(name: str) -> str:
    """The same with all that is to be typed."""
    known = command(name)
    return f"python {known}" if known.endswith(".py") else known
