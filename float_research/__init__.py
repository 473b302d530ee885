"""float-research: FLOAT talking portraits as swappable parts.

import float_research
pipeline = float_research.load(overrides=["solver=midpoint", "nfe=20"])
result = pipeline("portrait.png", "speech.wav")
result.save("out.mp4")
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from float_research.inference.api import Pipeline

__all__ = ["load"]


def load(overrides: Sequence[str] = ()) -> "Pipeline":
    """Loads the pipeline with the settings of `float-research infer`. Raises UserError for what cannot be used."""
    from float_research import compose

    return compose.load(overrides)
