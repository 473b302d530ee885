"""Every recording of the table is decoded and written correctly, or rejected with the right error."""

import re
from pathlib import Path

import pytest

from media_cases.hearing import build, measure
from media_cases.sound import CASES, HZ, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recording_is_decoded_and_written_correctly(case: Case, tmp_path: Path) -> None:
    path = build(case, tmp_path)
    made = measure(case, path)
    if isinstance(made, str):
        assert case.refused is not None, made
        assert re.search(case.refused, made)
        assert path.name in made
        return
    assert case.refused is None
    assert case.heard is not None
    if not case.damaged:
        assert made.seconds == pytest.approx(case.heard.shape[1] / HZ, abs=case.within_s)
        assert made.heard_db == pytest.approx(0, abs=0.2)
    assert made.heard_lag_ms == pytest.approx(case.lag_ms, abs=1)
    assert made.decoded_lag_ms == pytest.approx(0, abs=1000 / HZ), "one sample"
    assert made.spoken_lag_ms == pytest.approx(0, abs=1)
    assert made.spoken_db == pytest.approx(0, abs=0.2)
    assert made.spoken_s == pytest.approx(made.seconds, abs=0.04)
    assert (made.channels, made.rate_hz, made.damaged) == (case.channels, case.rate_hz, case.damaged)
    assert bool(made.notes) == (case.told is not None)
    assert case.told is None or re.search(case.told, made.notes)
