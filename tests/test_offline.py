"""A run without a network asks for none: the kernel counts what any of its processes would have sent."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALONE = ["unshare", "--map-root-user", "--net"]
"""Within a network of nobody else, which has no way out."""
COUNTING = '"$@" >&2; code=$?; grep ^Ip: /proc/net/snmp; exit $code'
"""The table counts what found no way out, queries for names among them."""


def attempts(*command: str) -> int:
    """How often a program and all that it starts tried to reach a network. Linux alone."""
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


def test_a_sweep_told_to_weights_and_biases_offline_opens_no_socket(
    portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    infer = [sys.executable, str(ROOT / "scripts" / "infer.py"), "-m", "model=tiny", "checkpoint=random", "nfe=2"]
    clip = [f"data.image={portrait}", f"data.audio={speech(0.5)}", f"hydra.sweep.dir={tmp_path}"]
    assert attempts(*infer, *clip, "logger=wandb", "logger.wandb.mode=offline") == 0
    assert len(list(tmp_path.rglob("run-*.wandb"))) == 2, "of the run and of the sweep"
