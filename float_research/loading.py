"""Pipelines for Python: loaded from settings, and changed without loading their weights again."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from float_research import threads
from float_research.checking import INFER, check_given, check_plain, check_type
from float_research.cli import sentence
from float_research.compose import (
    build,
    build_loader,
    build_metrics,
    build_parts,
    build_trainer,
    compose_config,
    model_builder,
    resolved,
)
from float_research.errors import SKIP, STOP, UserError, printable
from float_research.overrides import read
from float_research.packages import importing
from float_research.suggestions import unknown_setting

if TYPE_CHECKING:
    from float_research.data.clips import ClipLoader
    from float_research.inference.api import Pipeline
    from float_research.inference.pipeline import PipelineParts
    from float_research.inference.result import Changeable
    from float_research.metrics.metric import Metric
    from float_research.video.composite import Composite
    from float_research.video.writer import H264

SAMPLING = {"nfe": int, "seed": int, "guidance_reuse": int, "temperature": float}
"""Plain settings of the sampler, which change without composing a config again, and their types."""
NEED_LOADING = ("model", "checkpoint", "trainer")
"""Groups that weights depend on."""
OF_RUNS = ("data", "logger", "name", "dry_run", "resume", "submit", "time", "output_dir", "hydra")
"""Settings of a command's run, which a pipeline does not have."""
OF_PROCESS = "threads"
MAX_KNOWN = 64


def load(overrides: Sequence[str] = ()) -> "Pipeline":
    """Loads the pipeline that `float-research infer` would run with these overrides, weights included.

    Raises:
        UserError: a setting or a file is invalid.
    """
    if isinstance(overrides, str):
        raise UserError(f"overrides are a list; give load([{overrides!r}])")
    with in_sentences(overrides):
        return _load(compose_config(overrides), tuple(overrides))


def load_composed(cfg: DictConfig) -> "Pipeline":
    """Loads the pipeline of a config, weights included."""
    return _load(cfg, None)


def _load(cfg: DictConfig, overrides: tuple[str, ...] | None) -> "Pipeline":
    with importing():
        from float_research.inference.api import Pipeline
        from float_research.inference.reuse import keep
        from float_research.inference.trainers import silence_lightning
        from float_research.models.checkpoint import load_model

    check_settings(cfg)
    silence_lightning()
    threads.limit(cfg.get("threads"))
    trainer, checkpoint = build_trainer(cfg), build(cfg.checkpoint)
    settings = {name: resolved(cfg[name]) for name in ("model", "trainer")}
    model, device = load_model(model_builder(cfg), checkpoint), trainer.strategy.root_device
    kept = keep(build(cfg.cache), checkpoint, settings, device)
    loader = build_loader(cfg)
    return Pipeline(
        core=build_parts(cfg, loader).pipeline(model, kept),
        loader=loader,
        composite=build(cfg.composite),
        video=build(cfg.video),
        device=device,
        precision=trainer.precision_plugin,
        overlap=cfg.overlap,
        settings=Composed(cfg=cfg, overrides=overrides),
    )


def check_settings(cfg: DictConfig) -> None:
    """Raises a UserError for a plain setting that a pipeline cannot use."""
    check_plain(cfg, INFER)
    check_given(cfg, {"overlap": bool, "batch_clips": int})
    if cfg.batch_clips is not None and cfg.batch_clips < 1:
        raise UserError(f"batch_clips={cfg.batch_clips} must be a positive number")
    if cfg.on_error not in (None, STOP, SKIP):
        raise UserError(f"on_error={cfg.on_error} is unknown; choose {STOP} or {SKIP}, or null for {SKIP}")


@contextmanager
def in_sentences(overrides: Sequence[str]) -> Iterator[None]:
    """Turns an error of Hydra or OmegaConf into a UserError with the sentence that a command would print."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        said = unknown_setting(error, overrides) if isinstance(error, HydraException) else None
        raise UserError(said or sentence(error)[0]) from error


@dataclass(frozen=True, kw_only=True)
class Composed:
    """The settings of a pipeline and of those that share its weights.

    `overrides`: which led to the config; None for one composed elsewhere. `sampling`: newer values of `SAMPLING`.
    `known`: what was built so far, shared by all that share weights; it does not hold them.
    """

    cfg: DictConfig
    overrides: tuple[str, ...] | None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    known: "dict[tuple[str, ...], Built]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        settings = [f"{name}={value}" for name, value in self.sampling.items()]
        return printable(" ".join(merged(self.overrides or (), settings)) or "default settings")

    @property
    def batch_clips(self) -> int:
        return int(self.cfg.batch_clips or 1)

    @property
    def skips(self) -> bool:
        return bool(self.cfg.on_error != STOP)

    def changed(self, parts: "Changeable", overrides: Sequence[str]) -> "Changeable":
        """Returns these parts as overrides change them."""
        with in_sentences([*(self.overrides or ()), *overrides]):
            settings, core = self._with(overrides), parts.core
            if settings.cfg is not self.cfg:
                made = settings.made
                core = made.parts.pipeline(core.model, replace(core.kept, cache=made.loader.cache))
                outputs = {"composite": made.composite, "video": made.video, "overlap": settings.cfg.overlap}
                parts = replace(parts, loader=made.loader, **outputs)
            core = replace(core, sampler=replace(core.sampler, **settings.sampling))
            return replace(parts, core=core, settings=settings)

    @property
    def made(self) -> "Built":
        """The parts of these settings, without the values of `sampling`."""
        assert self.overrides is not None
        return self.known[self.overrides]

    def metrics(self, names: Sequence[str] | None) -> "list[Metric]":
        """Builds metrics by the names of their options, with their settings where the config has them."""
        if names is None:
            return build_metrics(self.cfg)
        if isinstance(names, str):
            raise UserError(f"metrics are a list; give [{names!r}]")
        others = [name for name in names if name not in self.cfg.metrics]
        choice = [f"metrics=[{','.join(others)}]"]
        with in_sentences(choice):
            more = compose_config(choice).metrics if others else {}
        cfg = copy.deepcopy(self.cfg)
        cfg.metrics = {name: self.cfg.metrics[name] if name in self.cfg.metrics else more[name] for name in names}
        return build_metrics(cfg)

    def motion_depends(self) -> Mapping[str, str]:
        """Returns what converged motion depends on besides its clip."""
        from float_research.inference.measuring import motion_depends

        cfg = copy.deepcopy(self.cfg)
        if "output_dir" in cfg:  # which only a run has
            cfg.output_dir = "."
        return motion_depends({**resolved(cfg), **self.sampling}, build(cfg.checkpoint).fingerprint())

    def _with(self, overrides: Sequence[str]) -> "Composed":
        """Returns these settings with overrides."""
        plain = {}
        for override in overrides:
            name, equals, _ = override.partition("=")
            if name.strip("+~").split("@")[0].partition(".")[0].partition("/")[0] in OF_RUNS:
                raise UserError(f"{printable(override)} has no effect on a pipeline; it is for float-research infer")
            if name == OF_PROCESS:
                raise UserError(f"{printable(override)} is for the whole process; float_research.load sets it")
            if equals and name in SAMPLING and name not in self._interpolated:
                known = read(override)
                value = known.value() if known is not None else override.partition("=")[2]
                check_type(name, value, SAMPLING[name])
                plain[name] = value
        others = [override for override in overrides if override.partition("=")[0] not in plain]
        settings = replace(self, sampling={**self.sampling, **plain})
        return settings._composed(others) if others else settings

    @cached_property
    def _interpolated(self) -> set[str]:
        """The settings of `SAMPLING` by which others are given."""
        uses = " ".join(re.findall(r"\$\{[^}]*\}", OmegaConf.to_yaml(self.cfg, resolve=False)))
        return {name for name in SAMPLING if re.search(rf"\b{name}\b", uses)}

    def _composed(self, overrides: Sequence[str]) -> "Composed":
        """Returns settings with a config composed of all overrides."""
        if self.overrides is None:
            raise UserError(
                f"{printable(overrides[0])} cannot be changed in a pipeline whose config was composed elsewhere; "
                "change the config, or use float_research.load"
            )
        whole = merged(self.overrides, overrides)
        made = self.known.pop(whole, None)
        if made is None:
            cfg = compose_config(whole)
            for group in NEED_LOADING:
                if resolved(cfg[group]) != resolved(self.cfg[group]):
                    raise UserError(
                        f"another {group} cannot share these weights; load it by float_research.load({list(whole)!r})"
                    )
            check_settings(cfg)
            loader = build_loader(cfg)
            made = Built(
                cfg=cfg,
                parts=build_parts(cfg, loader),
                loader=loader,
                composite=build(cfg.composite),
                video=build(cfg.video),
            )
        self.known[whole] = made
        while len(self.known) > MAX_KNOWN:
            del self.known[next(iter(self.known))]
        return replace(self, cfg=made.cfg, overrides=whole)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A config and its parts besides the network."""

    cfg: DictConfig
    parts: "PipelineParts"
    loader: "ClipLoader"
    composite: "Composite"
    video: "H264"


def merged(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Joins overrides. A new value replaces the old one of the same name, and a new option those of its group."""
    names = [override.partition("=")[0].strip("+~") for override in new]

    def replaced(override: str) -> bool:
        name = override.partition("=")[0].strip("+~")
        return any(name == other or name.startswith(f"{other}.") for other in names)

    return (*(override for override in old if not replaced(override)), *new)
