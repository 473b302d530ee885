"""Models stay loaded between the runs of one process, so that a sweep builds and loads them once."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from float_research.models.checkpoint import Checkpoint, load_model
from float_research.models.float_model import FloatModel

MAX_MODELS = 2
"""The official one takes 2.5 GB."""
_kept: OrderedDict[str, FloatModel] = OrderedDict()


def loaded_model(
    build: Callable[[], FloatModel], checkpoint: Checkpoint, config: Mapping[str, Any]
) -> tuple[FloatModel, bool]:
    """The model of a run's resolved config, and whether an earlier run left it.

    Its key holds all that its weights depend on: sizes, the checkpoint's contents, and the precision and devices of the
    trainer, which converts and moves the weights in place.
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
    """Frees what is kept."""
    _kept.clear()
