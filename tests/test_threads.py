"""The number of threads, by quotas in fake cgroup files, and how OpenMP's threads wait."""

import os
from pathlib import Path

import pytest
import torch

from float_research import compose, threads
from float_research.errors import UserError

GROUP = "cpu,cpuacct/docker/b"
V1, V2 = "4:memory:/a\n2:cpu,cpuacct:/docker/b\n0::/\n", "0::/kubepods/pod/c\n"


@pytest.fixture(autouse=True)
def sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "affinity", lambda: 16)
    monkeypatch.delenv(threads.SLURM, raising=False)


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "wanted"),
    [
        ("", {}, 16),
        (V2, {"kubepods/pod/c/cpu.max": "max 100000\n"}, 16),
        (V2, {"kubepods/pod/c/cpu.max": "400000 100000\n"}, 4),
        (V2, {"kubepods/pod/c/cpu.max": "max 100000\n", "kubepods/cpu.max": "250000 100000\n"}, 2),
        (V2, {"cpu.max": "50000 100000\n"}, 1),  # what a container sees as its root
        (V2, {"cpu.max": "damaged"}, 16),
        (V2, {"cpu.max": "3200000 100000\n"}, 16),
        (V1, {f"{GROUP}/cpu.cfs_quota_us": "-1\n", f"{GROUP}/cpu.cfs_period_us": "100000"}, 16),
        (V1, {f"{GROUP}/cpu.cfs_quota_us": "300000", f"{GROUP}/cpu.cfs_period_us": "1000"}, 16),
        (V1, {f"{GROUP}/cpu.cfs_quota_us": "300000", f"{GROUP}/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
    ],
)  # fmt: skip
def test_a_quota_limits_the_threads(groups: str, files: dict[str, str], wanted: int, tmp_path: Path) -> None:
    root = machine(tmp_path, groups, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert threads.available(root) == wanted


def test_slurm_and_the_affinity_limit_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.SLURM, "6")
    assert threads.available(tmp_path) == 6
    monkeypatch.setattr(threads, "affinity", lambda: 3)
    assert threads.available(tmp_path) == 3


def test_the_default_only_lowers_what_torch_or_a_launcher_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launchers that divide the processors among workers set OMP_NUM_THREADS, by which torch begins."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_first", lambda: 8)
    try:
        for allowed, wanted in ((16, 8), (4, 4)):
            monkeypatch.setattr(threads, "available", lambda allowed=allowed: allowed)
            threads.limit(None)
            assert torch.get_num_threads() == wanted
        threads.limit(3)
        assert torch.get_num_threads() == 3
        threads.limit(None)  # the next run of a sweep
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "true"])
@pytest.mark.parametrize("command", ["infer", "train"])
def test_other_numbers_of_threads_are_refused(command: str, given: str) -> None:
    cfg = compose.compose_config([f"threads={given}", "output_dir=out"], command)
    with pytest.raises(UserError, match=r"threads=.* must be a positive integer, or null"):
        (compose.build_job if command == "infer" else compose.build_training)(cfg)


def test_threads_wait_passively_unless_the_user_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.WAIT:
        monkeypatch.delenv(name, raising=False)
    threads.wait_passively()
    assert {name: os.environ[name] for name in threads.WAIT} == threads.WAIT
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ
