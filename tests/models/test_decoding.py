"""Decoder engines compared with the plain modules."""

import copy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.models import decoder_engine, decoding
from float_research.models import precision as precisions
from float_research.models.decoder_engine import Engine, phase_weight
from float_research.models.decoding import Batched, Framewise
from float_research.models.float_model import FloatModel
from float_research.models.layers import Upsample, UpsamplingModulatedConv2d
from float_research.models.motion_autoencoder import MotionAutoencoder, warp
from float_research.models.warping import masked_warp, table, upsample_2x

BATCHED = Batched(frames_per_batch=4, memory_mb=1000, precision=None)
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
    """Peak signal-to-noise ratio of frames in [-1, 1]."""
    return float(10 * torch.log10(4 / (a.clamp(-1, 1) - b.clamp(-1, 1)).square().mean()))


@torch.inference_mode()
@pytest.mark.parametrize(("at_most", "memory"), [(1, 1 << 30), (3, 1 << 30), (7, 1 << 30), (7, 1 << 20), (7, 1)])
@pytest.mark.parametrize("fused", [True, False])
def test_the_engine_matches_the_modules(
    at_most: int, memory: int, fused: bool, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(precisions, "FUSED", "not there")
    autoencoder, features, latents = case
    frames = torch.cat(
        list(Engine(autoencoder.dec, torch.float32).frames(features, latents, at_most=at_most, memory_bytes=memory))
    )
    wanted = autoencoder.decode(features, latents)
    assert (frames - wanted).norm() / wanted.norm() < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 3, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_row_bands_match_whole_frames(
    rows: int, dtype: torch.dtype, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    autoencoder, features, latents = case
    engine = Engine(autoencoder.dec, dtype)
    whole = torch.cat(list(engine.frames(features, latents[:2], at_most=2, memory_bytes=1 << 30)))
    seen: list[int] = []
    bands = decoder_engine.bands

    def counted(x: Tensor) -> Iterator[tuple[Tensor, slice]]:
        monkeypatch.setattr(decoder_engine, "CACHE_BYTES", rows * x[:, :, 0].nbytes)
        for part, own in bands(x):
            seen.append(own.stop - own.start)
            yield part, own

    monkeypatch.setattr(decoder_engine, "bands", counted)
    frames = torch.cat(list(engine.frames(features, latents[:2], at_most=2, memory_bytes=1 << 30)))
    assert sum(seen) == 64
    assert max(seen) == 2 * rows
    assert torch.allclose(frames, whole, atol=1e-5 if dtype == torch.float32 else 0.02)


@torch.inference_mode()
@pytest.mark.parametrize(("precision", "least_db"), [("bfloat16", 38), ("float16", 50)])
def test_reduced_precision_is_close(precision: str, least_db: float, case: Case) -> None:
    autoencoder, features, latents = case
    engine = Engine(autoencoder.dec, decoding.PRECISIONS[precision])
    frames = engine.frames(features, latents, at_most=4, memory_bytes=1 << 30)
    assert psnr_db(torch.cat(list(frames)), autoencoder.decode(features, latents)) > least_db


@torch.inference_mode()
def test_frames_do_not_depend_on_their_batch_or_engine(case: Case) -> None:
    engines = [Framewise(), *(replace(BATCHED, frames_per_batch=n, precision=None) for n in (1, 3, 16))]
    one, *others = (torch.cat(list(decode(*case))).int() for decode in engines)
    assert one.shape == (7, 64, 64, 3)
    for other in others:
        assert (other - one).abs().max() <= 1


@torch.inference_mode()
@pytest.mark.parametrize(("at_most", "sizes"), [(7, [7]), (6, [3, 4]), (3, [2, 2, 3])])
def test_batches_are_even(at_most: int, sizes: list[int], case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_engine, "CACHE_BYTES", 1 << 30)
    autoencoder, features, latents = case
    frames = Engine(autoencoder.dec, torch.float32).frames(features, latents, at_most=at_most, memory_bytes=1 << 40)
    assert [len(batch) for batch in frames] == sizes


@torch.inference_mode()
def test_the_trainers_precision_is_the_default(case: Case) -> None:
    def frames(precision: str | None) -> Tensor:
        return torch.cat(list(replace(BATCHED, precision=precision)(*case)))

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frames(None), frames("bfloat16"))
        assert not torch.equal(frames("float32"), frames("bfloat16"))
    assert torch.equal(frames(None), frames("float32"))


@torch.inference_mode()
def test_float64_uses_the_modules(case: Case) -> None:
    autoencoder, features, latents = case
    double = copy.deepcopy(autoencoder).double()
    wide = [feature.double() for feature in features], latents.double()
    frames = torch.cat(list(replace(BATCHED, frames_per_batch=3, precision=None)(double, *wide)))
    assert torch.equal(frames, decoding.to_uint8(double.decode(*wide)))
    assert double not in decoding._engines._made


@torch.inference_mode()
def test_another_default_type_changes_nothing(case: Case) -> None:
    decode = replace(BATCHED, frames_per_batch=3, precision="float32")
    wanted = torch.cat(list(decode(*case)))
    decoding._engines._made.pop(case[0])
    torch.set_default_dtype(torch.float64)  # as Lightning does for trainer.precision=64-true
    try:
        assert torch.equal(torch.cat(list(decode(*case))), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


@torch.inference_mode()
def test_a_model_is_prepared_once_for_each_precision(case: Case) -> None:
    engines = decoding._engines._made
    engines.pop(case[0], None)
    for precision in (None, None, "bfloat16", "float32"):
        list(replace(BATCHED, precision=precision)(*case))
    weights = (torch.float32, torch.device("cpu"))
    levels = len(case[1])
    assert list(engines[case[0]]) == [(dtype, levels, False, *weights) for dtype in (torch.float32, torch.bfloat16)]


@torch.inference_mode()
@pytest.mark.parametrize("what", [float("nan"), 1e30])
def test_an_overflow_is_an_error(what: float, case: Case) -> None:
    autoencoder, features, latents = case
    latents = latents.index_fill(0, torch.tensor([5]), what)
    with pytest.raises(UserError, match=r"float16 produced NaN or infinite values; use decoding\.precision=float32"):
        list(replace(BATCHED, frames_per_batch=1, precision="float16")(autoencoder, features, latents))


@torch.inference_mode()
def test_phases_match_the_blurred_transposed_convolution() -> None:
    conv = UpsamplingModulatedConv2d(3, 5, 3, 4, demodulate=False)
    weight, x = torch.randn(5, 3, 3, 3), torch.randn(1, 3, 6, 6)
    phases = torch.nn.functional.conv2d(x, phase_weight(weight), padding=1)
    blur = decoder_engine.BINOMIAL.outer(decoder_engine.BINOMIAL).expand(5, 1, 3, 3)
    blurred = torch.nn.functional.conv2d(decoder_engine.from_phases(phases), blur, groups=5)
    assert torch.allclose(blurred, conv.convolve(x, weight), atol=1e-4)


def test_upsampling_matches_the_module() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(upsample_2x(x), Upsample()(x), atol=1e-5)


def test_masked_warping_matches_the_module_beyond_the_edges() -> None:
    feature, mask = torch.randn(1, 5, 16, 16), torch.rand(3, 1, 16, 16)
    flow = torch.randn(3, 2, 16, 16) * torch.tensor([0.05, 1.0, 40.0])[:, None, None, None]
    assert torch.allclose(masked_warp(table(feature, torch.float32), flow, mask), warp(feature, flow) * mask, atol=1e-4)


def test_invalid_settings_are_rejected() -> None:
    with pytest.raises(UserError, match="frames_per_batch=0"):
        replace(BATCHED, frames_per_batch=0)
    with pytest.raises(UserError, match=r"memory_mb=0"):
        replace(BATCHED, memory_mb=0)
    with pytest.raises(UserError, match=r"decoding\.precision=half is unknown; choose float32, bfloat16, float16 or"):
        replace(BATCHED, precision="half")


COMPILED = """
import torch
from float_research import compose
from float_research.models.decoding import Compiled, to_uint8
from float_research.errors import UserError

torch.manual_seed(3)
autoencoder = compose.build(compose.compose_config(["model=tiny"]).model).motion_autoencoder.eval()
decode = Compiled(frames_per_batch=4, memory_mb=1000, precision="float32")
with torch.inference_mode():
    identity, features = autoencoder.encode(torch.rand(1, 3, 64, 64) * 2 - 1)
    latents = identity + torch.randn(7, 32)
    frames = torch.cat(list(decode(autoencoder, features, latents)))
    error = (frames.int() - to_uint8(autoencoder.decode(features, latents)).int()).abs().max()
    print(len(frames), int(error))
    try:
        list(decode(autoencoder, features, latents * float("nan")))
    except UserError as error:
        print(error)
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs g++ on a CPU")
def test_the_compiled_decoder_matches_the_modules() -> None:
    """Runs in a process without the tests' type checker, which the compiler cannot trace."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True)
    frames, error = done.stdout.split("\n", 1)
    assert frames in ("7 0", "7 1")
    assert error == "decoding in float32 produced NaN or infinite values; check weights and motion\n"


def test_the_memory_limit_bounds_the_batch() -> None:
    assert BATCHED.peak_mb(10) == 40
    assert replace(BATCHED, memory_mb=25).peak_mb(10) == 25
    assert replace(BATCHED, memory_mb=5).peak_mb(10) == 10
