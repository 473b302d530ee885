"""Gain and cost of a search over starting noise, paired by clip with no search."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.analysis.crossed import Design
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.best_of import BestOf, NoSearch
from float_research.inference.inputs import ImageInput
from float_research.inference.pipeline import FloatPipeline, PreparedClip
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import ClipMetric
from float_research.metrics.panel import Panel
from float_research.metrics.track import MotionTrack
from float_research.printing import Table
from float_research.texts import count
from float_research.types import Cost, Waveform

Numbers = dict[str, float]
COSTS = ("evaluations", "branches", "verified_frames", "sample_s", "verify_s")


def compare(pipeline: Pipeline, portrait: ImageInput, spoken: Mapping[str, Waveform], seeds: Sequence[int]) -> Table:
    """Returns a table of costs and of all numbers of the search's metrics, measured on full-size frames.

    Columns: means over recordings and seeds without and with search, and their paired difference with its 95 %
    interval, which respects that pairs share recordings and seeds.
    """
    search = pipeline.core.search
    if not isinstance(search, BestOf):
        raise UserError("search=none has nothing to compare; use search=best_of")
    ways = {"plain": replace(pipeline.core, search=NoSearch()), "search": pipeline.core}
    plain = pipeline.with_core(ways["plain"])
    found: dict[str, list[Numbers]] = {way: [] for way in ways}
    for id, waveform in spoken.items():
        clip = plain(portrait, waveform, rate_hz=pipeline.loader.sampling_rate_hz, id=id).clip
        for seed in seeds:
            seeded = replace(clip, conditions=replace(clip.conditions, seed=seed))
            with pipeline.computing():
                for way, core in ways.items():
                    found[way].append(measure(core, seeded, search))
    names = [name for metric in search.metrics.values() for name in metric.names]
    units = pd.DataFrame([(id, seed) for id in spoken for seed in seeds], columns=["recording", "seed"])
    rows = []
    for name in [search.verifier, *(name for name in (*names, *COSTS) if name != search.verifier)]:
        pairs = np.array([[one.get(name, np.nan) for one in numbers] for numbers in found.values()])
        held = np.isfinite(pairs).all(0)
        if held.any():
            rows.append(row(name, pairs[0, held], pairs[1, held], units[held]))
    columns = ["per clip", "plain", f"best of {search.n}", "difference", "interval", "clips"]
    counts = f"{count(len(spoken), 'recording')} x {count(len(seeds), 'seed')}"
    return Table(columns, rows, f"{search.verifier}, {search.direction}, per {search.per}: {counts}")


def measure(core: FloatPipeline, clip: PreparedClip, search: BestOf) -> Numbers:
    """Samples a clip; returns the numbers of the search's metrics on full-size frames, and the cost of sampling."""
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


def row(name: str, plain: Float[np.ndarray, " n"], best: Float[np.ndarray, " n"], units: pd.DataFrame) -> list[str]:
    difference, interval = best - plain, ""
    if len(difference) > 1 and np.ptp(difference) > 0:
        found = Design.of(units).estimate(difference)
        interval = f"[{found.mean - found.half_width:+.3g}, {found.mean + found.half_width:+.3g}]"
    means = (f"{plain.mean():.4g}", f"{best.mean():.4g}", f"{difference.mean():+.3g}")
    return [name, *means, interval, str(len(difference))]
