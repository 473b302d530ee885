"""Videos that no run of ours made: measured and recorded like clips of a run."""

import functools
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from omegaconf import DictConfig
from rich.console import Console

from float_research import compose, recorded, rerunning
from float_research.commands import measure
from float_research.data.footage import list_footage
from float_research.errors import UserError
from float_research.inference.outside import shifted
from float_research.tracking.record import read_record
from float_research.video.reader import read_timing, sound_from_s

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=3", "metrics=none"]
NUM_FRAMES = 12
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Returns `make(name, …)`, which writes a video with another tool than ours."""

    def made(
        name: str,
        *,
        codec: str = "libx264",
        fps: Fraction = Fraction(25),
        size: tuple[int, int] = (64, 64),
        sound: str | None = None,
        times: list[int] | None = None,
        late_s: float = 0,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as file:
            options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
            video = file.add_stream(codec, rate=fps, options=options)
            video.width, video.height = size
            video.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
            audio = file.add_stream(sound, rate=48000) if sound else None
            for number in range(NUM_FRAMES):
                pixels = np.full((size[1], size[0], 3), 20 * number, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = times[number] if times else number
                frame.time_base = 1 / fps
                file.mux(video.encode(frame))
            file.mux(video.encode())
            if audio is not None:
                count = round(48000 * NUM_FRAMES / float(fps))
                wave = (np.sin(np.arange(count) / 40) * np.linspace(0.1, 0.9, count)).astype(np.float32)
                part = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
                part.sample_rate = 48000
                fifo, start = av.AudioFifo(), round(late_s * 48000)
                fifo.write(part)
                while block := fifo.read(audio.codec_context.frame_size or 1024, partial=True):
                    block.pts, block.time_base, start = start, Fraction(1, 48000), start + block.samples
                    file.mux(audio.encode(block))
                file.mux(audio.encode())
        return path

    return made


@functools.cache
def chosen(*overrides: str) -> DictConfig:
    """Composes settings once for all tests that use the same."""
    return recorded.choose_outside(overrides)


def outside(
    *paths: Path, output: Path, overrides: tuple[str, ...] = ("metrics=[flicker,sharpness,motion]",), **more: Any
) -> dict[str, Any]:
    """Measures videos; returns the record that was written."""
    footage, _ = list_footage(paths, more.get("audio"), more.get("portrait"))
    name = [] if any(word.startswith("name=") for word in overrides) else ["name=official"]
    recorded.build_outside(footage, output, chosen(*overrides, *name)).run(lambda line: None)
    return read_record(output / "record.json")


CASES = [
    ("24.mp4", {"fps": Fraction(24), "sound": "aac"}),
    ("25.mp4", {"sound": "aac"}),
    ("29.97.mp4", {"fps": Fraction(30000, 1001)}),
    ("30.mkv", {"fps": Fraction(30), "codec": "ffv1", "sound": "flac"}),
    ("hevc.mp4", {"codec": "libx265", "size": (66, 50)}),
    ("vp9.webm", {"codec": "libvpx-vp9", "sound": "libopus", "fps": Fraction(30)}),
    ("odd.mkv", {"size": (67, 51), "fps": Fraction(30000, 1001)}),
    ("avi.avi", {"codec": "mpeg4", "fps": Fraction(24)}),
]


@pytest.mark.parametrize(("name", "how"), CASES, ids=[name for name, _ in CASES])
def test_videos_of_any_tool_give_metrics_or_the_reason(
    name: str, how: dict[str, Any], make: Make, tmp_path: Path
) -> None:
    record = outside(make(name, **how), output=tmp_path / "out", overrides=("metrics=[flicker,motion,lip_sync]",))
    (clip,) = record["clips"]
    assert clip["num_frames"] == NUM_FRAMES
    assert clip["fps"] == pytest.approx(float(how.get("fps", 25)), rel=1e-6)
    assert (clip["width"], clip["height"]) == how.get("size", (64, 64))
    assert clip["metrics"]["flicker"] == pytest.approx(20, abs=1)
    assert clip["absent"]["motion_jerk"] == "needs motion latents, and no run of ours made the video"
    no_sound = "has no audio track" in clip["absent"]["lip_correlation"]
    assert no_sound == ("sound" not in how), clip["absent"]["lip_correlation"]
    assert (clip["sound"] is None) == no_sound
    assert (tmp_path / "out" / clip["video"]).read_bytes() == (tmp_path / name).read_bytes()


def copy_losslessly(source: Path, target: Path) -> None:
    """Encodes the frames of a video again, without loss and without the sound."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        old = read.streams.video[0]
        new = written.add_stream("ffv1", rate=old.average_rate)
        new.width, new.height, new.pix_fmt = old.width, old.height, "yuv420p"
        new.codec_context.color_range = old.codec_context.color_range
        new.codec_context.colorspace = old.codec_context.colorspace
        for number, frame in enumerate(read.decode(old)):
            frame.pts, frame.time_base = number, 1 / old.average_rate
            written.mux(new.encode(frame))
        written.mux(new.encode())


def test_a_copy_of_a_run_has_the_numbers_of_its_videos(speech: Callable[[float], Path], tmp_path: Path) -> None:
    run, audio = tmp_path / "run", speech(1.2)
    told = [*TINY, f"output_dir={run}", f"data.audio={audio}"]
    content = compose.build_job(compose.compose_config(told)).run(Console(quiet=True))
    assert content is not None
    metrics = "metrics=[lip_sync,flicker,sharpness,optical_flow]"
    (first,) = recorded.build_remeasuring(run, recorded.choose_metrics([metrics])).run()["clips"]
    assert {"lip_correlation", "flicker", "flow_px"} <= set(first["from_video"])
    copy_losslessly(run / first["video"], tmp_path / f"{first['id']}.mkv")
    (clip,) = outside(
        tmp_path / f"{first['id']}.mkv",
        output=tmp_path / "out",
        overrides=(metrics, "face=none"),
        audio=audio,
        portrait=Path(first["image"]),
    )["clips"]
    assert clip["from_video"] == first["from_video"]
    assert clip["metrics"] == pytest.approx(first["metrics"], abs=1e-6)
    assert clip["measured_by"] == first["measured_by"]
    for name in ("id", "audio_sha256", "image_sha256", "num_frames"):
        assert clip[name] == first[name]


def test_one_bad_video_costs_itself_only(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = make("videos/good.mp4").parent
    whole = make("videos/cut.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "text.mp4").write_text("no video")
    (videos / "notes.txt").write_text("no video")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["measure", "--videos", str(videos), "name=official", "metrics=[flicker]"])
    with pytest.raises(SystemExit) as ended:
        measure.main()
    assert ended.value.code == 3
    said = capsys.readouterr().out
    assert "skipped 1 without a video (notes.txt)" in said
    assert "failed: 2 of 3 clips" in said
    record = read_record(tmp_path / "outputs" / "outside" / "official" / "record.json")
    assert [clip["id"] for clip in record["clips"]] == ["good"]
    assert {failed["id"] for failed in record["failed"]} == {"cut", "text"}
    assert not list(tmp_path.rglob("cut.json"))


def test_without_a_usable_video_there_is_no_record(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"video .*a\.mp4 cannot be read"):
        outside(tmp_path / "a.mp4", output=tmp_path / "out")
    assert not (tmp_path / "out" / "record.json").exists()
    assert outside(make("b.mp4"), output=tmp_path / "out")["clips"], "the folder is still ours"


def test_a_folder_of_a_run_or_of_anything_else_is_refused(make: Make, tmp_path: Path) -> None:
    video = make("a.mp4")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text(json.dumps({"signature": "x", "clips": []}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for name in ("run", "mine"):
        before = sorted(path.name for path in (tmp_path / name).iterdir())
        with pytest.raises(UserError, match=r"--output=.* holds other files .*choose a folder that is new or empty"):
            outside(video, output=tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == before
    with pytest.raises(UserError, match=r"is inside --output=.*choose another folder"):
        outside(video, output=tmp_path)


def test_measuring_again_replaces_only_the_files_of_before(make: Make, tmp_path: Path) -> None:
    outside(make("a.mp4"), make("b.mp4"), output=tmp_path / "out")
    (tmp_path / "out" / "videos" / "notes.txt").write_text("mine")
    outside(make("b.mp4"), output=tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "videos").iterdir())
    assert names == ["b.json", "b.mp4", "b.traces.parquet", "notes.txt"]


def test_recordings_and_portraits_are_found_by_name(
    make: Make, speech: Callable[[float], Path], portrait: Path, tmp_path: Path
) -> None:
    for name in ("ann-b", "ann-c-b"):
        make(f"videos/{name}.mp4")
    (tmp_path / "audio").mkdir()
    (tmp_path / "faces").mkdir()
    for name in ("b", "c-b"):
        (tmp_path / "audio" / f"{name}.wav").write_bytes(speech(0.5).read_bytes())
    (tmp_path / "faces" / f"ann{portrait.suffix}").write_bytes(portrait.read_bytes())
    found, _ = list_footage([tmp_path / "videos"], tmp_path / "audio", tmp_path / "faces")
    assert [(one.id, one.audio and one.audio.stem, one.image and one.image.stem) for one in found] == [
        ("ann-b", "b", "ann"),
        ("ann-c-b", "c-b", "ann"),
    ]
    (tmp_path / "faces" / f"ann-c{portrait.suffix}").write_bytes(portrait.read_bytes())
    found, _ = list_footage([tmp_path / "videos"], tmp_path / "audio", tmp_path / "faces")
    assert found[1].lacks[0] == (
        "audio",
        "--audio has 2 files (b.wav, c-b.wav) for the video ann-c-b; name one in a manifest",
    )
    (clip,) = outside(
        make("other.mp4"), output=tmp_path / "out", overrides=("metrics=[lip_sync]",), audio=tmp_path / "audio"
    )["clips"]
    assert "--audio has no file for the video other" in clip["absent"]["lip_correlation"]


def test_a_manifest_gives_ids_seeds_and_recordings(make: Make, speech: Callable[[float], Path], tmp_path: Path) -> None:
    make("x.mp4")
    make("y.mp4")
    manifest = tmp_path / "clips.csv"
    manifest.write_text(f"video,id,seed,audio,start_s\nx.mp4,one,15,{speech(1)},0.25\ny.mp4,,,,\n")
    record = outside(manifest, output=tmp_path / "out", overrides=("metrics=[flicker]",))
    assert [(clip["id"], clip["seed"], clip["excerpt"]["start_s"]) for clip in record["clips"]] == [
        ("one", 15, 0.25),
        ("y", None, 0.0),
    ]
    assert [clip["audio_sha256"] is None for clip in record["clips"]] == [False, True]
    manifest.write_text("film\nx.mp4\n")
    with pytest.raises(UserError, match="has the columns film; it needs video and may have id, audio"):
        list_footage([manifest], None, None)
    with pytest.raises(UserError, match="a manifest lists all videos"):
        list_footage([manifest, tmp_path / "x.mp4"], None, None)
    with pytest.raises(UserError, match="two videos have the id x; rename a file, or give ids in a manifest"):
        list_footage([tmp_path / "x.mp4", tmp_path / "other" / "x.mp4"], None, None)
    with pytest.raises(UserError, match=r"--audio .*b\.wav does not exist; give the path of a file or of a folder"):
        list_footage([tmp_path / "x.mp4"], tmp_path / "b.wav", None)


@pytest.mark.parametrize("name", ["float-research", "a=b", "a,b", "true", "7", "<b>", "x" * 81])
def test_a_name_that_no_comparison_could_choose_is_refused(name: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name=.* cannot name a source of videos"):
        outside(make("a.mp4"), output=tmp_path / "out", overrides=(f"name='{name}'",))
    assert not (tmp_path / "out").exists()


def test_other_settings_are_refused() -> None:
    for override in ("nfe=3", "video.crf=2", "solver=euler"):
        with pytest.raises(UserError, match="does not say how videos are measured; give settings of metrics"):
            recorded.choose_outside([override, "name=a"])
    with pytest.raises(UserError, match="the videos need a name"):
        recorded.choose_outside([])


def test_names_of_files_stay_names(make: Make, tmp_path: Path) -> None:
    record = outside(make("<img src=x onerror=alert(1)>.mp4"), make("a.html.mp4"), output=tmp_path / "out")
    assert [clip["video"] for clip in record["clips"]] == [
        "videos/_img_src_x_onerror_alert_1_.mp4",
        "videos/a.html.mp4",
    ]
    other = make("b.mp4")
    other = other.rename(other.with_suffix(".html"))
    (clip,) = outside(other, output=tmp_path / "out")["clips"]
    assert clip["video"] == "videos/b.mp4"


def test_a_variable_frame_rate_becomes_a_constant_one(make: Make, tmp_path: Path) -> None:
    times = [0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    video = make("phone.mkv", times=times)
    timing = read_timing(video, 25)
    assert (timing.num_frames, timing.constant) == (15, False)
    assert not read_timing(video).constant
    assert read_timing(make("even.mkv")).constant
    (clip,) = outside(make("30.mp4", fps=Fraction(30)), output=tmp_path / "o", overrides=("video.fps=25",))["clips"]
    assert (clip["num_frames"], clip["fps"], clip["constant_fps"]) == (10, 25, False)


def test_own_sound_is_heard_from_the_first_frame_on(make: Make, tmp_path: Path) -> None:
    late = make("late.mkv", sound="pcm_s16le", late_s=0.2)
    assert sound_from_s(late, 0) - read_timing(late).first_s == pytest.approx(0.2, abs=0.002)
    wave = np.arange(4, dtype=np.float32)
    assert shifted(wave, 2).tolist() == [0, 0, 0, 1, 2, 3]
    assert shifted(wave, -1).tolist() == [1, 2, 3]
    assert shifted(wave, 0).tolist() == wave.tolist()


def test_real_footage_needs_no_portrait_for_lip_sync(make: Make, tmp_path: Path) -> None:
    (clip,) = outside(make("a.mp4", sound="aac"), output=tmp_path / "out", overrides=("metrics=[lip_sync]",))["clips"]
    assert "portrait" not in clip["absent"]["lip_correlation"]


def test_videos_of_others_are_neither_measured_again_nor_repeated_as_a_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outside(make("a.mp4"), output=tmp_path / "sweep" / "official")
    monkeypatch.setattr(sys, "argv", ["measure", str(tmp_path / "sweep"), "metrics=[flicker]"])
    measure.main()
    assert "left as it is; measure official again with --videos" in capsys.readouterr().out.replace("\n", " ")
    with pytest.raises(UserError, match=r"no run of ours made the videos of .*; choose a run"):
        rerunning.again(tmp_path / "sweep" / "official", [], tmp_path / "new")


def test_an_experiment_chooses_the_metrics_alone() -> None:
    config = recorded.choose_outside(["experiment=theval", "name=camera"])
    assert list(config.metrics) == list(recorded.choose_metrics(["experiment=theval"]).config.metrics)
    assert list(config.metrics) == ["theval", "theval_score"]
    with pytest.raises(UserError, match="data=suite does not say how videos are measured"):
        recorded.choose_outside(["experiment=theval", "data=suite", "name=camera"])
