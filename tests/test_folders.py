"""Foreign files are not touched: folders, names in records, partial files of other processes."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from float_research import compose
from float_research.errors import UserError
from float_research.files import MAX_NAME_BYTES, Part, inside, short_name, sweep_parts, whole
from float_research.sweep import claim, leave
from float_research.tracking.record import MARK

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2", "metrics=none"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path, speech: Callable[[float], Path]) -> Callable[..., None]:
    def made(*overrides: str) -> None:
        told = [*TINY, f"data.audio={speech(0.3)}", f"output_dir={tmp_path / 'run'}", *overrides]
        compose.build_job(compose.compose_config(told)).run(Console(quiet=True))

    return made


FOREIGN = {
    "config.yaml": "lr: 0.1\n",
    "record.json": '{"clips": []}',
    "failure.json": "[]",
    "videos/holiday.mp4": "mine",
    "notes.txt": "mine",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_run_refuses_a_foreign_folder(name: str, run: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text(FOREIGN[name])
    before = contents(tmp_path)
    with pytest.raises(
        UserError, match=f"holds other files .{name.split('/', maxsplit=1)[0]}.; choose a folder that is new"
    ):
        run()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("settings", [b"nfe: 2\n", b"\xff\xfe", None])
def test_a_run_reuses_its_own_folder_with_damaged_settings(
    settings: bytes | None, run: Callable[..., None], tmp_path: Path
) -> None:
    run()
    config = tmp_path / "run" / "config.yaml"
    whole = config.read_bytes()
    config.unlink() if settings is None else config.write_bytes(settings)
    run("resume=true")
    assert config.read_bytes().startswith(whole[:60])


def test_a_run_reuses_its_own_folder(run: Callable[..., None], tmp_path: Path) -> None:
    folder, config = tmp_path / "run", tmp_path / "run" / "config.yaml"
    folder.mkdir()
    (folder / "failure.json").write_text('{"overrides": "", "error": "no"}')
    run()
    assert config.read_text().startswith(MARK)
    left = [folder / ".record.json.0123.part", folder / "videos" / ".a.mp4.0123.part"]
    for part in left:
        part.touch()
    (folder / "notes.txt").write_text("mine")
    run("nfe=3")
    assert not any(part.exists() for part in left), "of a process that is gone"
    config.write_text("output_dir: run\n" + config.read_text().removeprefix(MARK))
    run("nfe=2")
    assert config.read_text().startswith(MARK), "a folder of version 0.1 is identified by its settings"
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_sweep_refuses_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "paper.tex").write_text("mine")
    with pytest.raises(UserError, match=r"hydra\.sweep\.dir=.* holds other files \(paper\.tex\)"):
        claim(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["paper.tex"]


def test_a_sweep_that_is_stopped_leaves_no_parts_of_its_workers(tmp_path: Path) -> None:
    claim(tmp_path, {})
    part = tmp_path / "0" / "videos" / ".a.mp4.0123.part"
    part.parent.mkdir(parents=True)
    part.touch()
    leave(tmp_path, outlived=False)
    assert not part.exists()


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "", ".", "a/../..", "link/a", "loop", "a\0", "x" * 5000, "\ud800", 3, None, ["a"]]
)
def test_a_name_in_a_record_stays_inside(name: object, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(UserError, match="is not a file inside"):
        inside(folder, name)


def test_names_inside_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "place")
    (tmp_path / "place" / "videos").mkdir(parents=True)
    assert inside(tmp_path / "run", "videos/a.mp4") == tmp_path / "run" / "videos" / "a.mp4"
    assert inside(tmp_path / "place", "videos/../b") == tmp_path / "place" / "videos/../b"


def test_partial_files_are_removed_only_if_their_process_is_gone(tmp_path: Path) -> None:
    dead = tmp_path / ".a.mp4.0123.part"
    dead.touch()
    os.mkfifo(tmp_path / ".pipe.part")
    (tmp_path / ".link.part").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").write_text("mine")
    with whole(tmp_path / "b") as part:
        part.write_text("whole")
        sweep_parts(tmp_path)
        assert part.exists()
    assert not dead.exists()
    assert (tmp_path / "b").read_text() == "whole"
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_part_is_locked_while_it_is_written(tmp_path: Path) -> None:
    part = Part(tmp_path / "a")
    with part.path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    part.discard()
    part.discard()
    assert not list(tmp_path.iterdir())


def test_long_names_are_cut_and_stay_unique(tmp_path: Path) -> None:
    names = ["ж" * 200 + end for end in ("a", "b")]
    cut = [short_name(name, 100) for name in names]
    assert all(len(name.encode()) <= 100 for name in cut)
    assert cut[0] != cut[1]
    assert short_name("short", 100) == "short"
    with whole(tmp_path / ("x" * MAX_NAME_BYTES)) as part:
        part.touch()
    assert len(list(tmp_path.iterdir())) == 1
