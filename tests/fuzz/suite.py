"""All classes of attack, and the table of results."""

import argparse
import math
import random
import shlex
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from fuzz.bombs import bombs
from fuzz.harness import Fault, Tally, judge_all, make_samples
from fuzz.hostile import NAMES, WHERE, hostile
from fuzz.life import live
from fuzz.readers import KINDS, NOT_READ
from fuzz.worker import Task

T = TypeVar("T")
CLASSES = {"mutated": 30_000, "bombs": 0, "kills": 105, "signals": 72, "disks": 66, "records": 160, "names": 0}
"""Classes and their default numbers of cases; 0: all."""
NOT_TRIED = {
    "GPUs": "the attack runs on a CPU",
    "launchers of clusters": "their processes belong to the scheduler",
    "a hostile W&B or MLflow server": "tests use no network",
    "harmful TorchScript": "it is a program, and trusted: SECURITY.md",
    "official weights": "they are not in this repository; a tiny model replaces them",
}


def mutations(count: int, seed: int) -> list[Task]:
    """Returns that many damaged files, divided among the kinds by weight, in random order."""
    kinds = [kind for kind in KINDS.values() if kind.mutated]
    whole = sum(kind.weight for kind in kinds)
    tasks = [
        Task(kind=kind.name, number=number, seed=seed)
        for kind in kinds
        for number in range(math.ceil(count * kind.weight / whole))
    ]
    random.Random(seed).shuffle(tasks)
    return tasks


def share(cases: Sequence[T], count: int | None) -> list[T]:
    """Returns that many cases, evenly spread."""
    num = min(count or len(cases), len(cases))
    return [cases[number * len(cases) // num] for number in range(num)]


def attack(
    name: str,
    folder: Path,
    *,
    count: int | None = None,
    seed: int = 0,
    only: Sequence[str] = (),
    workers: int = 1,
) -> Tally:
    """Runs one class of attack. `only`: names of cases, as reported for faults."""
    tally, samples, command = Tally(attack=name), make_samples(folder / "samples"), repeat(name, seed)
    if name == "mutated":
        tally.not_tried |= NOT_READ
        tasks = [task_of(case, seed) for case in only] or mutations(count or CLASSES[name], seed)
        return judge_all(
            tally,
            tasks,
            folder / name,
            samples,
            workers=workers,
            command=lambda task: command(f"{task.kind}:{task.number}"),
        )
    if name == "bombs":
        known = bombs()
        names, every = list(known), list(known.values())
        tasks = [known[case] for case in only] or share(every, count)
        return judge_all(
            tally, tasks, folder / name, samples, workers=workers, command=lambda task: command(names[task.number])
        )
    every_name = range(len(NAMES) * len(WHERE))
    numbers = share(every_name, count) if name == "names" else range(count or CLASSES[name])
    numbers = [int(case) for case in only] or numbers
    if name in ("records", "names"):
        return hostile(tally, folder / name, samples, numbers, seed, workers=workers, command=command)
    return live(tally, folder / name, numbers, seed, workers=workers, command=command)


def task_of(case: str, seed: int) -> Task:
    """Returns the task of a case such as `png:7`."""
    kind, _, number = case.rpartition(":")
    return Task(kind=kind, number=int(number), seed=seed)


def repeat(name: str, seed: int) -> Callable[[object], str]:
    """Returns the command that repeats a case."""
    return lambda case: f"python scripts/attack.py --classes {name} --seed {seed} --only {shlex.quote(str(case))}"


def listing(faults: Iterable[Fault], limit: int = 20) -> str:
    """Lists faults by kind, with an example of each, for an assertion's message."""
    faults = list(faults)
    first = {fault.what: fault for fault in reversed(faults)}
    most = Counter(fault.what for fault in faults).most_common(limit)
    lines = [f"{count} × {what}: {first[what].case}\n{first[what].detail[-600:]}" for what, count in most]
    return "\n".join(["", *lines])


def table(tallies: Sequence[Tally]) -> Table:
    """Returns a table of class, tried, survived, refused."""
    names = ("class", "tried", "survived", "of them refused", "faults", "seconds")
    sums = Table(*names, title="attack", title_justify="left")
    for tally in tallies:
        counts = (tally.tried, tally.survived, tally.refused, len(tally.faults), round(tally.seconds))
        sums.add_row(tally.attack, *(f"{count:,}" for count in counts))
    return sums


def fault_lines(tallies: Sequence[Tally]) -> Iterator[str]:
    """Yields faults by kind, with the command that repeats the first of each."""
    for tally in tallies:
        first = {fault.what: fault.case for fault in reversed(tally.faults)}
        for what, times in Counter(fault.what for fault in tally.faults).most_common():
            yield f"{tally.attack}: {times} × {what}\n    {first[what]}"


def parsed() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description="Fuzzes the package: damaged files, bombs, kills, signals, full disks, hostile records and names.",
        epilog="Cases if nothing is said: " + ", ".join(f"{name} {count or 'all'}" for name, count in CLASSES.items()),
    )
    parser.add_argument("--classes", nargs="+", choices=list(CLASSES), default=list(CLASSES), metavar="CLASS")
    parser.add_argument("--cases", type=int, help="number of cases per class, such as 100000 for mutated")
    parser.add_argument("--seed", type=int, default=0, help="of the damage and the moments")
    parser.add_argument("--only", nargs="+", default=[], help="cases of one class, as a fault tells them")
    parser.add_argument("--workers", type=int, default=2, help="processes that are attacked at a time")
    parser.add_argument("--folder", type=Path, help="folder for samples and the inputs of faults; default: a new one")
    arguments = parser.parse_args()
    if arguments.only and len(arguments.classes) != 1:
        parser.error("--only wants the one class of its cases: --classes CLASS")
    return arguments


def main() -> int:
    """Runs the attacks and prints the results; returns 1 if there are faults."""
    arguments, console, began = parsed(), Console(), time.monotonic()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="attack-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tallies = []
    for name in arguments.classes:
        tally = attack(
            name,
            folder,
            count=arguments.cases,
            seed=arguments.seed,
            only=arguments.only,
            workers=arguments.workers,
        )
        tallies.append(tally)
        console.print(f"{name}: {tally.tried:,} tried, {tally.survived:,} survived, {tally.seconds:.0f} s")
    console.print(table(tallies))
    for line in fault_lines(tallies):
        console.print(line, soft_wrap=True, markup=False)
    not_tried = NOT_TRIED | {what: why for tally in tallies for what, why in tally.not_tried.items()}
    not_tried |= {name: "not asked for" for name in CLASSES if name not in arguments.classes}
    console.print("not tried: " + "; ".join(f"{what} ({why})" for what, why in not_tried.items()), soft_wrap=True)
    if num_faults := sum(len(tally.faults) for tally in tallies):
        console.print(f"{num_faults} faults: {folder} has their inputs", soft_wrap=True)
        return 1
    if arguments.folder is None:
        shutil.rmtree(folder)
    console.print(f"all was survived, in {time.monotonic() - began:.0f} s")
    return 0
