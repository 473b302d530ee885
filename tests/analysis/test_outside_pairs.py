"""Videos from outside beside our runs: which clips pair, and what is said or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from float_research.analysis.load import clip_table, find_runs
from float_research.analysis.page import write_page
from float_research.analysis.pairs import pair, settings
from float_research.analysis.statistics import Contrasts, compare
from float_research.analysis.summary import console_table, summarise
from float_research.errors import UserError
from float_research.tracking.runs import find


def clips(seeds: tuple[int, ...] = (15,), source: str | None = None, **changes: Any) -> pd.DataFrame:
    """Returns clips of 3 portraits and 4 recordings: our own for each seed, or without a seed from a source."""
    random = np.random.default_rng(0 if source is None else 1)
    rows = [
        {
            "run": source or "ours",
            "clip": f"p{portrait}-r{recording}",
            "base_id": f"p{portrait}-r{recording}",
            "solver": None if source else "euler",
            "source": source or "float-research",
            "seed": None if source else seed,
            "audio_sha256": None if source else f"a{recording}",
            "image_sha256": None if source else f"i{portrait}",
            "audio_path": f"{source}/{portrait}-{recording}" if source else f"r{recording}.wav",
            "fps": 25.0,
            "flicker": (1.0 if source else 2.0) + random.normal(0, 0.1),
            "absent": "{}",
            "from_video": json.dumps(["flicker"]),
        }
        | changes
        for portrait in range(3)
        for recording in range(4)
        for seed in (seeds if source is None else (0,))
    ]
    table = pd.DataFrame(rows)
    table.attrs = {"settings": ["seed", "solver", "source"]}
    return table


def both(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    table = pd.concat([ours, theirs], ignore_index=True)
    table.attrs = ours.attrs
    return table


def compared(table: pd.DataFrame, *chosen: str, baseline: str = "source=official") -> Contrasts:
    return compare(settings(table, chosen or ("source=official", "source=float-research")), ["flicker"], baseline)


def test_clips_without_a_seed_pair_with_the_only_seed() -> None:
    found = compared(both(clips(), clips(source="official")))
    (flicker,) = found.differences
    assert str(flicker).startswith("official beats float-research in flicker by ")
    assert "4 recordings × 3 portraits" in str(flicker), "the outside clips have the hashes of their partners"
    assert found.notes == (
        ["the recording and portrait of videos of source=official is not known; their ids alone pair them"]
    )


def test_several_seeds_need_a_choice() -> None:
    table = both(clips((15, 16)), clips(source="official"))
    message = r"has clip p0-r0 without a seed, and the others with the seeds 15, 16; choose one, as in .*seed=15"
    with pytest.raises(UserError, match=message):
        compared(table)
    (flicker,) = compared(table, "source=official", "solver=euler,seed=16").differences
    assert flicker.design.num_pairs == 12
    theirs = both(*(clips(source="official", seed=seed) for seed in (15, 16)))
    (flicker,) = compared(both(clips((15, 16)), theirs)).differences
    assert flicker.design.num_pairs == 24, "seeds from a manifest pair all"


def test_the_order_of_settings_does_not_matter_to_factors() -> None:
    table = both(clips(), clips(source="official"))
    names = ["source=float-research", "source=official"]
    pairs = [pair(settings(table, order))[0].sort_index() for order in (names, names[::-1])]
    pd.testing.assert_frame_equal(*pairs, check_dtype=False)


def test_another_recording_is_refused() -> None:
    theirs = clips(source="official", audio_sha256="another")
    with pytest.raises(UserError, match="has another recording in source=float-research than in source=official"):
        compared(both(clips(), theirs))
    with pytest.raises(UserError, match="were run on different clips: 1 of 12"):
        compared(both(clips(), clips(source="official").iloc[1:]))


def test_frames_before_encoding_are_not_compared_with_videos() -> None:
    table = both(clips(from_video="[]"), clips(source="official"))
    message = (
        r"measured on the encoded videos of source=official, but before encoding in source=float-.*; measure source="
    )
    with pytest.raises(UserError, match=message):
        compared(table)


def test_other_frame_rates_are_said() -> None:
    found = compared(both(clips(), clips(source="official", fps=30.0)))
    assert "(source=official 30, source=float-research 25 frames/s), which numbers per frame" in found.notes[-1]


def outside_run(folder: Path, source: str) -> None:
    """Writes records of videos from outside, and of a run of ours."""
    ours = {"id": "a", "video": "videos/a.mp4", "num_frames": 3, "metrics": {"flicker": 1.0}, "seed": 15}
    theirs = ours | {"seed": None, "fps": 29.97, "absent": {"seam_jump": "needs motion latents, and <b>"}}
    notice = {"hash": None, "notice": f"{source}: from outside"}
    runs: dict[str, dict[str, Any]] = {
        "0": {"overrides": ["solver=euler"], "clips": [ours], "totals": {"clips": 1, "frames": 3}},
        source: {"overrides": [f"source={source}"], "clips": [theirs], "checkpoint": notice},
    }
    for name, record in runs.items():
        (folder / name / "videos").mkdir(parents=True)
        (folder / name / "videos" / "a.mp4").write_bytes(b"video")
        (folder / name / "record.json").write_text(json.dumps(record))


def test_tables_and_page_mark_what_comes_from_outside(tmp_path: Path) -> None:
    outside_run(tmp_path, "official")
    table = clip_table(find_runs(tmp_path))
    assert table["source"].tolist() == ["float-research", "official"]
    assert table["fps"].tolist() == [25.0, 29.97]
    summary = summarise(find(tmp_path))
    assert summary["source"].tolist() == ["float-research", "official"]
    printed = console_table(summary)
    assert "source" in printed.names
    assert "None" not in [cell for row in printed.rows for cell in row]
    page = write_page(tmp_path, tmp_path / "report", "sweep").path.read_text(encoding="utf-8")
    assert '"text":"official: from outside","clips":1' in page
    assert '"fps":29.97' in page
    assert "<b>" not in page.replace("<body>", "")


def test_without_such_videos_nothing_has_a_source(tmp_path: Path) -> None:
    outside_run(tmp_path, "official")
    (tmp_path / "official" / "record.json").unlink()
    assert "source" not in clip_table(find_runs(tmp_path))
    assert "source" not in summarise(find(tmp_path))
