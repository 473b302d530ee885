"""Initialises a model with the weights of an earlier or smaller one."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.models.checkpoint import REAL, canonical
from float_research.models.float_model import FloatModel

ENCODER = re.compile(r"(motion_autoencoder\.enc\.net_app\.convs\.)(\d+)(\..+)")


def carry_over(weights: Mapping[str, Tensor], model: FloatModel, source: str) -> tuple[set[str], int]:
    """Copies every weight that fits the model; returns the copied names and the number of other parameters.

    A motion auto-encoder for larger images has more levels. The decoder appends them; the encoder prepends them, so its
    residual blocks are matched from the end and its first layer is not copied.

    Raises:
        UserError: no weight fits.
    """
    own = {canonical(name): parameter for name, parameter in model.state_dict().items()}
    added = _depth(own) - _depth(weights)
    taken: set[str] = set()
    with torch.no_grad():
        for name, value in weights.items():
            place = _moved(name, added)
            if (
                place in own
                and own[place].shape == value.shape
                and own[place].dtype.is_floating_point == (value.dtype in REAL)
            ):
                own[place].copy_(value)
                taken.add(place)
    if not taken:
        raise UserError(f"init_from={source} has no weight that fits the model; choose the model=… it was trained with")
    return taken, len(own) - len(taken)


def _depth(names: Mapping[str, Tensor]) -> int:
    return max((int(match[2]) for match in map(ENCODER.fullmatch, names) if match), default=0)


def _moved(name: str, added: int) -> str | None:
    """Returns a weight's name in a model with `added` more levels; None if it has no counterpart."""
    match = ENCODER.fullmatch(name)
    if match is None or added == 0:
        return name
    index = int(match[2])
    return f"{match[1]}{index + added}{match[3]}" if index > 0 else None
