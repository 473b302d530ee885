"""How the program was called, so that messages name commands as the user can type them."""

import os
from pathlib import Path

PROGRAM, BY_SCRIPT = "float-research", "FLOAT_BY_SCRIPT"
"""The environment variable also tells worker processes that scripts/ are in use."""
SCRIPTS = Path(__file__).parents[1] / "scripts"


def command(name: str) -> str:
    """Returns `scripts/NAME.py` or `float-research NAME`, as the program was called or else can be called."""
    by_script = os.environ.get(BY_SCRIPT, str(int((SCRIPTS / "infer.py").is_file()))) == "1"
    return f"scripts/{name}.py" if by_script else f"{PROGRAM} {name}"


def typed(name: str) -> str:
    """Returns a command as typed in a shell, with `python` where it is needed."""
    known = command(name)
    return f"python {known}" if known.endswith(".py") else known


def install(extra: str) -> str:
    """Returns the command that installs an extra, in a clone or for an installed package."""
    in_clone = (SCRIPTS / "infer.py").is_file()
    return f"pip install -e '.[{extra}]' -c constraints.txt" if in_clone else f"pip install '{PROGRAM}[{extra}]'"
