"""How close a run's means come to those of real videos, by THEval (arXiv 2511.04520, equation 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from float_research.errors import UserError, printable
from float_research.metrics.metric import Better, Findings, MeansMetric, Number
from float_research.metrics.theval import UNMEASURED

MEASURED = tuple(
    f"theval_{name}" for name in ("lip_dynamics", "head_motion", "brow_dynamics", "silent_lip_stability", "lip_sync")
)
ALL = (*UNMEASURED, *MEASURED)
"""The eight numbers of THEval's final score."""


@dataclass(frozen=True, kw_only=True)
class ThevalScore(MeansMetric):
    """Scores means over clips against `real`, those of real videos: 1 - |mean - real| / real.

    1 is as real videos are; less or more motion lowers it, below 0 for more than twice as much. `theval_partial_score`
    is the mean of the five scores that need no network for picture quality, `theval_score` that of all eight.
    """

    real: Mapping[str, float]

    numbers = (
        *(Number(f"{name}_score", "score", Better.HIGHER) for name in MEASURED),
        Number("theval_partial_score", "score", Better.HIGHER, headline=True),
        Number("theval_score", "score", Better.HIGHER),
    )

    def __post_init__(self) -> None:
        if set(self.real) != set(ALL):
            raise UserError(f"metrics.theval_score.real must give {', '.join(ALL)}")
        for name, value in self.real.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise UserError(f"metrics.theval_score.real.{name}={printable(value)} must be a positive number")

    def summarise(self, means: Mapping[str, float], absent: Mapping[str, str]) -> Findings:
        scores = {name: 1 - abs(means[name] - self.real[name]) / self.real[name] for name in ALL if name in means}
        found = Findings(metrics={f"{name}_score": scores[name] for name in MEASURED if name in scores})
        for name in MEASURED:
            if name not in scores:
                found.absent[f"{name}_score"] = absent.get(name, f"needs {name} of the same run")
        for total, names in (("theval_partial_score", MEASURED), ("theval_score", ALL)):
            if lacking := [name for name in names if name not in scores]:
                found.absent[total] = f"needs {', '.join(lacking)}"
            else:
                found.metrics[total] = fmean(scores[name] for name in names)
        return found
