"""The options of config groups and their settings, including those in the user's config folders."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ConfigDefault
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from float_research.overrides import parsed_command_line, read

MAIN, EXPERIMENT = "infer", "experiment"
TOLD, BEFORE = "command-line", SearchPathQuery(provider="schema")


def config_folder() -> Path:
    """Returns `conf/`: inside the package when installed, linked to it or beside it in a source tree."""
    inside = Path(__file__).parent / "conf"
    return inside.resolve() if inside.is_dir() else Path(__file__).parents[1] / "conf"


def parts(groups: Sequence[str]) -> str:
    """Lists the options of config groups, one group a line, for help texts. Experiments are those of the command."""
    held = Catalogue(main())
    found = {group: [one for one in options_of(group, held.known) if held.offers(group, one)] for group in groups}
    return "\n".join(f"  {group + ':':<14}{', '.join(names)}" for group, names in found.items())


def training_parts(groups: Sequence[str]) -> str:
    """Lists those options of groups that trainings share with runs which are for trainings."""
    known = repository()
    chosen = {group: [name for name in options_of(group, known) if trains(group, name, known)] for group in groups}
    return "\n".join(f"  {group + ':':<14}{', '.join(names)}" for group, names in chosen.items())


def for_help(listing: Callable[[Sequence[str]], str]) -> Callable[[Sequence[str]], str]:
    """Returns a resolver for help texts, which lists nothing unless the command line asks for help or for configs.

    Hydra resolves it whenever it composes a config, and a listing reads all options, which takes a tenth of a second.
    """

    def listed(groups: Sequence[str]) -> str:
        told = parsed_command_line()
        return listing(groups) if told.help or told.hydra_help or told.cfg or told.info else ""

    return listed


def trains(group: str, option: str, known: ConfigRepository) -> bool:
    """Returns whether an option is for trainings: data with pairs or sequences, experiments that choose a stage."""
    loaded = known.load_config(f"{group}/{option}")
    if loaded is None:
        return False
    if group == "data":
        return "portraits" in loaded.config or "sequences" in loaded.config
    return any(getattr(default, "group", "") == "/stage" for default in loaded.defaults_list or ())


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
    """Returns the name of the main config: the command's own, unless the command line names one."""
    told, running = parsed_command_line(), getattr(sys.modules["__main__"].__spec__, "name", "").rpartition(".")[2]
    own = running if (config_folder() / f"{running}.yaml").is_file() else MAIN
    return own if told.config_path else told.config_name or own


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


class Catalogue:
    """The settings in our config files and the user's, read without composing them, which takes much longer."""

    def __init__(self, name: str, overrides: Sequence[str] = ()) -> None:
        """`name`: of the main config; `overrides`: of which only those that choose options matter."""
        self.main, self.known = name, repository()
        self.files: dict[str, ConfigResult | None] = {}
        self.given = dict(filter(None, map(chosen_option, overrides)))
        self.groups: dict[str, list[str]] = {}
        """Group as in overrides, such as schedule@guidance.audio → chosen options."""
        self.chosen = dict(self.replaced(name))
        """Options that the main config or an experiment chooses in place of a default."""
        for experiment in self.given.get(EXPERIMENT, []):
            self.chosen |= dict(self.replaced(f"{EXPERIMENT}/{experiment}"))
        self.settings = list(dict.fromkeys(self._walk(name, "")))
        """All settings, as written in overrides."""

    def file(self, path: str) -> ConfigResult | None:
        if path not in self.files:
            try:
                self.files[path] = self.known.load_config(path)
            except HydraException:  # its own error names the file
                self.files[path] = None
        return self.files[path]

    def defaults(self, path: str) -> list[Any]:
        found = self.file(path)
        return [one for one in (found.defaults_list or []) if not one.is_self()] if found else []

    def replaced(self, path: str) -> Iterator[tuple[str, list[str]]]:
        """Yields the groups whose default a file overrides, and the options it chooses."""
        for one in self.defaults(path):
            if isinstance(one, ConfigDefault):
                yield from self.replaced(below(path.rpartition("/")[0], str(one.path)))
            elif one.is_override():
                yield one.group.strip("/") + (f"@{one.package}" if one.package else ""), as_list(one.value)

    def own(self, group: str, option: str) -> list[str]:
        """Returns the settings of an option, relative to its group."""
        noted = self.groups
        self.groups = {}
        try:
            return list(self._walk(f"{group}/{option}", ""))
        finally:
            self.groups = noted

    def owner(self, key: str) -> tuple[str, list[str], list[str]] | None:
        """Returns for an unknown setting its group, the chosen options, and the options that have the setting."""
        for group in sorted(self.groups, key=lambda group: -len(place_of(group))):
            kind, place = group.partition("@")[0], place_of(group)
            if key.startswith(f"{place}."):
                inner = key.removeprefix(f"{place}.")
                having = [option for option in options_of(kind, self.known) if inner in self.own(kind, option)]
                if having and not set(self.groups[group]) & set(having):
                    return group, self.groups[group], having
        return None

    def labels(self, name: str) -> list[str]:
        """Returns the words in a list of the config, such as `emotions`."""
        found = [OmegaConf.select(file.config, name) for file in self.files.values() if file and name in file.config]
        return [str(word) for words in found if isinstance(words, ListConfig) for word in words]

    def elsewhere(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Yields group, option and key of settings with a last name that belong to options that are not chosen."""
        for group in [group for group in self.groups if "@" not in group and "/" not in group]:
            for option in [one for one in options_of(group, self.known) if one not in self.groups[group]]:
                yield from (
                    (group, option, f"{group}.{key}")
                    for key in self.own(group, option)
                    if key.rpartition(".")[2] == name
                )

    def offers(self, group: str, option: str) -> bool:
        """Returns whether an option suits this main config: an experiment only sets what it has."""
        if group != EXPERIMENT:
            return True
        path = f"{group}/{option}"
        found = self.file(path)
        sweeps = found is not None and OmegaConf.select(found.config, "hydra.sweeper") is not None
        known = {*self.settings, *self.groups, *self.chosen}
        needed = {replaced for replaced, _ in self.replaced(path)} | ({"hydra/sweeper"} if sweeps else set())
        return needed | {key for key in self.own(group, option) if "." not in key} <= known

    def _walk(self, path: str, place: str) -> Iterator[str]:
        """Yields the settings of a file at `place` and of those in its defaults, and notes the groups among them."""
        folder = path.rpartition("/")[0]
        for one in self.defaults(path):
            if isinstance(one, ConfigDefault):
                at = place
                if one.package not in (None, "_here_"):
                    yield (at := ".".join(filter(None, (place, one.package))))
                yield from self._walk(below(folder, str(one.path)), at)
            elif not one.is_override():
                kind = below(folder, str(one.group))
                at = ".".join(filter(None, (place, kind.replace("/", ".") if one.package is None else one.package)))
                group = kind if at == kind.replace("/", ".") else f"{kind}@{at}"
                self.groups[group] = self.given.get(group) or self.chosen.get(group) or as_list(one.value)
                if group != EXPERIMENT:
                    yield at
                for option in self.groups[group]:
                    yield from self._walk(f"{kind}/{option}", at)
        found = self.file(path)
        if found and isinstance(found.config, DictConfig):
            yield from keys(found.config, f"{place}." if place and found.header["package"] != "_global_" else "")


def below(folder: str, path: str) -> str:
    """Returns a path that a file in `folder` names in its defaults."""
    return path[1:] if path.startswith("/") else f"{folder}/{path}".strip("/")


def place_of(group: str) -> str:
    """Returns where a group's settings lie: schedule@guidance.audio → guidance.audio."""
    kind, _, place = group.partition("@")
    return place or kind.replace("/", ".")


def as_list(value: object) -> list[str]:
    return [] if value in (None, "null") else [str(one) for one in value] if isinstance(value, list) else [str(value)]


def chosen_option(override: str) -> tuple[str, list[str]] | None:
    """Returns the group and the options of an override that chooses them."""
    known = read(override)
    if known is None or "." in known.key_or_group or known.is_sweep_override():
        return None
    return known.key_or_group + (f"@{known.package}" if known.package else ""), as_list(known.value())


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yields all settings, as written in overrides, except for Hydra's own."""
    for name in node:
        key = prefix + str(name)
        if key == "hydra":
            continue
        yield key
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            yield from keys(child, key + ".")
