"""Checks of settings before anything heavy is imported: types, by annotations in source files, and given files."""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import Container, DictConfig, ListConfig, Node, OmegaConf

from float_research.errors import UserError, printable
from float_research.files import present, require_file
from float_research.sampling.steps import Costed, OneStep
from float_research.sources import OWN, file_of
from float_research.tracking.runs import word

PLAIN: dict[str, type] = {
    **{kind.__name__: kind for kind in (int, float, str, bool, list, tuple, dict)},
    "Sequence": list,
    "Mapping": dict,
}
MAX_SEED, MAX_SEEDS = 2**53, 1000
"""The largest that a record holds exactly, and the most."""
REFUSE, OK = "refuse", "ok"
"""Values of `metrics_missing`."""
INFER = {
    "nfe": int,
    "guidance_reuse": int,
    "seed": int,
    "temperature": float,
    "dry_run": bool,
    "name": str,
    "background": str,
    "atlas": str,
}
TRAIN = {
    "seed": int,
    "num_validation": int,
    "num_workers": int,
    "average_decay": float,
    "checkpoint_every": int,
    "init_from": list,
    "frozen": list,
}
"""The types of the plain settings of `infer` and `train`."""


def check_plain(cfg: DictConfig, wanted: Mapping[str, type]) -> None:
    """Raises a UserError for a plain setting, or one of a part at any depth, of a wrong type."""
    for name, kind in wanted.items():
        check_type(name, cfg[name], kind)
    check_types(cfg)


def check_given(cfg: DictConfig, wanted: Mapping[str, type]) -> None:
    """Raises a UserError for a plain setting of a wrong type that is not null."""
    for name, kind in wanted.items():
        if cfg[name] is not None:
            check_type(name, cfg[name], kind)


def check_seeds(seeds: Sequence[object]) -> None:
    """Raises a UserError unless the seeds are distinct whole numbers."""
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
            raise UserError(f"seeds: {printable(seed)} is not a whole number from 0 to {MAX_SEED}")
    if not 0 < len(seeds) <= MAX_SEEDS:
        raise UserError(f"seeds has {len(seeds)} numbers; give 1 to {MAX_SEEDS}, as in 'seeds=[15,16,17]', or null")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise UserError(f"seeds={printable(list(seeds))} has {twice} twice; give each seed once")


def check_files(data: DictConfig) -> None:
    """Raises a UserError for a portrait or recording that does not exist."""
    if not str(data._target_).startswith(f"{OWN}."):
        return
    for name, what, remedy in (
        ("image", "image", "give the path of a portrait"),
        ("audio", "audio", "give the path of a file"),
    ):
        if isinstance(path := data.get(name), str):
            require_file(Path(present(path)), what, remedy)


def check_types(config: DictConfig) -> None:
    """Raises a UserError for a plain value whose type differs from the annotation of its target."""
    for child in nodes(config):
        check_types(child)
    target = None if OmegaConf.is_missing(config, "_target_") else config.get("_target_")
    if not isinstance(target, str) or not target.startswith(f"{OWN}."):
        return
    for name, (kind, optional) in annotations(target).items():
        node = config._get_node(name)
        if not isinstance(node, Node):
            continue
        if node._is_interpolation():
            if OmegaConf.is_missing(config, name):
                continue
            value = config[name]
        else:  # most settings: faster by half than asking the config for each answer
            if node._is_missing():
                continue
            value = None if node._is_none() else node if isinstance(node, Container) else node._value()
        if not (optional and value is None):
            check_type(config._get_full_key(name), value, kind)


def nodes(config: DictConfig) -> Iterator[DictConfig]:
    """Yields the mappings in a mapping, without resolving any."""
    for name in config:
        child = config._get_node(name)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            yield child


def check_type(name: str, value: Any, wanted: Any) -> None:
    """Checks numbers, strings, booleans, lists and mappings; an integer passes as a float."""
    kinds: dict[Any, tuple[Any, str]] = {
        int: (int, "an integer"),
        float: ((int, float), "a number"),
        str: (str, f"a string, as in '{name}=\"TEXT\"'"),
        bool: (bool, "true or false"),
        **dict.fromkeys((list, tuple), ((list, tuple, ListConfig), f"a list, as in '{name}=[A,B]'")),
        dict: ((dict, DictConfig), f"a mapping, as in '{name}={{A: 1}}'"),
    }
    kind, words = kinds.get(wanted, (object, ""))
    if not isinstance(value, kind) or (words and isinstance(value, bool) != (wanted is bool)):
        raise UserError(f"{name}={printable(value)} must be {words}")


@cache
def annotations(target: str) -> dict[str, tuple[type, bool]]:
    """Returns the plain arguments of a class: name → type, and whether None is allowed.

    They are parsed from its source file, since importing it may take seconds. Other annotations are left out.
    """
    module, _, name = target.rpartition(".")
    return {
        argument: found for argument, node in _arguments(module, name).items() if (found := _plain(node)) is not None
    }


def _arguments(module: str, name: str) -> dict[str, ast.expr]:
    """Returns the annotated arguments of a class, with those that a dataclass inherits."""
    tree = _tree(module)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        origin = _origins(tree).get(name)
        return _arguments(*origin) if origin else {}
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            return {each.arg: each.annotation for each in arguments if each.annotation is not None}
    inherited: dict[str, ast.expr] = {}
    for base in reversed(found.bases):
        inherited |= _arguments(module, ast.unparse(base))
    fields = (node for node in found.body if isinstance(node, ast.AnnAssign))
    own = (node for node in fields if node.value is None or "init=False" not in ast.unparse(node.value))
    return inherited | {ast.unparse(node.target): node.annotation for node in own}


def declared(target: str, name: str) -> Any:
    """Returns the object to which a class of ours, or a base of it, refers as `name`, or None.

    The class's own module, which may take seconds, is not imported; only the one from which it imports the object is.
    """
    module, _, stem = target.rpartition(".")
    if not module.startswith(f"{OWN}."):
        return None
    tree = _tree(module)
    origins = _origins(tree)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == stem), None)
    if found is None:
        return declared(".".join(origins[stem]), name) if stem in origins else None
    for node in found.body:
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [name]:
            place, known = origins.get(ast.unparse(node.value), ("", ""))
            return getattr(import_module(place), known) if place else None
    inherited = (declared(f"{module}.{ast.unparse(base)}", name) for base in found.bases)
    return next((each for each in inherited if each is not None), None)


def check_budget(cfg: DictConfig, budget: Callable[[int, Costed], int]) -> None:
    """Raises a UserError for a budget that a one-step method cannot keep, without importing it."""
    if nodes := declared(cfg.solver._target_, "nodes"):
        skips = bool(cfg.solver.get("skip_end"))
        budget(cfg.nfe, OneStep(name=word(cfg.solver._target_), nodes=nodes, skip_end=skips))


def declared_lack(metrics: DictConfig, name: str) -> str | None:
    """Returns what a metric of ours lacks, without importing it."""
    requires = declared(metrics[name]._target_, "requires")
    return None if requires is None else requires.lacking(metrics[name].get)


def require_metrics(cfg: DictConfig, lacks: Callable[[str], str | None]) -> None:
    """Raises a UserError for a metric that this machine `lacks` something for, unless it may be left out."""
    for name in cfg.metrics:
        if cfg.metrics_missing == REFUSE and (reason := lacks(str(name))):
            raise UserError(f"metrics={name} {reason}; or metrics_missing={OK} leaves it out")


@cache
def _tree(module: str) -> ast.Module:
    path = file_of(module)
    return ast.parse(path.read_bytes() if path is not None and path.suffix == ".py" else b"")


def _origins(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Returns the names that a module imports from our own modules: name → module, name there."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{OWN}.")
        for alias in node.names
    }


def _plain(node: ast.expr) -> tuple[type, bool] | None:
    """Returns the type of `int`, `list[str]` or `float | None`. Returns None for what is not checked."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _plain(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp):
        sides = [
            side for side in (node.left, node.right) if not (isinstance(side, ast.Constant) and side.value is None)
        ]
        found = _plain(sides[0]) if len(sides) == 1 else None
        return (found[0], True) if found else None
    name = ast.unparse(node.value if isinstance(node, ast.Subscript) else node)
    return (PLAIN[name], False) if name in PLAIN else None
