"""Runs that are killed, terminated, or run out of disk space at some moment, and are restarted."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open

from fuzz.harness import Tally
from fuzz.processes import BLOCKED_S, Ended, Running, script, threads
from fuzz.samples import TINY, TRAINING, sound_of

Problems = list[tuple[str, str]]
VOLATILE = ("seconds", "made_s", "reused", "video_sha256", "run")
"""Entries of a clip's record that differ between two identical runs."""
PLACES = ("tmp", "cache")
"""Folders of a case that are not results."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A resumable script run in `folder`.

    `results`: what must be equal regardless of interruptions. `kept`: what is finished and must not be repeated.
    """

    name: str
    script: str
    arguments: Callable[[Path], Sequence[str]]
    results: Callable[[Path], Mapping[str, str]]
    kept: Callable[[Path], Mapping[str, int]]


def works(inputs: Path) -> list[Work]:
    """Returns an inference of three clips, a sweep, and a training."""
    inputs.mkdir(parents=True, exist_ok=True)
    sounds, pictures = inputs / "sounds", inputs / "pictures"
    if not sounds.is_dir():
        from float_research.data.examples import example

        sounds.mkdir()
        pictures.mkdir()
        for number in range(3):
            sound_of(0.3 + 0.2 * number, sounds / f"s{number}.wav")
        shutil.copy(example("photo"), pictures / "p.png")
    grid = [*TINY, "resume=true", "data=grid", f"data.images={pictures}", f"data.audios={sounds}", "nfe=3"]
    sweep = ["-m", *TINY, "resume=true", f"data.audio={sounds / 's0.wav'}", "solver=euler,midpoint", "nfe=2,3"]
    return [
        Work(
            name="inference",
            script="infer",
            arguments=lambda folder: [*grid, f"hydra.run.dir={folder}"],
            results=clip_results,
            kept=lambda folder: times(folder, "videos/*.mp4", ".json"),
        ),
        Work(
            name="sweep",
            script="infer",
            arguments=lambda folder: [*sweep, f"hydra.sweep.dir={folder}"],
            results=clip_results,
            kept=lambda folder: times(folder, "*/record.json", ".json"),
        ),
        Work(
            name="training",
            script="train",
            arguments=lambda folder: [*TRAINING, f"hydra.run.dir={folder}"],
            results=weight_results,
            kept=lambda folder: {},
        ),
    ]


def times(folder: Path, pattern: str, with_suffix: str) -> dict[str, int]:
    """Returns when finished files were written: those with a companion of another suffix."""
    found = [path for path in folder.glob(pattern) if path.with_suffix(with_suffix).is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def clip_results(folder: Path) -> dict[str, str]:
    """Returns the record of each clip and a hash of its motion."""
    found = {}
    for path in sorted(folder.rglob("record.json")):
        for clip in json.loads(path.read_text())["clips"]:
            name = f"{path.parent.relative_to(folder)}/{clip['id']}"
            stable = {key: value for key, value in clip.items() if key not in VOLATILE}
            motion = (path.parent / clip["video"]).with_suffix(".motion.safetensors")
            found[name] = json.dumps(stable, sort_keys=True) + tensor_hash(motion)
    return found


def weight_results(folder: Path) -> dict[str, str]:
    """Returns hashes of the exported weights."""
    weights = folder / "weights.safetensors"
    return {"weights": tensor_hash(weights) if weights.is_file() else "missing"}


def tensor_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with safe_open(path, framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
    return digest.hexdigest()


def damaged(folder: Path) -> Problems:
    """Returns problems with files that have their final name but are not complete."""
    problems: Problems = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix == ".part" or path.relative_to(folder).parts[0] == ".hydra":
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".yaml" and path.name == "config.yaml":
                assert isinstance(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader), dict)
            elif path.suffix == ".safetensors":
                tensor_hash(path)
            elif path.suffix == ".ckpt":
                assert zipfile.ZipFile(path).testzip() is None
            elif path.suffix == ".mp4":
                assert b"moov" in path.read_bytes()
        except (ValueError, AssertionError, SafetensorError, OSError, yaml.YAMLError, zipfile.BadZipFile) as error:
            problems.append((f"a half-written {path.name}", f"{path}: {error!r}"))
    return problems


def left_over(folder: Path) -> Problems:
    """Returns partial files that should have been removed."""
    parts = sorted(str(path.relative_to(folder)) for path in folder.rglob(".*.part"))
    return [("left a part behind", ", ".join(parts))] if parts else []


def told_well(ended: Ended, codes: Sequence[int]) -> Problems:
    """Checks for success, or an error of one sentence."""
    said, problems = f"exit {ended.code}\n{ended.output[-1500:]}\n{ended.error[-2500:]}", []
    if ended.hung:
        return [("hang", said)]
    if ended.code not in codes:
        problems.append((f"exit {ended.code}", said))
    if "Traceback" in ended.error:
        problems.append(("a traceback", said))
    if "error: unexpected" in ended.error:
        problems.append(("an unexpected error", said))
    return problems


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The result and duration of undisturbed work."""

    work: Work
    results: Mapping[str, str]
    seconds: float


def reference(work: Work, folder: Path) -> Reference:
    """Does the work twice: the first time fills the shared caches."""
    shutil.rmtree(folder, ignore_errors=True)
    script(work.script, work.arguments(folder / "warm"), folder / "warm-process")
    began = time.monotonic()
    ended = script(work.script, work.arguments(folder / "alone"), folder / "alone-process")
    seconds = time.monotonic() - began
    assert ended.code == 0, f"{work.name} does not work at all: {ended}"
    results = work.results(folder / "alone")
    assert results == work.results(folder / "warm"), f"{work.name} is not the same twice"
    return Reference(work=work, results=results, seconds=seconds)


@cache
def references(folder: Path) -> list[Reference]:
    """Returns the references of all works, computed once."""
    return [reference(work, folder / work.name) for work in works(folder / "inputs")]


def finish(known: Reference, output: Path, folder: Path, kept: Mapping[str, int]) -> Problems:
    """Restarts the work and lets it end: results must be equal, and nothing repeated."""
    work = known.work
    problems = told_well(script(work.script, work.arguments(output), folder), [0])
    if problems:
        return [(f"begun again: {what}", detail) for what, detail in problems]
    after = work.kept(output)
    twice = [name for name, at in kept.items() if after.get(name) != at]
    if twice:
        problems.append(("computed twice", ", ".join(twice)))
    results = work.results(output)
    if results != known.results:
        wrong = [name for name in {*results, *known.results} if results.get(name) != known.results.get(name)]
        first = wrong[0]
        problems.append(("another result", f"{wrong}: {results.get(first)} instead of {known.results.get(first)}"))
    return problems + damaged(output) + left_over(output)


def kill(known: Reference, folder: Path, chance: random.Random) -> Problems:
    """Sends one or two SIGKILLs at random moments, then lets the work end."""
    work, output, problems = known.work, folder / "out", Problems()
    kept: Mapping[str, int] = {}
    for _ in range(chance.choice((1, 1, 2))):
        running = Running(work.script, work.arguments(output), folder)
        running.wait(chance.uniform(0, 1.1 * known.seconds))
        running.kill(signal.SIGKILL, group=True)
        running.wait()
        problems += damaged(output) if output.is_dir() else []
        after = work.kept(output)
        if twice := [name for name, at in kept.items() if after.get(name) != at]:
            problems.append(("computed twice", ", ".join(twice)))
        kept = after
    return problems + finish(known, output, folder, kept)


def ask(known: Reference, folder: Path, chance: random.Random, *, number: int) -> Problems:
    """Sends one termination signal at a random moment."""
    work, output = known.work, folder / "out"
    running = Running(work.script, work.arguments(output), folder)
    ended = running.wait(chance.uniform(0, 1.05 * known.seconds))
    running.kill(number)
    ended = ended or running.wait(BLOCKED_S / 2)
    if ended is None:
        running.kill(signal.SIGKILL, group=True)
        running.wait()
        return [("a signal is not obeyed", signal.Signals(number).name)]
    began = output.is_dir() and any(path.is_file() for path in output.rglob("*"))
    problems = told_well(ended, [0, 128 + number, *([] if began else [-number])])
    problems += [*damaged(output), *left_over(output)] if output.is_dir() else []
    return problems + finish(known, output, folder, work.kept(output))


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Callable[[], None]]:
    """Mounts a small disk at `folder`; yields a function that enlarges it."""

    def enlarge() -> None:
        subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True, capture_output=True)

    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", folder], check=True, capture_output=True
    )
    try:
        yield enlarge
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def disks_possible(folder: Path) -> bool:
    """Returns whether this user may mount small disks here."""
    try:
        with small_disk(folder / "probe", 65536):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def fill_disk(known: Reference, folder: Path, chance: random.Random, *, own_disk: bool) -> Problems:
    """Limits the disk, or file sizes, to a random size that may be too small."""
    work, num_bytes = known.work, int(2 ** chance.uniform(9, 23))
    if not own_disk:
        output = folder / "out"
        ended = script(work.script, work.arguments(output), folder, max_file_bytes=num_bytes)
        problems = told_well(ended, [0, 2]) + ([*damaged(output), *left_over(output)] if output.is_dir() else [])
        return problems + finish(known, output, folder, work.kept(output))
    with small_disk(folder / "disk", num_bytes) as enlarge:
        output = folder / "disk" / "out"
        process = folder / "disk" if chance.random() < 0.5 and num_bytes > 30_000 else folder
        ended = script(work.script, work.arguments(output), process)
        problems = told_well(ended, [0, 2]) + ([*damaged(output), *left_over(output)] if output.is_dir() else [])
        enlarge()
        return problems + finish(known, output, folder, work.kept(output))


def live(
    tally: Tally,
    folder: Path,
    numbers: Sequence[int],
    seed: int,
    *,
    workers: int,
    command: Callable[[int], str],
) -> Tally:
    """Runs cases of kills, signals or disks on three works in turn; folders of faults are kept."""
    from float_research.stopping import STOP_SIGNALS

    known = references(folder.parent / "works")
    own_disks = tally.attack == "disks" and disks_possible(folder)
    if tally.attack == "disks" and not own_disks:
        tally.not_tried["small disks"] = "only root may mount them; small files stand for them"

    began = time.monotonic()

    def work(number: int) -> None:
        chance, one = random.Random(f"{seed} {tally.attack} {number}"), known[number % len(known)]
        place = folder / f"{tally.attack}{number}"
        shutil.rmtree(place, ignore_errors=True)
        if tally.attack == "kills":
            problems = kill(one, place, chance)
        elif tally.attack == "signals":
            wanted = STOP_SIGNALS[number // len(known) % len(STOP_SIGNALS)]
            problems = ask(one, place, chance, number=wanted)
        else:
            problems = fill_disk(one, place, chance, own_disk=own_disks and number // len(known) % 2 == 0)
        tally.note(one.work.name, command(number), problems)
        if problems:
            told = "\n\n".join(f"{what}\n{detail}" for what, detail in problems)
            (place / "FAULT.txt").write_text(f"{command(number)}\n\n{told}\n", encoding="utf-8")
        else:
            shutil.rmtree(place, ignore_errors=True)

    threads(work, numbers, workers)
    tally.seconds += time.monotonic() - began
    return tally
