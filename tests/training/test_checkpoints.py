"""Training checkpoints after a kill, with a full disk and with damaged files."""

import io
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from float_research import compose
from float_research.errors import UserError
from float_research.tracking.record import write_json
from float_research.training import reading
from float_research.training.callbacks import ExportWeights
from float_research.training.checkpoints import PARTS, WholeCheckpoints, read_checkpoint
from float_research.training.folder import CODE, LAST, LOCK, PREVIOUS, WEIGHTS, newest, occupied, require_training

ROOT = Path(__file__).parents[2]
STEPS = 4


def settings(folder: Path, *overrides: str) -> list[str]:
    small = [
        "model=tiny",
        "stage=reader",
        "stage.batch_size=2",
        "num_validation=1",
        "stage.warmup_steps=2",
        "checkpoint_every=2",
    ]
    trainer = {"accelerator": "cpu", "max_steps": STEPS, "val_check_interval": STEPS, "enable_progress_bar": "false"}
    return [*small, *(f"trainer.{key}={value}" for key, value in trainer.items()), f"output_dir={folder}", *overrides]


def trained(folder: Path, *overrides: str) -> dict[str, Tensor]:
    job = compose.build_training(compose.compose_config(settings(folder, *overrides), "train"))
    return load_file(job.run(Console(quiet=True)))


@pytest.fixture(scope="module", autouse=True)
def _validated_soon() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "HELD_OUT_BATCH", 4)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("training") / "whole"
    trained(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(whole, tmp_path / "training"))


def content(step: int, size: int = 1000) -> dict[str, Any]:
    return {**dict.fromkeys(PARTS, 0), "global_step": step, "state_dict": {"weight": torch.full((size,), float(step))}}


def saved(folder: Path, *steps: int) -> WholeCheckpoints:
    checkpoints = WholeCheckpoints()
    for step in steps:
        checkpoints.save_checkpoint(content(step), folder / LAST)
    return checkpoints


def flip(path: Path, place: int) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 16
    path.write_bytes(damaged)


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Limits the size of files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("limit", ["trainer.max_steps=4", "trainer.max_time={seconds: 0.001}"])
def test_weights_are_exported_if_no_step_is_left(folder: Path, whole: Path, limit: str) -> None:
    """Simulates a kill between the last checkpoint and the export."""
    (folder / WEIGHTS).unlink()
    assert same(trained(folder, limit), load_file(whole / WEIGHTS)), "exports the average, as without interruption"
    assert (folder / "curves" / "version_0" / "metrics.csv").is_file(), "earlier curves are kept"


def test_missing_weights_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr(ExportWeights, "export", lambda *_: None)
    with pytest.raises(UserError, match=r"weights .*weights\.safetensors does not exist; run the same command"):
        trained(folder)


def test_a_rerun_exports_after_a_full_disk(folder: Path, whole: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(OSError, match=r"(?i)too large"), full_disk(100_000):
        trained(folder)
    assert not (folder / WEIGHTS).exists()
    assert not list(folder.glob(".*.part"))
    assert same(trained(folder), load_file(whole / WEIGHTS))


def test_a_damaged_checkpoint_falls_back_to_the_previous(
    folder: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = folder / LAST
    last.write_bytes(last.read_bytes()[:917_504])
    assert same(trained(folder), load_file(whole / WEIGHTS)), "it resumes and ends with the same weights"
    assert any("last.ckpt cannot be read" in line and "resuming from previous.ckpt" in line for line in caplog.messages)
    assert read_checkpoint(last, "")["global_step"] == STEPS
    assert read_checkpoint(folder / PREVIOUS, "")["global_step"] == 2, "a damaged checkpoint does not replace it"


def test_resuming_with_other_code_is_reported(folder: Path) -> None:
    def said() -> str:
        console = Console(file=io.StringIO(), width=1000)
        compose.build_training(compose.compose_config(settings(folder), "train")).run(console)
        return console.file.getvalue()  # type: ignore[attr-defined]

    assert f"resuming from {folder / LAST}\n" in said()
    write_json(folder / CODE, {"sources": "other"})
    assert f"resuming from {folder / LAST}, written by other code or other package versions" in said()
    assert "other code" not in said(), "the resumed training recorded this code"


def test_a_checkpoint_of_other_settings_is_rejected(folder: Path) -> None:
    with pytest.raises(UserError, match=r"last\.ckpt does not fit this training .*config\.yaml next to it"):
        trained(folder, "stage=motion")


def test_a_killed_training_can_be_finished(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    steps = ["trainer.max_steps=60", "checkpoint_every=1", "trainer.val_check_interval=60"]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *settings(folder, *steps)]
    with (tmp_path / "said.txt").open("w") as said:
        killed = subprocess.Popen(command, stdout=said, stderr=said)
        until = time.monotonic() + 120
        while not (folder / PREVIOUS).exists() and time.monotonic() < until and killed.poll() is None:
            time.sleep(0.01)
        killed.kill()
        assert killed.wait() == -signal.SIGKILL, (tmp_path / "said.txt").read_text()
    (folder / f".{WEIGHTS}.{'0' * 32}.part").write_bytes(b"half")
    steps[0] = f"trainer.max_steps={read_checkpoint(folder / LAST, '')['global_step'] + 1}"
    assert trained(folder, *steps)
    assert not list(folder.glob(".*.part")), "partial files are removed"


def test_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]
    assert [read_checkpoint(tmp_path / name, "")["global_step"] for name in (LAST, PREVIOUS)] == [3, 2]
    assert checkpoints.load_checkpoint(tmp_path / LAST)["global_step"] == 3
    (tmp_path / LAST).unlink()
    assert newest(tmp_path) == tmp_path / PREVIOUS, "after a kill between the two renames"


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    with (
        pytest.raises(UserError, match=r"last\.ckpt cannot be written .*too large.*free disk"),
        full_disk(20_000),
    ):
        checkpoints.save_checkpoint(content(3, 100_000), tmp_path / LAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]
    assert [read_checkpoint(tmp_path / name, "")["global_step"] for name in (LAST, PREVIOUS)] == [2, 1]


def test_damaged_checkpoints_are_rejected(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    path = tmp_path / LAST
    sound = path.read_bytes()
    for place in range(0, len(sound), len(sound) // 40):
        flip(path, place)
        with suppress(UserError):
            found = read_checkpoint(path, "delete it")
            assert torch.equal(found["state_dict"]["weight"], content(1)["state_dict"]["weight"])
        path.write_bytes(sound[:place])
        with pytest.raises(UserError, match=r"last\.ckpt cannot be read"):
            read_checkpoint(path, "delete it")
        path.write_bytes(sound)
    flip(path, sound.index(torch.full((10,), 1.0).numpy().tobytes()))
    with pytest.raises(UserError, match="checksum"):
        read_checkpoint(path, "delete it")


def test_two_damaged_checkpoints_are_one_error(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    (tmp_path / LAST).write_bytes(b"text")
    with pytest.raises(UserError, match=r"last\.ckpt"):
        read_checkpoint(tmp_path / LAST, "")
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(
        UserError, match=r"previous\.ckpt cannot be read .*neither can last\.ckpt: delete both to start"
    ):
        checkpoints.load_checkpoint(tmp_path / LAST)
    (tmp_path / PREVIOUS).unlink()
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read .*delete it to start over"):
        checkpoints.load_checkpoint(tmp_path / LAST)


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("hostile", [[1], {"state_dict": {}}, None])
def test_a_checkpoint_never_runs_code(tmp_path: Path, hostile: Any) -> None:
    mark = tmp_path / "mark"
    torch.save(hostile or {**content(1), "callbacks": Attack(mark)}, tmp_path / LAST)
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read"):
        WholeCheckpoints().load_checkpoint(tmp_path / LAST)
    assert not mark.exists()


def test_a_users_own_checkpoint_io_replaces_ours(tmp_path: Path) -> None:
    job = compose.build_training(compose.compose_config(settings(tmp_path / "none"), "train"))
    assert job.plugins == []
    named = "trainer.plugins=[{_target_: lightning.fabric.plugins.io.TorchCheckpointIO}]"
    job = compose.build_training(compose.compose_config(settings(tmp_path / "none", named), "train"))
    assert [type(plugin) for plugin in job.plugins] == [TorchCheckpointIO]


def test_foreign_folders_are_rejected(tmp_path: Path, folder: Path) -> None:
    for name in ("config.yaml", "notes.txt", WEIGHTS):
        project = tmp_path / f"with {name}"
        project.mkdir()
        (project / name).write_text("name: mine")
        with pytest.raises(UserError, match=r"output_dir=.* holds other files .* new or empty"):
            trained(project)
        assert [path.name for path in project.iterdir()] == [name]
        assert (project / name).read_text() == "name: mine"
    (folder / "notes.txt").touch()
    require_training(folder)
    (folder / "notes.txt").unlink()
    (folder / "config.yaml").write_text("{")
    require_training(folder)
    require_training(tmp_path / "new")


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    holder = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print(1, flush=True)"
    command = [sys.executable, "-c", f"{holder}; input()", str(tmp_path / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match=r"another training is running in output_dir="), occupied(tmp_path):
            pass
        other.communicate(b"\n")
    with occupied(tmp_path):
        pass
