"""What runs know of their launcher."""

import subprocess
import sys
import time

import psutil

WORKER = """
import os, time
from float_research.launch import end_with
end_with(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WORKER!r}]).wait()"


def test_a_worker_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    started = time.monotonic()
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:  # no process may wait for it
        assert time.monotonic() - started < 20
        time.sleep(0.05)
