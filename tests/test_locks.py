"""The lock files of an install with hashes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.!]+)(\+\w+)? --hash=sha256:[0-9a-f]{64}")


def versions(text: str, pattern: str) -> dict[str, str]:
    """Returns normalised package name → version."""
    found = [re.fullmatch(pattern, line) for line in text.splitlines() if not line.startswith("#")]
    assert all(found)
    return {re.sub(r"[-_.]+", "-", line["name"].lower()): line["version"] for line in found if line}


def lock(name: str) -> dict[str, str]:
    text = (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    return versions(text, LINE.pattern)


def test_all_versions_are_those_of_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = versions(constraints, r"(?P<name>[\w.-]+)==(?P<version>\S+)")
    for name in ("run", "dev"):
        unlike = {
            package: version for package, version in lock(name).items() if pinned.get(package, version) != version
        }
        assert unlike == {}, "write them again with .ci/lock"
    assert lock("run").items() <= lock("dev").items()


@pytest.mark.parametrize(("name", "needed"), [("build", "hatchling"), ("run", "torch"), ("dev", "pytest")])
def test_a_lock_holds_its_packages(name: str, needed: str) -> None:
    assert needed in lock(name)
