"""float-research: FLOAT talking portraits from interchangeable parts.

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
    """Loads the pipeline that `float-research infer` would run. Raises a UserError for invalid settings or files."""
    from float_research import compose, threads

    threads.wait_passively()
    return compose.load(overrides)
