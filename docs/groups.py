"""A Sphinx extension: a line `{{ solver }}` of a page becomes the reference of the config group `solver`.

It is read from `conf/` and from the docstrings of the classes that the files name, so no copy of them can be out of
date. A group without a page is an error.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
NOT_OPTIONS = {"shared", "hydra", "hydra/help", "hydra/hydra_logging", "hydra/job_logging"}
COMMANDS = "commands"
MARK = re.compile(r"^\{\{ (\S+) \}\}$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", check)
    app.connect("source-read", lambda app, name, source: source.__setitem__(0, MARK.sub(section, source[0])))
    return {"parallel_read_safe": True}


def check(app: Sphinx) -> None:
    """Raises an error where the pages leave out a group, or name one twice."""
    named = sorted(name for page in Path(app.srcdir).rglob("*.md") for name in MARK.findall(page.read_text("utf-8")))
    if named != sorted({*groups(), COMMANDS}):
        raise ExtensionError(f"the pages describe {named}; conf/ has the groups {sorted(groups())}")


def groups() -> set[str]:
    """Returns the names of all config groups with options."""
    return {path.parent.relative_to(CONF).as_posix() for path in CONF.glob("*/**/*.yaml")} - NOT_OPTIONS


def section(mark: re.Match[str]) -> str:
    """Returns the Markdown section of a group, with the lines that its options share, or the list of commands."""
    group = mark[1]
    if group == COMMANDS:
        return commands()
    chosen = ", ".join(f"`{option}`" for option in defaults(group))
    lines = [f"(group-{group})=\n## `{group}`", f"Default: {chosen}." if chosen else "No default."]
    shared = set[str]()
    for path in sorted((CONF / group).glob("*.yaml")):
        lines += [f"### `{group}={path.stem}`", *description(path)]
        shared.update(re.findall(r"- /(shared/\w+)@_here_", path.read_text("utf-8")))
    for name in sorted(shared):
        lines += [f"### `{name}`", f"```yaml\n{(CONF / f'{name}.yaml').read_text('utf-8').strip()}\n```"]
    return "\n\n".join(lines)


def commands() -> str:
    """Returns all commands with the first lines of their docstrings."""
    lines = ["| command | |", "|---|---|"]
    for path in sorted((ROOT / "float_research" / "commands").glob("[!_]*.py")):
        told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines.append(f"| `{path.stem}` | {escaped(told.splitlines()[0])} |")
    return "\n".join(lines)


def defaults(group: str) -> Iterator[str]:
    """Yields the options that the main configs choose."""
    for main in ("infer", "train"):
        for line in yaml.safe_load((CONF / f"{main}.yaml").read_text("utf-8"))["defaults"]:
            if isinstance(line, dict) and line.get(group):
                options = line[group] if isinstance(line[group], list) else [line[group]]
                yield from options
                return


def description(path: Path) -> Iterator[str]:
    """Yields the header comment of an option's file, the docstring of its class, and its settings."""
    text = path.read_text("utf-8").replace("# @package _global_\n", "")
    header = re.match(r"(# .*\n)*", text)
    assert header
    if header[0]:
        yield escaped(re.sub(r"^# ", "", header[0], flags=re.MULTILINE).strip())
    for target in re.findall(r"^ *_target_: (\S+)", text, re.MULTILINE)[:1]:
        yield f"{{.target}}\n`{target}`"
        yield escaped(docstring(target))
    settings = re.sub(r"^_target_: .*\n", "", text[header.end() :]).strip()
    if settings:
        yield f"```yaml\n{settings}\n```"


def docstring(target: str) -> str:
    """Returns the docstring of a class of this project, without its list of errors; the class is not imported."""
    module, _, name = target.rpartition(".")
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        return ""
    found = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    (node,) = [node for node in found if node.name == name]
    return re.split(r"\n+Raises:", ast.get_docstring(node) or "")[0]


def escaped(text: str) -> str:
    """Returns text in which Markdown's signs are literal, except for code between backticks."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([*_\[\]<>$|~])", r"\\\1", piece) for piece in pieces)
