"""A run in one process, from config to record."""

import csv
import gc
import io
import json
import os
import signal
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media_cases.sound import HZ, burst, encode, noise
from PIL import Image as PillowImage
from rich.console import Console
from safetensors.torch import save_file

from float_research import compose
from float_research.data.audio import listen
from float_research.data.examples import example
from float_research.errors import UserError
from float_research.inference.plan import clip_table
from float_research.inference.take import Take
from float_research.models.checkpoint import Demo, Official, Random, parameter_shapes
from float_research.models.float_model import FloatModel
from float_research.stopping import Stopped, stoppable
from float_research.video.reader import probe, read_frames

QUIET = Console(quiet=True)


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    content = job(folder, *overrides).run(QUIET)
    assert content is not None
    return content


def job(folder: Path, *overrides: str) -> Any:
    tiny = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", f"output_dir={folder}"]
    return compose.build_job(compose.compose_config([*tiny, *overrides]))


@pytest.fixture(scope="module")
def manifest(speech: Callable[[float], Path], portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a manifest of three clips of different lengths, the last with its own emotion."""
    folder = tmp_path_factory.mktemp("clips")
    PillowImage.open(portrait).transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.png")
    rows = [
        ("image", "audio", "id", "emotion"),
        (portrait, speech(2.3), "short", ""),
        (folder / "mirrored.png", speech(4.5), "long", ""),
        (portrait, speech(0.9), "angry", "angry"),
    ]
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "clips.csv"


def test_a_run_writes_videos_config_and_record(tmp_path: Path, portrait: Path, speech: Callable[[float], Path]) -> None:
    audio = speech(2.5)
    content = run(tmp_path, f"data.image={portrait}", f"data.audio={audio}", "nfe=4", "seed=7")
    clip = content["clips"][0]
    id = f"{portrait.stem}-{audio.stem}"
    assert clip["video"] == f"videos/{id}.mp4"
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files - {"changes.patch"} == {
        "config.yaml",
        "record.json",
        f"videos/{id}.mp4",
        f"videos/{id}.json",
        f"videos/{id}.motion.safetensors",
        f"videos/{id}.traces.parquet",
    }
    info = probe(tmp_path / clip["video"])
    assert info.num_frames == clip["num_frames"] == 63
    assert info.audio_s == pytest.approx(info.video_s, abs=1 / 25)
    assert json.loads((tmp_path / "record.json").read_text()) == json.loads(json.dumps(content, default=str))
    assert clip["measured"] == clip["declared"] == {"evaluations": 2 * 3, "branches": 2 * 3 * 3, "verified_frames": 0}
    assert set(clip["seconds"]) == {
        "read", "crop", "encode_image", "encode_audio", "emotion", "sample", "decode", "write", "metrics",
    }  # fmt: skip
    assert all(seconds >= 0 for seconds in clip["seconds"].values())
    assert sum(clip["emotion"].values()) == pytest.approx(1)
    assert content["seed"] == 7
    assert content["versions"]["torch"]
    assert content["checkpoint"]["trained"] is False
    assert content["checkpoint"]["hash"] == "random-0"
    assert len(content["signature"]) == 64
    assert content["device"].startswith("cpu")
    assert content["peak_memory_mb"]["host"] > 100


def test_the_model_stays_on_its_device_after_a_run(
    tmp_path: Path, portrait: Path, speech: Callable[[float], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each run of a sweep would move all weights of a GPU to the CPU and back."""
    events: list[str] = []
    placed, closed = FloatModel._apply, Take.close

    def placing(self: FloatModel, *arguments: Any, **more: Any) -> Any:
        events.append("placed")
        return placed(self, *arguments, **more)

    def closing(self: Take) -> None:
        closed(self)
        events.append("closed")

    monkeypatch.setattr(FloatModel, "_apply", placing)
    monkeypatch.setattr(Take, "close", closing)
    run(tmp_path, f"data.image={portrait}", f"data.audio={speech(0.4)}", "nfe=2", "trainer.precision=bf16-true")
    assert "placed" in events
    assert events[-1] == "closed"


def test_a_finished_clip_leaves_memory_at_once(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its encoder has threads, and its frames are large: they must not wait for the garbage collector."""
    takes, alive, closed = [], [], Take.close

    def closing(self: Take) -> None:
        closed(self)
        takes.append(weakref.ref(self))
        alive.append(sum(take() is not None for take in takes))

    monkeypatch.setattr(Take, "close", closing)
    gc.collect()
    gc.disable()
    try:
        run(tmp_path, "data=manifest", f"data.file={manifest}", "batch_clips=1", "metrics=[motion,sampling]", "nfe=2")
    finally:
        gc.enable()
    assert alive == [1, 1, 1]
    assert [take() for take in takes] == [None] * 3


@pytest.mark.parametrize("overlap", ["null", "true"])
def test_batches_of_clips_give_the_frames_of_single_clips(overlap: str, manifest: Path, tmp_path: Path) -> None:
    """Compares lossless videos up to rounding; test_api.py compares motion."""
    settings = ["data=manifest", f"data.file={manifest}", "noise=independent", "nfe=3", "video.crf=0"]
    single = run(tmp_path / "single", *settings, "batch_clips=1")
    batched = run(tmp_path / "batched", *settings, "batch_clips=3", f"overlap={overlap}")
    assert [clip["id"] for clip in batched["clips"]] == ["short", "long", "angry"]
    assert batched["totals"] | {"seconds": 0} == single["totals"] | {"seconds": 0}
    assert batched["signature"] == single["signature"], "batching and overlap do not change results"
    for clip in single["clips"]:
        pair = (read_frames(tmp_path / kind / clip["video"]) for kind in ("single", "batched"))
        for one, other in zip(*pair, strict=True):
            assert np.abs(one.astype(int) - other).max() <= 2
    assert single["clips"][2]["emotion"]["angry"] == 1
    assert single["clips"][0]["emotion"]["angry"] < 1


@pytest.mark.parametrize("solver", ["midpoint", "rk4", "heun3", "explicit_adams"])
def test_a_budget_of_evaluations_is_what_runs(solver: str, speech: Callable[[float], Path], tmp_path: Path) -> None:
    content = run(tmp_path, f"data.audio={speech(0.5)}", f"solver={solver}", "budget=evaluations", "nfe=12")
    assert content["totals"]["measured"] == content["totals"]["declared"]
    assert content["totals"]["measured"]["evaluations"] == 12


def test_adaptive_solvers_declare_nothing_and_measure_all(speech: Callable[[float], Path], tmp_path: Path) -> None:
    content = run(tmp_path, f"data.audio={speech(0.5)}", "solver=bosh3")
    assert content["totals"]["declared"] is None
    assert content["totals"]["measured"]["evaluations"] > 3


@pytest.mark.parametrize(("chosen", "heard"), [({"track": 1}, (1, None)), ({"channel": 1}, (0, 1))], ids=str)
def test_the_chosen_track_and_channel_drive_the_model_and_the_video(
    chosen: dict[str, int], heard: tuple[int, int | None], tmp_path: Path
) -> None:
    """Two tracks with one channel, or one track with two."""
    one, other = noise(1.0), noise(1.0, seed=5)
    path = tmp_path / "a.mkv"
    if "track" in chosen:
        encode(path, [one, other], container="matroska", codec="flac")
    else:
        encode(path, np.concatenate([one, other]), container="matroska", codec="flac")
    settings = [f"data.{name}={number}" for name, number in chosen.items()]
    content = run(tmp_path / "out", f"data.audio={path}", *settings, "nfe=2", "metrics=none")
    sound = content["clips"][0]["sound"]
    assert (sound["track"], sound["channel"]) == heard
    assert content["clips"][0]["excerpt"] == {"start_s": 0.0, "end_s": None, "track": None, "channel": None} | chosen
    spoken = listen(tmp_path / "out" / content["clips"][0]["video"], HZ)
    assert spoken.facts["channels"] == 1
    assert np.corrcoef(spoken.waveform[: other.shape[1]], other[0])[0, 1] > 0.95


def test_damaged_sound_is_reported_and_recorded(tmp_path: Path) -> None:
    path, console = tmp_path / "a.mp3", Console(record=True, width=200, file=io.StringIO())
    whole = encode(path, noise(2.4), container="mp3", codec="libmp3lame", b="256k").read_bytes()
    path.write_bytes(burst(whole, 0.8, 2500))
    content = job(tmp_path / "out", f"data.audio={path}", "nfe=2", "metrics=none").run(console)
    sound = content["clips"][0]["sound"]
    assert (sound["dropped"], sound["packets"]) == (1, 90)
    assert console.export_text().count("a.mp3: skipped 1 of 90 packets, which are damaged") == 1


def test_a_frame_rate_unlike_the_weights_is_reported_once(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*more: str) -> str:
        console = Console(record=True, width=300, file=io.StringIO())
        job(tmp_path, "data=manifest", f"data.file={manifest}", "dry_run=true", *more).run(console)
        return " ".join(console.export_text().split())

    monkeypatch.setattr(Random, "fps", 25.0)
    warning = "model.fps=30: these weights know 25 frames a second, so the face moves at another speed; video.fps=30"
    assert "frames a second" not in said() + said("video.fps=30")
    assert said("model.fps=30").count(warning) == 1
    assert Demo.fps == Official.fps == 25


def test_the_name_pattern(speech: Callable[[float], Path], portrait: Path, tmp_path: Path) -> None:
    audio = speech(0.3)
    pattern = "name='{image}-{audio}-nfe{nfe}-seed{seed}-acfg{a}-ecfg{e}-{emotion}'"
    files = [f"data.image={portrait}", f"data.audio={audio}"]
    content = run(tmp_path, *files, pattern, "emotion=label", "emotion.label=sad", "nfe=3")
    assert content["clips"][0]["video"] == f"videos/{portrait.stem}-{audio.stem}-nfe3-seed15-acfg2.0-ecfg1.0-sad.mp4"
    with pytest.raises(UserError, match=r"name='\{nope\}' cannot be filled in"):
        run(tmp_path, f"data.audio={audio}", "name='{nope}'")


def test_two_clips_never_share_a_file(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two clips the same file name"):
        run(tmp_path, "data=manifest", f"data.file={manifest}", "name=same")
    assert not any(tmp_path.iterdir())


def test_a_dry_run_says_what_a_run_does_and_writes_nothing(manifest: Path, tmp_path: Path) -> None:
    console = Console(record=True, width=200, file=io.StringIO(), force_terminal=True)
    settings = ["data=manifest", f"data.file={manifest}", "nfe=3"]
    assert job(tmp_path / "out", *settings, "dry_run=true", "checkpoint=official").run(console) == {"failed": []}
    assert not (tmp_path / "out").exists()
    lines = {line.split()[1]: line.split("│")[2:6] for line in console.export_text().splitlines() if line[:1] == "│"}
    made = run(tmp_path / "out", *settings)
    for clip in made["clips"]:
        measured = clip["measured"]
        counts = (clip["num_frames"], clip["num_windows"], measured["evaluations"], measured["branches"])
        assert [int(cell) for cell in lines[clip["id"]]] == list(counts)
    weights = sum(value.numel() for value in job(tmp_path).build_model().state_dict().values())
    assert float(lines["weights"][0]) == pytest.approx(weights * 4 / 1e6, abs=1)


def test_videos_named_after_their_clips_have_no_column() -> None:
    usual, other = (clip_table(["frames"], [["a", "1", f"videos/{name}.mp4"]], "made") for name in "ab")
    assert (usual.names, usual.rows) == (["clip", "frames"], [["a", "1"]])
    assert (other.names, other.rows) == (["clip", "frames", "video"], [["a", "1", "videos/b.mp4"]])


def test_a_clip_that_fails_leaves_no_record(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from float_research.video.writer import VideoWriter

    def fail(self: Any, frames: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "add", fail)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path, "data=manifest", f"data.file={manifest}", "nfe=3")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"config.yaml"}


def changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_a_finished_run_is_kept_and_any_other_is_rendered_again(
    tmp_path: Path, portrait: Path, speech: Callable[[float], Path]
) -> None:
    image, audio = tmp_path / "face.png", tmp_path / "speech.wav"
    image.write_bytes(portrait.read_bytes())
    audio.write_bytes(speech(0.5).read_bytes())
    settings = ["resume=true", f"data.image={image}", f"data.audio={audio}"]
    out = tmp_path / "out"
    video, record = out / "videos" / "face-speech.mp4", out / "record.json"

    def made_anew(*overrides: str) -> bool:
        before = changed_at(video) if video.exists() else 0
        run(out, *settings, *overrides)
        return changed_at(video) != before

    assert made_anew("nfe=3")
    assert not made_anew("nfe=3"), "finished"
    assert made_anew("nfe=4"), "other settings"
    assert made_anew("nfe=4", "checkpoint.seed=1"), "other weights"
    assert not made_anew("nfe=4", "checkpoint.seed=1")
    audio.write_bytes(speech(0.6).read_bytes())
    assert made_anew("nfe=4", "checkpoint.seed=1"), "other speech"
    PillowImage.open(image).transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert made_anew("nfe=4", "checkpoint.seed=1"), "another face"
    video.write_bytes(video.read_bytes()[:-100])
    assert made_anew("nfe=4", "checkpoint.seed=1"), "a broken video"
    motion = video.with_suffix(".motion.safetensors")
    motion.write_bytes(motion.read_bytes()[:-1] + b"x")
    assert made_anew("nfe=4", "checkpoint.seed=1"), "broken motion"
    before = json.loads(record.read_text())
    record.write_text(record.read_text()[:-100])
    assert not made_anew("nfe=4", "checkpoint.seed=1"), "a broken record loses no clip"
    after = json.loads(record.read_text())
    assert after["clips"] == before["clips"]
    assert after["totals"]["measured"] == before["totals"]["measured"]
    assert (after["clips_kept"], after["load_s"]) == (1, 0)
    config = out / "config.yaml"
    whole = config.read_text()
    config.write_text(whole[:-100] + "\n- [")
    assert not made_anew("nfe=4", "checkpoint.seed=1"), "finished"
    assert config.read_text().splitlines()[-20:] == whole.splitlines()[-20:], "an unreadable file is rewritten"
    assert not made_anew("nfe=4", "checkpoint.seed=1")


def test_a_requeued_run_keeps_the_clips_it_finished(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["data=manifest", f"data.file={manifest}", "nfe=2"]
    before = run(tmp_path, *settings)
    made = {clip["id"]: tmp_path / clip["video"] for clip in before["clips"]}
    times = {id: changed_at(video) for id, video in made.items()}
    (tmp_path / "record.json").unlink()
    made["short"].write_bytes(made["short"].read_bytes()[:-100])
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    after = run(tmp_path, *settings)
    assert {id for id, video in made.items() if changed_at(video) != times[id]} == {"short"}
    assert (before["clips_kept"], after["clips_kept"]) == (0, 2)
    assert after["totals"]["measured"] == before["totals"]["measured"], "kept clips count"
    rows = manifest.read_text().replace(",long,", ",long,happy")
    (tmp_path / "other.csv").write_text(rows)
    again = run(tmp_path, "data=manifest", f"data.file={tmp_path / 'other.csv'}", "nfe=2")
    assert again["clips_kept"] == 2, "another emotion of one clip"
    assert again["clips"][1]["emotion"]["happy"] == 1
    assert run(tmp_path, *settings, "seed=1")["clips_kept"] == 0, "other settings"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not job(tmp_path).resume


def test_changed_weights_repeat_a_finished_run(tmp_path: Path, portrait: Path, speech: Callable[[float], Path]) -> None:
    with torch.device("meta"):
        shapes = parameter_shapes(compose.model_builder(compose.compose_config(["model=tiny"]))())
    file = tmp_path / "weights.safetensors"
    settings = ["resume=true", "nfe=2", "checkpoint=unified", f"checkpoint.file={file}"]
    inputs = [f"data.image={portrait}", f"data.audio={speech(0.3)}"]
    hashes = []
    for seed in (0, 1):
        save_file(Random(seed=seed).tensors(shapes), file)
        hashes.append(run(tmp_path / "out", *settings, *inputs)["checkpoint"]["hash"])
    assert hashes[0] != hashes[1]


def test_demo_weights_warn_only_about_photos(tmp_path: Path, portrait: Path, speech: Callable[[float], Path]) -> None:
    with torch.device("meta"):
        shapes = parameter_shapes(compose.model_builder(compose.compose_config(["model=tiny"]))())
    save_file(Random(seed=0).tensors(shapes), tmp_path / "demo.safetensors")
    weights = ["checkpoint=demo", f"checkpoint.file={tmp_path / 'demo.safetensors'}", f"data.audio={speech(0.3)}"]
    said = {}
    for name, image in (("photo", portrait), ("toy", Path(example("portrait")))):
        console = Console(record=True, width=200, file=io.StringIO())
        settings = ["model=tiny", "face=none", "trainer.accelerator=cpu", "nfe=2", f"output_dir={tmp_path / name}"]
        compose.build_job(compose.compose_config([*settings, *weights, f"data.image={image}"])).run(console)
        said[name] = console.export_text()
    assert "illustrated toy world" in said["photo"]
    assert "illustrated toy world" in said["toy"]
    assert "astronaut.png is no toy portrait" in said["photo"]
    assert "no toy portrait" not in said["toy"]


def test_a_signal_swallowed_by_a_library_still_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(Stopped), stoppable():
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGUSR2)
        run(tmp_path, "nfe=3")
    assert not list(tmp_path.rglob("*.mp4"))
