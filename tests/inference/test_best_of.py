"""The search over initial noise, compared with candidates sampled one by one and scored independently."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from rich.console import Console

from float_research import compose
from float_research.errors import UserError
from float_research.evaluation.searching import compare, row
from float_research.inference.api import Pipeline
from float_research.inference.result import Result
from float_research.metrics.lip_sync import LipSync
from float_research.program import install
from float_research.sampling.noise import candidate_seed

Load = Callable[..., Pipeline]
Speech = Callable[[float], Path]
SEARCH = ["search=best_of", "search.n=3", "nfe=3", "cache=none"]
STILLEST = ["search.verifier=motion_velocity", "search.direction=min"]


def velocity(motion: torch.Tensor) -> float:
    return float(motion.double().diff(dim=0).norm(dim=1).mean() * 25)


@torch.inference_mode()
def sampled(pipeline: Pipeline, result: Result, **changes: Any) -> torch.Tensor:
    """Samples the clip's motion without a search."""
    core = pipeline.core
    clip = replace(result.clip.conditions, **changes)
    return torch.cat([window.motion for window in core.sampler(core.vector_field(core.model.fmt), [clip])])


@pytest.mark.parametrize("per", ["clip", "window"])
def test_one_candidate_equals_no_search(per: str, load: Load, portrait: Path, speech: Speech) -> None:
    plain = load("nfe=3")(portrait, speech(2.3))
    searched = load(*SEARCH, *STILLEST, "search.n=1", f"search.per={per}")(portrait, speech(2.3))
    assert torch.equal(plain.motion, searched.motion)
    assert (plain.cost, plain.declared) == (searched.cost, searched.declared)


@pytest.mark.parametrize(("noise", "direction"), [("shared", "min"), ("independent", "max")])
def test_the_best_clip_is_kept(noise: str, direction: str, load: Load, portrait: Path, speech: Speech) -> None:
    pipeline = load(*SEARCH, *STILLEST, f"search.direction={direction}", f"noise={noise}", "search.at_once=2")
    result = pipeline(portrait, speech(2.3))
    rivals = [sampled(pipeline, result, seed=candidate_seed(15, candidate)) for candidate in range(3)]
    assert torch.equal(rivals[0], sampled(pipeline, result)), "the first has the noise without search"
    best = {"max": max, "min": min}[direction]
    chosen = best(range(3), key=lambda candidate: velocity(rivals[candidate]))
    assert result.candidates == [chosen] * 2
    torch.testing.assert_close(result.motion, rivals[chosen], atol=1e-4, rtol=1e-4)
    assert result.cost == result.declared


def test_the_best_window_becomes_the_history_of_the_next(load: Load, portrait: Path, speech: Speech) -> None:
    pipeline = load(*SEARCH, *STILLEST, "search.per=window", "noise=independent")
    result = pipeline(portrait, speech(4.5))
    window, chosen = pipeline.core.sampler.chunking.window_frames, list[int]()
    for start in range(0, len(result.motion), window):
        shown = slice(max(0, start - pipeline.core.sampler.chunking.previous_frames), start + window)
        rivals = [sampled(pipeline, result, candidates=[*chosen, candidate, 0, 0])[shown] for candidate in range(3)]
        chosen.append(min(range(3), key=lambda candidate: velocity(rivals[candidate])))
    assert result.candidates == chosen
    assert any(chosen)
    torch.testing.assert_close(result.motion, sampled(pipeline, result, candidates=chosen), atol=1e-4, rtol=1e-4)
    assert result.cost == result.declared


def test_several_clips_are_searched_in_one_batch(load: Load, portrait: Path, speech: Speech) -> None:
    for per in ("clip", "window"):
        pipeline = load(*SEARCH, *STILLEST, f"search.per={per}", "noise=independent")
        results = [pipeline(portrait, speech(seconds), id=str(seconds)) for seconds in (0.5, 2.3)]
        motion: dict[int, list[torch.Tensor]] = {0: [], 1: []}
        with pipeline.computing():
            for window in pipeline.core.motion([result.clip for result in results], watch(pipeline)):
                motion[window.index].append(window.motion)
        for index, result in enumerate(results):
            torch.testing.assert_close(torch.cat(motion[index]), result.motion, atol=1e-4, rtol=1e-4)


def watch(pipeline: Pipeline) -> Any:
    from float_research.inference.stopwatch import Stopwatch

    return Stopwatch(pipeline.device)


@pytest.mark.parametrize("size_px", [None, 16])
def test_a_frame_metric_sees_decoded_frames(size_px: int | None, load: Load, portrait: Path, speech: Speech) -> None:
    """Flicker is the mean difference of neighbouring frames' luma; the decoder's own levels give the frames."""
    import cv2
    import numpy as np

    pipeline = load(*SEARCH, "search.verifier=flicker", f"search.size_px={size_px or 'null'}")
    result = pipeline(portrait, speech(0.5))
    features = [each for each in result.clip.features if size_px is None or each.shape[-1] <= size_px]
    scores = []
    for candidate in range(3):
        motion = sampled(pipeline, result, seed=candidate_seed(15, candidate))
        with torch.inference_mode():
            decoded = pipeline.core.model.motion_autoencoder.decode(features, result.clip.identity + motion)
        frames = ((decoded.clamp(-1, 1) + 1) / 2 * 255).byte().permute(0, 2, 3, 1).numpy()
        assert frames.shape[1] == (size_px or pipeline.core.model.motion_autoencoder.image_size)
        grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(float)
        scores.append(np.abs(np.diff(grey, axis=0)).mean())
    assert result.candidates == [int(np.argmax(scores))]
    assert result.cost.verified_frames == 3 * len(result.motion)


@pytest.mark.parametrize("per", ["clip", "window"])
def test_a_run_declares_measures_records_and_resumes(per: str, tmp_path: Path, speech: Speech) -> None:
    settings = [
        *("model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", f"output_dir={tmp_path}"),
        *(f"data.audio={speech(2.3)}", "search=best_of", "search.n=3", f"search.per={per}", "noise=independent"),
        *("search.verifier=sharpness", "search.direction=min", "solver=rk4", "nfe=10", "metrics=[sampling]"),
    ]
    config = compose.compose_config(settings)
    content = compose.build_job(config).run(Console(quiet=True))
    assert content is not None
    (clip,) = content["clips"]
    previous = 10 if per == "window" else 0
    windows = 1 if per == "clip" else 2
    assert clip["declared"] == clip["measured"] == content["totals"]["declared"]
    cost = {"evaluations": 2 * 36, "branches": 3 * 2 * 36, "verified_frames": 58 + previous}
    assert clip["measured"] == {unit: 3 * number for unit, number in cost.items()}
    assert clip["seconds"]["verify"] > 0
    scores, chosen = clip["search"]["scores"], clip["search"]["candidates"]
    assert [len(each) for each in scores] == [3] * windows
    best = [each.index(min(each)) for each in scores]
    assert chosen == (best * 2 if per == "clip" else best)
    assert any(chosen), "otherwise the next assertion could not fail"
    assert clip["metrics"]["sampling_error"] < 1e-3, "converged motion starts from the noise of the chosen candidates"
    made = (tmp_path / clip["video"]).stat().st_mtime_ns
    again = compose.build_job(compose.compose_config([*settings, "resume=true", "search.at_once=1"]))
    assert again.run(Console(quiet=True)) is not None
    assert (tmp_path / clip["video"]).stat().st_mtime_ns == made


def test_a_dry_run_reports_verified_frames(tmp_path: Path, speech: Speech) -> None:
    tiny = ["model=tiny", "checkpoint=random", "face=none", f"output_dir={tmp_path}", f"data.audio={speech(2.3)}"]
    console = Console(record=True, width=200, file=io.StringIO())
    compose.build_job(compose.compose_config([*tiny, "search=best_of", "dry_run=true"])).run(console)
    told = console.export_text()
    assert "verified frames" in told
    assert re.search(rf" {4 * 58}$", told, re.MULTILINE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("search.n=0", "search.n=0 must be at least 1"),
        ("search.at_once=0", "search.at_once=0 must be at least 1"),
        ("search.verifier=beauty", "search.verifier=beauty is not computed by search.metrics"),
        ("search.direction=up", "search.direction=up is unknown; choose max or min"),
        ("search.per=frame", "search.per=frame is unknown; choose clip or window"),
        ("search.size_px=12", "search.size_px=12 is not a resolution level of the decoder; choose one of 8, 16"),
    ],
)
def test_invalid_settings_are_rejected(wrong: str, message: str, tmp_path: Path) -> None:
    tiny = ["model=tiny", "checkpoint=random", "face=none", f"output_dir={tmp_path}"]
    with pytest.raises(UserError, match=message):
        compose.build_job(compose.compose_config([*tiny, "search=best_of", wrong]))


def test_a_verifier_that_cannot_be_computed_is_rejected(
    load: Load, portrait: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("float_research.metrics.requirements.find_spec", lambda package: None)
    monkeypatch.setattr(LipSync, "obstacle", lambda self, clip: "needs a mouth")
    pipeline = load(*SEARCH)
    monkeypatch.setattr(pipeline.core.sampler.solver.__class__, "trajectory", None)
    with pytest.raises(UserError, match="cannot be computed of clip: it needs a mouth"):
        pipeline(portrait, speech(0.5))
    with pytest.raises(UserError, match="cannot be computed: it needs .*" + re.escape(install("faces"))):
        load(*SEARCH, "metrics@search.metrics=[identity]", "search.verifier=identity_l2")
    with pytest.raises(UserError, match="cannot score one candidate's motion or frames"):
        load(*SEARCH, "metrics@search.metrics=[sampling]", "search.verifier=sampling_error")


def test_gain_and_cost_are_paired_over_recordings_and_seeds(load: Load, portrait: Path, speech: Speech) -> None:
    spoken = {
        f"recording {number}": soundfile.read(speech(seconds), dtype="float32")[0]
        for number, seconds in enumerate((0.4, 0.6))
    }
    table = compare(load(*SEARCH, *STILLEST), portrait, spoken, [1, 2])
    rows = {row[0]: row[1:] for row in table.rows}
    verifier, branches = rows["motion_velocity"], rows["branches"]
    assert float(verifier[1]) < float(verifier[0]), "the candidate with less motion is kept"
    assert branches[:3] == ["6", "18", "+12"]
    assert verifier[4] == "4"
    differences = np.array([[-1.0, -1.2], [-3.0, -3.2]]).ravel()
    units = pd.DataFrame([(0, 0), (0, 1), (1, 0), (1, 1)], columns=["recording", "seed"])
    interval = row("jump", np.zeros(4), differences, units)[4]
    low, high = json.loads(interval.replace("+", ""))
    assert low < -4, "two recordings that differ by 2 say little of others"
    assert (low + high) / 2 == pytest.approx(-2.1)
