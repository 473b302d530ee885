"""The reader of toy motion: valid and invalid weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from float_research.errors import UserError
from float_research.toyface.reader import FILE, load_reader


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    assert not load_reader(FILE).training
    path, tensors = tmp_path / "reader.safetensors", load_file(FILE)
    for others in ({"reader.x": torch.zeros(1)}, {**tensors, next(iter(tensors)): torch.zeros(3, 3)}):
        save_file(others, path)
        with pytest.raises(UserError, match=r"motion reader .*reader\.safetensors cannot be read .*stage=reader"):
            load_reader(path)
    path.write_bytes(b"text")
    with pytest.raises(UserError, match=r"motion reader .*reader\.safetensors cannot be read"):
        load_reader(path)
