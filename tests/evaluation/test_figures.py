"""Figures with known answers."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from float_research import compose, studies
from float_research.errors import UserError
from float_research.evaluation.figure import Figure, table
from float_research.evaluation.portraits import ssim
from float_research.evaluation.speaking import best_lag, correlation, expected_jaw, least_gain, seam_ratio
from float_research.toyface.reader import MotionReader
from float_research.toyface.recordings import recordings


def test_a_figure_knows_whether_its_goal_is_reached() -> None:
    assert Figure(name="a", value=2.0, goal=("≥", 2)).reached is True
    assert Figure(name="a", value=2.1, goal=("≤", 2)).reached is False
    assert Figure(name="a", value=float("nan"), goal=("≤", 2)).reached is False
    assert Figure(name="a", value=2.0).reached is None
    absent = Figure(name="b", value=None, goal=("≥", 1), absent="no speech")
    assert absent.reached is None
    console = Console(record=True, width=80, quiet=False)
    console.print(table("t", [absent]))
    assert "no speech" in console.export_text()


def test_correlation_finds_the_lag_that_was_planted() -> None:
    signal = torch.randn(200, generator=torch.Generator().manual_seed(0))
    late = torch.cat([torch.zeros(3), signal])[:200]
    assert correlation(signal, signal) == pytest.approx(1)
    assert abs(correlation(late, signal)) < 0.2
    assert correlation(late, signal, 3) > 0.99
    assert best_lag([(late, signal), (late, signal)]) == 3
    assert best_lag([(signal, late)]) == -3
    assert correlation(torch.zeros(10), signal) == 0, "nothing moves, nothing correlates"


def test_gains_and_seams() -> None:
    assert least_gain([1.0, 3.0, 3.5]) == 0.5
    assert least_gain([1.0, 3.0, 2.5]) < 0
    motion = torch.arange(100.0)[:, None].expand(-1, 4).clone()
    assert seam_ratio(motion, 25) == pytest.approx(1)
    motion[50:] += 6.0
    assert seam_ratio(motion, 50) == pytest.approx(7)


def test_the_expected_jaw_is_closed_in_silence_and_opens_in_speech() -> None:
    speech = recordings()[0]
    jaw = expected_jaw(speech, 100, 25.0)
    assert jaw[:3].max() < 0.05
    assert jaw.max() > 0.4


def test_ssim_is_one_for_the_same_image_only() -> None:
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(ssim(image, image), torch.ones(2))
    assert ssim(image, -image).max() < 0.1


def test_an_evaluation_runs_and_writes_what_it_found(tmp_path: Path) -> None:
    save_file(MotionReader().state_dict(), tmp_path / "reader.safetensors")
    small = '["model=tiny","checkpoint=random","trainer.accelerator=cpu"]'
    settings = [f"reader={tmp_path / 'reader.safetensors'}", f"output={tmp_path / 'out.json'}", f"overrides={small}"]
    cfg = compose.compose_config([*settings, "subjects=[portraits]", "num_pairs=4"], "evaluate_demo")
    console = Console(record=True, width=120, quiet=False)
    assert studies.build_evaluation(cfg).run(console) is False, "random weights reach nothing"
    assert "R² of jaw" in console.export_text()
    assert '"reached": false' in (tmp_path / "out.json").read_text()
    cfg.subjects = ["portrait"]
    with pytest.raises(UserError, match="choose from portraits, speaking, motion, solvers"):
        studies.build_evaluation(cfg)
