"""Quality of the shipped demo weights, with thresholds slightly below the results of scripts/evaluate_demo.py."""

from pathlib import Path

import numpy as np
import pytest
import torch

import float_research
from float_research.data.examples import ASSETS, example
from float_research.data.image import read_image
from float_research.evaluation.driving import performance
from float_research.evaluation.moving import mouth_of
from float_research.evaluation.portraits import reading, reconstruction
from float_research.evaluation.speaking import JAW, YAW, Speaking, correlation, expected_jaw
from float_research.inference.api import Pipeline
from float_research.motion.atlas import load_atlas
from float_research.toyface.motion import MOTION
from float_research.toyface.reader import FILE, MotionReader, load_reader
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ

MAX_MB = 15
NUM_PAIRS = 32


@pytest.fixture(scope="module")
def demo() -> Pipeline:
    return float_research.load(overrides=["face=none", "trainer.accelerator=cpu"])


@pytest.fixture(scope="module")
def reader() -> MotionReader:
    return load_reader(FILE)


def test_the_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in (ASSETS / "demo").iterdir()) < MAX_MB * 1e6


def test_unseen_faces_are_animated(demo: Pipeline) -> None:
    with torch.inference_mode():
        figures = {
            figure.name: figure.value for figure in reconstruction(demo.core.model.motion_autoencoder, NUM_PAIRS)
        }
    assert figures["PSNR"] > 25
    assert figures["gain over copying"] > 8
    assert figures["loss if somebody else drives"] < 1.0


def test_four_fitted_evaluations_beat_nine_of_euler(demo: Pipeline) -> None:
    """On a held-out recording, portrait and seed."""
    waveform = recordings()[0].waveform[: 2 * RATE_HZ]

    def motion(*overrides: str) -> torch.Tensor:
        pipeline = demo.using("seed=5", "budget=evaluations", *overrides)
        return pipeline(example("portrait"), waveform, rate_hz=RATE_HZ).motion

    exact = motion("solver=dopri5", "budget=grid_points")
    euler, fitted = (motion(*overrides) for overrides in (["solver=euler", "nfe=9"], ["solver=fitted", "nfe=4"]))
    assert (fitted - exact).norm() < 0.75 * (euler - exact).norm()


def test_the_reader_reads_jaws(reader: MotionReader) -> None:
    with torch.inference_mode():
        figures = {figure.name: figure.value for figure in reading(reader, 64)}
    assert figures["R² of jaw, read from renders"] > 0.95


def test_lips_follow_real_speech(demo: Pipeline, reader: MotionReader) -> None:
    speaking = Speaking(
        load=lambda overrides: demo,
        reader=reader,
        portrait=read_image(Path(example("portrait")), "black"),
        recordings=recordings(),
        synthetic=[],
        coordinate_scale=3.0,
    )
    arctic, other = recordings()[:2]
    jaw = speaking.read(arctic)[:, JAW]
    own, foreign = (expected_jaw(speech, len(jaw), demo.loader.fps) for speech in (arctic, other))
    assert correlation(jaw, own) > 0.45
    assert correlation(jaw, foreign) < 0.25
    assert float(jaw.std()) > 0.05


def test_only_the_lips_move_with_the_atlas_of_these_weights(demo: Pipeline, reader: MotionReader) -> None:
    speaking = Speaking(
        load=lambda overrides: demo.using(*overrides),
        reader=reader,
        portrait=read_image(Path(example("portrait")), "black"),
        recordings=recordings()[:1],
        synthetic=[],
        coordinate_scale=3.0,
    )
    plain, edited = (speaking.read(recordings()[0], f"motion={option}") for option in ("none", "lips_only"))
    assert correlation(edited[:, JAW], plain[:, JAW]) > 0.95
    for name in ("yaw", "roll", "lids"):
        place = MOTION.index(name)
        assert float(edited[:, place].std()) < 0.1 * float(plain[:, place].std()), name
    sampled, left = (speaking.meant(recordings()[0], f"motion={option}") for option in ("none", "lips_only"))
    for name in ("yaw", "pitch", "roll", "jaw"):
        place = MOTION.index(name)
        assert correlation(sampled[:, place], plain[:, place]) > 0.9, name
        assert 0.7 < float(plain[:, place].std() / sampled[:, place].std()) < 1.2, name
        assert (float(left[:, place].std()) < 0.2 * float(sampled[:, place].std())) == (name != "jaw"), name
    still = speaking.shown(mouth_of(sampled))
    assert correlation(still[:, JAW], plain[:, JAW]) > 0.95
    assert float(still[:, YAW].std()) < 0.1 * float(plain[:, YAW].std())


def test_motion_of_a_video_is_read_by_the_atlas(demo: Pipeline, tmp_path: Path) -> None:
    made = performance(recordings()[1], demo.loader.fps, tmp_path, seed=0, most=60)
    atlas = load_atlas(ASSETS / "demo" / "atlas.safetensors")
    found = atlas.read((demo.encode_motion(made.video) @ demo.core.directions).double())
    for name in ("yaw", "jaw"):
        assert correlation(found[:, atlas.names.index(name)], made.motion[:, MOTION.index(name)]) > 0.9, name


def test_frames_move_and_keep_the_person(demo: Pipeline) -> None:
    frames = np.stack(list(demo(example("portrait"), example("speech")).frames())).astype(np.float32)
    steps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    assert 0.1 < steps.mean() < 10
    corner = frames[:, :8, :8].reshape(len(frames), -1)
    assert corner.std(0).max() < 8, "the background is static"
