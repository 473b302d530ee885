"""What a user probably meant: sentences for arguments, settings and options that do not exist, with what to type."""

import mimetypes
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
)

from float_research.errors import UserError, guess, printable
from float_research.options import EXPERIMENT, Catalogue, chosen_option, main, options_of
from float_research.overrides import COMMAND_LINE, parsed_command_line, read
from float_research.program import command

MAINS = ("infer", "train")
OTHER_NAMES = {
    "steps": "nfe",
    "num_steps": "nfe",
    "num_inference_steps": "nfe",
    "guidance_scale": "guidance.audio.scale",
    "cfg_scale": "guidance.audio.scale",
    "portrait": "data.image",
    "photo": "data.image",
    "speech": "data.audio",
    "wav": "data.audio",
    "fps": "video.fps",
    "device": "trainer.accelerator",
    "gpu": "trainer.accelerator",
    "output": "hydra.run.dir",
    "out": "hydra.run.dir",
}
"""What other programs call our settings."""
KINDS = {"image": ("data.image",), "audio": ("data.audio",), "video": ("data.audio",)}
"""First part of a file's media type → the setting of such a file."""
TABLES = (".csv", ".jsonl", ".parquet")
PATHS = ("data.", "checkpoint.", "hydra.", "output_dir=")
"""How overrides begin whose values are paths."""
FORMATS = {
    "emotion.blend": "{happy: 0.6, neutral: 0.4}",
    "emotion.keyframes": "[{time_s: 0, emotion: neutral}, {time_s: 2, emotion: happy}]",
    "time_grid.points": "[0, 0.3, 1]",
    "motion.offset.coordinates": "{0: 0.5}",
    "motion.video.file": "drive.mp4",
    "motion.blend.meanings": "{smile: 0.5}",
    "data.file": "clips.csv",
    "data.folder": "FOLDER",
    "data.images": "FOLDER",
    "data.audios": "FOLDER",
    "checkpoint.weights": "[phones.safetensors, flow.safetensors]",
}
"""How the value of a setting without a default is written."""
NOT_AN_OPTION = "Config group override must be a string or a list"
NO_VALUE = r"Missing mandatory value: ([\w.]+)"
MOST_NAMED = 3
"""Settings that are suggested together."""


def refuse_bare(given: Sequence[str]) -> None:
    """Raises a UserError for arguments that are neither NAME=VALUE nor Hydra's options, if their meaning is clear."""
    parsed, unknown = get_args_parser().parse_known_args(given)
    options = {text for text in unknown if text.startswith("-") and "=" not in text}
    words = {text for text in (*parsed.overrides, *unknown) if text == "=" or ("=" not in text and text[:1] != "~")}
    places = [place for place, text in enumerate(given) if text in words | options]
    if not places:
        return
    if (found := meant(given, places, options)) is not None:
        typed, settings = found
        raise UserError(f"{printable(typed)} is not NAME=VALUE; write {settings}")
    if options:
        known = f"{command(main())} --help lists the settings"
        raise UserError(f"{printable(min(options))} is unknown; settings are NAME=VALUE, such as nfe=20, and {known}")


def meant(given: Sequence[str], places: Sequence[int], options: set[str]) -> tuple[str, str] | None:
    """Returns the arguments at `places`, with their neighbours, as typed and as they should be; None if unclear."""
    held, typed, settings = Catalogue(main()), list[str](), list[str]()
    end = 0
    override: str | None
    for place in places:
        if place < end:
            continue
        word, before = given[place], given[place - 1] if place else ""
        following = given[place + 1] if place + 1 in places else "…"
        if before.endswith("=") and before.strip("="):  # nfe= 5
            first, end, override = place - 1, place + 1, before + quoted(word)
        elif before.startswith(PATHS) and "=" in before:  # the name of a file, with spaces
            return None
        elif following == "=" and place + 2 < len(given):  # nfe = 5
            first, end, override = place, place + 3, named(word, given[place + 2], held)
        elif word in options or (following != "…" and held_name(word, held)):  # --nfe 5, nfe 5
            first, end, override = place, place + 1 + (following != "…"), named(word, following, held)
        elif ":" in word and held_name(word.partition(":")[0], held):
            name, _, value = word.partition(":")
            first, end, override = place, place + 1, named(name, value, held)
        elif held_name(word, held):
            first, end, override = place, place + 1, named(word, "…", held)
        else:
            first, end, override = place, place + 1, of_value(word, held)
        if override is None:
            return None
        typed += given[first:end]
        settings.append(override)
    return " ".join(typed), " ".join(settings)


def named(name: str, value: str, held: Catalogue) -> str | None:
    """Returns the override for a name, if it is known."""
    known = held_name(name, held)
    return known and f"{known}={quoted(value)}"


def of_value(word: str, held: Catalogue) -> str | None:
    """Returns the override that a bare value stands for: a file, an experiment, or an option."""
    kind = (mimetypes.guess_type(word)[0] or "").partition("/")[0]
    if names := [name for name in KINDS.get(kind, ()) if name in held.settings]:
        return f"{names[0]}={quoted(word)}"
    if word.endswith(TABLES):
        return f"data=manifest data.file={quoted(word)}"
    groups = [group for group in (*held.groups, EXPERIMENT) if "@" not in group]
    having = dict.fromkeys(group for group in groups if word in options_of(group, held.known))
    return f"{next(iter(having))}={word}" if len(having) == 1 else None


def held_name(name: str, held: Catalogue) -> str | None:
    """Returns the setting or group that a name stands for: its own, what others call it, or the only one so named."""
    name = name.lstrip("-").replace("-", "_")
    if name in held.settings or name in held.groups:
        return name
    if name in OTHER_NAMES and (OTHER_NAMES[name] in held.settings or name in ("output", "out")):
        return OTHER_NAMES[name]
    found = same_named(name, held)
    return found[0] if len(found) == 1 else None


def same_named(name: str, held: Catalogue) -> list[str]:
    """Returns the settings, not the groups of settings, with a last name."""
    nodes = {key.rpartition(".")[0] for key in held.settings}
    return [key for key in held.settings if key.rpartition(".")[2] == name and key not in nodes]


def quoted(value: str) -> str:
    return value if value == "…" else shlex.quote(value)


def explain(error: BaseException) -> str | None:
    """Returns the sentence for a config that cannot be composed or lacks a value, if the reason is known."""
    text, overrides = str(error), parsed_command_line().overrides
    if isinstance(error, MissingConfigException):
        return missing_option(error)
    if isinstance(error, MissingMandatoryValue):
        return missing_value(str(error.full_key))
    if isinstance(error, InterpolationResolutionError) and (missing := re.search(NO_VALUE, text)):
        return missing_value(missing[1])
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)) and f"~{error.full_key}" in COMMAND_LINE:
        return f"~{error.full_key} removes a setting that every run needs; leave it out"
    if text.startswith(NOT_AN_OPTION):
        return not_an_option(overrides)
    return unknown_setting(error, overrides) if isinstance(error, HydraException) else None


def unknown_setting(error: HydraException, overrides: Sequence[str], runs: Iterable[Sequence[str]] = ()) -> str | None:
    """Returns the sentence for an unknown setting, if that is why a config could not be composed.

    For `nfee=3` it names the closest key, for `guidance=none guidance.audio.scale=2` the options that have the setting.
    `overrides` are those of the config, in a sweep of one of its `runs`.
    """
    if said := foreign_experiment(overrides):
        return said
    if not (match := re.match(r"Could not override '(.+?)'", str(error))):
        return None
    key = match[1]
    held = Catalogue(main(), overrides)
    if key in held.groups and (said := not_an_option(overrides)):
        return said
    if (found := held.owner(key)) is None:
        return unknown(key, held)
    group, chosen, having = found
    if len(chosen) != 1:  # a list, such as metrics
        return f"{key} belongs to {group}={having[0]}; add {group}=[{','.join([*chosen, having[0]])}]"
    message = f"{group}={chosen[0]} has no setting {key}; "
    if len(having) == 1:
        message += f"add {group}={having[0]}"
    elif len(having) <= MOST_NAMED:
        message += f"choose {' or '.join(f'{group}={option}' for option in having)}"
    else:
        message += f"choose another {group}: {', '.join(having)}"
    if len({override for run in runs for override in run if override.startswith(f"{group}=")}) > 1:
        blocks = f"[{{{group}: {having[0]}, {key}: …}}, {{{group}: {chosen[0]}}}]"
        message += f", or sweep in blocks: hydra.sweeper.params={blocks}"
    return message


def unknown(key: str, held: Catalogue) -> str:
    return f"unknown setting {key}{meaning(key, held)}; {command(main())} --cfg job lists all settings"


def meaning(key: str, held: Catalogue) -> str:
    """Returns what an unknown setting may stand for, in parentheses, or nothing."""
    if known := held_name(key, held):
        return f" (did you mean {known}?)"
    last = key.rpartition(".")[2]
    same = same_named(last, held)
    if same:
        return f" (did you mean {' or '.join(same[:MOST_NAMED])}?)"
    for other in MAINS:
        if other != held.main and key in Catalogue(other).settings:
            return f", which is one of {command(other)}"
    for group, option, name in held.elsewhere(last):
        return f" (did you mean {group}={option} {name}=…?)"
    return guess(key, held.settings)


def foreign_experiment(overrides: Sequence[str]) -> str | None:
    """Returns the sentence for an experiment of another command."""
    held = Catalogue(main())
    for name in dict(filter(None, map(chosen_option, overrides))).get(EXPERIMENT, []):
        if held.file(f"{EXPERIMENT}/{name}") is None or held.offers(EXPERIMENT, name):
            continue
        for other in MAINS:
            if other != held.main and Catalogue(other).offers(EXPERIMENT, name):
                return f"experiment={name} is one of {command(other)}; run {command(other)} experiment={name}"
    return None


def missing_option(error: MissingConfigException) -> str:
    """Returns the sentence for an unknown option such as `solver=eulr`: what to type, or the closest and all others."""
    in_a_list = re.search(r"Could not load '(.+?)'", str(error))
    path = error.missing_cfg_file or (in_a_list[1] if in_a_list else "")
    held = Catalogue(main())
    parts = path.split("/")
    heads = ["/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    group = next((head for head in heads if options_of(head, held.known)), "")
    if not group:
        return " ".join(str(error).split())
    option = path.removeprefix(f"{group}/")
    if meant := of_option(group, option, held):
        return f"{group}={option} is unknown; write {meant}"
    options = [one for one in options_of(group, held.known) if held.offers(group, one)]
    return f"{group}={option} is unknown{guess(option, options)}; choose one of {', '.join(options)}"


def of_option(group: str, option: str, held: Catalogue) -> str | None:
    """Returns the overrides that a value given to a group stands for: an emotion's label, or a file."""
    if option.lower() in held.labels(f"{group}s"):
        return f"{group}=label {group}.label={option.lower()}"
    if os.path.splitext(option)[1]:
        for having in options_of(group, held.known):
            if held.own(group, having) == ["_target_", "file"] and having != "demo":
                return f"{group}={having} {group}.file={quoted(option)}"
        if kind := of_value(option, held):
            return kind if group == "data" else None
    return None


def missing_value(key: str) -> str:
    """Returns the sentence for a setting without a default, with the form of its value."""
    text = f"{key}={FORMATS.get(key, '…')}"
    return f"{key} is not set; give it as {quoted(text) if ' ' in text or '[' in text else text}"


def not_an_option(overrides: Sequence[str]) -> str | None:
    """Returns the sentence for a number or a mapping given to a group, such as `guidance=3`."""
    held = Catalogue(main())
    for override in overrides:
        group, _, value = override.partition("=")
        if group not in held.groups or isinstance(read_value(override), (str, list)):
            continue
        options = options_of(group.partition("@")[0], held.known)
        scales = [f"{key}={value}" for key in held.settings if key.startswith(f"{group}.") and key.endswith(".scale")]
        forms = [name for name in options if FORMATS.get(f"{group}.{name}", "")[:1] == value[:1] == "{"]
        meant = scales[:1] or [f"{group}={form} {quoted(f'{group}.{form}={value}')}" for form in forms]
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        return f"{override} is not an option of {group}{hint}; choose one of {', '.join(options)}"
    return None


def read_value(override: str) -> object:
    known = read(override)
    return "" if known is None or known.is_sweep_override() else known.value()


def refuse_unused(cfg: DictConfig) -> None:
    """Raises a UserError for a setting such as `+nfee=3` that Hydra adds and nothing reads.

    An added setting is read if it belongs to a group, or if an interpolation names it.
    """
    added = [text.lstrip("+").partition("=")[0] for text in HydraConfig.get().overrides.task if text.startswith("+")]
    own = [key for key in added if key.isidentifier()]
    if not own:
        return
    held, text = Catalogue(main()), OmegaConf.to_yaml(cfg)
    for key in own:
        if key not in held.settings and not options_of(key, held.known) and f"${{{key}}}" not in text:
            raise UserError(unknown(key, held))


def require_set(cfg: DictConfig) -> None:
    """Raises a UserError for a setting without a value."""
    if missing := min(unset(OmegaConf.to_container(cfg, resolve=False)), default=None):
        raise UserError(missing_value(missing))


def unset(node: object, prefix: str = "") -> Iterator[str]:
    """Yields the names of settings without a value."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if value == MISSING:
            yield f"{prefix}{name}"
        yield from unset(value, f"{prefix}{name}.")
