"""Reuse between runs: loaded models within a process, and cached network outputs for the same inputs."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from float_research.cache import Cache, Entry
from float_research.models.checkpoint import Checkpoint, load_model
from float_research.models.float_model import FloatModel
from float_research.sources import code, parts
from float_research.tracking.record import device_name

ENCODING = "float_research.inference.encoding"
"""The module that calls the networks."""
MAX_MODELS = 2
"""The official model takes 2.5 GB."""
_kept: OrderedDict[str, FloatModel] = OrderedDict()


def loaded_model(
    build: Callable[[], FloatModel], checkpoint: Checkpoint, config: Mapping[str, Any]
) -> tuple[FloatModel, bool]:
    """Returns the model for a resolved config, and whether it was reused from an earlier run.

    The key covers everything the weights depend on: sizes, the checkpoint's contents, and the precision and devices of
    the trainer, which converts and moves the weights in place.
    """
    trainer = {name: config["trainer"][name] for name in ("precision", "accelerator", "devices")}
    key = json.dumps([config["model"], checkpoint.fingerprint(), trainer], sort_keys=True, default=str)
    reused = key in _kept
    model = _kept.pop(key) if reused else load_model(build, checkpoint)
    _kept[key] = model
    while len(_kept) > MAX_MODELS:
        _kept.popitem(last=False)
    return model, reused


def forget_models() -> None:
    """Frees all kept models."""
    _kept.clear()


@dataclass(frozen=True)
class KeptOutputs:
    """A cache of network outputs.

    `sizes`: the settings of each network. `state`: everything else that outputs depend on besides the inputs.
    """

    cache: Cache
    sizes: Mapping[str, Any]
    state: Mapping[str, Any]

    def get(
        self, network: str, inputs: Mapping[str, Any], compute: Callable[[], Mapping[str, Tensor]], device: torch.device
    ) -> tuple[Mapping[str, Tensor], bool]:
        """Returns the outputs of a network by name, on `device`, and whether they came from the cache."""
        depends = {"sizes": self.sizes[network], "state": self.state, "inputs": inputs}
        entry, reused = self.cache.get(network, depends, lambda: Entry(tensors=compute()))
        return {name: tensor.to(device) for name, tensor in entry.tensors.items()}, reused


def keep(cache: Cache, checkpoint: Checkpoint, config: Mapping[str, Any], device: torch.device) -> KeptOutputs:
    """Returns the cache of a model's outputs, keyed by weights, precision, device and code.

    Devices and thread counts round differently, so their outputs are not mixed.
    """
    state = {
        "checkpoint": checkpoint.fingerprint(),
        "precision": config["trainer"]["precision"],
        "device": device_name(device),
        "code": code(ENCODING, type(checkpoint).__module__, *parts(config["model"])),
    }
    return KeptOutputs(cache, config["model"], state)
