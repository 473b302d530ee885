"""The small sweep, made once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_sweep import make_sweep


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> Path:
    """Not to be changed. One thread: small networks are no faster with more, and far slower where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = make_sweep(tmp_path_factory.mktemp("sweep"), speech(2.2))
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def sweep(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "sweep"))
