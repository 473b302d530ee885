"""Diversity of the motions of several runs, such as several seeds."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError


def diversity(motions: Sequence[Float[Tensor, "t d"]]) -> float:
    """Returns the mean pairwise distance `‖r_i - r_j‖` over the mean norm about their mean frame: 0 for equal motions,
    about √2 for unrelated ones.

    Raises:
        UserError: there are fewer than two motions, or their shapes differ.
    """
    shapes = {tuple(motion.shape) for motion in motions}
    if len(motions) < 2 or len(shapes) > 1:
        found = f"of shapes {', '.join(map(str, sorted(shapes)))}" if shapes else ""
        raise UserError(f"diversity needs at least two motions of one shape, not {len(motions)} {found}".strip())
    exact = [motion.cpu().double() for motion in motions]
    apart = torch.stack([(a - b).norm() for a, b in itertools.combinations(exact, 2)]).mean()
    size = torch.stack([(motion - motion.mean(0)).norm() for motion in exact]).mean()
    return float(apart / size) if apart > 0 else 0.0
