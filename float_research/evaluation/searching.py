"""What a search over starting noise brings, and what it costs: paired with the plain way, clip by clip."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import bootstrap
from torch import Tensor

from float_research.errors import UserError
from float_research.inference.api import ImageInput, Pipeline
from float_research.inference.best_of import BestOf, NoSearch
from float_research.inference.pipeline import FloatPipeline, PreparedClip
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import ClipMetric
from float_research.metrics.panel import Panel
from float_research.metrics.track import MotionTrack
from float_research.printing import Table
from float_research.types import Cost, Waveform

Numbers = dict[str, float]
COSTS = ("evaluations", "branches", "verified_frames", "sample_s", "verify_s")


def compare(pipeline: Pipeline, portrait: ImageInput, spoken: Mapping[str, Waveform], seeds: Sequence[int]) -> Table:
    """A table of all numbers that the search's metrics find, measured of whole frames, and of costs.

    Means over recordings and seeds of the plain way and of the search; their paired difference with an interval at a
    confidence of 0.95, by bootstrap over recordings and seeds.
    """
    search = pipeline.core.search
    if not isinstance(search, BestOf):
        raise UserError("there is no search to compare with the plain way; use search=best_of")
    ways = {"plain": replace(pipeline.core, search=NoSearch()), "search": pipeline.core}
    found: dict[str, list[Numbers]] = {way: [] for way in ways}
    for id, waveform in spoken.items():
        pipeline.core = ways["plain"]
        clip = pipeline(portrait, waveform, id=id).clip
        for seed in seeds:
            seeded = replace(clip, conditions=replace(clip.conditions, seed=seed))
            with pipeline.computing():
                for way, core in ways.items():
                    found[way].append(made(core, seeded, search))
    pipeline.core = ways["search"]
    names = [name for metric in search.metrics.values() for name in metric.names]
    rows = []
    for name in [search.verifier, *(name for name in (*names, *COSTS) if name != search.verifier)]:
        pairs = [(a[name], b[name]) for a, b in zip(*found.values(), strict=True) if name in a and name in b]
        if pairs:
            rows.append(row(name, *np.array(pairs).T))
    columns = ["per clip", "plain", f"best of {search.n}", "difference", "interval", "clips"]
    count = f"{len(spoken)} recordings x {len(seeds)} seeds"
    return Table(columns, rows, f"{search.verifier}, {search.direction}, per {search.per}: {count}")


def made(core: FloatPipeline, clip: PreparedClip, search: BestOf) -> Numbers:
    """Samples a clip; what all metrics of the search find in its whole frames, and what sampling cost."""
    watch = Stopwatch(clip.identity.device)
    windows = list(watch.each("sample", core.motion([clip], watch)))
    cost = sum((window.cost for window in windows), Cost())
    motion: Float[Tensor, "t d"] = torch.cat([window.motion for window in windows])
    panel = Panel([metric for metric in search.metrics.values() if isinstance(metric, ClipMetric)], clip.subject)
    for frames in core.frames(clip, motion) if panel.wants_frames else ():
        panel.see(frames.cpu().numpy())
    track = MotionTrack(
        motion=motion.cpu(),
        directions=core.model.motion_autoencoder.dec.direction.basis.cpu(),
        emotion=clip.conditions.emotion.cpu(),
        window_starts=torch.tensor([window.start for window in windows]),
    )
    counts = {unit: float(getattr(cost, unit)) for unit in COSTS[:3]}
    seconds = {f"{phase}_s": watch.seconds[phase] for phase in ("sample", "verify")}
    return {**panel.finish(track).metrics, **counts, **seconds}


def row(name: str, plain: Float[np.ndarray, " n"], best: Float[np.ndarray, " n"]) -> list[str]:
    difference, interval = best - plain, ""
    if len(difference) > 1 and np.ptp(difference) > 0:
        low, high = bootstrap((best, plain), mean_difference, paired=True, random_state=0).confidence_interval
        interval = f"[{low:+.3g}, {high:+.3g}]"
    means = (f"{plain.mean():.4g}", f"{best.mean():.4g}", f"{difference.mean():+.3g}")
    return [name, *means, interval, str(len(difference))]


def mean_difference(one: Any, other: Any, axis: int = -1) -> Any:
    return one.mean(axis=axis) - other.mean(axis=axis)
