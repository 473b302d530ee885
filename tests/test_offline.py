"""Runs send nothing over the network: the kernel counts what any of their processes tries to send."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALONE = ["unshare", "--map-root-user", "--net"]
"""Runs a program in an isolated network namespace without routes."""
COUNTING = '"$@" >&2; code=$?; grep ^Ip: /proc/net/snmp; exit $code'
"""The table counts packets without a route, DNS queries included."""


def attempts(*command: str) -> int:
    """Returns how often a program and its children tried to reach a network. Linux only."""
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], check=False).returncode:
        pytest.skip("this machine makes no network for a process alone")
    counting = [*ALONE, "bash", "-c", COUNTING, "bash", *command]
    ended = subprocess.run(counting, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    names, values = (line.split() for line in ended.stdout.splitlines())
    return int(values[names.index("OutNoRoutes")])


@pytest.mark.parametrize("address", ["('198.51.100.1', 80)", "('example.org', 80)"])
def test_attempts_are_counted(address: str) -> None:
    reaching = f"import contextlib, socket\nwith contextlib.suppress(OSError): socket.create_connection({address})"
    assert attempts(sys.executable, "-c", reaching)


def test_a_sweep_logged_to_weights_and_biases_offline_sends_nothing(
    portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    infer = [sys.executable, str(ROOT / "scripts" / "infer.py"), "-m", "model=tiny", "checkpoint=random", "nfe=2"]
    clip = [f"data.image={portrait}", f"data.audio={speech(0.5)}", f"hydra.sweep.dir={tmp_path}"]
    assert attempts(*infer, *clip, "logger=wandb", "logger.wandb.mode=offline") == 0
    assert len(list(tmp_path.rglob("run-*.wandb"))) == 2, "one of the run and one of the sweep"
