"""A few cases of each other class of attack; `python scripts/attack.py` runs them all."""

from pathlib import Path

import pytest

from fuzz import suite

FEW = {"bombs": 40, "kills": 2, "signals": 2, "disks": 3, "records": 6, "names": 3}


@pytest.mark.parametrize("name", FEW)
def test_a_few(name: str, grounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = suite.attack(name, grounds, count=FEW[name])
    with capsys.disabled():
        print(f"\n{name}: {tally.tried} tried, {tally.survived} survived, {tally.seconds:.0f} s")
    assert not tally.faults, suite.listing(tally.faults)
