"""Packages that results depend on, and modules that not every platform has."""

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType


def package_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Their installed versions; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def platform_module(name: str) -> ModuleType | None:
    """A module of the standard library; None on a platform without it."""
    try:
        return import_module(name)
    except ImportError:
        return None
