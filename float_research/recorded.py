"""What can be measured: finished runs, rebuilt from their records, and videos of other programs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from float_research.checking import check_type
from float_research.compose import (
    build,
    build_loader,
    build_metrics,
    compose_config,
    resolved,
)
from float_research.errors import UserError, reading
from float_research.loading import load_composed
from float_research.options import config_folder
from float_research.texts import read_yaml
from float_research.tracking.record import CONFIG
from float_research.tracking.runs import SOURCE
from float_research.trust import TARGET, check_record, renamed

if TYPE_CHECKING:
    from float_research.data.footage import Footage
    from float_research.inference.outside import OutsideVideos
    from float_research.inference.remeasuring import Remeasuring

MEASURING = ("metrics", "cache", "limits")
"""Groups that measuring a finished run takes from the command line instead of the run's record."""
EXPERIMENT = "experiment"
"""An experiment may choose them, too; its other settings are left out."""
OUTSIDE = (*MEASURING, "face", "background", "video", "name")
"""Groups and settings with which videos of other programs are measured."""
TRUST = "trust="
REMAKE = "repeat the run"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The command line of measuring: the groups that may be set, and the user's own `trusted` modules."""

    config: DictConfig
    trusted: Sequence[str]


def choose_metrics(overrides: Sequence[str]) -> Chosen:
    """Composes the groups of `MEASURING` from overrides. Raises a UserError for an override of anything else."""
    trusted = [override.removeprefix(TRUST) for override in overrides if override.startswith(TRUST)]
    others = [override for override in overrides if not override.startswith(TRUST)]
    for override in others:
        if re.split(r"[.@=]", override.lstrip("+~"))[0] not in (*MEASURING, EXPERIMENT):
            raise UserError(f"{override} cannot be changed in a finished run; give settings of {', '.join(MEASURING)}")
    for module in trusted:
        if not all(name.isidentifier() for name in module.split(".")):
            raise UserError(f"{TRUST}{module} is not a module name; give one such as my_package.metrics")
    return Chosen(config=compose_config([*others, "output_dir=."]), trusted=trusted)


def choose_outside(overrides: Sequence[str]) -> DictConfig:
    """Composes the settings of `OUTSIDE` from overrides. Raises a UserError for an override of anything else."""
    for override in overrides:
        name = re.split(r"[@=]", override.lstrip("+~"))[0]
        if name.split(".")[0] not in (*OUTSIDE, EXPERIMENT) or (name.startswith("video") and name != "video.fps"):
            known = ", ".join((*MEASURING, "face", "background", "video.fps", "name"))
            raise UserError(f"{override} does not say how videos are measured; give settings of {known}")
    if not any(override.startswith("name=") for override in overrides):
        raise UserError("the videos need a name, by which tables and comparisons call them; give one, as name=official")
    return compose_config([*overrides, "output_dir=."])


def recorded_config(folder: Path, chosen: Chosen) -> DictConfig:
    """Reads the settings of a finished run as data, with the groups of `MEASURING` as chosen now."""
    path = folder / CONFIG
    with reading(path, REMAKE):
        content = renamed(read_yaml(path, what="settings", remedy=REMAKE))
        if not isinstance(content, dict) or not {"model", "checkpoint", "trainer"} <= content.keys():
            raise UserError(f"{path} does not hold the settings of a run; {REMAKE}")
        check_record(content, path, config_folder(), chosen.trusted)
        for name in map(str, chosen.config):
            option = chosen.config[name]
            if isinstance(option, DictConfig):
                held = content.get(name, option)
                if not isinstance(held, Mapping):
                    raise UserError(f"{path} has no mapping of settings for {name}; {REMAKE}")
                if TARGET in option and TARGET not in held:
                    raise UserError(f"{path} does not say which option of {name} the run used; {REMAKE}")
        known = chosen.config.trainer.keys()  # others, such as loggers, could write files
        content["trainer"] = {name: value for name, value in dict(content["trainer"]).items() if name in known}
        cfg = OmegaConf.create({str(name): value for name, value in content.items()})
    for group in MEASURING:
        cfg[group] = chosen.config[group]
    return cfg


def build_remeasuring(folder: Path, chosen: Chosen) -> "Remeasuring":
    """Builds the measurement of the run in `folder` by the chosen metrics, with its other settings unchanged.

    Raises:
        UserError: its settings cannot be used.
    """
    from float_research.inference.remeasuring import Remeasuring

    cfg = recorded_config(folder, chosen)
    with reading(folder / CONFIG, REMAKE, mistakes=False):
        checkpoint, loader = build(cfg.checkpoint), build_loader(cfg)
    return Remeasuring(
        folder=folder,
        config=resolved(cfg),
        metrics=build_metrics(cfg),
        loader=loader,
        cache=loader.cache,
        fingerprint=checkpoint.fingerprint,
        load=partial(load_composed, cfg),
    )


def build_outside(footage: "Sequence[Footage]", folder: Path | None, cfg: DictConfig) -> "OutsideVideos":
    """Builds the measurement of videos of other programs; `folder` is by default named after them."""
    from float_research.data.clips import file_name
    from float_research.inference.outside import OutsideVideos

    check_type("background", cfg.background, str)
    source, settings = str(cfg.name), resolved(cfg)
    video, loader = build(cfg.video), build_loader(cfg)
    kept = {name: settings[name] for name in ("metrics", "limits", "face", "background")}
    return OutsideVideos(
        source=source,
        footage=footage,
        folder=folder or Path("outputs") / "outside" / file_name(source),
        metrics=build_metrics(cfg),
        loader=loader,
        fps=video.fps,
        config={SOURCE: source, **kept, "video": {"fps": video.fps}},
    )
