"""Motion from a video: whole or by meanings, relative or as it is, held or looped, and of the clip's own footage."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from motion.exact_atlas import exact_atlas
from torch import Tensor

from float_research.errors import UserError
from float_research.motion.atlas import Atlas
from float_research.motion.edits import Edits, Rest
from float_research.motion.video import Dub, FromVideo
from float_research.types import Meaning

M, T, N = 4, 12, 5


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """Reads the first direction as yaw, and the second as the jaw."""
    return exact_atlas(
        [Meaning("yaw", "head", "°"), Meaning("jaw", "mouth", "")],
        torch.eye(M, dtype=torch.float64)[:2],
        offset=torch.ones(2, dtype=torch.float64),
        covariance=torch.eye(M, dtype=torch.float64),
    )


@pytest.fixture(scope="module")
def file(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("video") / "atlas.safetensors"
    atlas.save(path)
    return str(path)


@pytest.fixture(scope="module")
def spoken() -> Tensor:
    return torch.randn(T, M, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def seen() -> Tensor:
    return torch.randn(N, M, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def rest(seen: Tensor) -> Rest:
    return Rest(
        directions=torch.eye(M), portrait=torch.full((M,), 0.5), video=lambda file: seen, own=lambda: seen, fps=25.0
    )


def driven(motion: Tensor, rest: Rest, file: str, start: int = 0, **more: Any) -> Tensor:
    given = {"file": file, "take": None, "relative": False, "end": "hold", "atlas_file": file, "strength": 1, **more}
    return Edits(edits={"video": FromVideo(**given)})(motion, rest, start)[0]


def test_all_of_it_replaces_the_motion(spoken: Tensor, seen: Tensor, rest: Rest, file: str) -> None:
    held = torch.cat([seen, seen[-1:].expand(T - N, -1)])
    torch.testing.assert_close(driven(spoken, rest, file), held)
    looped = driven(spoken, rest, file, end="loop")
    torch.testing.assert_close(looped, seen.repeat(3, 1)[:T])
    torch.testing.assert_close(driven(spoken[7:], rest, file, start=7, end="loop"), looped[7:])
    torch.testing.assert_close(driven(spoken, rest, file, relative=True), held - seen[0] + rest.portrait)
    torch.testing.assert_close(driven(spoken, rest, file, strength=0.25), torch.lerp(spoken, held, 0.25))


def test_a_part_leaves_the_rest_to_speech(spoken: Tensor, seen: Tensor, rest: Rest, file: str) -> None:
    edited = driven(spoken, rest, file, take=["head"])
    torch.testing.assert_close(edited[:N, 0], seen[:, 0])
    torch.testing.assert_close(edited[:, 1:], spoken[:, 1:], rtol=0, atol=1e-5)
    turned = driven(spoken, rest, file, take=["yaw"], relative=True)
    torch.testing.assert_close(turned[:N, 0], seen[:, 0] - seen[0, 0] + 0.5)


def test_a_dub_keeps_the_lips_and_holds_at_the_end(spoken: Tensor, seen: Tensor, rest: Rest, file: str) -> None:
    dub = Edits(edits={"dub": Dub(file=file, meanings=["mouth"], strength=1)})
    edited = dub(spoken, rest)[0]
    assert dub.dubs
    held = torch.cat([seen, seen[-1:].expand(T - N, -1)])
    torch.testing.assert_close(edited[:, [0, 2, 3]], held[:, [0, 2, 3]], rtol=0, atol=1e-5)
    torch.testing.assert_close(edited[:, 1], spoken[:, 1])


def test_an_atlas_is_needed_for_parts_alone(spoken: Tensor, rest: Rest, file: str) -> None:
    driven(spoken, rest, file, atlas_file="nowhere")
    with pytest.raises(UserError, match="atlas nowhere does not exist; give atlas=FILE"):
        driven(spoken, rest, file, atlas_file="nowhere", take=["head"])


def of(**more: Any) -> Callable[[str], FromVideo]:
    given = {"take": None, "relative": True, "end": "hold", "strength": 1}
    return lambda file: FromVideo(**{**given, "file": file, "atlas_file": file, **more})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of(file="no.mp4"), "motion.video.file no.mp4 does not exist; give the path of a video"),
        (of(end="stop"), "motion.video.end=stop is unknown; choose hold or loop"),
        (of(take=["haed"]), r"motion.video.take: this atlas has no meaning haed \(did you mean head\?\)"),
        (of(strength=2), "strength=2 must lie between 0 and 1"),
        (lambda f: of(take=["head"])(f).check_weights("v"), "was made from other weights than this run uses"),
        (lambda f: of(take=["head"])(f).check(20), "the atlas has 4 directions, and the model 20"),
        (lambda f: Dub(file=f, meanings=["lips"], strength=1), "motion.dub.meanings: this atlas has no meaning lips"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(make: Callable[[str], Any], message: str, file: str) -> None:
    with pytest.raises(UserError, match=message):
        make(file)
