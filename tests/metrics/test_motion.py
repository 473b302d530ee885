"""Motion metrics with known results."""

import math

import numpy as np
import pytest
import torch
from subjects import subject, track

from float_research.errors import UserError
from float_research.metrics.diversity import diversity
from float_research.metrics.motion import Motion


def test_a_straight_line_only_has_velocity() -> None:
    motion = torch.arange(100.0)[:, None] * torch.tensor([0.03, 0.0, 0.04, 0.0])
    found = Motion().measure(subject(), track(motion))
    assert found.metrics["motion_velocity"] == pytest.approx(0.05 * 25)
    assert found.metrics["motion_acceleration"] == pytest.approx(0, abs=1e-3)
    assert found.metrics["motion_jerk"] == pytest.approx(0, abs=0.1)
    assert found.metrics["motion_amplitude"] == pytest.approx(0.05 * math.sqrt((100**2 - 1) / 12), rel=1e-5)
    assert found.metrics["seam_jump"] == pytest.approx(1, rel=1e-3)
    assert found.metrics["off_directions"] == pytest.approx(0.8), "the directions span the first of (3, 4)"
    assert np.isnan(found.traces["motion_velocity"][0])
    assert found.traces["motion_velocity"][1:] == pytest.approx(1.25, rel=1e-3)


def test_a_sine_has_its_derivatives() -> None:
    """`sin(ω t)` along one axis: mean |cos| is 2/π, so the means are 2/π times ω, ω², ω³ in units of seconds."""
    omega = 2 * math.pi * 0.5
    motion = torch.zeros(1000, 4, dtype=torch.float64)
    motion[:, 0] = torch.sin(omega * torch.arange(1000, dtype=torch.float64) / 25)
    found = Motion().measure(subject(1000), track(motion)).metrics
    for order, name in enumerate(("motion_velocity", "motion_acceleration", "motion_jerk"), 1):
        assert found[name] == pytest.approx(2 / math.pi * omega**order, rel=0.01)
    assert found["motion_amplitude"] == pytest.approx(1 / math.sqrt(2), rel=1e-3)


def test_a_planted_seam_is_found() -> None:
    motion = torch.arange(150.0)[:, None].expand(-1, 4).clone()
    motion[50:] += 6.0
    assert Motion().measure(subject(150), track(motion)).metrics["seam_jump"] == pytest.approx((7 + 1) / 2)
    assert Motion().measure(subject(150), track(motion, window=40)).metrics["seam_jump"] == pytest.approx(1)


def test_a_looped_coordinate_is_found_among_fresh_ones() -> None:
    """What repeats after two of ten windows has an autocorrelation of 0.8 there; noise stays far below."""
    motion = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    assert Motion().measure(subject(500), track(motion)).metrics["repetition"] < 0.3
    motion[:, 2] = 3 + motion[:100, 2].repeat(5)
    assert Motion().measure(subject(500), track(motion)).metrics["repetition"] == pytest.approx(0.8, abs=1e-3)
    motion[:, 2] = 1e-3 * motion[:, 2]
    assert Motion().measure(subject(500), track(motion)).metrics["repetition"] < 0.3, "too small to be seen"


def test_a_frozen_motion_is_zero_and_has_no_seams() -> None:
    found = Motion().measure(subject(), track(torch.zeros(100, 4)))
    assert [found.metrics[name] for name in ("motion_amplitude", "motion_velocity", "motion_jerk")] == [0, 0, 0]
    assert found.absent == dict.fromkeys(("seam_jump", "repetition", "off_directions"), "the motion is constant")


def test_clips_that_are_too_short_have_absent_metrics() -> None:
    found = Motion().measure(subject(2), track(torch.rand(2, 4)))
    assert set(found.absent) == {"motion_acceleration", "motion_jerk", "seam_jump", "repetition"}
    assert "needs more than 3 frames, and the clip has 2" in found.absent["motion_jerk"]
    assert found.absent["seam_jump"] == "the clip is one window"


def test_traces_are_coordinates_windows_and_emotion() -> None:
    motion = torch.rand(100, 4)
    traces = Motion().measure(subject(), track(motion)).traces
    assert traces["direction_00"] == pytest.approx(motion[:, 0].numpy())
    assert traces["direction_01"] == pytest.approx(motion[:, 1].numpy())
    assert "direction_02" not in traces
    assert traces["window"].tolist() == [0] * 50 + [1] * 50
    assert set(traces["emotion_sad"]) == {0.25}


def test_diversity_is_zero_for_equal_and_root_two_for_unrelated_motions() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two, three = (5 + torch.randn(500, 8, generator=generator) for _ in range(3))
    assert diversity([one, one]) == 0
    assert diversity([one, two, three]) == pytest.approx(math.sqrt(2), rel=0.05)
    assert diversity([one, one + 0.01 * (two - 5)]) == pytest.approx(0.01, rel=0.1)
    with pytest.raises(UserError, match="at least two motions of one shape, not 1"):
        diversity([one])
    with pytest.raises(UserError, match=r"\(10, 8\)"):
        diversity([one, one[:10]])
