"""Overrides as people write them: what Hydra's grammar cannot read is a text, taken literally."""

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

HOME = re.compile("~(/|$)")
SWEPT = ("hydra.sweeper.params", "hydra.sweeper.zip")
COMMAND_LINE: list[str] = []
"""Of this program, where it is one of Hydra's."""
AS_OPTION = re.compile("--[^=]+=")
OPENING = ("'", '"', "[", "{")
"""What an element with commas of its own may begin with."""


def literal(overrides: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Overrides that Hydra's grammar reads: a value that it cannot read becomes a quoted text, without interpolations.

    So does each element of a list that it cannot read, and in a sweep each value between two commas. Such a text may
    begin with `~/`, the home folder, as in a shell. A text keeps its blanks and backslashes where a file has them.

    Raises:
        UserError: one that is no name with a value.
    """
    return [_literal(override, sweep=sweep) for override in overrides]


def arguments(given: Sequence[str]) -> list[str]:
    """The arguments of a command of Hydra's, its overrides made literal, and put together, as Hydra wants them.

    What is to be swept takes the place of what an experiment sweeps, with which Hydra would mix it.
    `--nfe=5`, as agents of W&B say it, is an override where Hydra has no such option. A config path leads from where
    the command is given, as other paths do.
    """
    told, unknown = get_args_parser().parse_known_args(given)
    overrides = {*told.overrides, *(text for text in unknown if not text.startswith("-") or AS_OPTION.match(text))}
    sweep = told.multirun or "hydra.mode=MULTIRUN" in given
    literally = []
    for text in (text.removeprefix("--") for text in given if text in overrides):
        if (name := text.partition("=")[0]) in SWEPT:
            literally.append(f"{name}=null")
        literally.append(_literal(text, sweep=sweep))
    first = next((place for place, text in enumerate(given) if text in overrides), len(given))
    rest = [text for text in given[first:] if text not in overrides]
    if told.config_path is not None and "://" not in told.config_path:
        rest.append(f"--config-path={os.path.abspath(told.config_path)}")
    return [*given[:first], *literally, *rest]


def told() -> Namespace:
    """The command line of this program, as Hydra reads it."""
    return get_args_parser().parse_known_args(COMMAND_LINE)[0]


def _literal(override: str, *, sweep: bool) -> str:
    name, equals, value = override.partition("=")
    sweep = sweep and not name.startswith("hydra.")  # which has one value for all runs
    known = read(override) if name.strip("+~") else None
    if known is not None:
        return f"{name}={quoted(value)}" if _is_file_otherwise(known, value) else override
    if not name.strip("+~") or not equals or read(f"{name}=") is None:
        raise UserError(
            f"{printable(override)} is no NAME=VALUE; put quotes around an argument that has blanks or signs of the "
            "shell: 'data.image=my photo (1).png'"
        )
    return f"{name}={','.join(map(_element, _split(value))) if sweep else _element(value)}"


def _is_file_otherwise(known: Override, value: str) -> bool:
    """Whether the grammar drops blanks or backslashes from the name of a file."""
    return isinstance(known._value, str) and known._value != value and os.path.lexists(value)


def read(override: str) -> Override | None:
    """An override as Hydra's grammar reads it, if it can."""
    try:
        return OverridesParser.create().parse_overrides([override])[0]
    except (HydraException, ValueError, RecursionError):  # such as numbers of 5,000 digits, and as many brackets
        return None


def _element(text: str) -> str:
    """A value that does not sweep: as it is where the grammar reads it, else a list, or a text."""
    known = read(f"_={text}")
    if text and known is not None and known.value_type is ValueType.ELEMENT:
        return text
    if _is_list(text):
        return f"[{','.join(map(_element, _split(text.strip()[1:-1])))}]"
    return quoted(located(text))


def _is_list(text: str) -> bool:
    return text.strip().startswith("[") and text.strip().endswith("]")


def _split(text: str) -> list[str]:
    """The parts between the commas that are in no quotes and brackets."""
    parts = text.split(",")
    found = []
    while parts:
        ends = range(1, len(parts) + 1) if parts[0].lstrip().startswith(OPENING) or "(" in parts[0] else (1,)
        end = next((end for end in ends if _is_whole(",".join(parts[:end]))), 1)
        found.append(",".join(parts[:end]).strip(" \t"))
        del parts[:end]
    return found


def _is_whole(text: str) -> bool:
    """Whether commas within are an element's own."""
    return read(f"_=[{text}]") is not None or _is_list(text)


def quoted(text: str) -> str:
    """A text in Hydra's grammar, which stands for itself alone."""
    quote = Quote.double if "'" in text and '"' not in text else Quote.single
    return QuotedString(without_interpolations(text), quote).with_quotes()


def without_interpolations(text: str) -> str:
    """A text that OmegaConf resolves to `text`."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def located(text: str) -> str:
    """A text that may be a path: `~/` leads home, and accents are composed as in the name of what is there."""
    place = os.path.expanduser(text) if HOME.match(text) else text
    return str(present(place))
