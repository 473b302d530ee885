"""The tiny golden case of the official model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from float_research.errors import UserError
from float_research.inference.parity import Comparison, compare_folder

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    return list(compare_folder(GOLDEN))


def test_every_tensor_agrees(comparisons: list[Comparison]) -> None:
    assert [row for row in comparisons if not row.passed] == []


def test_every_tensor_is_compared(comparisons: list[Comparison]) -> None:
    stored = {name for name in load_file(GOLDEN / "tiny.safetensors") if not name.startswith("input.")}
    engines = {f"{name}, by the engine" for name in stored if name == "frames" or name.startswith("sample.")}
    compared = {row.tensor for row in comparisons if row.case == "tiny"}
    assert compared == stored | engines | {"parameter names, shapes"}
    assert len(engines) == 8
    assert sum(row.case == "crop" for row in comparisons) == 3


def test_a_wrong_or_unknown_tensor_is_found(tmp_path: Path) -> None:
    for file in GOLDEN.glob("crop.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(GOLDEN / "crop.safetensors")
    tensors["crop.1"] = tensors["crop.1"].flip(0)
    save_file(tensors, tmp_path / "crop.safetensors")
    assert [row.passed for row in compare_folder(tmp_path)] == [True, False, True]
    with pytest.raises(UserError, match="no golden case"):
        list(compare_folder(Path(__file__).parent))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("crop.json", b"[", r"golden case .*crop\.json cannot be read"),
        ("crop.json", b"[" * 100_000, r"golden case .*crop\.json cannot be read"),
        ("crop.json", b"\xff", r"golden case .*crop\.json cannot be read"),
        ("crop.json", b"3", r"golden case .*crop\.json cannot be read \(its settings are not a list of mappings"),
        ("crop.json", b'[{"size": 3}]', r"golden case .*crop\.json cannot be read \('box"),
        ("crop.safetensors", b"text", r"golden tensors .*crop\.safetensors cannot be read"),
        ("crop.keys.json", b"{}", r"golden case .*crop\.json does not hold a mapping"),
    ],
)
def test_a_damaged_case_is_reported_with_its_name(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    for file in GOLDEN.glob("crop.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        list(compare_folder(tmp_path))


def test_relative_error_is_infinite_for_different_shapes() -> None:
    from float_research.inference.parity import relative_error

    assert relative_error(torch.ones(2), torch.ones(3)) == float("inf")
    assert relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)
