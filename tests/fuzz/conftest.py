"""The folder of an attack, with samples that all processes of a test run share."""

import os
from pathlib import Path

import pytest

from float_research.files import alone
from fuzz.harness import make_samples


@pytest.fixture(scope="session")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, own = tmp_path_factory.mktemp("attack"), tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "attack-samples"
    with alone(shared.with_suffix(".lock")):
        make_samples(shared)
    (folder / "samples").symlink_to(shared)
    return folder
