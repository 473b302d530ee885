"""Builds studies of a pipeline that `float-research infer` would load: evaluations, fits of a solver, atlases."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from float_research.checking import check_type
from float_research.compose import build, compose_config, resolved
from float_research.errors import UserError
from float_research.loading import load, load_composed
from float_research.packages import importing

if TYPE_CHECKING:
    from float_research.evaluation.demo import DemoEvaluation
    from float_research.inference.directions import DirectionStudy
    from float_research.inference.fitting import Fitting


def build_evaluation(cfg: DictConfig) -> "DemoEvaluation":
    """Builds an evaluation of what `float-research infer` would load with `cfg.overrides`."""
    texts_and_lists = {"reader": str, "portrait": str, "output": str, "overrides": list, "subjects": list}
    for name, kind in {"num_pairs": int, "coordinate_scale": float, **texts_and_lists}.items():
        check_type(name, cfg[name], kind)
    if not 0 < cfg.coordinate_scale < math.inf:
        raise UserError(f"coordinate_scale={cfg.coordinate_scale} must be a positive number, as the training had it")
    with importing():
        from float_research.evaluation.demo import SUBJECTS, DemoEvaluation

    unknown = set(cfg.subjects) - set(SUBJECTS)
    if unknown:
        raise UserError(f"subjects={unknown.pop()} is unknown; choose from {', '.join(SUBJECTS)}")
    overrides = [*cfg.overrides, "face=none"]
    return DemoEvaluation(
        load=lambda more: load([*overrides, *more]),
        subjects=list(cfg.subjects),
        reader=Path(cfg.reader),
        portrait=Path(cfg.portrait),
        corpus=Path(cfg.corpus) if cfg.corpus else None,
        num_pairs=cfg.num_pairs,
        coordinate_scale=cfg.coordinate_scale,
        output=Path(cfg.output),
    )


def build_fitting(cfg: DictConfig) -> "Fitting":
    """Builds a solver fit to what `float-research infer` would load with `cfg.overrides`."""
    for name, kind in {"overrides": list, "tolerance": float, "output": str}.items():
        check_type(name, cfg[name], kind)
    lists = {"evaluations": int, "shifts": float, "exponents": float}
    for part in ("fit", "held_out"):
        lists |= {f"{part}.images": str, f"{part}.audios": str, f"{part}.seeds": int}
    for name, kind in lists.items():
        values = OmegaConf.select(cfg, name)
        check_type(name, values, list)
        for value in values:
            check_type(f"each of {name}", value, kind)
    infer = compose_config(cfg.overrides)
    with importing():
        from float_research.inference.fitting import Fitting

    return Fitting(
        load=lambda: load_composed(infer),
        weights=lambda: build(infer.checkpoint).fingerprint(),
        guidance=resolved(infer.guidance),
        evaluations=list(cfg.evaluations),
        fit=build(cfg.fit),
        held_out=build(cfg.held_out),
        shifts=list(cfg.shifts),
        exponents=list(cfg.exponents),
        tolerance=cfg.tolerance,
        output=Path(cfg.output),
    )


def build_directions(cfg: DictConfig) -> "DirectionStudy":
    """Builds the study of the motion directions of what `float-research infer` would load."""
    check_type("output", cfg.output, str)
    lists = {"overrides": str, "images": str, "audios": str, "seeds": int}
    for name, kind in lists.items():
        check_type(name, cfg[name], list)
        for value in cfg[name]:
            check_type(f"each of {name}", value, kind)
    infer = compose_config([*cfg.overrides, "motion=none"])
    with importing():
        from float_research.inference.directions import DirectionStudy

    return DirectionStudy(
        load=lambda: load_composed(infer),
        weights=lambda: build(infer.checkpoint).fingerprint(),
        reader=build(cfg.reader),
        images=list(cfg.images),
        audios=list(cfg.audios),
        seeds=list(cfg.seeds),
        output=Path(cfg.output),
    )
