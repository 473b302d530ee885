"""What scripts share: Hydra's entry point with errors for people."""

import difflib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from float_research.types import UserError

TRACEBACK_SWITCH = "HYDRA_FULL_ERROR"
EXIT_USER_ERROR, EXIT_CRASH, EXIT_INTERRUPTED = 2, 1, 130


class Terminated(BaseException):
    """SIGTERM, as an exception: what is half-written gets discarded on the way out."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def run(main: Callable[[], object]) -> None:
    """Runs a script's main function. An error ends in one sentence and a non-zero exit code.

    HYDRA_FULL_ERROR=1 shows tracebacks.
    """
    wants_traceback = os.environ.get(TRACEBACK_SWITCH) == "1"
    os.environ[TRACEBACK_SWITCH] = "1"
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
    except (KeyboardInterrupt, Terminated):
        fail("interrupted; nothing half-written was left behind", EXIT_INTERRUPTED)
    except Exception as error:
        if wants_traceback:
            raise
        fail(*sentence(error))


def fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def sentence(error: Exception) -> tuple[str, int]:
    """One sentence for an error, and the exit code it deserves."""
    if isinstance(error, UserError):
        return str(error), EXIT_USER_ERROR
    if isinstance(error, MissingConfigException):
        return missing_option(error), EXIT_USER_ERROR
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        lines = [line.strip() for line in str(error).splitlines()]
        text = "; ".join(line for line in lines if line and not line.startswith(("full_key:", "object_type=")))
        return text or type(error).__name__, EXIT_USER_ERROR
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return f"cannot use{place}: {error.strerror or error}; choose another place", EXIT_USER_ERROR
    text = f"unexpected {type(error).__name__}: {error}; {TRACEBACK_SWITCH}=1 shows where"
    return " ".join(text.split()), EXIT_CRASH


def missing_option(error: MissingConfigException) -> str:
    """`solver=eulr` → what there is instead, the likeliest first."""
    name = error.missing_cfg_file or ""
    group, _, option = name.rpartition("/")
    if not group or not error.options:
        return " ".join(str(error).split())
    options = sorted(name for name in error.options if not name.startswith("_"))
    close = difflib.get_close_matches(option, options, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return f"{group}={option} is unknown{guess}; choose one of {', '.join(options)}"
