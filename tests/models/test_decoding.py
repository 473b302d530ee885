"""Engines against the plain modules."""

import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from float_research.models import decoding, engine
from float_research.models.decoding import Batched, Framewise
from float_research.models.engine import Engine, doubled, gathered, phase_weight, table
from float_research.models.float_model import FloatModel
from float_research.models.layers import Upsample, UpsamplingModulatedConv2d
from float_research.models.motion_autoencoder import MotionAutoencoder, warp
from float_research.types import UserError

Case = tuple[MotionAutoencoder, Sequence[Tensor], Tensor]


@pytest.fixture
def case(model: FloatModel) -> Case:
    """An auto-encoder, the features of an image and latents of seven frames."""
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        image = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
        identity, features = model.motion_autoencoder.encode(image)
        return model.motion_autoencoder, features, identity + torch.randn(7, 32, generator=generator)


def psnr_db(a: Tensor, b: Tensor) -> float:
    """Of frames in [-1, 1]."""
    return float(10 * torch.log10(4 / (a.clamp(-1, 1) - b.clamp(-1, 1)).square().mean()))


@torch.inference_mode()
@pytest.mark.parametrize("at_most", [1, 3, 7])
@pytest.mark.parametrize("fused", [True, False])
def test_the_engine_decodes_as_the_modules_do(
    at_most: int, fused: bool, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(engine, "FUSED", "not there")
    autoencoder, features, latents = case
    frames = torch.cat(list(Engine(autoencoder.dec, torch.float32).frames(features, latents, at_most)))
    wanted = autoencoder.decode(features, latents)
    assert (frames - wanted).norm() / wanted.norm() < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize(("precision", "least_db"), [("bfloat16", 38), ("float16", 50)])
def test_reduced_precision_stays_near(precision: str, least_db: float, case: Case) -> None:
    autoencoder, features, latents = case
    frames = Engine(autoencoder.dec, decoding.PRECISIONS[precision]).frames(features, latents, 4)
    assert psnr_db(torch.cat(list(frames)), autoencoder.decode(features, latents)) > least_db


@torch.inference_mode()
def test_frames_do_not_depend_on_their_batch_or_engine(case: Case) -> None:
    engines = [Framewise(), *(Batched(frames_per_batch=n, precision=None) for n in (1, 3, 16))]
    one, *others = (torch.cat(list(decode(*case))).int() for decode in engines)
    assert one.shape == (7, 64, 64, 3)
    for other in others:
        assert (other - one).abs().max() <= 1


@torch.inference_mode()
def test_the_trainers_precision_is_the_default(case: Case) -> None:
    def frames(precision: str | None) -> Tensor:
        return torch.cat(list(Batched(frames_per_batch=4, precision=precision)(*case)))

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frames(None), frames("bfloat16"))
        assert not torch.equal(frames("float32"), frames("bfloat16"))
    assert torch.equal(frames(None), frames("float32"))


@torch.inference_mode()
def test_64_bits_are_computed_by_the_modules(case: Case) -> None:
    autoencoder, features, latents = case
    double = copy.deepcopy(autoencoder).double()
    wide = [feature.double() for feature in features], latents.double()
    frames = torch.cat(list(Batched(frames_per_batch=3, precision=None)(double, *wide)))
    assert torch.equal(frames, decoding.to_uint8(double.decode(*wide)))
    assert double not in decoding._engines


@torch.inference_mode()
def test_another_default_type_changes_nothing(case: Case) -> None:
    decode = Batched(frames_per_batch=3, precision="float32")
    wanted = torch.cat(list(decode(*case)))
    decoding._engines.pop(case[0])
    torch.set_default_dtype(torch.float64)  # as Lightning does for trainer.precision=64-true
    try:
        assert torch.equal(torch.cat(list(decode(*case))), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


@torch.inference_mode()
def test_a_model_is_prepared_once_for_each_precision(case: Case) -> None:
    engines = decoding._engines
    engines.pop(case[0], None)
    for precision in (None, None, "bfloat16", "float32"):
        list(Batched(frames_per_batch=4, precision=precision)(*case))
    assert list(engines[case[0]]) == [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)]


@torch.inference_mode()
@pytest.mark.parametrize("what", [float("nan"), 1e30])
def test_an_overflow_is_told_and_not_written(what: float, case: Case) -> None:
    autoencoder, features, latents = case
    latents = latents.index_fill(0, torch.tensor([5]), what)
    with pytest.raises(UserError, match=r"float16 gave values that are not finite; use decoding\.precision=float32"):
        list(Batched(frames_per_batch=1, precision="float16")(autoencoder, features, latents))


@torch.inference_mode()
def test_phases_are_the_blurred_transposed_convolution() -> None:
    conv = UpsamplingModulatedConv2d(3, 5, 3, 4, demodulate=False)
    weight, x = torch.randn(5, 3, 3, 3), torch.randn(1, 3, 6, 6)
    phases = torch.nn.functional.conv2d(x, phase_weight(weight, conv.blur.kernel), padding=1)
    assert torch.allclose(engine.from_phases(phases), conv.convolve(x, weight), atol=1e-4)


def test_doubling_is_the_filtered_upsampling() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(doubled(x), Upsample()(x), atol=1e-5)


def test_gathering_is_masked_warping_also_beyond_the_edges() -> None:
    feature, mask = torch.randn(1, 5, 16, 16), torch.rand(3, 1, 16, 16)
    flow = torch.randn(3, 2, 16, 16) * torch.tensor([0.05, 1.0, 40.0])[:, None, None, None]
    assert torch.allclose(gathered(table(feature), flow, mask), warp(feature, flow) * mask, atol=1e-4)


def test_bad_settings_are_refused() -> None:
    good = Batched(frames_per_batch=4, precision=None)
    with pytest.raises(UserError, match="frames_per_batch=0"):
        dataclasses.replace(good, frames_per_batch=0)
    with pytest.raises(UserError, match=r"decoding\.precision=half is unknown; choose float32, bfloat16, float16 or"):
        dataclasses.replace(good, precision="half")
