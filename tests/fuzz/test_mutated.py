"""Two thousand damaged files of all kinds; `python scripts/attack.py --classes mutated` runs more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuzz import mutate, suite
from fuzz.harness import Worker
from fuzz.readers import KINDS
from fuzz.traps import TRAPS
from fuzz.worker import Task

NUM_CASES = 2000


@pytest.fixture(scope="module")
def worker(grounds: Path) -> Iterator[Worker]:
    worker = Worker(grounds / "sound", grounds / "samples", hang_s=5)
    yield worker
    worker.end()


def test_damage_is_reproducible() -> None:
    content = b'{"a": [1, 2, {"b": "c"}], "d": 0.5}' * 9
    made, again = (
        [mutate.mutated(3, "png", number, [content, content[::-1]], None) for number in range(50)] for _ in range(2)
    )
    assert made == again
    assert len(set(made)) > 45


@pytest.mark.parametrize("kind", KINDS)
def test_valid_files_are_read(kind: str, worker: Worker, grounds: Path) -> None:
    files = [path for pattern in KINDS[kind].samples for path in sorted((grounds / "samples").glob(pattern))]
    assert files
    for path in files:
        verdict = worker(Task(kind=kind, number=0, seed=0, sample=path))
        assert verdict.fault is None, verdict
        assert not verdict.refused or kind == "portrait found", verdict


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_forbidden_actions_are_detected(trap: Callable[[Path], None], worker: Worker, grounds: Path) -> None:
    sample = next((grounds / "samples").glob("media/a.wav"))
    assert worker(Task(kind="wav", number=0, seed=0, sample=sample, read=trap)).fault == TRAPS[trap]


def test_damaged_files_are_survived(grounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = suite.attack("mutated", grounds, count=NUM_CASES)
    with capsys.disabled():
        print(f"\nmutated: {tally.tried} tried, {tally.survived} survived, {tally.seconds:.0f} s")
        print(", ".join(f"{kind} {count}" for kind, count in sorted(tally.by_kind.items())))
    assert not tally.faults, suite.listing(tally.faults)
