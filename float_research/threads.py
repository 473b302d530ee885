"""How many threads compute: as many as this process may use of the machine, and how they wait for each other."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from float_research.errors import UserError, printable

WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""A thread that waits for another gives its processor back after microseconds, unless the user says otherwise."""
SLURM = "SLURM_CPUS_PER_TASK"


def wait_passively() -> None:
    """Makes OpenMP's threads sleep rather than spin while they wait. It takes effect before torch is imported.

    On processors that others use too, threads that spin slow each other down more than tenfold.
    """
    if not WAIT.keys() & os.environ.keys():
        os.environ.update(WAIT)


def limit(threads: Any) -> None:
    """Sets the number of intra-op threads. None: as torch or a launcher chose it, but at most `available`.

    Raises:
        UserError: `threads` is no positive integer.
    """
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        raise UserError(f"threads={printable(threads)} must be a positive integer, or null to follow the quota")
    import torch

    torch.set_num_threads(min(_first(), available()) if threads is None else threads)


@cache
def _first() -> int:
    """Returns how many threads there were before this module changed that: torch's choice, or OMP_NUM_THREADS."""
    import torch

    return torch.get_num_threads()


def available(root: Path = Path("/")) -> int:
    """Returns how many processors this process may use: by its affinity, its cgroup's quota, and SLURM; at least 1.

    `root`: the folder that holds `proc` and `sys`.
    """
    given, limited = os.environ.get(SLURM, ""), quota(root)
    counts = [affinity(), int(given) if given.isdecimal() else None, limited]
    return max(1, int(min(count for count in counts if count is not None)))


def affinity() -> int:
    """Returns how many processors the process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(root: Path) -> float | None:
    """Returns the processors' worth of time that cgroups (version 1 or 2) allow, or None if it is not limited."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mounted in (f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu") if controllers else ("sys/fs/cgroup",):
            groups = [Path(place.lstrip("/")), *Path(place.lstrip("/")).parents]  # a parent's quota counts too
            found += [limited for group in groups if (limited := _quota(root / mounted / group)) is not None]
    return min(found, default=None)


def _quota(group: Path) -> float | None:
    """Returns the quota that one cgroup sets."""
    whole = _read(group / "cpu.max") or " ".join(
        _read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    )
    given, _, period = whole.strip().partition(" ")
    return int(given) / int(period) if given.isdecimal() and period.isdecimal() and int(period) else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, or not allowed
        return ""
