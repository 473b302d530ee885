"""Overrides as users write them: what Hydra's grammar cannot parse is taken as a literal string."""

import os
import re
from argparse import Namespace
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.errors import HydraException

from float_research.errors import UserError, printable
from float_research.files import present

SWITCH = "debug"
"""The group whose options `true` and `false` Hydra would read as no names."""
HOME = re.compile("~(/|$)")
SWEPT = ("hydra.sweeper.params", "hydra.sweeper.zip")
COMMAND_LINE: list[str] = []
"""The arguments of this program, if it is a Hydra command."""
AS_OPTION = re.compile("--[^=]+=")
OPENING = ("'", '"', "[", "{")
"""First characters of an element that may contain commas."""


def literal(overrides: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Quotes values that Hydra's grammar cannot parse, as strings without interpolations.

    This also applies to each element of a list, and in a sweep to each value between commas. Such a string may begin
    with `~/`, the home folder. A string keeps spaces and backslashes if a file of that name exists.

    Raises:
        UserError: an override is not NAME=VALUE.
    """
    return [_literal(override, sweep=sweep) for override in overrides]


def arguments(given: Sequence[str]) -> list[str]:
    """Returns the arguments of a Hydra command, with its overrides made literal and contiguous, as Hydra requires.

    Sweeper settings on the command line replace an experiment's, with which Hydra would merge them. `--nfe=5`, the
    form that W&B agents use, is an override unless Hydra has such an option. A relative config path starts at the
    working directory, as other paths do.
    """
    parsed, unknown = get_args_parser().parse_known_args(given)
    overrides = {*parsed.overrides, *(text for text in unknown if not text.startswith("-") or AS_OPTION.match(text))}
    sweep = parsed.multirun or "hydra.mode=MULTIRUN" in given
    literally = []
    for text in (text.removeprefix("--") for text in given if text in overrides):
        if (name := text.partition("=")[0]) in SWEPT:
            literally.append(f"{name}=null")
        literally.append(_literal(text, sweep=sweep))
    first = next((place for place, text in enumerate(given) if text in overrides), len(given))
    rest = [text for text in given[first:] if text not in overrides]
    if parsed.config_path is not None and "://" not in parsed.config_path:
        rest.append(f"--config-path={os.path.abspath(parsed.config_path)}")
    return [*given[:first], *literally, *rest]


def parsed_command_line() -> Namespace:
    """Returns the command line of this program, as parsed by Hydra."""
    return get_args_parser().parse_known_args(COMMAND_LINE)[0]


def _literal(override: str, *, sweep: bool) -> str:
    name, equals, value = override.partition("=")
    if name == SWITCH and value in ("true", "false"):
        return f"{name}={quoted(value)}"
    sweep = sweep and not name.startswith("hydra.")  # Hydra's settings have one value for all runs
    known = read(override) if name.strip("+~") else None
    if known is not None:
        return f"{name}={quoted(value)}" if _is_file_otherwise(known, value) else override
    if not name.strip("+~") or not equals or read(f"{name}=") is None:
        raise UserError(
            f"{printable(override)} is not NAME=VALUE; quote an argument with spaces or special characters for the "
            "shell: 'data.image=my photo (1).png'"
        )
    return f"{name}={','.join(map(_element, _split(value))) if sweep else _element(value)}"


def _is_file_otherwise(known: Override, value: str) -> bool:
    """Returns whether the grammar would drop spaces or backslashes from the name of an existing file."""
    return isinstance(known._value, str) and known._value != value and os.path.lexists(value)


def read(override: str) -> Override | None:
    """Parses an override by Hydra's grammar. Returns None where that fails."""
    try:
        return OverridesParser.create().parse_overrides([override])[0]
    except (HydraException, ValueError, RecursionError):  # the latter two for thousands of digits or brackets
        return None


def _element(text: str) -> str:
    """Returns a single value unchanged if the grammar parses it, else as a list or a quoted string."""
    known = read(f"_={text}")
    if text and known is not None and known.value_type is ValueType.ELEMENT:
        return text
    if _is_list(text):
        return f"[{','.join(map(_element, _split(text.strip()[1:-1])))}]"
    return quoted(expand_path(text))


def _is_list(text: str) -> bool:
    return text.strip().startswith("[") and text.strip().endswith("]")


def _split(text: str) -> list[str]:
    """Splits at the commas outside quotes and brackets."""
    parts = text.split(",")
    found = []
    while parts:
        ends = range(1, len(parts) + 1) if parts[0].lstrip().startswith(OPENING) or "(" in parts[0] else (1,)
        end = next((end for end in ends if _is_whole(",".join(parts[:end]))), 1)
        found.append(",".join(parts[:end]).strip(" \t"))
        del parts[:end]
    return found


def _is_whole(text: str) -> bool:
    """Returns whether a string is one element, commas included."""
    return read(f"_=[{text}]") is not None or _is_list(text)


def quoted(text: str) -> str:
    """Quotes a string for Hydra's grammar, to be taken literally."""
    quote = Quote.double if "'" in text and '"' not in text else Quote.single
    return QuotedString(without_interpolations(text), quote).with_quotes()


def without_interpolations(text: str) -> str:
    """Returns a string that OmegaConf resolves to `text`."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def expand_path(text: str) -> str:
    """Expands `~/` in a possible path, and composes its accents as in the name of an existing file."""
    place = os.path.expanduser(text) if HOME.match(text) else text
    return str(present(place))
