"""Every layout in which checkpoints are found, made from the tiny model's seeded weights."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from float_research import compose
from float_research.errors import UserError
from float_research.models.checkpoint import (
    AUDIO_MODEL,
    EMOTION_MODEL,
    Checkpoint,
    Official,
    Random,
    Split,
    Unified,
    convert,
    load_model,
    parameter_shapes,
    read_tensors,
    seeded_weight,
)
from float_research.models.float_model import FloatModel

AUDIO, EMOTION = "audio_encoder.wav2vec2.", "emotion_encoder.wav2vec2_for_emotion."


@pytest.fixture(scope="module")
def build() -> Callable[[], FloatModel]:
    return compose.model_builder(compose.compose_config(["model=tiny"]))


@pytest.fixture(scope="module")
def weights(build: Callable[[], FloatModel]) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = parameter_shapes(build())
    return {name: seeded_weight(name, shape, seed=7) for name, shape in shapes.items()}


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As current libraries name the weight-normed convolution."""
    return {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for key, value in tensors.items()
    }


def under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def write_speech_models(folder: Path, weights: dict[str, Tensor]) -> None:
    """One folder as current libraries write it, the other as old ones did, each with a head for its first task."""
    audio = {f"wav2vec2.{key}": value for key, value in under(weights, AUDIO).items()}
    audio |= {"lm_head.weight": torch.zeros(3, 3), "wav2vec2.masked_spec_embed": torch.zeros(3)}
    (folder / AUDIO_MODEL).mkdir()
    save_file(renamed(audio), folder / AUDIO_MODEL / "model.safetensors")
    (folder / EMOTION_MODEL).mkdir()
    torch.save(under(weights, EMOTION), folder / EMOTION_MODEL / "pytorch_model.bin")


def write_official(folder: Path, weights: dict[str, Tensor]) -> Checkpoint:
    main = {key: value for key, value in weights.items() if not key.startswith((AUDIO, EMOTION))}
    unused = {
        "fmt.pos_embed": torch.zeros(1, 60, 32),
        "fmt.alignment_mask": torch.zeros(60, 60),
        "motion_autoencoder.dec.conv1.noise.weight": torch.zeros(1),
        "motion_autoencoder.dec.to_rgb1.bias": torch.zeros(1, 3, 1, 1),
        "motion_autoencoder.enc.net_app.convs.1.conv2.0.kernel": torch.zeros(4, 4),
    }
    torch.save(main | unused, folder / "float.pth")
    write_speech_models(folder, weights)
    return Official(folder=str(folder))


def write_unified(folder: Path, weights: dict[str, Tensor]) -> Checkpoint:
    save_file(renamed(weights) | {"fmt.alignment_mask": torch.zeros(60, 60)}, folder / "FLOAT.safetensors")
    return Unified(file=str(folder / "FLOAT.safetensors"))


def write_split(folder: Path, weights: dict[str, Tensor]) -> Checkpoint:
    for name, prefix in Split.PREFIXES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(under(weights, prefix), folder / name)
    write_speech_models(folder, weights)
    return Split(folder=str(folder))


Writer = Callable[[Path, dict[str, Tensor]], Checkpoint]
LAYOUTS = pytest.mark.parametrize("write", [write_official, write_unified, write_split])


def outputs(model: FloatModel) -> Tensor:
    g = torch.Generator().manual_seed(0)
    image, audio = torch.rand(1, 3, 64, 64, generator=g), torch.randn(1, 8000, generator=g)
    with torch.inference_mode():
        identity, features = model.motion_autoencoder.encode(image)
        parts = [
            identity,
            model.motion_autoencoder.decode(features, identity),
            model.audio_encoder(audio, 12),
            model.emotion_encoder(audio),
            *(p for name, p in model.fmt.named_parameters()),
        ]
    return torch.cat([part.flatten() for part in parts])


@LAYOUTS
def test_every_layout_gives_the_same_model(
    write: Writer, build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint = write(tmp_path, weights)
    assert torch.allclose(outputs(load_model(build, checkpoint)), outputs(load_model(build, Random(seed=7))), atol=1e-4)
    assert len(checkpoint.fingerprint()) == 64


@LAYOUTS
def test_every_layout_converts_to_one_file(
    write: Writer, build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    (tmp_path / "from").mkdir()
    output = tmp_path / "to" / "one.safetensors"
    convert(write(tmp_path / "from", weights), build, output, half=False)
    assert [path.name for path in output.parent.iterdir()] == ["one.safetensors"]
    one = load_model(build, Unified(file=str(output)))
    assert torch.allclose(outputs(one), outputs(load_model(build, Random(seed=7))), atol=1e-4)


def test_half_precision_files_are_half_as_large_and_read_as_float32(
    build: Callable[[], FloatModel], tmp_path: Path
) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    convert(Random(seed=7), build, whole, half=False)
    convert(Random(seed=7), build, half, half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    model = load_model(build, Unified(file=str(half)))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.allclose(outputs(model), outputs(load_model(build, Random(seed=7))), atol=0.02)


def test_weights_too_large_for_half_precision_are_named(
    build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    weights["fmt.decoder.linear.bias"] = torch.full_like(weights["fmt.decoder.linear.bias"], 1e6)
    with pytest.raises(UserError, match=r"fmt\.decoder\.linear\.bias is too large"):
        convert(write_unified(tmp_path, weights), build, tmp_path / "half.safetensors", half=True)
    assert not (tmp_path / "half.safetensors").exists()


@LAYOUTS
def test_what_is_missing_is_named_before_anything_is_read(
    write: Writer, build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint = write(tmp_path, weights)
    for path in list(checkpoint.files()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=f"{path.parent.name}.*does not exist.*checkpoint="):
            load_model(build, checkpoint)
        path.write_bytes(content)


def test_keys_that_do_not_fit_are_listed(
    build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    wrong = dict(weights)
    del wrong["fmt.c_embedder.weight"]
    wrong["fmt.c_embedder.bias"] = torch.zeros(5)
    wrong["fmt.extra"] = torch.zeros(1)
    with pytest.raises(UserError) as error:
        load_model(build, write_unified(tmp_path, wrong))
    message = str(error.value)
    assert "1 missing: fmt.c_embedder.weight" in message
    assert "1 unexpected: fmt.extra" in message
    assert "1 wrongly shaped: fmt.c_embedder.bias is [5] instead of [32]" in message


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "attacked"),)

    torch.save({"a": Attack()}, tmp_path / "float.pth")
    with pytest.raises(UserError, match="would run code"):
        read_tensors(tmp_path / "float.pth")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("name", ["float.pth", "FLOAT.safetensors"])
@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_a_truncated_file_is_refused(name: str, kept: int, weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=name):
        read_tensors(path)


def test_something_else_than_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "float.pth")
    with pytest.raises(UserError, match="not a state dict"):
        read_tensors(tmp_path / "float.pth")


@pytest.mark.parametrize("kind", [torch.complex64, torch.int64])
def test_weights_that_are_no_real_numbers_are_named(
    kind: torch.dtype, build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({**weights, "fmt.c_embedder.bias": weights["fmt.c_embedder.bias"].to(kind)}, tmp_path / "float.pth")
    checkpoint = Unified(file=str(tmp_path / "float.pth"))
    said = rf"1 of another type: fmt\.c_embedder\.bias is {str(kind).removeprefix('torch.')}"
    with pytest.raises(UserError, match=said):
        load_model(build, checkpoint)
    with pytest.raises(UserError, match=said):
        convert(checkpoint, build, tmp_path / "one.safetensors", half=True)


@pytest.mark.parametrize("tensor", [torch.empty(1 << 40, device="meta"), torch.eye(3).to_sparse()])
def test_tensors_that_hold_no_numbers_are_refused(tensor: Tensor, tmp_path: Path) -> None:
    torch.save({"a": tensor}, tmp_path / "float.pth")
    with pytest.raises(UserError, match=r"float\.pth (is not a state dict|cannot be read)"):
        read_tensors(tmp_path / "float.pth")


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "float.pth")
    with pytest.raises(UserError, match="not a regular file"):
        Unified(file=str(tmp_path / "float.pth")).files()


def test_a_conversion_that_fails_leaves_nothing(
    build: Callable[[], FloatModel], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    (tmp_path / "from").mkdir()
    checkpoint = write_unified(tmp_path / "from", {"fmt.extra": torch.zeros(1)})
    with pytest.raises(UserError, match="unexpected"):
        convert(checkpoint, build, tmp_path / "one.safetensors", half=False)
    with pytest.raises(UserError, match=r"\.safetensors"):
        convert(checkpoint, build, tmp_path / "one.pth", half=False)
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_seeds_give_other_weights() -> None:
    assert not torch.equal(seeded_weight("fmt.x", (3, 4), 0), seeded_weight("fmt.x", (3, 4), 1))
