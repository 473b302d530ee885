"""Composes configs and builds the parts they name, so that models, data, sampling and metrics get objects, not configs.

Besides this module, only the command line sees a `DictConfig`: commands, overrides, options, sweeps and reruns.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from hydra.version import VersionBase
from omegaconf import DictConfig, ListConfig, OmegaConf

from float_research import threads
from float_research.checking import (
    INFER,
    OK,
    REFUSE,
    TRAIN,
    check_budget,
    check_files,
    check_given,
    check_plain,
    check_seeds,
    check_type,
    check_types,
    declared_lack,
    require_metrics,
)
from float_research.data.examples import asset, example
from float_research.errors import SKIP, STOP, UserError, printable, reason, writable
from float_research.files import name_bytes
from float_research.folders import KEEP
from float_research.launch import in_sweep, num_tasks, requeued
from float_research.options import config_folder, for_help, help_text, parts, training_parts
from float_research.overrides import literal, without_interpolations
from float_research.packages import importing
from float_research.program import command, install, typed
from float_research.sampling.values import check_values
from float_research.tracking.runs import word

if TYPE_CHECKING:  # functions import what they build, so that --help and rejected settings answer at once
    from lightning import Trainer

    from float_research.data.clips import ClipLoader
    from float_research.inference.job import Job
    from float_research.inference.pipeline import PipelineParts
    from float_research.metrics.metric import Metric
    from float_research.models.float_model import FloatModel
    from float_research.motion.edits import Edits
    from float_research.sampling.sampler import Sampler
    from float_research.tracking.logger import RunLogger, TrainingLogger
    from float_research.training.job import TrainingJob


OmegaConf.register_new_resolver("command", typed, replace=True)
OmegaConf.register_new_resolver("install", install, replace=True)
OmegaConf.register_new_resolver("asset", asset, replace=True)
OmegaConf.register_new_resolver("example", example, replace=True)
OmegaConf.register_new_resolver("parts", for_help(parts), replace=True)
OmegaConf.register_new_resolver("training_parts", for_help(training_parts), replace=True)


SEEDS_AT_ONCE = 8
"""Seeds of a clip in one batch, if `batch_clips` is null: each has a video encoder of its own."""


def hydra_main(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Returns Hydra's decorator for the main function of a command that is configured by `conf/`."""
    configured = hydra.main(config_path=str(config_folder()), config_name=config_name, version_base="1.3")

    def decorate(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        run = configured(main)

        def run_or_help() -> None:
            if (text := help_text(config_name)) is None:
                run()
            else:
                print(text)

        return run_or_help

    return decorate


def compose_config(overrides: Sequence[str], config_name: str = "infer") -> DictConfig:
    """Composes the config that a command would see with these overrides, outside any Hydra run."""
    with apart(), initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose(config_name, overrides=literal(overrides))


@contextmanager
def apart() -> Iterator[None]:
    """Gives Hydra a clean global state and restores the caller's at the end, which may be inside a Hydra run."""
    kinds: tuple[type, ...] = (GlobalHydra, VersionBase)
    former = {kind: Singleton._instances.pop(kind) for kind in kinds if kind in Singleton._instances}
    try:
        yield
    finally:
        for kind in kinds:
            Singleton._instances.pop(kind, None)
        Singleton._instances |= former


def build(config: DictConfig, **more: Any) -> Any:
    """Instantiates a config node with `more` arguments. A part's own UserError is raised unchanged."""
    check_types(config)
    try:
        return instantiate(escaped(config), _convert_="all", **more)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__
        raise


def escaped(config: DictConfig) -> DictConfig:
    """Escapes interpolations in strings, since `instantiate` resolves twice what a single read resolves once."""
    if not any("${" in text for _, _, text in texts(config)):
        return config
    copied = copy.deepcopy(config)
    copied._set_parent(config._get_parent())
    for node, name, text in list(texts(copied)):
        if "${" in text:
            node[name] = without_interpolations(without_interpolations(text))
    return copied


def texts(node: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yields container, key and value of each string."""
    for name in node if isinstance(node, DictConfig) else range(len(node)):
        if OmegaConf.is_missing(node, name):
            continue
        value = node[name]
        if isinstance(value, str):
            yield node, name, value
        elif isinstance(value, (DictConfig, ListConfig)):
            yield from texts(value)


def build_sampler(cfg: DictConfig) -> "Sampler":
    """Builds the sampler from its groups. Raises a UserError for a solver fitted to other weights or guidance."""
    with importing():
        from float_research.sampling.fitted import Fitted
        from float_research.sampling.sampler import Sampler

    groups = ("solver", "budget", "time_grid", "guidance", "noise", "sampling_noise", "chunking", "stitch")
    parts = {group: build(cfg[group]) for group in groups}
    if isinstance(solver := parts["solver"], Fitted) and not solver.anyway:
        solver.check(weights=build(cfg.checkpoint).fingerprint(), guidance=resolved(cfg.guidance))
    return Sampler(**{value: cfg[value] for value in ("nfe", "seed", "temperature", "guidance_reuse")}, **parts)


def build_parts(cfg: DictConfig, loader: "ClipLoader", sampler: "Sampler | None" = None) -> "PipelineParts":
    """Builds the parts of a pipeline besides its network, of which `sampler` may be built before."""
    from float_research.inference.pipeline import PipelineParts

    groups = ("search", "vector_field", "emotion", "decoding")
    return PipelineParts(
        sampler=sampler or build_sampler(cfg),
        edits=build_edits(cfg),
        driving=loader.driving,
        video_fps=cfg.video.fps,
        **{group: build(cfg[group]) for group in groups},
    )


def build_edits(cfg: DictConfig) -> "Edits":
    """Builds the edits that `motion` names. Raises a UserError for an atlas of other weights."""
    from float_research.motion.edits import Edits

    edits = {str(name): build(node) for name, node in cfg.motion.items()}
    for edit in edits.values():
        if edit.atlas is not None:
            edit.check_weights(build(cfg.checkpoint).fingerprint())
    return Edits(edits=edits)


def build_loader(cfg: DictConfig) -> "ClipLoader":
    """Builds the clip loader with the model's sizes."""
    from float_research.data.clips import ClipLoader
    from float_research.video.reader import read_frames_at

    return ClipLoader(
        cache=build(cfg.cache),
        face=build(cfg.face),
        limits=build(cfg.limits),
        read_video=read_frames_at,
        background=cfg.background,
        frame=cfg.get("frame", "first"),  # which records of older versions lack
        image_size=cfg.model.motion_autoencoder.image_size,
        sampling_rate_hz=cfg.model.sampling_rate_hz,
        fps=cfg.model.fps,
        emotions=tuple(cfg.model.emotions),
    )


def model_builder(cfg: DictConfig) -> "Callable[[], FloatModel]":
    return partial(build, cfg.model)


def build_trainer(cfg: DictConfig) -> "Trainer":
    """Builds Lightning's trainer. Raises a UserError for 64-bit precision on a device without it."""
    from float_research.devices import allow_tf32, widest
    from float_research.inference.trainers import wait_for_slow_processes

    tf32 = cfg.get("tf32", False)
    check_type("tf32", tf32, bool)
    allow_tf32(tf32)
    trainer: Trainer = make_trainer(cfg.trainer)
    wait_for_slow_processes(trainer)
    device = trainer.strategy.root_device
    if str(trainer.precision).startswith("64") and widest(device).itemsize < 8:
        raise UserError(
            f"trainer.precision={trainer.precision} is not supported on {device.type}; use 32-true, or "
            "trainer.accelerator=cpu"
        )
    return trainer


def make_trainer(node: DictConfig, **more: Any) -> Any:
    """Builds a trainer. Raises a UserError that names the setting for an accelerator this machine lacks."""
    try:
        return build(node, **more)
    except InstantiationException as error:
        if node.accelerator in ("auto", "cpu") or error.__cause__ is None:
            raise
        said = reason(error.__cause__).rstrip(".!")
        raise UserError(
            f"trainer.accelerator={printable(node.accelerator)} cannot be used here ({said}); use "
            "trainer.accelerator=auto, or cpu"
        ) from error


def build_job(cfg: DictConfig) -> "Job":
    """Builds all parts of a run, without reading weights or media."""
    if "output_dir" not in cfg:
        raise UserError(f"these are the settings of a finished run; {command('rerun')} FOLDER repeats it elsewhere")
    if "_target_" not in cfg.data:
        raise UserError(
            f"this data option is for {command('train')}; choose data=pair, data=grid, data=manifest or data=suite"
        )
    check_plain(cfg, INFER)
    check_values(nfe=cfg.nfe, guidance_reuse=cfg.guidance_reuse, temperature=cfg.temperature)
    check_given(cfg, {"overlap": bool, "batch_clips": int, "seeds": list})
    seeds = None if cfg.seeds is None else list(cfg.seeds)
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    if seeds is not None:
        check_seeds(seeds)
        check_single_seed(cfg, overrides)
    if cfg.resume not in (True, False, KEEP):
        raise UserError(f"resume={printable(cfg.resume)} is unknown; choose true, false or {KEEP}")
    if cfg.metrics_missing not in (REFUSE, OK):
        raise UserError(f"metrics_missing={printable(cfg.metrics_missing)} is unknown; choose {REFUSE} or {OK}")
    if cfg.on_error not in (None, STOP, SKIP):
        raise UserError(f"on_error={cfg.on_error} is unknown; choose {STOP} or {SKIP}, or null for the default of data")
    check_place(cfg)
    if cfg.on_error is None:
        check_files(cfg.data)
    require_metrics(cfg, partial(declared_lack, cfg.metrics))
    check_budget(cfg, build(cfg.budget))
    threads.limit(cfg.get("threads"))
    sampler = build_sampler(cfg)  # which needs no other package than torch
    composite, metrics = build(cfg.composite), build_metrics(cfg)
    built = dict(zip(cfg.metrics, metrics, strict=True))
    changes = None if composite.whole else "compares videos, which composite changes; use composite=none"
    require_metrics(cfg, lambda name: built[name].lacks() or (changes if built[name].reads_videos else None))
    with importing():
        from float_research.data.clips import ENDING_BYTES
        from float_research.inference.job import Job
        from float_research.inference.naming import Naming
        from float_research.inference.run_folder import RunFolder

    loader = build_loader(cfg)
    return Job(
        build_model=model_builder(cfg),
        checkpoint=build(cfg.checkpoint),
        source=build(cfg.data),
        loader=loader,
        cache=build(cfg.cache),
        parts=build_parts(cfg, loader, sampler),
        composite=composite,
        video=build(cfg.video),
        metrics=metrics,
        build_trainer=partial(build_trainer, cfg),
        seeds=seeds,
        batch_clips=min(len(seeds or [0]), SEEDS_AT_ONCE) if cfg.batch_clips is None else cfg.batch_clips,
        overlap=cfg.overlap,
        naming=Naming(
            pattern=cfg.name, values=naming_values(cfg), room=name_bytes(Path(cfg.output_dir)) - ENDING_BYTES
        ),
        folder=RunFolder(Path(cfg.output_dir)),
        on_error=cfg.on_error,
        dry_run=cfg.dry_run,
        resume=cfg.resume or requeued(),
        loggers=build_loggers(cfg),
        overrides=overrides,
        num_tasks=num_tasks(),
        sweep=Path(HydraConfig.get().sweep.dir).name if in_sweep() else None,
        config=resolved(cfg),
    )


def check_single_seed(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raises a UserError for an override of `seed` that several `seeds` would replace."""
    single = next((text for text in overrides if text.startswith("seed=")), None)
    if single is not None and cfg.seeds is not None:
        raise UserError(f"{single} has no effect with seeds={list(cfg.seeds)}; give one of them, or seeds=null")


def check_place(cfg: DictConfig) -> None:
    """Raises a UserError for an output folder whose name holds an interpolation, or is not UTF-8."""
    if HydraConfig.initialized():
        runtime = OmegaConf.to_container(HydraConfig.get().runtime, resolve=False)
        assert isinstance(runtime, dict)
        place = str(runtime["output_dir"])
        if "${" in place or writable(place) != place:  # FFmpeg only takes UTF-8 paths
            raise UserError(
                f"{printable(place, 1000)} contains ${{, or bytes that are not UTF-8; choose another "
                "hydra.run.dir or hydra.sweep.dir"
            )


def build_loggers(cfg: DictConfig) -> "list[RunLogger]":
    """Builds the loggers that `logger` names."""
    return [build(node) for node in cfg.logger.values()]


def build_training_loggers(cfg: DictConfig) -> "list[TrainingLogger]":
    """Builds the loggers that `logger` names. Raises a UserError for one that only takes finished runs."""
    from float_research.tracking.logger import TrainingLogger

    loggers = {name: build(node) for name, node in cfg.logger.items()}
    for name, logger in loggers.items():
        if not isinstance(logger, TrainingLogger):
            raise UserError(f"logger={name} does not follow trainings; choose csv, tensorboard, wandb or mlflow")
    return list(loggers.values())


def build_metrics(cfg: DictConfig) -> "list[Metric]":
    """Builds the metrics that `metrics` names."""
    from float_research.metrics.metric import check_names

    metrics = [build(node) for node in cfg.metrics.values()]
    check_names(metrics)
    return metrics


def build_training(cfg: DictConfig) -> "TrainingJob":
    """Builds all parts of a training, without reading or writing files."""
    check_training_data(cfg)
    check_plain(cfg, TRAIN)
    check_place(cfg)
    threads.limit(cfg.threads)
    with importing():
        from float_research.training.job import TrainingJob

    return TrainingJob(
        build_model=model_builder(cfg),
        objective=build(cfg.stage.objective),
        optimizer=build(cfg.stage.optimizer),
        warmup_steps=cfg.stage.warmup_steps,
        build_trainer=partial(make_trainer, cfg.trainer),
        plugins=instantiate(cfg.trainer.plugins, _convert_="all"),
        init_from=list(cfg.init_from),
        frozen=list(cfg.frozen),
        progress=cfg.trainer.enable_progress_bar,
        callbacks=[build(node) for node in cfg.callbacks.values()],
        loggers=build_training_loggers(cfg),
        trial=cfg.get("trial_corpus") is not None and cfg.data.corpus == cfg.trial_corpus,
        output_dir=Path(cfg.output_dir),
        name=f"{word(cfg.stage.objective._target_).removesuffix('_objective')} {Path(cfg.output_dir).name}",
        overrides=list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else [],
        config=resolved(cfg),
        **{name: cfg[name] for name in ("seed", "num_validation", "num_workers", "average_decay")},
    )


def check_training_data(cfg: DictConfig) -> None:
    """Raises a UserError for data that cannot train the stage."""
    if "_target_" in cfg.data:
        raise UserError(f"this data option is for {command('infer')}; choose data=toy or data=video_folder")
    labelled = "speech" in cfg.stage.objective or "size_px" in cfg.stage.objective
    if labelled and cfg.data.corpus is None:
        raise UserError(
            "this stage needs labels, which videos do not have; train it with data=toy, or use a pretrained "
            "encoder and pass its weights to the later stages with init_from=[FILE]"
        )


def resolved(cfg: DictConfig) -> dict[str, Any]:
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def naming_values(cfg: DictConfig) -> dict[str, Any]:
    """Returns the fields of a file name pattern besides the clip's own. A setting that a run lacks is `none`."""
    select = partial(OmegaConf.select, cfg, default="none")
    return {
        "time": cfg.time,
        "nfe": cfg.nfe,
        "seed": cfg.seed,
        "a": select("guidance.audio.scale"),
        "e": select("guidance.emotion.scale"),
        "emotion": OmegaConf.select(cfg, "emotion.label", default=cfg.emotion._target_.rsplit(".", 1)[-1].lower()),
    }
