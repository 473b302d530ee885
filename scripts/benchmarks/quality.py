"""Benchmarks of solvers and search: how close they come for their cost."""

import argparse
from dataclasses import replace
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from float_research import compose, loading
from float_research.analysis.crossed import Design
from float_research.data.examples import example
from float_research.evaluation.searching import compare
from float_research.printing import stdout
from float_research.sampling.budget import Budget, Evaluations, GridPoints
from float_research.sampling.solver import Rk4, Solver
from float_research.texts import count
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ

FINE = 41
"""Grid points of the Rk4 reference solution; its error is about a hundredth of the measured errors."""


def solvers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the motion error of solvers and numbers of evaluations with that of Euler with nine, paired.

    Whole clips of held-out recordings with several seeds, against fine-grid solutions from the same noise. 95 percent
    confidence intervals of the ratios, which respect that clips share recordings and seeds.
    """
    pipeline = loading.load(arguments.overrides)
    portrait = example("portrait")
    spoken = recordings()[: arguments.recordings]
    with pipeline.computing():
        ready = [pipeline(portrait, each.waveform, rate_hz=RATE_HZ, id=each.id).clip for each in spoken]
        seeds = range(arguments.seeds)
        clips = [replace(clip.conditions, seed=seed) for clip in ready for seed in seeds]
        design = Design.of(pd.DataFrame(product(range(len(ready)), seeds), columns=["recording", "seed"]))
        network = pipeline.core.vector_field(pipeline.core.model.fmt)

        def motion(solver: Solver, nfe: int, budget: Budget) -> list[Tensor]:
            sampler = replace(pipeline.core.sampler, solver=solver, nfe=nfe, budget=budget)
            parts: list[list[Tensor]] = [[] for _ in clips]
            for window in sampler(network, clips):
                parts[window.index].append(window.motion)
            return [torch.cat(part) for part in parts]

        exact = motion(Rk4(skip_end=False), FINE, GridPoints())

        def errors(name: str, nfe: int) -> Tensor:
            solver = compose.build(compose.compose_config([f"solver={name}"]).solver)
            found = motion(solver, nfe, Evaluations())
            return torch.stack([(one - true).norm() / true.norm() for one, true in zip(found, exact, strict=True)])

        base = errors("euler", 9)
        figures: dict[str, Any] = {"clips": len(clips), "euler 9": float(base.mean())}
        print(
            f"{count(len(clips), 'clip')}: {count(len(spoken), 'recording')} x {count(len(seeds), 'seed')}; "
            f"Euler with 9: {float(base.mean()):.4f}"
        )
        for name, nfe in product(arguments.solvers.split(","), arguments.nfe):
            found = errors(name, nfe)
            ratio = design.ratio(found.double().numpy(), base.double().numpy())
            low, high = float(ratio.mean - ratio.half_width), float(ratio.mean + ratio.half_width)
            result = {"error": float(found.mean()), "ratio": float(ratio.mean), "from": low, "to": high}
            figures[f"{name} {nfe}"] = result
            print(
                f"{name:<16} {nfe:>3}  {result['error']:.4f}  {result['ratio']:.2f} [{low:.2f}, {high:.2f}]", flush=True
            )
    return figures


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the best of several candidates with no search on held-out recordings: quality and cost."""
    max_samples = int(arguments.seconds * RATE_HZ)
    spoken = {each.id: each.waveform[:max_samples] for each in recordings()[: arguments.recordings]}
    table = compare(loading.load(arguments.overrides), example("portrait"), spoken, range(arguments.seeds))
    stdout().print(table)
    return {str(name): dict(zip(table.names[1:], figures, strict=True)) for name, *figures in table.rows}
