"""The options of config groups and their settings, including those in the user's config folders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ConfigDefault
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from float_research.overrides import parsed_command_line, read

MAIN = "infer"
TOLD, BEFORE = "command-line", SearchPathQuery(provider="schema")


def config_folder() -> Path:
    """Returns `conf/`: inside the package when installed, linked to it or beside it in a source tree."""
    inside = Path(__file__).parent / "conf"
    return inside.resolve() if inside.is_dir() else Path(__file__).parents[1] / "conf"


def parts(groups: Sequence[str]) -> str:
    """Lists the options of config groups, one group a line, for help texts."""
    known = repository()
    return "\n".join(f"  {group + ':':<14}{', '.join(options_of(group, known))}" for group in groups)


def options_of(group: str, known: ConfigRepository | None = None) -> list[str]:
    """Returns the options of a config group."""
    return sorted(set((known or repository()).get_group_options(group, ObjectType.CONFIG)))


def repository() -> ConfigRepository:
    """Returns all config files on the search path."""
    return ConfigRepository(search_path())


def search_path() -> ConfigSearchPath:
    """Returns our config folder and those that the command line, or the main config it names, adds."""
    path = create_config_search_path(str(config_folder()))
    if folder := parsed_command_line().config_dir:
        path.prepend(TOLD, f"file://{os.path.abspath(folder)}", BEFORE)
    given = [read(override) for override in parsed_command_line().overrides if override.startswith("hydra.searchpath=")]
    searched = given[0].value() if given and given[0] else None
    if not given and parsed_command_line().config_name and (loaded := ConfigRepository(path).load_config(main())):
        searched = OmegaConf.select(loaded.config, "hydra.searchpath")
    for folder in searched if isinstance(searched, (list, ListConfig)) else ():
        path.prepend(TOLD, str(folder), BEFORE)
    return path


def main() -> str:
    """Returns the name of the main config."""
    return MAIN if parsed_command_line().config_path else parsed_command_line().config_name or MAIN


def composed(overrides: Sequence[str], name: str | None = None) -> DictConfig:
    """Composes a config, including Hydra's node, and ignores overrides with several values."""
    loader = ConfigLoaderImpl(config_search_path=search_path())
    return loader.load_configuration(name or main(), list(overrides), RunMode.MULTIRUN, validate_sweep_overrides=False)


def help_text(name: str) -> str | None:
    """Returns the help that the command line asks for, or None if it does not, or if only Hydra can fill it in.

    Hydra would list the options of every group for any template, which takes a second.
    """
    asked = parsed_command_line()
    if not asked.help or asked.config_path:
        return None
    template = str(composed(asked.overrides, asked.config_name or name).hydra.help.template)
    return None if "$" in template else template


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yields all settings and groups, as written in overrides."""
    for name in node:
        key = prefix + str(name)
        yield key
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            yield from keys(child, key + ".")


def known_keys() -> list[str]:
    """Returns all settings and groups of the default config."""
    return [key for key in keys(composed([])) if not key.startswith("hydra")] + ["experiment"]


def owner(key: str, overrides: Sequence[str]) -> tuple[str, str, list[str]] | None:
    """Returns for an unknown setting its group, the chosen option, and the options that have the setting."""
    groups = [override for override in overrides if "." not in override.partition("=")[0].partition("@")[0]]
    try:
        choices = composed(groups).hydra.runtime.choices
    except HydraException:  # something else is wrong too
        return None
    places = {group: group.partition("@")[2] or group.replace("/", ".") for group in map(str, choices)}
    for group in sorted(places, key=lambda group: -len(places[group])):
        if not key.startswith(f"{places[group]}."):
            continue
        others = [override for override in groups if override.partition("=")[0] != group]
        options = options_of(group.partition("@")[0])
        known, name = repository(), key.removeprefix(f"{places[group]}.")
        having = []
        for option in options:
            defined = defines(known, f"{group.partition('@')[0]}/{option}", name)
            if has(key, [*others, f"{group}={option}"]) if defined is None else defined:
                having.append(option)
        if having and choices[group] not in having:
            return group, str(choices[group]), having
    return None


def defines(known: ConfigRepository, path: str, name: str) -> bool | None:
    """Returns whether a file sets `name`, or None if that takes composing it, which costs a tenth of a second."""
    loaded = known.load_config(path)
    if loaded is None or not isinstance(loaded.config, DictConfig) or loaded.header.get("package"):
        return None
    found = name in keys(loaded.config)
    for each in loaded.defaults_list or ():
        if isinstance(each, ConfigDefault) and each.package == "" and each.path:
            found = found or defines(known, each.path.lstrip("/"), name) or False
        elif not each.is_self():
            return found or None
    return found


def has(key: str, overrides: Sequence[str]) -> bool:
    """Returns whether a config has a setting."""
    try:
        return key in keys(composed(overrides))
    except HydraException:  # incompatible options
        return False
