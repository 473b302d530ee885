"""Trials of all stages (`debug=true`), and what their loggers, previews and checkpoints hold."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pandas as pd
import pytest
import torch
import wandb
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tracking.test_wandb import described

from float_research import compose
from float_research.errors import UserError
from float_research.toyface.recordings import write_trial_corpus
from float_research.training import flow, normalisation, reading
from float_research.training.checkpoints import read_checkpoint
from float_research.training.previews import Film, confusion

LOGGERS = ["logger=[csv,tensorboard,wandb]", "logger.wandb.mode=offline"]
CURVES = {
    "autoencoder": {"psnr_db", "ssim", "psnr_swapped_db"},
    "emotion": {"emotion_accuracy"},
    "flow": {"sampling_error_4", "sampling_error_10", "lip_correlation", "jaw_correlation", "motion_spread"},
    "motion": {"r2", "r2_jaw"},
    "phones": {"phone_accuracy"},
    "reader": {"r2", "r2_jaw"},
}


@pytest.fixture(scope="module", autouse=True)
def _fewer_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "HELD_OUT_BATCH", 4)
        patch.setattr(normalisation, "NUM_BATCHES", 2)
        patch.setattr(flow, "SHOWN_S", 0.4)
        yield


def trial(folder: Path, *overrides: str, console: Console | None = None) -> Path:
    settings = ["debug=true", f"output_dir={folder}", "trainer.accelerator=cpu", *overrides]
    cfg = compose.compose_config(settings, "train")
    compose.build_training(cfg).run(console or Console(quiet=True))
    return folder


@pytest.mark.parametrize("stage", CURVES)
def test_each_stage_has_curves_previews_and_a_best_checkpoint(stage: str, tmp_path: Path) -> None:
    trial(tmp_path, f"experiment=demo_{stage}", *LOGGERS)
    wandb.finish()
    wanted = {f"held_out/{name}" for name in {"loss", *CURVES[stage]}}
    numbers = pd.read_csv(tmp_path / "curves" / "version_0" / "metrics.csv")
    assert wanted | {"loss"} <= set(numbers.columns)
    assert any(name.startswith("lr-") for name in numbers.columns)
    losses = numbers["held_out/loss"].dropna()
    assert len(losses) == 2

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert wanted <= set(events.Tags()["scalars"])
    assert "hp_metric" not in events.Tags()["scalars"]
    assert [point.value for point in events.Scalars("held_out/loss")] == pytest.approx(losses.tolist())
    shown = events.Images("preview")
    assert [image.step for image in shown] == [2, 4]
    assert shown[0].encoded_image_string.startswith(b"GIF89a" if stage == "flow" else b"\x89PNG")

    (place,) = tmp_path.glob("wandb/offline-run-*")
    logged = described(place)
    assert (logged["kind"], logged["name"]) == ("train", f"{stage} {tmp_path.name}".replace("phones", "phone"))
    history = logged["history"]
    assert [row["held_out/loss"] for row in history if "held_out/loss" in row] == pytest.approx(losses.tolist())
    previews = sorted((tmp_path / "previews").iterdir())
    assert [path.stem for path in previews] == ["0000002", "0000004"]
    copied = [path for path in place.glob("files/media/*/*") if path.is_file()]
    assert {path.read_bytes() for path in copied} == {path.read_bytes() for path in previews}

    best = read_checkpoint(tmp_path / "best.ckpt", "")
    assert best["global_step"] == [2, 4][int(losses.argmin())]
    assert read_checkpoint(tmp_path / "last.ckpt", "")["global_step"] == 4
    exported = load_file(tmp_path / "best.safetensors")
    assert exported.keys() == load_file(tmp_path / "weights.safetensors").keys()


def test_a_short_training_leaves_a_last_checkpoint_and_continues(tmp_path: Path) -> None:
    small = ["stage=emotion", "stage.warmup_steps=0", "stage.optimizer.lr=0.0001", "logger=none"]
    whole = trial(tmp_path / "whole", *small, "trainer.max_steps=5")
    part = trial(tmp_path / "part", *small, "checkpoint_every=500", "trainer.max_steps=3")
    first = read_checkpoint(part / "last.ckpt", "")
    assert first["global_step"] == 3
    assert "current_model_state" in first, "the weights and their average"
    trial(part, *small, "checkpoint_every=500", "trainer.max_steps=5")
    assert read_checkpoint(part / "last.ckpt", "")["global_step"] == 5
    assert sorted(path.stem for path in (part / "previews").iterdir()) == ["0000002", "0000004"], "as uninterrupted"
    assert (whole / "weights.safetensors").is_file()
    assert not (part / "curves").exists(), "logger=none writes no curves"


def test_training_stops_early_if_the_loss_does_not_fall(tmp_path: Path) -> None:
    stopping = ["callbacks=[checkpoints,early_stopping]", "callbacks.early_stopping.patience=1"]
    more = ["callbacks.early_stopping.min_delta=1000", "trainer.max_steps=20"]
    trial(tmp_path, "stage=emotion", *stopping, *more)
    assert read_checkpoint(tmp_path / "last.ckpt", "")["global_step"] == 4


def test_piped_output_has_a_line_for_each_validation(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    trial(tmp_path, "stage=emotion", "callbacks=none", console=console)
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition(":")[0] for line in said] == ["step 2", "step 4", "weights"]
    assert not list(tmp_path.glob("*.ckpt")), "callbacks=none"


def test_missing_data_is_found_before_the_model_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from float_research.training.job import TrainingJob

    monkeypatch.setattr(TrainingJob, "_model", pytest.fail)
    for stage in ("phones", "emotion", "flow"):
        with pytest.raises(UserError, match=r"none has no corpus\.jsonl; generate it with python scripts/make_speech"):
            trial(tmp_path / "run", f"stage={stage}", f"data.corpus={tmp_path / 'none'}")
    write_trial_corpus(tmp_path / "half")
    index = tmp_path / "half" / "corpus.jsonl"
    index.write_text("\n".join(line for line in index.read_text().splitlines() if '"train"' in line))
    with pytest.raises(UserError, match=r"half has no utterances of the split held_out; generate"):
        trial(tmp_path / "run", "stage=flow", f"data.corpus={tmp_path / 'half'}")
    with pytest.raises(UserError, match=r"data\.folder=.*nowhere is not a folder"):
        trial(tmp_path / "run", "stage=flow", "data=video_folder", f"data.folder={tmp_path / 'nowhere'}")
    assert not (tmp_path / "run").exists()


def test_a_logger_of_finished_runs_is_refused(tmp_path: Path) -> None:
    told = "+logger.mine={_target_: builtins.dict}"
    with pytest.raises(UserError, match=r"logger=mine does not follow trainings; choose csv"):
        trial(tmp_path, "stage=emotion", told)


def test_debug_may_be_switched_off_and_its_settings_changed() -> None:
    cfg = compose.compose_config(["experiment=demo_flow", "debug=false", "output_dir=out"], "train")
    assert (cfg.trainer.max_steps, cfg.data.corpus) == (15500, "outputs/corpus")
    cfg = compose.compose_config(["debug=true", "trainer.max_steps=7", "model=demo", "output_dir=out"], "train")
    assert (cfg.trainer.max_steps, cfg.data.corpus, cfg.init_from) == (7, "out/corpus", [])
    assert cfg.model.fmt.width == compose.compose_config(["output_dir=out"], "train").model.fmt.width


def test_a_film_shows_two_heads_above_curves(tmp_path: Path) -> None:
    heads = {"left": torch.full((5, 3, 32, 32), -1.0), "right": torch.full((5, 3, 32, 32), 1.0)}
    speech = torch.zeros(16000 // 5).numpy()
    film = Film(heads=heads, curves={"jaw": torch.linspace(0, 1, 5)}, waveform=speech, rate_hz=16000, fps=25.0)
    film.write(tmp_path / "film.mp4")
    video = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    shown, frame = video.read()
    assert shown
    assert frame.shape == (64, 64, 3)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert frame[20:40, 4:28].mean() < 20
    assert frame[20:40, 36:60].mean() > 235


def test_confusions_are_counted_by_row() -> None:
    found = confusion(["a", "b", "c"], torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2]))
    assert found.counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_the_help_names_what_a_training_takes() -> None:
    command = [sys.executable, "scripts/train.py", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    for group, option in {
        "data": "video_folder", "logger": "wandb", "callbacks": "early_stopping", "experiment": "demo_flow",
    }.items():  # fmt: skip
        assert re.search(rf"^ +{group}: .*\b{option}\b", said, re.MULTILINE), group
