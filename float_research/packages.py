"""Versions of packages, modules that some platforms lack, and faster imports of large ones."""

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from logging import getLogger
from threading import RLock
from types import ModuleType
from typing import Any

DEFERRED = "torchmetrics"
SHORTCUTS = {"Metric": f"{DEFERRED}.metric", "MetricCollection": f"{DEFERRED}.collections"}
"""Names that Lightning imports, and the modules that define them."""


def package_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Returns package name → installed version, or None."""
    return {name: _version(name) for name in packages}


@cache  # a run of a sweep takes its packages from the first
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def platform_module(name: str) -> ModuleType | None:
    """Imports a module of the standard library. Returns None on a platform without it."""
    try:
        return import_module(name)
    except ImportError:
        return None


@contextmanager
def importing() -> Iterator[None]:
    """Pauses garbage collection during heavy imports, and defers the parts of torchmetrics that nobody uses.

    Each saves about a second. The half a million imported objects are then frozen, so that later collections and the
    exit skip them.
    """
    enabled = gc.isenabled()
    gc.disable()
    sys.meta_path.insert(0, _DEFER)
    try:
        yield
    finally:
        sys.meta_path.remove(_DEFER)
        gc.freeze()
        if enabled:
            gc.enable()


class Deferred(ModuleType):
    """A package whose `__init__` runs once a name is asked of it that is not in `SHORTCUTS`.

    Lightning needs two classes of torchmetrics, whose `__init__` imports SciPy's signals and networks for texts. The
    package is otherwise as ever: its modules can be imported, and all its names are there once one of them is used.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # such as __warningregistry__, which others look for
            raise AttributeError(name)
        spec = self.__dict__["__spec__"]
        with spec.loader.lock if type(self) is Deferred else nullcontext():
            if type(self) is Deferred and name in SHORTCUTS:
                try:
                    import_module(f"{DEFERRED}.utilities")  # first, as in __init__
                    return getattr(import_module(SHORTCUTS[name]), name)
                except (ImportError, AttributeError):  # another version: as if it had never been deferred
                    for module in [each for each in sys.modules if each.startswith(f"{DEFERRED}.")]:
                        del sys.modules[module]
            if type(self) is Deferred:
                spec.loader = self.__loader__ = spec.loader.whole
                object.__setattr__(self, "__class__", ModuleType)
                spec.loader.exec_module(self)
        return getattr(self, name)


class _Deferring(Loader):
    """Loads a package as `Deferred`. `whole` is its own loader."""

    def __init__(self, whole: Any):
        self.whole, self.lock = whole, RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(__version__=version(DEFERRED), _logger=getLogger(DEFERRED))


class _Defer:
    """Finds the package that is deferred while imports are in progress."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == DEFERRED else None
        if spec is not None:
            spec.loader = _Deferring(spec.loader)
        return spec


_DEFER = _Defer()
