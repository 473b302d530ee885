"""Training on a folder of videos: which are used and which skipped, and both stages."""

import logging
import os
import resource
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from float_research import compose
from float_research.data.examples import example
from float_research.data.face import NoCrop
from float_research.errors import UserError
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import sample_motions
from float_research.toyface.render import render
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey
from float_research.training.portraits import VideoPortraits
from float_research.training.realism import Adversarial, Perceptual, _places
from float_research.training.videos import VideoFolder
from float_research.types import Image
from float_research.video.reader import read_frames_at
from float_research.video.writer import H264, Recording

CPU = torch.device("cpu")
FPS, FRAMES, SIZE_PX = 25.0, 30, 32


def film(path: Path, person: int, *, num_frames: int = FRAMES, fps: float = FPS, sound: bool = True) -> None:
    """Writes a video of a toy head that moves from one pose to another, with the example recording."""
    generator = torch.Generator().manual_seed(person)
    looks, ends = sample_identities(1, generator), sample_motions(2, generator)
    motion = torch.lerp(ends[:1], ends[1:], torch.linspace(0, 1, num_frames)[:, None])
    frames = render(looks.expand(num_frames, -1), motion, 64).image
    pixels = ((frames.permute(0, 2, 3, 1) + 1) * 127.5).to(torch.uint8)
    recording = Recording(Path(example("speech"))) if sound else None
    settings = H264(fps=None, mark=None, crf=10, preset="ultrafast", audio_rate_hz=48000, audio_bitrate_bps=128000)
    with settings.open(path, fps=fps, size_px=64, recording=recording) as writer:
        writer.write(pixels)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three usable videos, one of them at 30 frames per second, and three unusable ones."""
    folder = tmp_path_factory.mktemp("films")
    for person in range(2):
        film(folder / f"good{person}.mp4", person)
    film(folder / "good2.mp4", 2, num_frames=36, fps=30.0)
    film(folder / "mute.mp4", 3, sound=False)
    film(folder / "short.mp4", 4, num_frames=4)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def videos(folder: Path, cache: Path) -> VideoFolder:
    return VideoFolder(
        folder=str(folder), cache=str(cache), face=NoCrop(), size_px=SIZE_PX, fps=FPS, sampling_rate_hz=16000,
        held_out=0.1,
    )  # fmt: skip


def trained(stage: str, films: Path, folder: Path, *overrides: str) -> dict[str, Tensor]:
    data = ["data=video_folder", f"data.folder={films}", f"data.videos.cache={folder / 'cache'}", "face=none"]
    small = ["model=tiny", "stage.batch_size=2", "num_validation=1", f"output_dir={folder}", f"stage={stage}"]
    trainer = ["accelerator=cpu", "max_steps=2", "val_check_interval=2", "enable_progress_bar=false"]
    settings = [*data, *small, *(f"trainer.{setting}" for setting in trainer), *overrides]
    job = compose.build_training(compose.compose_config(settings, "train"))
    return load_file(job.run(Console(quiet=True)))


@pytest.mark.parametrize(("fps", "num_frames"), [(30.0, 36), (12.5, 15), (25.0, 30)])
def test_any_frame_rate_is_resampled(tmp_path: Path, fps: float, num_frames: int) -> None:
    film(tmp_path / "film.mp4", 0, num_frames=num_frames, fps=fps)
    frames = list(read_frames_at(tmp_path / "film.mp4", FPS))
    assert len(frames) == 30
    shown = list(read_frames_at(tmp_path / "film.mp4", fps))
    assert len(shown) == num_frames
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, shown[int((i + 0.5) / FPS * fps)])


def test_bad_videos_are_logged_and_skipped(films: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "float_research"):
        shots = videos(films, tmp_path).shots
    assert {stream: len(found) for stream, found in shots.items()} == {HELD_OUT: 1, TRAINING: 2}
    assert "3 of 6 videos can be used" in caplog.text
    for name, reason in {"mute": "no audio track", "short": "has 4 frames", "broken": "cannot be read"}.items():
        assert any(f"skipped {name}.mp4" in line and reason in line for line in caplog.messages), name
    assert not list(tmp_path.glob(".*.part"))


def test_a_shot_has_the_frames_and_sound_of_its_video(films: Path, tmp_path: Path) -> None:
    shot = videos(films, tmp_path).prepared(films / "good0.mp4")
    assert len(shot) == FRAMES
    assert len(shot.waveform) == FRAMES * 640
    first = list(read_frames_at(films / "good0.mp4", FPS))[7]
    wanted = torch.from_numpy(NoCrop()(first, SIZE_PX)[0]).permute(2, 0, 1) / 127.5 - 1
    assert (shot.frame(7) - wanted).abs().mean() < 0.03
    assert (shot.frame(FRAMES - 1) - shot.frame(0)).abs().mean() > 0.05


def test_prepared_videos_are_cached_by_all_dependencies(films: Path, tmp_path: Path) -> None:
    folder = videos(films, tmp_path)
    shot = folder.prepared(films / "good0.mp4")
    (shot.folder / "mark").touch()
    assert (folder.prepared(films / "good0.mp4").folder / "mark").exists()
    other = VideoFolder(**{**vars(videos(films, tmp_path)), "size_px": 16})
    assert other.prepared(films / "good0.mp4").folder != shot.folder


def test_one_process_prepares_a_video_and_removes_leftovers(films: Path, tmp_path: Path) -> None:
    folder, made = videos(films, tmp_path), []
    key = folder.prepared(films / "good1.mp4").folder.name
    shutil.rmtree(tmp_path / key)
    for left in (f".{key}.part", f".{key}.{os.getpid()}.part"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "frames.bin").touch()

    class Counted(VideoFolder):
        def prepare(self, file: Path, folder: Path) -> None:
            made.append(file)
            super().prepare(file, folder)

    counted = Counted(**{field.name: getattr(folder, field.name) for field in fields(folder)})
    with ThreadPoolExecutor(3) as pool:
        shots = list(pool.map(counted.prepared, 3 * [films / "good1.mp4"]))
    assert len(made) == 1
    assert [len(shot) for shot in shots] == 3 * [FRAMES]
    assert {path.name for path in tmp_path.iterdir()} == {key, f".{key}.lock"}


def damage(name: str, content: bytes | np.ndarray | None) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        if isinstance(content, np.ndarray):
            np.save(folder / name, content)
        elif content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        damage("frames.bin", None),
        damage("frames.bin", b"short"),
        damage("offsets.npy", b"text"),
        damage("offsets.npy", np.array([{}, {}], dtype=object)),
        damage("offsets.npy", np.arange(30.0)),
        damage("offsets.npy", np.zeros(31, dtype=np.int64)),
        damage("speech.npy", np.zeros(3, dtype=np.float32)),
        damage("speech.npy", np.zeros((19200, 2), dtype=np.float32)),
    ],
)
def test_a_damaged_video_is_prepared_again(
    films: Path, tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = videos(films, tmp_path)
    sound = folder.prepared(films / "good0.mp4")
    wanted = sound.frame(3)
    spoil(sound.folder)
    again = folder.prepared(films / "good0.mp4")
    assert torch.equal(again.frame(3), wanted)
    assert any("prepared video" in line and "preparing it again" in line for line in caplog.messages)


def test_a_damaged_frame_is_an_error(films: Path, tmp_path: Path) -> None:
    shot = videos(films, tmp_path).prepared(films / "good0.mp4")
    frames = shot.folder / "frames.bin"
    frames.write_bytes(bytes(frames.stat().st_size))
    with pytest.raises(UserError, match=r"frame 3 of .*frames.bin cannot be read .* delete that folder"):
        shot.frame(3)


class Failing(NoCrop):
    """Fails at the first frame of a film."""

    def lock(self, image: Image, size_px: int, /) -> Callable[[Image], Image]:
        raise cv2.error("no frame")


def test_a_library_error_skips_only_its_video(films: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = VideoFolder(**{**vars(videos(films, tmp_path)), "face": Failing()})
    with pytest.raises(UserError, match="0 of 6 videos can be used"):
        _ = folder.shots
    assert sum("cannot be read (no frame); convert it to MP4" in line for line in caplog.messages) == 4


def test_a_full_disk_is_not_blamed_on_a_video(films: Path, tmp_path: Path) -> None:
    folder = videos(films, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"(?i)too large"):
            _ = folder.shots
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob(".*.part"))


def test_pairs_are_two_frames_of_one_video(films: Path, tmp_path: Path) -> None:
    portraits = VideoPortraits(videos=videos(films, tmp_path), batch_size=3, seed=0)
    pairs = portraits(BatchKey(TRAINING, 1), CPU)
    assert pairs.source.shape == (3, 3, SIZE_PX, SIZE_PX)
    assert pairs.truth is None
    assert pairs.expression is None
    assert (pairs.source - pairs.target).abs().mean() > 0.01
    torch.testing.assert_close(portraits(BatchKey(TRAINING, 1), CPU).source, pairs.source)
    assert not torch.equal(portraits(BatchKey(TRAINING, 2), CPU).source, pairs.source)


@pytest.mark.parametrize(
    ("stage", "figure", "absent"),
    [("autoencoder", "psnr_same_db", "psnr_swapped_db"), ("flow", "motion_spread", "jaw_correlation")],
)
def test_stages_train_on_videos(films: Path, tmp_path: Path, stage: str, figure: str, absent: str) -> None:
    assert trained(stage, films, tmp_path)
    curves = (tmp_path / "curves" / "version_0" / "metrics.csv").read_text()
    assert figure in curves
    assert absent not in curves, "videos have no ground truth"


def test_realism_losses_are_trained_and_not_exported(films: Path, tmp_path: Path) -> None:
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128)}
    widths = [64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512]
    tensors = {}
    for place, before, after in zip(_places(), [3, *widths[:-1]], widths, strict=True):
        assert shapes.get(place, (after, before)) == (after, before)
        tensors[f"features.{place}.weight"] = 0.05 * torch.randn(after, before, 3, 3)
        tensors[f"features.{place}.bias"] = torch.zeros(after)
    save_file(tensors, tmp_path / "vgg19.safetensors")
    weights = trained(
        "autoencoder", films, tmp_path / "run", f"stage.objective.perceptual.file={tmp_path}/vgg19.safetensors",
        "stage.objective.perceptual.num_scales=2", "stage.objective.adversarial.weight=0.02",
        "trainer.log_every_n_steps=1",
    )  # fmt: skip
    assert not any(name.startswith("judge") for name in weights)
    header = (tmp_path / "run" / "curves" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"loss/perceptual", "loss/deceived", "loss/judged"} <= set(header.split(","))


@pytest.mark.parametrize("shape", [(64, 3, 1, 1), (64, 3, 3, 3)])
def test_weights_of_other_networks_than_vgg19_are_rejected(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_file(
        {"features.0.weight": torch.zeros(shape), "features.0.bias": torch.zeros(3)}, tmp_path / "vgg.safetensors"
    )
    with pytest.raises(UserError, match="does not contain the convolutions of VGG-19"):
        _ = Perceptual(file=str(tmp_path / "vgg.safetensors"), weight=1.0, num_scales=1).layers


def test_generator_and_discriminator_have_separate_gradients() -> None:
    game = Adversarial(weight=1.0, matching=1.0, width=4)
    judge = game.build()
    made, real = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    deceived, judged = game(judge, made, real)
    judged.backward(retain_graph=True)
    assert made.grad is None
    before = [parameter.grad.clone() for parameter in judge.parameters() if parameter.grad is not None]
    deceived.backward()
    assert made.grad is not None
    after = [parameter.grad for parameter in judge.parameters() if parameter.grad is not None]
    assert before
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_feature_matching_vanishes_for_the_real_image() -> None:
    plain, matching = (Adversarial(weight=0.5, matching=weight, width=4) for weight in (0.0, 3.0))
    judge = plain.build().eval()
    made, real = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(matching(judge, real, real)[0], plain(judge, real, real)[0])
    added = matching(judge, made, real)[0] - plain(judge, made, real)[0]
    features = zip(judge(made)[:-1], judge(real)[:-1], strict=True)
    torch.testing.assert_close(added, 1.5 * torch.stack([(a - b).abs().mean() for a, b in features]).sum())


def test_a_folder_without_two_usable_videos_is_rejected(films: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    with pytest.raises(UserError, match="contains no file"):
        _ = videos(folder, tmp_path / "cache").shots
    for name in ("good0.mp4", "mute.mp4"):
        shutil.copy(films / name, folder / name)
    with pytest.raises(UserError, match=r"1 of 2 videos can be used; training needs at least two.*no audio track"):
        _ = videos(folder, tmp_path / "cache").shots


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stage=phones", "data=video_folder", "data.folder=x"], "needs labels"),
        (["stage=motion", "data=video_folder", "data.folder=x"], "needs labels"),
        (["data=pair"], "is for scripts/infer.py"),
        (["stage.objective.perceptual.file=no.pth"], "no.pth does not exist"),
    ],
)
def test_unsuitable_data_is_rejected(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose.build_training(compose.compose_config(["model=tiny", "output_dir=x", *overrides], "train"))


def test_training_data_is_rejected_by_inference() -> None:
    with pytest.raises(UserError, match=r"is for scripts/train.py"):
        compose.build_job(compose.compose_config(["data=toy"]))
