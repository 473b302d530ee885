"""Sets with known distances, measured by small networks with the interface of real ones."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from subjects import subject, watched
from torch import Tensor, nn

from float_research.cache import Cache
from float_research.data.examples import example
from float_research.data.image import read_image
from float_research.errors import UserError
from float_research.inference.measuring import of_run
from float_research.metrics.csim import SIZE_PX, Csim, align, five_points
from float_research.metrics.distribution import EFid, Fid, FrechetDistance, Fvd, PFid, accumulate
from float_research.metrics.landmarks import read_face
from float_research.metrics.metric import Findings
from float_research.types import Image


class Colours(nn.Module):
    """Returns the mean red, green and blue of images."""

    def forward(self, images: Tensor, scale: float = 1.0) -> Tensor:
        return images.mean((2, 3)) * scale


class Darker(Colours):
    """Another network."""

    def forward(self, images: Tensor, scale: float = 1.0) -> Tensor:
        return images.amin((2, 3)) * scale


class Ends(nn.Module):
    """Returns the mean colours of the first and the last frame of clips."""

    def forward(self, videos: Tensor) -> Tensor:
        return torch.cat([videos[:, :, 0].mean((2, 3)), videos[:, :, -1].mean((2, 3))], dim=1)


@pytest.fixture
def network(tmp_path: Path) -> Any:
    def saved(module: nn.Module) -> str:
        torch.jit.script(module).save(str(tmp_path / "network.pt"))
        return str(tmp_path / "network.pt")

    return saved


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Returns a folder of two videos, whose frames `Library` has."""
    folder = tmp_path / "real"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"a")
    (folder / "sub" / "b.webm").write_bytes(b"b")
    (folder / "notes.txt").write_bytes(b"no video")
    return folder


def frames(seed: int, num: int, offset: int = 0) -> list[Image]:
    """Returns frames of random uniform colours."""
    colours = np.random.default_rng(seed).integers(50, 150, (num, 3)) + offset
    return [np.full((8, 8, 3), colour, dtype=np.uint8) for colour in colours]


class Library:
    """Frames by the path of their video, with a count of reads."""

    def __init__(self, **videos: list[Image]) -> None:
        self.videos, self.reads = videos, []

    def __call__(self, path: Path) -> Iterator[Image]:
        self.reads.append(path.stem)
        return iter(self.videos[path.stem])


def metric(kind: type[FrechetDistance], cache: Path, **changes: Any) -> FrechetDistance:
    settings: dict[str, Any] = {"size_px": None, "low": 0.0, "high": 255.0, "columns": None, "arguments": {}}
    return kind(**settings | {"cache": Cache(folder=str(cache), memory_mb=0, disk_mb=100)} | changes)


def test_a_set_has_no_distance_to_itself_and_an_offset_counts_squared(network: Any, real: Path, tmp_path: Path) -> None:
    library = Library(a=frames(1, 20), b=frames(2, 30), same=frames(1, 20) + frames(2, 30))
    fid = metric(Fid, tmp_path / "cache", real=str(real), network=network(Colours()))
    assert fid.compare([Path("a.mp4"), Path("b.mp4")], library).metrics["fid"] == pytest.approx(0, abs=1e-3)
    assert fid.compare([Path("same.mp4")], library).metrics["fid"] == pytest.approx(0, abs=1e-3)
    assert library.reads.count("a") == 2, "the folder is read once and cached"
    library.videos["brighter"] = frames(1, 20, 10) + frames(2, 30, 10)
    assert fid.compare([Path("brighter.mp4")], library).metrics["fid"] == pytest.approx(3 * 10**2, rel=1e-5)


def test_the_cache_of_a_folder_depends_on_its_videos_the_network_and_its_arguments(
    network: Any, real: Path, tmp_path: Path
) -> None:
    library = Library(a=frames(1, 20), b=frames(2, 30))
    file, cache = network(Colours()), tmp_path / "cache"

    def reads(**changes: Any) -> int:
        library.reads.clear()
        metric(Fid, cache, real=str(real), network=file, **changes).compare([Path("a.mp4")], library)
        return len(library.reads)

    assert (reads(), reads()) == (3, 1)
    assert (reads(high=1.0), reads(columns=[0, 2]), reads(arguments={"scale": 2.0}), reads(size_px=4)) == (3, 3, 3, 3)
    (real / "a.mp4").write_bytes(b"another")
    assert reads() == 3
    assert (reads(high=1.0), reads(high=1.0)) == (3, 1)
    network(Darker())
    assert reads() == 3


def test_ranges_columns_and_arguments_reach_the_network(network: Any, real: Path, tmp_path: Path) -> None:
    library = Library(a=frames(1, 20), b=frames(2, 30), brighter=frames(1, 20, 51) + frames(2, 30, 51))
    file = network(Colours())

    def distance(kind: type[FrechetDistance], **changes: Any) -> float:
        made = metric(kind, tmp_path / "cache", real=str(real), network=file, **changes)
        return made.compare([Path("brighter.mp4")], library).metrics[made.names[0]]

    assert distance(EFid, low=0.0, high=1.0) == pytest.approx(3 * 0.2**2, rel=1e-4)
    assert distance(PFid, low=-1.0, high=1.0, columns=[0, 1]) == pytest.approx(0.4**2, rel=1e-4)
    assert distance(Fid, arguments={"scale": 2.0}, size_px=16) == pytest.approx(3 * 102**2, rel=1e-4)


def test_clips_of_frames_are_the_samples_of_fvd(network: Any, real: Path, tmp_path: Path) -> None:
    """Ten clips of four, with three frames left over at the end. Only the clips' last frames are brighter."""
    whole = [frames(1, 4), frames(2, 4), frames(3, 4), frames(4, 4), frames(5, 4)]
    changed = [[*stretch[:3], stretch[3] + np.uint8(10)] for stretch in whole]
    joined, altered = ([*itertools.chain(*stretches), *frames(9, 3)] for stretches in (whole, changed))
    library = Library(a=joined, b=joined, made=altered, short=frames(1, 3))
    fvd = metric(Fvd, tmp_path / "cache", real=str(real), network=network(Ends()), clip_frames=4)
    assert fvd.compare([Path("a.mp4"), Path("b.mp4")], library).metrics["fvd"] == pytest.approx(0, abs=1e-3)
    assert fvd.compare([Path("made.mp4")] * 2, library).metrics["fvd"] == pytest.approx(3 * 10**2, rel=1e-3)
    with pytest.raises(UserError, match="there are none"):
        fvd.compare([Path("short.mp4")], library)
    with pytest.raises(UserError, match=r"metrics\.fvd\.clip_frames=0"):
        metric(Fvd, tmp_path, real=None, network=None, clip_frames=0)


def test_the_distance_of_gaussians_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(20000, 3, generator=generator) * torch.tensor([1.0, 2.0, 3.0])
    other = torch.randn(20000, 3, generator=generator) * torch.tensor([2.0, 2.0, 1.0]) + torch.tensor([1.0, 0, 0])
    true = accumulate(iter([one]), real=True, state={})
    distance = accumulate(iter(other.split(1000)), real=False, state=true.state_dict())
    assert float(distance.compute()) == pytest.approx(1 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2, rel=0.05)


def test_missing_inputs_are_reported_once_for_the_run(network: Any, real: Path, tmp_path: Path) -> None:
    def absent(**changes: Any) -> str:
        settings = {"real": str(real), "network": network(Colours())} | changes
        found = of_run([metric(Fid, tmp_path / "cache", **settings)], [], [])
        assert found.metrics == {}
        return found.absent["fid"]

    assert absent(real=None) == "needs real videos; give their folder with metrics.fid.real=FOLDER"
    assert absent(network=None) == "needs weights; give their file with metrics.fid.network=FILE"
    assert absent(network="nowhere.pt") == "needs weights, and metrics.fid.network=nowhere.pt does not exist"
    assert "holds no video" in absent(real=str(tmp_path / "empty"))
    (tmp_path / "network.pt").write_bytes(b"text")
    found = of_run([metric(Fid, tmp_path / "cache", real=str(real), network=str(tmp_path / "network.pt"))], [], [])
    assert found.absent["fid"].endswith("; save one with torch.jit.save")


def test_one_sample_is_refused(network: Any, real: Path, tmp_path: Path) -> None:
    library = Library(a=frames(1, 20), b=frames(2, 30), single=frames(1, 1))
    with pytest.raises(UserError, match="at least two samples of the run"):
        metric(Fid, tmp_path, real=str(real), network=network(Colours())).compare([Path("single.mp4")], library)


class Halves(nn.Module):
    """Returns the mean brightness of the upper and the lower half of faces."""

    def forward(self, faces: Tensor) -> Tensor:
        return torch.stack([faces[:, :, :56].mean((1, 2, 3)), faces[:, :, 56:].mean((1, 2, 3))], dim=1)


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.ascontiguousarray(read_image(Path(example("photo")), "black")[:256, 96:352])


def similarity(images: list[Image], file: str, portrait: Image) -> Findings:
    return watched(Csim(network=file), images, subject(len(images), portrait=portrait))


def test_csim_is_one_for_the_portrait_itself_and_less_for_a_shaded_one(network: Any, photo: Image) -> None:
    shaded = photo.copy()
    shaded[160:] //= 4
    file = network(Halves())
    blank = np.zeros_like(photo)
    assert similarity([photo] * 3, file, photo).metrics["csim"] == pytest.approx(1)
    moved = similarity([np.roll(photo, 8, axis=1), photo, blank], file, photo)
    assert moved.metrics["csim"] == pytest.approx(1, abs=1e-3), "independent of position"
    assert np.isnan(moved.traces["csim"]).tolist() == [False, False, True]
    assert similarity([shaded], file, photo).metrics["csim"] < 0.98
    assert similarity([photo], file, blank).absent["csim"] == "no face was found in the portrait"
    assert similarity([blank] * 2, file, photo).absent["csim"] == "a face was found in 0 of 2 frames"


def test_faces_are_aligned_to_the_template(photo: Image) -> None:
    face = align(photo, read_face(photo).points[0])
    assert face.shape == (SIZE_PX, SIZE_PX, 3)
    larger = np.kron(face, np.ones((3, 3, 1), dtype=np.uint8))
    eyes = five_points(read_face(larger).points)[0, :2] / 3
    assert eyes == pytest.approx(np.array([(38.3, 51.7), (73.5, 51.5)]), abs=4)
