"""The small sweep, run once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_sweep import make_sweep


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> Path:
    """Runs the sweep, read-only for tests. One thread: more do not help small networks, and hurt on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = make_sweep(tmp_path_factory.mktemp("sweep"), speech(2.2))
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def sweep(made: Path, tmp_path: Path) -> Path:
    """Returns a copy that tests may change."""
    return Path(shutil.copytree(made, tmp_path / "sweep"))
