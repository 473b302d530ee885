"""Each run has its own folder, even if several start in the same second or name the same one."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fuzz.processes import Running
from rich.console import Console

from float_research import compose
from float_research.errors import UserError
from float_research.folders import fresh, occupied
from float_research.inference.run_folder import LOCK

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2", "metrics=none"]
ONCE = "defaults: [infer, _self_]\nhydra: {run: {dir: runs/now}}\n"


def test_a_fresh_folder_is_returned_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(40) as pool:
        made = list(pool.map(fresh, [tmp_path / "a" / "now"] * 40))
    names = sorted(["now", *(f"now-{number}" for number in range(2, 41))])
    assert sorted(path.name for path in made) == names
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names


@pytest.fixture
def once(tmp_path: Path, speech: Callable[[float], Path]) -> list[str]:
    """Returns arguments of runs whose default folder always has the same name."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "once.yaml").write_text(ONCE)
    return ["--config-dir", "conf", "--config-name", "once", *TINY, f"data.audio={speech(0.3)}"]


def test_simultaneous_runs_have_their_own_folders(once: list[str], tmp_path: Path) -> None:
    ended = [running.finish() for running in [Running("infer", once, tmp_path) for _ in range(3)]]
    assert [one.code for one in ended] == [0, 0, 0], [one.error for one in ended]
    records = sorted((tmp_path / "runs").glob("*/record.json"))
    assert [path.parent.name for path in records] == ["now", "now-2", "now-3"]
    for path in records:
        [clip] = json.loads(path.read_text())["clips"]
        assert (path.parent / clip["video"]).is_file()


def test_a_dry_run_leaves_nothing(once: list[str], tmp_path: Path) -> None:
    ended = Running("infer", [*once, "dry_run=true"], tmp_path).finish()
    assert ended.code == 0, ended.error
    assert "nothing was written" in ended.output
    assert not (tmp_path / "runs").exists()


def hold(folder: str, held: object, free: object) -> None:
    with occupied(Path(folder), LOCK, "output_dir", what="run"):
        held.set()  # type: ignore[attr-defined]
        free.wait(60)  # type: ignore[attr-defined]


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Reserves the folder in another process; yields a function that releases it."""
    context = multiprocessing.get_context("spawn")
    held, free = context.Event(), context.Event()
    process = context.Process(target=hold, args=(str(tmp_path / "run"), held, free))
    process.start()
    assert held.wait(60)

    def leave() -> None:
        free.set()
        process.join(60)

    yield leave
    leave()


def test_a_folder_with_a_running_run_is_refused(
    at_work: Callable[[], None], speech: Callable[[float], Path], tmp_path: Path
) -> None:
    settings = [*TINY, f"data.audio={speech(0.3)}", f"output_dir={tmp_path / 'run'}"]
    job = compose.build_job(compose.compose_config(settings))
    with pytest.raises(UserError, match=r"another run is running in output_dir=.*; wait for it, or choose"):
        job.run(Console(quiet=True))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    at_work()
    assert job.run(Console(quiet=True)) is not None
