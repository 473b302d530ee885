"""The networks against LiteRT's output for the same pictures (`make_golden.py`)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import Tensor

from float_research.landmarks.convert import SHA256
from float_research.landmarks.networks import DETECTION_PX, FILE, MESH_PX, Networks, load_networks
from landmarks.pictures import CROPS, part

GOLDEN = Path(__file__).parents[1] / "data" / "landmarks" / "golden.safetensors"


@pytest.fixture(scope="module")
def golden() -> Mapping[str, np.ndarray]:
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_networks()


def pictures(size_px: int) -> Tensor:
    """Returns all crops in [0, 1], as a batch."""
    return torch.from_numpy(np.stack([part(name, size_px) for name in CROPS])).permute(0, 3, 1, 2) / 255


def stacked(golden: Mapping[str, np.ndarray], name: str) -> Tensor:
    return torch.from_numpy(np.stack([golden[f"{crop}.{name}"] for crop in CROPS]))


def test_points_and_blendshapes_equal_litert(networks: Networks, golden: Mapping[str, np.ndarray]) -> None:
    with torch.inference_mode():
        points, presence = networks.mesh(pictures(MESH_PX))
        actions = networks.blendshapes(points)
    torch.testing.assert_close(points, stacked(golden, "points"), atol=0.01, rtol=0)
    torch.testing.assert_close(presence, stacked(golden, "presence")[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(actions, stacked(golden, "blendshapes"), atol=1e-3, rtol=0)


def test_detections_equal_litert(networks: Networks, golden: Mapping[str, np.ndarray]) -> None:
    with torch.inference_mode():
        boxes, logits = networks.detector(pictures(DETECTION_PX) * 2 - 1)
    for number, name in enumerate(CROPS):
        best = golden[f"{name}.anchors"]
        np.testing.assert_allclose(boxes[number].numpy()[best], golden[f"{name}.boxes"], atol=0.01)
        np.testing.assert_allclose(logits[number].numpy()[best], golden[f"{name}.logits"], atol=1e-3)
        assert logits[number].argmax() == best[0]


def test_weights_are_small_and_name_their_source() -> None:
    with safe_open(FILE, framework="pt") as file:
        assert file.metadata() == {
            "source": "MediaPipe Face Landmarker, face_landmarker.task",
            "sha256": SHA256,
            "licence": "Apache-2.0",
        }
        half = {name for name in file.keys() if file.get_slice(name).get_dtype() == "F16"}  # noqa: SIM118
        assert set(file.keys()) - half == {"geometry.canonical", "geometry.weights"}
    assert FILE.stat().st_size < 4e6
