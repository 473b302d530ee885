import json
from pathlib import Path
from typing import Any

import pytest

from float_research.compose import compose_config, resolved
from float_research.tracking.record import read_clip, read_record, signature, totals, versions, write_json


def signed(*overrides: str) -> str:
    return signature(resolved(compose_config(["output_dir=out", "data.image=a.png", "data.audio=a.wav", *overrides])))


@pytest.mark.parametrize(
    "override",
    [
        "output_dir=elsewhere",
        "data.image=b.png",
        "trainer.accelerator=gpu",
        "trainer.devices=4",
        "trainer.strategy=ddp",
        "batch_clips=8",
        "name=another",
        "time=20300101-000000",
        "face.weights=s3fd.pth",
        "metrics=none",
    ],
)
def test_places_and_devices_do_not_change_the_signature(override: str) -> None:
    assert signed(override) == signed()


@pytest.mark.parametrize(
    "override",
    ["nfe=11", "seed=0", "solver=midpoint", "guidance.audio.scale=3", "model=tiny", "trainer.precision=bf16-true"],
)
def test_settings_change_the_signature(override: str) -> None:
    assert signed(override) != signed()


def clip(**changes: Any) -> dict[str, Any]:
    cost = {"evaluations": 9, "branches": 27}
    facts = {"num_frames": 50, "num_chunks": 1, "declared": cost, "measured": cost, "seconds": {"decode": 1.5}}
    return facts | changes


def test_totals_are_sums_and_unknown_with_an_unknown_part() -> None:
    more = {"evaluations": 12, "branches": 12}
    summed = totals([clip(), clip(num_frames=10, measured=more, declared=more, seconds={"decode": 0.5, "write": 2.0})])
    assert summed["frames"] == 60
    assert summed["measured"] == summed["declared"] == {"evaluations": 21, "branches": 39, "verified_frames": 0}
    assert summed["seconds"] == {"decode": 2.0, "write": 2.0}
    assert totals([clip(), clip(declared=None)])["declared"] is None


def test_older_records_of_runs_and_clips_have_branches_under_their_present_name(tmp_path: Path) -> None:
    old, new = ({"evaluations": 9, name: 27} for name in ("rows", "branches"))
    clips = [clip(id="a", declared=None, measured=old), clip(id="b", declared=old, measured=old)]
    whole = {"clips": clips, "totals": {"clips": 2, "declared": None, "measured": old}}
    write_json(tmp_path / "record.json", whole)
    write_json(tmp_path / "b.json", clips[1])
    assert read_record(tmp_path / "record.json") == {
        "clips": [clip(id="a", declared=None, measured=new), clip(id="b", declared=new, measured=new)],
        "totals": {"clips": 2, "declared": None, "measured": new},
    }
    assert read_clip(tmp_path / "b.json") == clip(id="b", declared=new, measured=new)


def test_files_are_written_atomically(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="Circular"):
        circle: dict[str, Any] = {}
        write_json(tmp_path / "a.json", circle | {"self": circle, "again": circle.setdefault("x", circle)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_versions_name_what_results_depend_on() -> None:
    found = versions()
    assert found["torch"]
    assert "python" in found
