"""What there is to choose from: the options of each group, and the settings that each of them has.

All of it as this program's command line sees it, which may name config folders of the user's own.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from float_research.overrides import read, told

MAIN = "infer"
TOLD, BEFORE = "command-line", SearchPathQuery(provider="schema")


def config_folder() -> Path:
    """`conf/`, beside the package and linked into it in a source tree, and inside it once installed."""
    inside = Path(__file__).parent / "conf"
    return inside.resolve() if inside.is_dir() else Path(__file__).parents[1] / "conf"


def parts(groups: Sequence[str]) -> str:
    """The options of config groups, one group a line, for help texts."""
    known = repository()
    return "\n".join(f"  {group + ':':<14}{', '.join(options_of(group, known))}" for group in groups)


def options_of(group: str, known: ConfigRepository | None = None) -> list[str]:
    """The options of a config group."""
    return sorted(set((known or repository()).get_group_options(group, ObjectType.CONFIG)))


def repository() -> ConfigRepository:
    """All config files there are."""
    return ConfigRepository(search_path())


def search_path() -> ConfigSearchPath:
    """Our config folder, and those that the command line names, or the main config that it names."""
    path = create_config_search_path(str(config_folder()))
    if folder := told().config_dir:
        path.prepend(TOLD, f"file://{os.path.abspath(folder)}", BEFORE)
    given = [read(override) for override in told().overrides if override.startswith("hydra.searchpath=")]
    searched = given[0].value() if given and given[0] else None
    if not given and told().config_name and (loaded := ConfigRepository(path).load_config(main())):
        searched = OmegaConf.select(loaded.config, "hydra.searchpath")
    for folder in searched if isinstance(searched, (list, ListConfig)) else ():
        path.prepend(TOLD, str(folder), BEFORE)
    return path


def main() -> str:
    """The name of the main config."""
    return MAIN if told().config_path else told().config_name or MAIN


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config, Hydra's part included, of overrides that may have several values, which are passed over."""
    loader = ConfigLoaderImpl(config_search_path=search_path())
    return loader.load_configuration(main(), list(overrides), RunMode.MULTIRUN, validate_sweep_overrides=False)


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """All settings and groups, as they are written in overrides."""
    for name in node:
        key = prefix + str(name)
        yield key
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            yield from keys(child, key + ".")


def known_keys() -> list[str]:
    """All settings and groups of the default config."""
    return [key for key in keys(composed([])) if not key.startswith("hydra")] + ["experiment"]


def owner(key: str, overrides: Sequence[str]) -> tuple[str, str, list[str]] | None:
    """For a setting that some option of a group has: the group, the option that was chosen, and those that have it."""
    groups = [override for override in overrides if "." not in override.partition("=")[0].partition("@")[0]]
    try:
        choices = composed(groups).hydra.runtime.choices
    except HydraException:  # something else is wrong, too
        return None
    places = {group: group.partition("@")[2] or group.replace("/", ".") for group in map(str, choices)}
    for group in sorted(places, key=lambda group: -len(places[group])):
        if not key.startswith(f"{places[group]}."):
            continue
        others = [override for override in groups if override.partition("=")[0] != group]
        options = options_of(group.partition("@")[0])
        having = [option for option in options if has(key, [*others, f"{group}={option}"])]
        if having and choices[group] not in having:
            return group, str(choices[group]), having
    return None


def has(key: str, overrides: Sequence[str]) -> bool:
    """Whether a config has a setting."""
    try:
        return key in keys(composed(overrides))
    except HydraException:  # as of options that do not go together
        return False
