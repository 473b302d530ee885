"""Features that some platforms lack: modules and signals of Unix, locks, streams and 64 bits of a device."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from float_research import compose, devices, files, locks
from float_research.errors import UserError
from float_research.files import PARTS, Part, alone, sweep_parts, whole
from float_research.inference.stopwatch import Stopwatch
from float_research.locks import lock
from float_research.models import wav2vec2
from float_research.sampling.solver import Dopri5, ImplicitAdams
from float_research.tracking.record import device_name, peak_memory_mb

ROOT = Path(__file__).parents[1]
BARE = """
import enum, os, runpy, signal, sys
import lightning.fabric.utilities.imports, psutil  # which have other code for other systems
lightning.fabric.utilities.imports._IS_WINDOWS = True
import lightning.fabric.plugins.environments.slurm, lightning.pytorch.trainer.connectors.signal_connector
for place in (lightning.fabric.plugins.environments.slurm, lightning.pytorch.trainer.connectors.signal_connector):
    place._IS_WINDOWS = True
signal.valid_signals = lambda: {signal.SIGINT, signal.SIGTERM, signal.SIGABRT}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios"):
            raise ModuleNotFoundError(f"no module named {name}", name=name)
sys.meta_path.insert(0, Absent())
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
signal.Signals = enum.IntEnum("Signals", {name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGABRT")})
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGPIPE"):
    delattr(signal, name)
for name in ("O_NOFOLLOW", "O_NONBLOCK", "pathconf", "getuid", "geteuid"):
    delattr(os, name)
sys.argv = sys.argv[1:]
import float_research.cli, float_research.compose, float_research.sweep, float_research.training.job
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_runs_and_sweeps_need_no_unix_features(speech: Callable[[float], Path], tmp_path: Path) -> None:
    tiny = ["model=tiny", "checkpoint=random", "face=none", "metrics=none", "trainer.accelerator=cpu", "nfe=2"]
    script = [sys.executable, "-c", BARE, str(ROOT / "scripts" / "infer.py")]
    ended = subprocess.run(
        [*script, "-m", "seed=1,2", *tiny, f"data.audio={speech(0.3)}", f"hydra.sweep.dir={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 runs" in ended.stdout
    assert len(list((tmp_path / "out").glob("*/videos/*.mp4"))) == 2
    assert not list((tmp_path / "out").rglob(PARTS))


def test_without_locks_nothing_waits_and_partial_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FCNTL", None)
    for name in ("O_NOFOLLOW", "O_NONBLOCK"):
        monkeypatch.delattr(os, name)
    (tmp_path / ".a.part").touch()
    sweep_parts(tmp_path)
    assert (tmp_path / ".a.part").exists(), "it may still be being written"
    with alone(tmp_path / "lock"), alone(tmp_path / "lock"):
        pass
    with whole(tmp_path / "b") as part:
        part.touch()
    assert (tmp_path / "b").exists()


def test_a_file_system_without_locks_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "FCNTL", SimpleNamespace(flock=fails, lockf=fails, LOCK_EX=2, LOCK_NB=4))
    with (tmp_path / "a").open("w") as file:
        assert not lock(file.fileno())
        assert not lock(file.fileno(), wait=True, inherited=False)


class Msvcrt:
    """Windows' lock of one file."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.held: list[int] = []

    def locking(self, descriptor: int, mode: int, num_bytes: int) -> None:
        if mode != self.LK_NBLCK or num_bytes != 1 or self.held:
            raise PermissionError(13, "Permission denied")
        self.held.append(descriptor)


def test_the_locks_of_windows_work_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Msvcrt()
    monkeypatch.setattr(locks, "FCNTL", None)
    monkeypatch.setattr(locks, "MSVCRT", system)
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=lambda seconds: system.held.clear()))
    with (tmp_path / "a").open("w") as one, (tmp_path / "a").open("w") as other:
        assert lock(one.fileno())
        with pytest.raises(BlockingIOError):
            lock(other.fileno())
        assert lock(other.fileno(), wait=True)


def test_windows_closes_a_part_before_renaming_or_removing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: set[int] = set()
    real_open, real_close, real_replace, real_unlink = os.open, os.close, os.replace, Path.unlink

    def opening(*arguments: Any) -> int:
        descriptor = real_open(*arguments)
        opened.add(descriptor)
        return descriptor

    def closing(descriptor: int) -> None:
        opened.discard(descriptor)
        real_close(descriptor)

    def moving(act: Callable[..., None]) -> Callable[..., None]:
        def moved(*arguments: Any, **more: Any) -> None:
            if opened:
                raise PermissionError(13, "it is used by another process")
            act(*arguments, **more)

        return moved

    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    monkeypatch.setattr(os, "replace", moving(real_replace))
    monkeypatch.setattr(Path, "unlink", moving(real_unlink))
    with whole(tmp_path / "a") as part:
        part.write_text("whole")
        sweep_parts(tmp_path)
        assert part.exists(), "an open file cannot be removed"
    Part(tmp_path / "b").discard()
    (tmp_path / ".c.part").touch()
    sweep_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class Device:
    """A PyTorch module for a device with streams, such as `torch.xpu`."""

    def __init__(self) -> None:
        self.waited: list[object] = []
        self.current: list[str] = []
        self.made, self.peak = 0, 3_000_000

    @contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        self.current.append(stream)
        yield
        self.current.pop()

    def Stream(self, device: torch.device) -> str:
        self.made += 1
        return f"{self.made} of {device}"

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.peak = 2_000_000

    def current_stream(self, device: torch.device) -> SimpleNamespace:
        return SimpleNamespace(synchronize=lambda: self.waited.append(device))

    def get_device_name(self, device: torch.device) -> str:
        return "Arc"

    def max_memory_allocated(self, device: torch.device) -> int:
        return self.peak


def test_streams_are_used_on_any_device_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    device, xpu = torch.device("xpu"), Device()
    monkeypatch.setattr(torch, "get_device_module", lambda device: xpu)
    assert devices.has_streams(device)
    monkeypatch.setattr(devices, "_idle_streams", defaultdict(SimpleQueue))
    for _ in range(3):
        with devices.own_stream(device), devices.own_stream(device):
            assert sorted(xpu.current) == ["1 of xpu", "2 of xpu"]
    assert xpu.made == 2, "streams are used again"
    with Stopwatch(device).phase("sample"):
        assert xpu.waited == [device]
    assert xpu.waited == [device, device]
    assert device_name(device) == "Arc"
    assert peak_memory_mb(device)["device"] == 3
    devices.start_peak(device)
    assert peak_memory_mb(device)["device"] == 2, "a run does not report the peak of an earlier one"


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_a_setting_that_the_device_name_tells(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is a part of records and of the cache's keys."""
    monkeypatch.setattr(torch, "get_device_module", lambda device: Device())
    compose.build_trainer(compose.compose_config([f"tf32={allowed}", "trainer.accelerator=cpu"]))
    assert devices.tf32_allowed() is allowed
    assert device_name(torch.device("cuda")) == ("Arc, TF32" if allowed else "Arc")
    devices.allow_tf32(False)


def test_processes_wait_for_slow_ones_and_use_their_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp_spawn"]
    trainer = compose.build_trainer(compose.compose_config(spread))
    assert trainer.strategy._timeout > timedelta(days=1)
    used: list[torch.device] = []
    fake = Device()
    monkeypatch.setattr(fake, "set_device", used.append, raising=False)
    monkeypatch.setattr(torch, "get_device_module", lambda device: fake)
    devices.use(torch.device("xpu", 1))
    assert used == [torch.device("xpu", 1)]


def test_mps_has_no_streams_no_name_and_no_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    device, waited = torch.device("mps"), []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(1))
    assert not devices.has_streams(device)
    with Stopwatch(device).phase("sample"), devices.own_stream(device):
        pass
    assert waited == [1, 1]
    assert device_name(device).startswith("mps (")
    assert "device" not in peak_memory_mb(device)
    assert devices.widest(device) == torch.float32
    dopri5, adams = Dopri5(atol=1e-5, rtol=1e-5), ImplicitAdams(atol=1e-5, rtol=1e-5)
    assert dopri5.options(device) == {"dtype": torch.float32}
    assert dopri5.options(torch.device("cpu")) == adams.options(device) == {}


def test_the_cpu_is_the_device_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert devices.best() == device
    assert not devices.has_streams(device)
    assert devices.peak_mb(device) is devices.name(device) is None
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("xpu"))
    assert devices.best() == torch.device("xpu")


def test_64_bits_are_refused_on_devices_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = compose.compose_config(["trainer.precision=64-true", "trainer.accelerator=cpu"])
    assert compose.build_trainer(cfg).precision == "64-true"
    monkeypatch.setattr(devices, "widest", lambda device: torch.float32)
    with pytest.raises(UserError, match=r"trainer\.precision=64-true is not supported on cpu; use 32-true, or trainer"):
        compose.build_trainer(cfg)


def test_statistics_of_speech_are_accurate_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    conv, audio = nn.Conv1d(1, 8, 10, stride=5), torch.randn(1, 160_000)
    mean, variance = wav2vec2._statistics(conv, audio, 160_000, 16_000)
    monkeypatch.setattr(wav2vec2, "widest", lambda device: torch.float32)
    other_mean, other_variance = wav2vec2._statistics(conv, audio, 160_000, 16_000)
    assert torch.allclose(mean, other_mean, atol=1e-6)
    assert torch.allclose(variance, other_variance, rtol=1e-5)
