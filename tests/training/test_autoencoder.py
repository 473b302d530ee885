"""Stage 1: pairs, losses, resumed training, and exported weights for inference."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from float_research import compose
from float_research.errors import UserError
from float_research.models.checkpoint import Random, Stages, load_model, parameter_shapes
from float_research.models.float_model import FloatModel
from float_research.training import normalisation
from float_research.training.autoencoder import AutoencoderObjective
from float_research.training.callbacks import update_average
from float_research.training.growth import carry_over
from float_research.training.losses import flow_l1, gradient_l1, multiscale_l1, psnr_db, velocity_l1, weighted_l1
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey, Terms
from float_research.training.portraits import ToyPortraits

CPU = torch.device("cpu")
STEPS = 4


def settings(folder: Path, *overrides: str) -> list[str]:
    small = ["model=tiny", "num_validation=1", "stage.warmup_steps=2", "stage.batch_size=4"]
    trainer = {"accelerator": "cpu", "max_steps": STEPS, "val_check_interval": STEPS, "enable_progress_bar": False}
    return [*small, *(f"trainer.{key}={value}" for key, value in trainer.items()), f"output_dir={folder}", *overrides]


def trained(folder: Path, *overrides: str) -> dict[str, Tensor]:
    cfg = compose.compose_config(settings(folder, "checkpoint_every=2", *overrides), "train")
    return load_file(compose.build_training(cfg).run(Console(quiet=True)))


@pytest.fixture(autouse=True)
def _folded_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses few batches for the encoder's statistics, to save time."""
    monkeypatch.setattr(normalisation, "NUM_BATCHES", 2)


@pytest.fixture(scope="module")
def portraits() -> ToyPortraits:
    return ToyPortraits(
        size_px=32, batch_size=4, swapped=0.5, source_spread=0.6, detailed=False, compiled=False, seed=1
    )


def test_pairs_show_one_person_in_anothers_motion(portraits: ToyPortraits) -> None:
    pairs = portraits(BatchKey(TRAINING, 3), CPU)
    torch.testing.assert_close(pairs.driving[pairs.num_swapped :], pairs.target[pairs.num_swapped :])
    assert (pairs.driving - pairs.target)[: pairs.num_swapped].abs().mean() > 0.05
    torch.testing.assert_close(portraits(BatchKey(TRAINING, 3), CPU).source, pairs.source)
    for other in (portraits(BatchKey(TRAINING, 4), CPU), portraits(BatchKey(HELD_OUT, 3), CPU)):
        assert (other.source - pairs.source).abs().mean() > 0.05


def test_losses_match_their_formulas() -> None:
    a, b = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    b[0, 0, :, 2:] = 1.0
    weight = torch.ones_like(b)
    assert weighted_l1(a, b, 3 * weight) == 1.5
    assert gradient_l1(a, b, weight) == pytest.approx(1 / 3), "one edge in three differences along x, none along y"
    assert multiscale_l1([a[..., ::2, ::2], a], b) == 0.5
    assert velocity_l1(torch.tensor([[[0.0], [2.0], [2.0]]]), torch.zeros(1, 3, 1)) == 1.0
    assert psnr_db(a, 0.2 * weight)[0] == pytest.approx(20.0)
    assert psnr_db(a, 0.2 * b, weight * (b == 0) + 1e-12)[0] > 60, "only weighted pixels count"


def test_flow_loss_is_zero_for_the_truth_and_ignores_invalid_pixels() -> None:
    x = torch.linspace(-1, 1, 8)
    base = torch.stack(torch.meshgrid(x, x, indexing="xy"), dim=-1)[None]
    grid = base + 0.25
    seen = torch.ones(1, 1, 8, 8)
    assert flow_l1([torch.full((1, 2, 8, 8), 0.25)], grid, seen) < 1e-6
    assert flow_l1([torch.zeros(1, 2, 8, 8)], grid, seen) == pytest.approx(0.25)
    assert flow_l1([torch.zeros(1, 2, 8, 8)], grid, 0 * seen) == 0


def test_training_lowers_the_loss_and_only_trains_its_network(tmp_path: Path) -> None:
    cfg = compose.compose_config(settings(tmp_path), "train")
    job = compose.build_training(cfg)
    objective = job.objective
    assert isinstance(objective, AutoencoderObjective)
    model = compose.model_builder(cfg)()
    objective.prepare(model)
    optimizer = torch.optim.Adam(model.motion_autoencoder.parameters(), lr=0.01)
    totals = []
    for _ in range(12):
        terms = objective.losses(model, BatchKey(TRAINING, 0), CPU)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]
    assert all(parameter.grad is None for parameter in model.fmt.parameters())


def test_a_resumed_training_matches_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole")

    losses, made, until = AutoencoderObjective.losses, [], STEPS - 1

    def counted(self: AutoencoderObjective, model: FloatModel, batch: BatchKey, *rest: Any) -> Terms:
        if batch.stream == TRAINING:
            if batch.number == until:
                raise RuntimeError("power cut")
            made.append(batch.number)
        return losses(self, model, batch, *rest)

    monkeypatch.setattr(AutoencoderObjective, "losses", counted)
    with pytest.raises(RuntimeError, match="power cut"):
        trained(tmp_path / "parts")
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    until = STEPS
    parts = trained(tmp_path / "parts")
    assert made == [0, 1, 2, 2, 3], "from the checkpoint after two steps"
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-6, msg=name)


def test_exported_weights_are_averaged_and_load_for_inference(tmp_path: Path) -> None:
    average = trained(tmp_path / "average", "average_decay=0.5", "stage.warmup_steps=1")
    last = trained(tmp_path / "last", "average_decay=0", "stage.warmup_steps=1")
    name = "motion_autoencoder.dec.to_rgbs.0.conv.0.weight"
    assert (average[name] - last[name]).abs().max() > 1e-5
    build = compose.model_builder(compose.compose_config(["model=tiny"]))
    with torch.device("meta"):
        shapes = parameter_shapes(build())
    assert set(average) == {key for key in shapes if key.startswith("motion_autoencoder.")}
    with pytest.raises(UserError, match=r"missing: audio_encoder"):
        load_model(build, Stages(weights=[str(tmp_path / "average" / "weights.safetensors")]))

    rest = tmp_path / "rest.safetensors"
    save_file(Random(seed=0).tensors(shapes), rest)
    files = [str(rest), str(tmp_path / "average" / "weights.safetensors")]
    model = load_model(build, Stages(weights=files))
    torch.testing.assert_close(model.state_dict()[name], average[name])


def test_the_averages_decay_rises_to_its_limit() -> None:
    average, counter = torch.zeros(1), torch.tensor(0)
    for n in range(60):
        average = update_average(average, torch.ones(1), torch.tensor(n), decay=0.9)
        counter = update_average(counter, torch.tensor(n), torch.tensor(n), decay=0.9)
    assert average > 1 - 0.9**60, "faster than with the full decay"
    assert counter == 59
    assert update_average(torch.zeros(1), torch.ones(1), torch.tensor(10_000), decay=0.9) == pytest.approx(0.1)


def test_previews_and_curves_are_written(tmp_path: Path) -> None:
    trained(tmp_path)
    assert [path.name for path in (tmp_path / "previews").iterdir()] == [f"{STEPS:07d}.png"]
    curves = (tmp_path / "curves" / "version_0" / "metrics.csv").read_text()
    assert "held_out/psnr_same_db" in curves.splitlines()[0]


def test_the_progress_bar_counts_all_steps_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for steps in (2, STEPS):
        given = ["trainer.enable_progress_bar=true", f"trainer.max_steps={steps}", "trainer.val_check_interval=2"]
        cfg = compose.compose_config(settings(tmp_path, "checkpoint_every=2", *given), "train")
        compose.build_training(cfg).run(Console(quiet=True, force_terminal=True))
        shown = capsys.readouterr()
        bar = (shown.out + shown.err).split("\r")
        assert any("training: 100%" in line and f"{steps}/{steps}" in line for line in bar), bar[-3:]
        assert not any("v_num" in line or "Epoch" in line for line in bar)


def test_a_larger_model_copies_shared_weights_of_a_smaller_one() -> None:
    base = ["model=tiny", "model.motion_autoencoder.channels={4: 8, 8: 8, 16: 8, 32: 8, 64: 8}"]
    configs = [compose.compose_config([*base, f"model.motion_autoencoder.image_size={size}"]) for size in (32, 64)]
    sizes = [compose.model_builder(cfg)() for cfg in configs]
    small, large = (model.motion_autoencoder for model in sizes)
    taken, fresh = carry_over(sizes[0].state_dict(), sizes[1], "small.safetensors")
    assert "motion_autoencoder.dec.to_flows.1.conv.weight" in taken
    assert fresh > 0
    torch.testing.assert_close(large.enc.net_app.convs[2].conv1[0].weight, small.enc.net_app.convs[1].conv1[0].weight)
    torch.testing.assert_close(large.enc.net_app.convs[-1].weight, small.enc.net_app.convs[-1].weight)
    torch.testing.assert_close(large.dec.to_flows[1].conv.weight, small.dec.to_flows[1].conv.weight)
    torch.testing.assert_close(large.enc.net_app.convs[0][0].weight, small.enc.net_app.convs[0][0].weight)
    assert "motion_autoencoder.enc.net_app.convs.1.conv2.1.weight" in taken
    image = torch.nn.functional.interpolate(torch.randn(8, 3, 8, 8), size=32, mode="bicubic")
    wider = torch.nn.functional.interpolate(image, size=64, mode="bilinear")
    with torch.no_grad():
        latents = [small.encode(image)[0], large.encode(wider)[0]]
    assert torch.corrcoef(torch.stack(latents).flatten(1))[0, 1] > 0.9, "the new block passes its input on"
    with pytest.raises(UserError, match="no weight that fits"):
        carry_over({"other.weight": torch.zeros(1)}, sizes[1], "other.safetensors")
    complex_weights = {name: value.to(torch.complex64) for name, value in sizes[1].state_dict().items()}
    with pytest.raises(UserError, match="no weight that fits"):
        carry_over(complex_weights, sizes[1], "other.safetensors")


def test_a_wider_model_computes_what_the_narrower_one_did() -> None:
    base = ["model=tiny", "model.motion_autoencoder.image_size=32"]
    channels = ["{4: 8, 8: 8, 16: 6, 32: 4}", "{4: 8, 8: 8, 16: 8, 32: 7}"]
    configs = [compose.compose_config([*base, f"model.motion_autoencoder.channels={table}"]) for table in channels]
    narrow, wide = (compose.model_builder(cfg)() for cfg in configs)
    taken, _ = carry_over(narrow.state_dict(), wide, "narrow.safetensors")
    assert {name for name in parameter_shapes(narrow) if name.startswith("motion_autoencoder.")} <= taken
    image, motion = torch.randn(2, 3, 32, 32), torch.randn(2, narrow.motion_autoencoder.latent_dim)
    made = []
    with torch.no_grad():
        for model in (narrow.motion_autoencoder, wide.motion_autoencoder):
            identity, features = model.encode(image)
            made.append((identity, model.decode(features, identity + motion)))
    torch.testing.assert_close(made[1], made[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stage", "prefix"), [("motion", "motion_autoencoder.enc."), ("reader", "reader.")])
def test_motion_stages_export_weights_for_the_next_stage(stage: str, prefix: str, tmp_path: Path) -> None:
    weights = trained(tmp_path, f"stage={stage}")
    assert all(name.startswith(prefix) for name in weights)
    assert not any(".norm." in name for name in weights if stage == "motion")
    curves = (tmp_path / "curves" / "version_0" / "metrics.csv").read_text()
    assert "held_out/r2_jaw" in curves.splitlines()[0]
    if stage == "motion":
        after = trained(tmp_path / "after", f"init_from=[{tmp_path / 'weights.safetensors'}]")
        assert set(weights) < set(after)


def test_frozen_weights_do_not_change(tmp_path: Path) -> None:
    before = trained(tmp_path / "before")
    settings = [f"init_from=[{tmp_path / 'before' / 'weights.safetensors'}]", "frozen=[motion_autoencoder.dec.]"]
    after = trained(tmp_path / "after", *settings)
    moved = {name.split(".")[1] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"enc"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["average_decay=1.5"], "must be in"),
        (["frozen=[decoder]"], "matches no parameter; this stage trains motion_autoencoder."),
        (["init_from=[nowhere.safetensors]"], "nowhere.safetensors does not exist"),
    ],
)
def test_invalid_settings_are_rejected_before_training(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trained(tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()
