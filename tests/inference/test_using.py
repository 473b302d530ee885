"""Settings of a loaded pipeline: changed for a call, in siblings that share weights, and in batches."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from float_research import loading
from float_research.compose import compose_config
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.result import Result
from float_research.loading import load_composed, merged
from float_research.metrics.motion import Motion
from float_research.types import FailedClip

Load = Callable[..., Pipeline]
Speech = Callable[[float], Path]
GROWTH_MB = 10
"""Bound of what ninety calls may add to the process, which measures 0.1 MB."""


@pytest.fixture(scope="module")
def pipeline(load: Load) -> Pipeline:
    return load("nfe=2")


def weights(pipeline: Pipeline) -> list[int]:
    return [parameter.data_ptr() for parameter in pipeline.core.model.parameters()]


@pytest.mark.parametrize(
    "change",
    [
        ((), {"nfe": 5, "seed": 3}),
        (("temperature=0.5",), {"nfe": np.int64(4)}),
        (("solver=midpoint", "guidance.audio.scale=3"), {}),
        (("guidance=apg", "noise=shared", "nfe=4"), {}),
        ((), {"solver": "rk4", "video.fps": 30, "decoding": "framewise"}),
    ],
)
def test_a_sibling_is_what_loading_gives(
    change: tuple[tuple[str, ...], dict[str, Any]], pipeline: Pipeline, load: Load, portrait: Path, speech: Speech
) -> None:
    overrides, settings = change
    written = [f"{name}={value}" for name, value in settings.items()]
    sibling, loaded = pipeline.using(*overrides, **settings), load(*merged(["nfe=2"], [*overrides, *written]))
    assert sibling.core.model is pipeline.core.model
    assert sibling.loader.cache == pipeline.loader.cache
    for part in ("decoding", "search", "emotion", "video_fps"):
        assert getattr(sibling.core, part) == getattr(loaded.core, part)
    assert (sibling.video, sibling.loader) == (loaded.video, loaded.loader)
    found = pipeline.using(*overrides)(portrait, speech(0.4), **settings)
    assert torch.equal(found.motion, loaded(portrait, speech(0.4)).motion)
    assert found.pipeline.settings.name == loaded.settings.name


def test_settings_accumulate_and_the_first_pipeline_stays(pipeline: Pipeline) -> None:
    sibling = pipeline.using("guidance.audio.scale=3").using(nfe=4).using("solver=midpoint", "nfe=6").using(seed=1)
    sampler = sibling.core.sampler
    assert (sampler.nfe, sampler.seed, sampler.solver.name) == (6, 1, "midpoint")
    assert sampler.guidance.audio.scale == 3
    assert pipeline.core.sampler.nfe == 2
    assert sibling.using("guidance=apg").core.sampler.guidance.audio.scale != 3, "a new option has its own values"
    assert merged(["solver=fitted", "solver.anyway=true", "nfe=3"], ["solver=euler"]) == ("nfe=3", "solver=euler")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model=demo",
            r"another model cannot share these weights; load it by float_research\.load\(\[.*'model=demo'\]\)",
        ),
        ("checkpoint=demo", r"another checkpoint cannot share these weights; load it by float_research\.load\("),
        ("trainer.precision=64-true", "another trainer cannot share these weights"),
        ("data.image=me.png", r"data\.image=me\.png has no effect on a pipeline"),
        ("logger=csv", "logger=csv has no effect on a pipeline"),
        ("nfee=3", r"unknown setting nfee \(did you mean nfe\?\)"),
        ("nfe=ten", "nfe=ten must be an integer"),
        ("nfe=0", "nfe=0 must be at least 1"),
        ("nfe", "nfe is not NAME=VALUE"),
        ("seed=1.5", r"seed=1\.5 must be an integer"),
        ("batch_clips=0", "batch_clips=0 must be a positive number"),
        ("on_error=never", "on_error=never is unknown; choose stop or skip"),
        ("solver=eulr", r"solver=eulr is unknown \(did you mean euler\?\)"),
    ],
)
def test_settings_that_are_refused(override: str, message: str, pipeline: Pipeline, portrait: Path) -> None:
    with pytest.raises(UserError, match=message):
        pipeline.using(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["solver=eulr"], "did you mean euler"),
        (["nfe=ten"], "nfe=ten must be an integer"),
        (["nfe"], "is not NAME=VALUE"),
        ("nfe=10", r"overrides are a list; give load\(\['nfe=10'\]\)"),
        (["nfe=${nothing}"], "nfe"),
    ],
)
def test_loading_answers_in_sentences(overrides: Any, message: str) -> None:
    given = overrides if isinstance(overrides, str) else ["model=tiny", "checkpoint=random", *overrides]
    with pytest.raises(UserError, match=message) as error:
        loading.load(given)
    assert "\n" not in str(error.value)


def test_attributes_are_fixed(pipeline: Pipeline) -> None:
    for name in ("nfe", "core", "device"):
        with pytest.raises(AttributeError, match=rf"a pipeline's {name} cannot be set; pass settings in a call"):
            setattr(pipeline, name, 3)
    with pytest.raises(AttributeError, match="device cannot be set"):
        del pipeline.device
    assert repr(pipeline) == "Pipeline(model=tiny checkpoint=random face=none nfe=2, on cpu)"


def test_other_values_of_settings(pipeline: Pipeline, portrait: Path) -> None:
    with pytest.raises(UserError, match="nfe cannot be a object; give a number"):
        pipeline.using(nfe=object())
    assert pipeline.using(overlap=True).overlap is True
    assert pipeline.using(overlap=None).overlap is None
    assert [type(metric) for metric in pipeline.using(metrics=["motion"]).settings.metrics(None)] == [Motion]


def test_a_config_composed_elsewhere(portrait: Path, speech: Speech) -> None:
    pipeline = load_composed(compose_config(["model=tiny", "checkpoint=random", "face=none", "nfe=2"]))
    assert pipeline(portrait, speech(0.2), nfe=6, seed=1).cost.evaluations == 5
    with pytest.raises(UserError, match="solver=euler cannot be changed in a pipeline whose config was composed elsew"):
        pipeline.using("solver=euler")


def test_a_hundred_calls_hold_one_copy_of_the_weights(pipeline: Pipeline, portrait: Path, speech: Speech) -> None:
    """Memory stays within `GROWTH_MB` after the first calls, and every sibling computes with the same storage."""
    audio, places, process = speech(0.2), weights(pipeline), psutil.Process(os.getpid())
    solvers, before, total = ("euler", "midpoint", "rk4"), 0.0, 0
    for number in range(100):
        result = pipeline(portrait, audio, nfe=2 + number % 3, seed=number, solver=solvers[number % 3])
        assert weights(result.pipeline) == places
        total += len(result.motion)
        if number == 9:
            gc.collect()
            before = process.memory_info().rss / 2**20
    gc.collect()
    assert total == 500
    assert process.memory_info().rss / 2**20 - before < GROWTH_MB


def test_a_batch_gives_what_calls_give(pipeline: Pipeline, portrait: Path, speech: Speech) -> None:
    image, short, long = str(portrait), speech(0.4), speech(2.3)
    items = [
        (image, long),
        {"image": image, "audio": short, "id": "b", "emotion": "happy"},
        (image, "none.wav"),
        {"image": image, "audio": short, "seed": 4, "nfe": 3},
        (image, short, long),
    ]
    with pytest.raises(UserError, match=r"item 4 of the batch is a tuple; give \(image, audio\)"):
        pipeline.batch(items)
    seen: list[tuple[int, int]] = []
    made = list(pipeline.batch(items[:4], progress=lambda done, total: seen.append((done, total)), batch_clips=2))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    expected = [
        pipeline(image, long),
        pipeline(image, short, id="b", emotion="happy"),
        None,
        pipeline(image, short, seed=4, nfe=3),
    ]
    for one, alone in zip(made, expected, strict=True):
        if alone is None:
            assert isinstance(one, FailedClip)
            assert one.clip.id == "item 2"
            assert one.reason == "audio none.wav does not exist; give the path of a file"
        else:
            assert isinstance(one, Result)
            torch.testing.assert_close(one.motion, alone.motion, atol=1e-4, rtol=1e-4)
            assert (one.id, one.cost, one.emotion) == (alone.id, alone.cost, alone.emotion)


def test_a_batch_of_failures(pipeline: Pipeline, portrait: Path, speech: Speech, caplog: Any) -> None:
    image, bad = str(portrait), [("none.png", speech(0.2)), (str(portrait), "none.wav")]
    with (
        pytest.raises(UserError, match=r"all 2 clips failed: image none\.png does not exist"),
        caplog.at_level("WARNING"),
    ):
        list(pipeline.batch(bad))
    assert "failed: 2 of 2 clips" in caplog.text
    with pytest.raises(UserError, match=r"^image none\.png does not exist"):
        next(pipeline.batch([*bad, (image, speech(0.2))], on_error="stop"))
    assert list(pipeline.batch([])) == []
    with pytest.raises(UserError, match="item 0 of the batch has no audio"):
        pipeline.batch([{"image": image}])


def test_a_clip_that_sampling_refuses_fails_alone(load: Load, portrait: Path, speech: Speech) -> None:
    """A search that cannot score a toyless clip: batched, then each alone."""
    pipeline = load("nfe=2")
    items = [(str(portrait), speech(0.2)), {"image": str(portrait), "audio": speech(0.2), "id": "bad"}]
    motion = type(pipeline.core).motion

    def refusing(core: Any, clips: Any, watch: Any) -> Any:
        if any(clip.conditions.id == "bad" for clip in clips):
            raise UserError("bad cannot be sampled; give another")
        return motion(core, clips, watch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pipeline.core), "motion", refusing)
        good, bad = pipeline.batch(items, batch_clips=2)
    assert isinstance(good, Result)
    assert isinstance(bad, FailedClip)
    assert (bad.clip.id, bad.reason) == ("bad", "bad cannot be sampled; give another")


def test_progress_counts_frames(pipeline: Pipeline, portrait: Path, speech: Speech) -> None:
    seen: list[tuple[int, int]] = []
    pipeline(portrait, speech(4.4), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(50, 110), (100, 110), (110, 110)]
