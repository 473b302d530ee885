"""Versions of packages, modules that some platforms lack, and faster imports of large ones."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType


def package_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Returns package name → installed version, or None."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def platform_module(name: str) -> ModuleType | None:
    """Imports a module of the standard library. Returns None on a platform without it."""
    try:
        return import_module(name)
    except ImportError:
        return None


@contextmanager
def importing() -> Iterator[None]:
    """Pauses garbage collection during heavy imports, which saves about a second.

    The half a million imported objects are then frozen, so that later collections and the exit skip them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
