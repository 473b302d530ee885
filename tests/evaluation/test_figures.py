"""Figures with known answers."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from float_research import compose, studies
from float_research.data.examples import asset
from float_research.errors import UserError
from float_research.evaluation import landmarks
from float_research.evaluation.figure import Figure, table
from float_research.evaluation.landmarks import agreement
from float_research.evaluation.portraits import ssim
from float_research.evaluation.speaking import best_lag, correlation, expected_jaw, least_gain, seam_ratio
from float_research.toyface.reader import MotionReader, load_reader
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
    with pytest.raises(UserError, match="choose from portraits, landmarks, speaking, motion, solvers"):
        studies.build_evaluation(cfg)


def test_landmarks_and_the_toy_reader_agree_on_a_drawn_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "NUM_HEADS", 1)
    torch.manual_seed(0)
    with torch.inference_mode():
        good, untrained = (
            list(agreement(reader)) for reader in (load_reader(Path(asset("demo/reader.safetensors"))), MotionReader())
        )
        monkeypatch.setattr(landmarks, "drawn", lambda person, motion, size_px: torch.zeros(len(motion), 3, 64, 64))
        unseen = list(agreement(MotionReader()))
    values = {figure.name: figure.value for figure in good}
    assert len(values) == 6
    assert all(value is not None and value > 0.85 for value in values.values())
    assert untrained[1].value is not None
    assert untrained[1].value < 0.85
    assert unseen[0].value == 0
    assert [unseen[1].value, unseen[1].absent] == [None, "landmarks read no head"]
