"""Benchmarks of the face landmarker."""

import argparse
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.timing import timed
from float_research.data.examples import example
from float_research.data.image import read_image
from float_research.landmarks.landmarker import FaceLandmarker


def landmarks(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times the face landmarker on one thread of the CPU, in milliseconds a frame: its networks, and a whole shot.

    With `--task FILE`, LiteRT runs the published networks in turn with ours (package ai-edge-litert).
    """
    torch.set_num_threads(1)
    landmarker, batch = FaceLandmarker(torch.device("cpu")), 8
    networks = landmarker._networks
    inputs = {
        "detector": ("face_detector", (3, 128, 128)),
        "mesh": ("face_landmarks_detector", (3, 256, 256)),
        "blendshapes": ("face_blendshapes", (478, 3)),
    }
    image = read_image(Path(example("photo")), "black")
    shot = np.stack([np.roll(image, 2 * number, axis=1) for number in range(arguments.frames)])
    acts: dict[str, tuple[Callable[[], object], int]] = {
        "shot": (lambda: landmarker.landmarks(shot), len(shot)),
    }
    for name, (graph, shape) in inputs.items():
        value, network = torch.rand(batch, *shape), networks.get_submodule(name)
        if len(shape) == 3:
            value = value.contiguous(memory_format=torch.channels_last)
        acts[name] = (partial(network, value), batch)
        if arguments.task:
            from ai_edge_litert.interpreter import Interpreter

            with zipfile.ZipFile(arguments.task) as bundle:
                interpreter = Interpreter(model_content=bundle.read(f"{graph}.tflite"), num_threads=1)
            interpreter.allocate_tensors()
            (seen,) = interpreter.get_input_details()
            interpreter.set_tensor(seen["index"], np.random.default_rng(0).random(seen["shape"], dtype=np.float32))
            acts[f"{name}, LiteRT"] = (interpreter.invoke, 1)
    spent_ms: dict[str, list[float]] = {name: [] for name in acts}
    with torch.inference_mode():
        for _ in range(arguments.rounds + 1):
            for name, (act, number) in acts.items():
                spent_ms[name].append(1000 * timed(act) / number)
    figures = {name: median(times[1:]) for name, times in spent_ms.items()}
    for name, milliseconds in figures.items():
        print(f"{name}: {milliseconds:.2f} ms a frame, {min(spent_ms[name][1:]):.2f} at best")
    return figures
