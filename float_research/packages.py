"""Versions of packages, and modules that some platforms lack."""

from collections.abc import Iterable
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
