"""The code kept in a run's folder to reproduce it: commit, uncommitted changes, the user's own modules."""

import logging
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from float_research.files import whole
from float_research.sources import own_files, parts
from float_research.tracking.record import COMPUTING, computing

log = logging.getLogger(__name__)
PATCH, CODE = "changes.patch", "code"
"""In a run's folder: the changes since the commit, for `git apply`, and the files of a user's own modules."""
MAX_BYTES = 1_000_000
"""The limit of either, beyond which it is not kept."""
ROOT = Path(__file__).parents[2]
"""The source tree, unless the package is installed."""
KINDS = ("*.py", "*.yaml", "*.toml")
"""Untracked files that count as code."""


@cache
def git_state() -> dict[str, Any] | None:
    """Returns the commit of the source tree and whether it had changes at this process's first call.

    Returns None outside a repository.
    """
    if not (ROOT / ".git").exists():
        return None
    try:
        commit = _git(ROOT, "rev-parse", "HEAD").decode().strip()
        return {"commit": commit, "changed": bool(_git(ROOT, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def changes(root: Path) -> bytes:
    """Returns uncommitted code of a source tree, untracked files included, as a patch. The repository is untouched."""
    with TemporaryDirectory() as folder:
        objects = _git(root, "rev-parse", "--git-path", "objects").decode().strip()
        apart = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects).resolve()),
        }
        _git(root, "read-tree", "HEAD", apart=apart)
        _git(root, "add", "--update", apart=apart)
        new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *KINDS, apart=apart)
        if new:
            literally = ("--literal-pathspecs", "add", "--pathspec-from-file=-", "--pathspec-file-nul")
            _git(root, *literally, given=new, apart=apart)
        return _git(root, "diff", "--cached", "--binary", "HEAD", apart=apart)


def _git(root: Path, *command: str, given: bytes = b"", apart: Mapping[str, str] | None = None) -> bytes:
    environment = {**os.environ, **(apart or {})}
    return subprocess.run(
        ["git", "-C", str(root), *command], input=given, capture_output=True, check=True, env=environment
    ).stdout


def uncommitted(config: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns the run folder's files of uncommitted code and the user's modules, where they are not too large."""
    state, kept = git_state(), dict[str, bytes]()
    if state is not None and state["changed"]:
        try:
            kept |= {PATCH: changes(ROOT)} if 0 < len(changes(ROOT)) <= MAX_BYTES else {}
        except (OSError, subprocess.CalledProcessError) as error:
            log.warning("%s is not kept, since git failed: %s", PATCH, error)
    files = own_files(*COMPUTING, *parts(computing(config)))
    own = {f"{CODE}/{name}{path.suffix}": path.read_bytes() for name, path in files.items()}
    return kept | own if sum(map(len, own.values())) <= MAX_BYTES else kept


def write_code(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        with whole(folder / name) as part:
            part.write_bytes(content)
