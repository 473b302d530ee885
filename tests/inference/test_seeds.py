"""Several seeds in one run: the videos of as many runs with one seed each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from float_research import compose, recorded, rerunning
from float_research.analysis.load import load_clips, load_runs, load_traces
from float_research.analysis.pairs import pair
from float_research.errors import UserError
from float_research.models.audio_encoder import AudioEncoder
from float_research.sampling.sampler import Sampler

QUIET = Console(quiet=True)
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
Speech = Callable[[float], Path]


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    content = job(folder, *overrides).run(QUIET)
    assert content is not None
    content["overrides"] = [*TINY, *overrides]  # as in a script's record
    (folder / "record.json").write_text(json.dumps(content, default=str))
    return content


def job(folder: Path, *overrides: str) -> Any:
    return compose.build_job(compose.compose_config([*TINY, *overrides, f"output_dir={folder}"]))


@pytest.fixture
def settings(speech: Speech, portrait: Path, tmp_path: Path) -> list[str]:
    """Returns two clips of two and one windows."""
    rows = ["image,audio,id", f"{portrait},{speech(2.1)},long", f"{portrait},{speech(0.4)},short"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    return ["data=manifest", f"data.file={tmp_path / 'clips.csv'}", "nfe=3", "metrics=motion", "cache=none"]


def test_seeds_in_one_run_give_the_videos_of_single_runs(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All bytes are equal. Speech is encoded once for each recording, without a cache, and seeds form one batch."""
    calls, batches = [], []
    forward, sample = AudioEncoder.forward, Sampler.__call__
    monkeypatch.setattr(AudioEncoder, "forward", lambda self, *given: calls.append(0) or forward(self, *given))
    monkeypatch.setattr(
        Sampler,
        "__call__",
        lambda self, network, clips, rivals=None: batches.append(len(clips)) or sample(self, network, clips, rivals),
    )
    settings.append("video.crf=0")  # else the bytes of x264 vary in videos under 128 px, whose look-ahead is faulty
    several = run(tmp_path / "all", *settings, "seeds=[15,16,7]")
    assert (len(calls), batches) == (2, [3, 3])
    assert [clip["id"] for clip in several["clips"]] == [
        f"{id}-seed{seed}" for id in ("long", "short") for seed in (15, 16, 7)
    ]
    assert (several["seed"], several["seeds"]) == (None, [15, 16, 7])
    for seed in (15, 7):
        single = run(tmp_path / str(seed), *settings, f"seed={seed}")
        assert (single["seed"], single["seeds"]) == (seed, None)
        assert (single["signature"] == several["signature"]) == (seed == 15), "seeds are the clips' own"
        own = [clip for clip in several["clips"] if clip["seed"] == seed]
        for one, other in zip(single["clips"], own, strict=True):
            assert other["base_id"] == one["id"], "names of single runs are as before"
            assert other["metrics"] == one["metrics"]
            assert (one["motion_sha256"], one["video_sha256"]) == (other["motion_sha256"], other["video_sha256"])
    assert len({clip["video_sha256"] for clip in several["clips"]}) == 6
    assert job(tmp_path, "seeds=[1,2,3]", "batch_clips=2").batch_clips == 2
    assert job(tmp_path).batch_clips == 1


def test_more_seeds_keep_what_is_there(settings: list[str], tmp_path: Path) -> None:
    def made(*overrides: str) -> dict[str, Any]:
        return run(tmp_path / "out", *settings, "resume=true", *overrides)

    first = made("seeds=[1,2]")
    again = made("seeds=[1,2]")
    assert again["clips"] == first["clips"]
    more = made("seeds=[1,2,3]")
    assert (more["clips_kept"], len(more["clips"])) == (4, 6)
    assert more["clips"][0] == first["clips"][0]


def test_seeds_are_told_apart_in_tables_and_paired_with_single_runs(settings: list[str], tmp_path: Path) -> None:
    run(tmp_path / "runs" / "0", *settings, "seeds=[1,2]")
    for seed in (1, 2):
        run(tmp_path / "runs" / str(seed), *settings, f"seed={seed}", "nfe=4")
    table = load_runs(tmp_path / "runs")
    assert table["seed"].astype(str).tolist() == ["1,2", "1", "2"]
    clips = load_clips(tmp_path / "runs")
    assert clips["seed"].tolist() == [1, 2, 1, 2, 1, 1, 2, 2]
    assert clips["base_id"].tolist() == ["long", "long", "short", "short", "long", "short", "long", "short"]
    assert load_traces(clips.head(4)).groupby("clip").size().tolist() == [53, 53, 10, 10]
    pairs, frames = pair({"3": clips[clips["nfe"] == 3], "4": clips[clips["nfe"] == 4]})
    assert [pairs[name].nunique() for name in ("recording", "portrait", "seed")] == [2, 1, 2]
    assert (frames["3"]["image_sha256"].values == frames["4"]["image_sha256"].values).all()


def test_a_seed_can_be_measured_again_and_repeated(speech: Speech, tmp_path: Path) -> None:
    """Converged motion is sampled from the noise of the clip's seed."""
    settings = [f"data.audio={speech(0.3)}", "nfe=3", "metrics=sampling", "seeds=[1,2]", "cache=none"]
    first = run(tmp_path / "out", *settings)
    chosen = recorded.choose_metrics(["metrics=[sampling]", "cache=none"])
    measured = recorded.build_remeasuring(tmp_path / "out", chosen).run()
    for before, after in zip(first["clips"], measured["clips"], strict=True):
        assert after["metrics"]["sampling_error"] == pytest.approx(before["metrics"]["sampling_error"], rel=1e-4)
    again = rerunning.again(tmp_path / "out", [], tmp_path / "second")
    assert again.differs == []
    content = compose.build_job(again.config).run(QUIET)
    assert content is not None
    assert all(line.endswith("the same motion, bit for bit") for line in rerunning.compare(again.record, content))
    with pytest.raises(UserError, match=r"seed=3 has no effect with seeds=\[1, 2\]; give one of them, or seeds=null"):
        rerunning.again(tmp_path / "out", ["seed=3"], tmp_path / "third")
    alone = rerunning.again(tmp_path / "out", ["seed=3", "seeds=null"], tmp_path / "third")
    assert (alone.config.seed, alone.config.seeds) == (3, None)


def test_an_older_record_repeats_without_seeds(speech: Speech, tmp_path: Path) -> None:
    run(tmp_path / "out", f"data.audio={speech(0.3)}", "nfe=2", "metrics=none")
    file = tmp_path / "out" / "config.yaml"
    file.write_text(file.read_text().replace("seeds: null\n", ""))
    again = rerunning.again(tmp_path / "out", [], tmp_path / "second")
    assert (again.differs, again.config.seeds) == ([], None)


def test_runs_of_different_suites_are_not_compared(tmp_path: Path) -> None:
    frames = {}
    for name, digest in (("toy", "a" * 64), ("quick", "b" * 64)):
        run = {"clip": "x", "seed": [1, 2], "suite": f"{name} 1", "suite_sha256": digest}
        frames[name] = pd.DataFrame(run)
    said = (
        r"toy was measured on the suite toy 1 \(sha256 aaaaaaaaaaaa…\), and quick on quick 1 \(sha256 bbbbbbbbbbbb…\); "
    )
    with pytest.raises(UserError, match=said + "compare runs of one suite"):
        pair(frames)
    pair({"toy": frames["toy"], "older": frames["toy"].assign(suite=None, suite_sha256=None)})


def test_a_run_says_on_which_suite_it_was_measured(tmp_path: Path) -> None:
    content = run(tmp_path, "data=quick_suite", "nfe=2", "metrics=none", "seeds=[1]")
    assert content["suite"]["name"] == "quick"
    assert load_clips(tmp_path)["suite"].unique().tolist() == ["quick 1"]
    assert [clip["id"] for clip in content["clips"]][:1] == ["toy_2026_0-arctic_a0007-seed1"]
