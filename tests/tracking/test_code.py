"""The code kept in a run's folder."""

import subprocess
from pathlib import Path

import pytest

from float_research.tracking import code
from float_research.tracking.code import CODE, PATCH, changes, uncommitted, write_code


def git(root: Path, *command: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", str(root), *named, *command], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Creates a repository with a changed, a new and a deleted file, and data that is not code."""
    root = tmp_path / "tree"
    root.mkdir()
    git(root, "init", "-q")
    for name in ("changed.py", "deleted.py", "same.py"):
        (root / name).write_text(f"{name!r}\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    (root / "changed.py").write_text("2\n")
    (root / "deleted.py").unlink()
    (root / "new.yaml").write_text("three: 3\n")
    (root / "data.bin").write_bytes(b"\0" * 99)
    return root


def test_the_patch_reproduces_the_tree(tree: Path, tmp_path: Path) -> None:
    before = git(tree, "status", "--porcelain"), sorted(tree.rglob("*"))
    patch = tmp_path / PATCH
    patch.write_bytes(changes(tree))
    assert (git(tree, "status", "--porcelain"), sorted(tree.rglob("*"))) == before, "nothing was written"
    git(tmp_path, "clone", "-q", str(tree), "again")
    git(tmp_path / "again", "apply", str(patch))
    made = {path.name: path.read_text() for path in (tmp_path / "again").iterdir() if path.is_file()}
    assert made == {"changed.py": "2\n", "same.py": "'same.py'\n", "new.yaml": "three: 3\n"}


def test_own_modules_and_changes_are_kept_within_limits(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept_part.py").write_text("import kept_helper\nclass Guidance: ...\n")
    (tmp_path / "kept_helper.py").write_text("SCALE = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "ROOT", tree)
    monkeypatch.setattr(code, "git_state", lambda: {"commit": "c", "changed": True})
    kept = uncommitted({"guidance": {"_target_": "kept_part.Guidance"}})
    assert kept.keys() == {PATCH, f"{CODE}/kept_part.py", f"{CODE}/kept_helper.py"}
    write_code(tmp_path / "run", kept)
    assert (tmp_path / "run" / CODE / "kept_helper.py").read_text() == "SCALE = 2\n"
    monkeypatch.setattr(code, "MAX_BYTES", 30)
    assert uncommitted({"guidance": {"_target_": "kept_part.Guidance"}}) == {}
    monkeypatch.setattr(code, "git_state", lambda: None)
    assert uncommitted({"guidance": {"_target_": "float_research.sampling.guidance.Zero"}}) == {}, "no repository"
