"""float-research: FLOAT talking portraits from interchangeable parts.

import float_research
pipeline = float_research.load(overrides=["solver=midpoint", "nfe=20"])
result = pipeline("portrait.png", "speech.wav")
result.save("out.mp4")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from float_research.inference.api import Pipeline
    from float_research.metrics.track import MotionTrack
    from float_research.types import FailedClip

__all__ = ["FailedClip", "load", "load_motion"]


def load(overrides: Sequence[str] = ()) -> "Pipeline":
    """Loads the pipeline that `float-research infer` would run. Raises a UserError for invalid settings or files."""
    from float_research import loading, threads

    threads.wait_passively()
    return loading.load(overrides)


def load_motion(path: str | Path) -> "MotionTrack":
    """Reads a motion file that a run or `Result.save` wrote. Raises a UserError if it is missing or damaged."""
    from float_research.files import present
    from float_research.metrics.track import load_track

    return load_track(Path(present(str(path))))


def __getattr__(name: str) -> type:
    """Imports `FailedClip`, which a batch yields, on first use: its module needs torch."""
    if name == "FailedClip":
        from float_research.types import FailedClip

        return FailedClip
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
