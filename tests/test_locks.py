"""The lock files of an install with hashes, lower bounds, and licences that an installation is told of."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import av
import pytest
from packaging.requirements import Requirement

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


def test_an_install_with_hashes_checks_them() -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    listed = ["make", "--dry-run", "--always-make", "LOCKED=1", "install"]
    steps = subprocess.run(listed, check=True, capture_output=True, text=True, cwd=ROOT).stdout.replace("&&", "\n")
    installs = [line for line in steps.splitlines() if "pip install" in line and "--editable" not in line]
    assert [re.search(r"locks/\w+\.txt$", line.strip()) is not None for line in installs] == [True] * 3
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)
    assert all("--no-deps" in line for line in steps.splitlines() if "--editable" in line)


def test_hydra_is_no_older_than_its_list_of_blocked_targets() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (hydra,) = [Requirement(text) for text in needed if text.startswith("hydra-core")]
    assert not hydra.specifier.contains("1.3.7")
    assert hydra.specifier.contains("1.3.8")


def test_copyleft_of_what_a_run_needs_is_noted() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for package in lock("run"):
        try:
            about = metadata(package)
        except PackageNotFoundError:  # of another platform
            continue
        licences = [about.get("License-Expression") or "", *(about.get_all("Classifier") or [])]
        if any("GPL" in text for text in licences):
            assert package in notice, f"{package} is {licences[0]}"
    inside = [name for name in ("x264", "x265") if f"lib{name}" in av.codecs_available]
    assert inside, "PyAV has GPL encoders"
    assert all(name in notice for name in inside)
