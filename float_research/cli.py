"""Shared by all commands: readable errors, exit codes, and a clean end when interrupted."""

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from float_research import printing, suggestions
from float_research.errors import UserError, printable
from float_research.launch import WORKER_DIED, in_sweep
from float_research.overrides import COMMAND_LINE, arguments
from float_research.place import leave_nothing
from float_research.program import install
from float_research.stopping import Stopped, stoppable
from float_research.threads import wait_passively
from float_research.tracking.record import write_failure

TRACEBACK_SWITCH, TRACEBACK_WISH = "HYDRA_FULL_ERROR", "FLOAT_FULL_ERROR"
"""The first is always set within a command, or Hydra would print errors; the second tells workers the user's choice."""
WANTS_TRACEBACK = os.environ.get(TRACEBACK_WISH, os.environ.get(TRACEBACK_SWITCH)) == "1"
EXIT_USER_ERROR, EXIT_CRASH, EXIT_INCOMPLETE, EXIT_SIGNAL = 2, 1, 3, 128
failed_plans: list[str] = []
"""Why runs of this process's dry-run sweep would fail."""
CLASHES = ("Only one of --run, --multirun, ", "The --resolve flag can only be used ")
"""How Hydra's ValueErrors about incompatible command-line flags begin."""
# Our launchers deliberately have the names of Hydra's plugins. At import, so that it applies to worker processes too.
warnings.filterwarnings("ignore", message="(?s).*automatic_schema_matching")


def run(main: Callable[[], object], *, hydra: bool = False) -> None:
    """Runs a command's main function, Hydra's or plain. An error ends in one sentence and a non-zero exit code.

    HYDRA_FULL_ERROR=1 shows tracebacks.
    """
    printing.restart_in_utf8()
    wait_passively()
    os.environ |= {TRACEBACK_SWITCH: "1", TRACEBACK_WISH: str(int(WANTS_TRACEBACK))}
    with errors(), printing.require_output():
        if hydra:
            suggestions.refuse_bare(sys.argv[1:])
            COMMAND_LINE[:] = sys.argv[1:] = arguments(sys.argv[1:])
        main()


@contextmanager
def errors(*, dry_run: bool = False) -> Iterator[None]:
    """Ends the program with one sentence for an exception, inside a Hydra job before Hydra handles it.

    In a sweep it only ends the job, and writes the sentence to the job's folder for the sweep's summary, or in a dry
    run to `failed_plans`.
    """
    printing.prepare()
    try:
        with stoppable():
            if HydraConfig.initialized():
                refuse_chdir(HydraConfig.get().job.chdir)
            yield
    except Stopped as stopped:
        number = signal.Signals(stopped.args[0])
        fail(f"stopped by {number.name}; no partial files were left", EXIT_SIGNAL + number)
    except Exception as error:
        if WANTS_TRACEBACK:
            raise
        message, code = sentence(error)
        if not in_sweep():
            leave_nothing()
            fail(message, code)
        job = HydraConfig.get().job
        complain(f"error in job {job.num} ({job.override_dirname}): {message}")
        if dry_run:
            failed_plans.append(message)
        else:
            write_failure(Path(HydraConfig.get().runtime.output_dir), job.override_dirname, message)


def refuse_chdir(chdir: object) -> None:
    """Raises a UserError for hydra.job.chdir=true: relative paths start at the folder of the command."""
    if chdir:
        raise UserError(
            "hydra.job.chdir=true would break relative paths; leave it out, since a run writes to its own folder anyway"
        )


def incomplete() -> None:
    """Exits after a run that failed for some of its clips. In a sweep, the summary reports them instead."""
    if not in_sweep():
        sys.exit(EXIT_INCOMPLETE)


def fail(message: str, code: int) -> NoReturn:
    complain(f"error: {message}")
    sys.exit(code)


def complain(message: str) -> None:
    """Prints one line to standard error, with control characters of foreign names escaped."""
    print(printable(message, limit=len(message)), file=sys.stderr)


def sentence(error: BaseException) -> tuple[str, int]:
    """Returns one sentence for an error, and its exit code."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return str(error), EXIT_USER_ERROR
    if said := suggestions.explain(error):
        return said, EXIT_USER_ERROR
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return " ".join(str(error.__cause__).split()), EXIT_USER_ERROR
    if several := re.match(r"Ambiguous value for argument '(.+)' 1\. To use", text):
        name, _, value = several[1].partition("=")
        return f"{several[1]} has several values; add -m, or quote one string: '{name}=\"{value}\"'", EXIT_USER_ERROR
    if plugin := re.search(r"Unknown plugin class : 'hydra_plugins\.hydra_([a-z]+)_", text):
        return f"this launcher is not installed; {install(plugin[1])}", EXIT_USER_ERROR
    if isinstance(error, InterpolationResolutionError):
        said = " ".join(str(error.msg).splitlines()[:1])
        return rf"{error.full_key}: {said}; write \${{ for a literal ${{", EXIT_USER_ERROR
    if isinstance(error, (HydraException, OmegaConfBaseException)) or text.startswith(CLASHES):
        return text, EXIT_USER_ERROR
    if type(error).__name__ in WORKER_DIED:
        return f"a worker process died ({text}); resume=true with the same hydra.sweep.dir resumes", EXIT_CRASH
    if type(error).__name__ == "FailedJobError" and text.startswith("sbatch"):
        return f"SLURM rejected the runs ({text}); start the sweep where sbatch works", EXIT_USER_ERROR
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return f"cannot use{place} ({error.strerror or error}); choose another path", EXIT_USER_ERROR
    return f"unexpected {type(error).__name__}: {text}; {TRACEBACK_SWITCH}=1 shows the traceback", EXIT_CRASH
