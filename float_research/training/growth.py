"""Initialises a model with the weights of an earlier, smaller or narrower one."""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.models.checkpoint import REAL, canonical
from float_research.models.float_model import FloatModel

ENCODER = re.compile(r"(motion_autoencoder\.enc\.net_app\.convs\.)(\d+)(\..+)")
WIDENED = re.compile(r"motion_autoencoder\.(enc\.net_app\.convs\.\d+\.\w+|dec\.(convs|to_flows|to_rgbs)\.\d+)\..+")
"""Parameters that may have more channels than the weights they start from."""
STEM = "motion_autoencoder.enc.net_app.convs.0.0.weight"
FAINT = 0.1
"""Factor of the convolutions in a prepended block, beside which its skip passes its input on."""


def carry_over(weights: Mapping[str, Tensor], model: FloatModel, source: str) -> tuple[set[str], int]:
    """Copies every weight that fits the model; returns the copied names and the number of other parameters.

    A motion auto-encoder for larger images has more levels. The decoder appends them; the encoder prepends them, so its
    residual blocks are matched from the end, the first layer is moved to the front, and each block between begins as
    a blur to half the size. One with more channels computes the same as before: nothing reads the new ones yet (Chen et
    al. 2016, arXiv 1511.05641).

    Raises:
        UserError: no weight fits.
    """
    own = {canonical(name): parameter for name, parameter in model.state_dict().items()}
    added = _depth(own) - _depth(weights)
    taken: set[str] = set()
    with torch.no_grad():
        for name, value in weights.items():
            place = _moved(name, added)
            if place in own and own[place].dtype.is_floating_point == (value.dtype in REAL):
                if own[place].shape == value.shape:
                    own[place].copy_(value)
                    taken.add(place)
                elif WIDENED.fullmatch(place) and _widened(own[place], value, place):
                    taken.add(place)
        if STEM in taken:
            taken |= {_pass_on(own, level) for level in range(1, added + 1)}
    if not taken:
        raise UserError(f"init_from={source} has no weight that fits the model; choose the model=… it was trained with")
    return taken, len(own) - len(taken)


def _depth(names: Mapping[str, Tensor]) -> int:
    return max((int(match[2]) for match in map(ENCODER.fullmatch, names) if match), default=0)


def _moved(name: str, added: int) -> str:
    """Returns a weight's name in a model with `added` more levels."""
    match = ENCODER.fullmatch(name)
    index = int(match[2]) if match else 0
    return f"{match[1]}{index + added}{match[3]}" if match and index > 0 else name


def _widened(wide: Tensor, narrow: Tensor, name: str) -> bool:
    """Copies a narrower parameter into the first channels; returns False if other axes differ, too.

    In a convolution these outputs get no share of the new inputs, and the factor by which its equalised scale shrinks.
    """
    convolution = name.endswith("weight") and "modulation" not in name
    ends, axes = narrow.shape, (wide.ndim - 4, wide.ndim - 3) if convolution else (0, 1 if wide.ndim == 4 else 0)
    if wide.ndim != narrow.ndim or any(
        ends[axis] > size if axis in axes else ends[axis] != size for axis, size in enumerate(wide.shape)
    ):
        return False
    if convolution:
        wide[..., : ends[-4], :, :, :] = 0
        narrow = narrow.float() * math.sqrt(wide.shape[-3] / ends[-3])
    wide[tuple(slice(end) for end in ends)] = narrow.to(wide.dtype)
    return True


def _pass_on(own: Mapping[str, Tensor], level: int) -> str:
    """Lets a prepended block pass its input on; returns the name of the convolution whose output is now faint."""
    prefix = f"motion_autoencoder.enc.net_app.convs.{level}."
    skip, faint = own[f"{prefix}skip.1.weight"], f"{prefix}conv2.1.weight"
    num = min(skip.shape[:2])
    skip[:num] = 0
    skip[:num, :num, 0, 0] = torch.eye(num) * math.sqrt(2 * skip.shape[1])
    own[faint].mul_(FAINT)
    return faint
