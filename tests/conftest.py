"""Shared fixtures: a tiny model with seeded weights, and short speech."""

import functools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import float_research
from float_research import compose
from float_research.data.examples import example
from float_research.inference.api import Pipeline
from float_research.models.checkpoint import Random, load_model
from float_research.models.float_model import FloatModel

ROOT = Path(__file__).parents[1]
TINY = ["model=tiny", "checkpoint=random", "face=none"]


def pytest_configure() -> None:
    """Divides the cores among test processes and the processes that they start."""
    if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        num_threads = max(1, torch.get_num_threads() // int(processes))
        torch.set_num_threads(num_threads)
        os.environ["OMP_NUM_THREADS"] = str(num_threads)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and this machine has none")
    if item.get_closest_marker("slurm") and (reason := slurm_is_missing()):
        pytest.skip(reason)


@functools.cache
def slurm_is_missing() -> str | None:
    """Returns why tests cannot use SLURM here. A real cluster's is not used."""
    remedy = "needs a SLURM of this machine alone, which .ci/slurm starts"
    try:
        said = subprocess.run(["sinfo", "--noheader", "--format=%n"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{remedy}: {error}"
    nodes = said.stdout.decode().split()
    return None if nodes == [socket.gethostname().split(".")[0]] else f"{remedy}, and not one of the nodes {nodes}"


@pytest.fixture(autouse=True)
def _fresh_hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps tests, and the processes they start, away from the user's cache."""
    os.environ["FLOAT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def model() -> FloatModel:
    return load_model(compose.model_builder(compose.compose_config(["model=tiny"])), Random(seed=0))


@pytest.fixture(scope="session")
def load() -> Callable[..., Pipeline]:
    """Returns `load("nfe=4", …)`, which loads the tiny pipeline with overrides."""
    return lambda *overrides: float_research.load([*TINY, *overrides])


@pytest.fixture(scope="session")
def portrait() -> Path:
    return Path(example("photo"))


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """Returns `speech(seconds)`, which writes the start of the example recording, repeated if necessary."""
    samples, rate_hz = soundfile.read(example("speech"), dtype="float32")

    def write(seconds: float) -> Path:
        path = tmp_path_factory.mktemp("speech") / f"speech{seconds:g}.wav"
        soundfile.write(path, np.resize(samples, int(seconds * rate_hz)), rate_hz)
        return path

    return write
