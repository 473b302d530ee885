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
    facts = {"num_frames": 50, "num_windows": 1, "declared": cost, "measured": cost, "seconds": {"decode": 1.5}}
    return facts | changes


def test_totals_are_sums_and_unknown_with_an_unknown_part() -> None:
    more = {"evaluations": 12, "branches": 12}
    summed = totals([clip(), clip(num_frames=10, measured=more, declared=more, seconds={"decode": 0.5, "write": 2.0})])
    assert summed["frames"] == 60
    assert summed["measured"] == summed["declared"] == {"evaluations": 21, "branches": 39, "verified_frames": 0}
    assert summed["seconds"] == {"decode": 2.0, "write": 2.0}
    assert totals([clip(), clip(declared=None)])["declared"] is None


def test_entries_of_older_records_have_their_present_names(tmp_path: Path) -> None:
    def run(branches: str, num_windows: str, windows: str) -> dict[str, Any]:
        cost = {"evaluations": 9, branches: 27}
        clips = [{"id": "a", num_windows: 2, "declared": declared, "measured": cost} for declared in (None, cost)]
        return {"clips": clips, "totals": {"clips": 2, windows: 4, "declared": None, "measured": cost}}

    old, new = run("rows", "num_chunks", "chunks"), run("branches", "num_windows", "windows")
    for content in (old, new):
        write_json(tmp_path / "record.json", content)
        write_json(tmp_path / "clip.json", content["clips"][1])
        assert read_record(tmp_path / "record.json") == new
        assert read_clip(tmp_path / "clip.json") == new["clips"][1]


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
