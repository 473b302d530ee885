"""Edits of motion coordinates: neutral ones change nothing, others change what they name and hold the rest."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from motion.exact_atlas import exact_atlas
from torch import Tensor

from float_research import compose
from float_research.errors import UserError
from float_research.motion.atlas import Atlas, load_atlas
from float_research.motion.curve import Curve
from float_research.motion.edit import Edit, Freeze, Offset, Scale, Smooth
from float_research.motion.edits import Edits, Rest
from float_research.motion.meanings import AddMeanings, NoBlinks, ScaleMeanings
from float_research.motion.pose import SetPose
from float_research.types import Meaning, MotionWindow

M, D, T, FPS = 6, 16, 80, 25.0
NAMES = {"yaw": "head", "pitch": "head", "roll": "head", "jaw": "mouth", "lids": "eyes"}
NEUTRAL = {
    "none": [],
    "scale": ["motion.scale.strength=1"],
    "freeze": ["motion.freeze.strength=0"],
    "offset": ["motion.offset.coordinates={0: 1.5}", "motion.offset.strength=0"],
    "smooth": ["motion.smooth.strength=0"],
    "blend": ["motion.blend.meanings={jaw: 0.5}", "motion.blend.strength=0"],
    "lips_only": ["motion.lips_only.strength=1"],
    "calm": ["motion.calm.strength=1"],
    "amplify_lips": ["motion.amplify_lips.strength=1"],
    "no_blinks": ["motion.no_blinks.strength=0"],
    "pose": ["motion.pose.yaw=10", "motion.pose.strength=0"],
    "video": ["motion.video.file=${atlas}", "motion.video.take=[head]", "motion.video.strength=0"],
    "dub": ["motion.dub.meanings=[jaw]", "motion.dub.strength=0"],
}
ALL, HALVED = {"directions": None, "around": "portrait"}, [{"time_s": 0, "value": 1}, {"time_s": 2, "value": 0.5}]


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """An atlas of exact, mixed meanings."""
    generator = torch.Generator().manual_seed(0)
    k = len(NAMES)
    mixing = torch.randn(M, M, generator=generator, dtype=torch.float64)
    return exact_atlas(
        [Meaning(name, group, "°") for name, group in NAMES.items()],
        torch.randn(k, M, generator=generator, dtype=torch.float64),
        offset=torch.arange(k, dtype=torch.float64),
        covariance=mixing @ mixing.T,
    )


@pytest.fixture(scope="module")
def file(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("atlas") / "atlas.safetensors"
    atlas.save(path)
    return str(path)


@pytest.fixture(scope="module")
def motion() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(T, D, generator=generator).cumsum(0) / 10


@pytest.fixture(scope="module")
def rest() -> Rest:
    generator = torch.Generator().manual_seed(2)
    directions = torch.linalg.qr(torch.randn(D, M, generator=generator)).Q
    video = torch.randn(T, D, generator=generator)
    return Rest(
        directions=directions,
        portrait=torch.randn(D, generator=generator),
        video=lambda file: video,
        own=lambda: video,
        fps=FPS,
    )


def apply(motion: Tensor, rest: Rest, *edits: Edit) -> Tensor:
    return Edits(edits=dict(enumerate(edits)))(motion, rest)[0]


def read(atlas: Atlas, motion: Tensor, rest: Rest) -> dict[str, Tensor]:
    found = atlas.read(motion.double() @ rest.directions.double())
    return dict(zip(NAMES, found.unbind(1), strict=True))


@pytest.mark.parametrize("option", NEUTRAL)
def test_a_neutral_edit_leaves_the_motion_as_it_is(option: str, file: str, motion: Tensor, rest: Rest) -> None:
    cfg = compose.compose_config([f"motion={option}", f"atlas={file}", *NEUTRAL[option]])
    edits = Edits(edits={name: compose.build(node) for name, node in cfg.motion.items()})
    edited, pair = edits(motion, rest)
    assert torch.equal(edited, motion)
    assert torch.equal(pair[0], pair[1])


def test_every_option_has_a_neutral_setting() -> None:
    assert sorted(path.stem for path in (compose.config_folder() / "motion").glob("*.yaml")) == sorted(NEUTRAL)


def test_edits_of_different_directions_commute(motion: Tensor, rest: Rest) -> None:
    one = Scale(directions=[0, 1], strength=0.5, around="portrait")
    other, third = Offset(coordinates={2: 1.0}, strength=HALVED), Smooth(directions=[4], cut_off_hz=2, strength=1)
    torch.testing.assert_close(apply(motion, rest, one, other, third), apply(motion, rest, third, other, one))
    same = Scale(directions=[2], strength=0.5, around="portrait")
    assert not torch.allclose(apply(motion, rest, other, same), apply(motion, rest, same, other))


def test_what_is_outside_of_the_directions_stays(motion: Tensor, rest: Rest) -> None:
    edited = apply(motion, rest, Scale(**{**ALL, "strength": 0}))
    q = rest.directions
    torch.testing.assert_close(edited - edited @ q @ q.T, motion - motion @ q @ q.T)
    torch.testing.assert_close(edited @ q, (rest.portrait @ q).expand(T, -1))


def test_scaling_a_meaning_holds_the_others(atlas: Atlas, file: str, motion: Tensor, rest: Rest) -> None:
    calm = ScaleMeanings(file=file, meanings=["head"], strength=0.25, around="mean")
    before, after = read(atlas, motion, rest), read(atlas, apply(motion, rest, calm), rest)
    for name in ("yaw", "pitch", "roll"):
        torch.testing.assert_close(after[name].std(), 0.25 * before[name].std(), rtol=1e-4, atol=0)
    for name in ("jaw", "lids"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-4)


def test_the_change_is_the_likeliest_one(atlas: Atlas, file: str) -> None:
    """Any other change of the same meanings is less likely under the covariance of the motion."""
    gain = atlas.inverse(range(len(NAMES)))
    torch.testing.assert_close(atlas.map @ gain, torch.eye(len(NAMES), dtype=torch.float64))
    free = torch.linalg.svd(atlas.map).Vh[-1]
    precision = torch.linalg.inv(atlas.covariance)
    for column in gain.T:
        assert abs(float(column @ precision @ free)) < 1e-8 * float(free @ precision @ free)


def test_a_blend_adds_to_a_meaning_over_time(atlas: Atlas, file: str, motion: Tensor, rest: Rest) -> None:
    fading = [{"time_s": 0, "value": 0}, {"time_s": 1, "value": 1}]
    edited = apply(motion, rest, AddMeanings(file=file, meanings={"jaw": 2.0}, strength=fading))
    added = read(atlas, edited, rest)["jaw"] - read(atlas, motion, rest)["jaw"]
    torch.testing.assert_close(added[[0, 10, 25, 79]], torch.tensor([0, 0.8, 2, 2]).double(), rtol=0, atol=1e-4)


def test_lids_stay_open(atlas: Atlas, file: str, motion: Tensor, rest: Rest) -> None:
    before = read(atlas, motion, rest)["lids"]
    most = 0.5
    assert before.max() > most
    after = read(atlas, apply(motion, rest, NoBlinks(file=file, most=most, strength=1)), rest)["lids"]
    torch.testing.assert_close(after, before.clamp_max(most), rtol=0, atol=1e-4)


def test_a_pose_is_met_by_numbers_keyframes_and_files(
    atlas: Atlas, file: str, motion: Tensor, rest: Rest, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"file": file, "strength": 1, "poses": None, "yaw": None, "pitch": None, "roll": None}
    turning = [{"time_s": 0, "value": -10}, {"time_s": 2, "value": 10}]
    edited = apply(motion, rest, SetPose(**{**given, "yaw": turning, "roll": 3}))
    found = read(atlas, edited, rest)
    wanted = torch.linspace(-10, 10, 51, dtype=torch.float64)
    torch.testing.assert_close(found["yaw"][:51], wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(found["roll"], torch.full((T,), 3.0).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(found["jaw"], read(atlas, motion, rest)["jaw"], rtol=0, atol=1e-3)
    rows = np.stack([np.linspace(-5, 5, T), np.zeros(T), np.ones(T)], 1)
    np.save(tmp_path / "poses.npy", rows)
    (tmp_path / "poses.csv").write_text("frame,roll,yaw\n" + "".join(f"0,{r},{y}\n" for y, _, r in rows))
    by_npy = read(atlas, apply(motion, rest, SetPose(**{**given, "poses": str(tmp_path / "poses.npy")})), rest)
    by_csv = read(atlas, apply(motion, rest, SetPose(**{**given, "poses": str(tmp_path / "poses.csv")})), rest)
    for found in (by_npy, by_csv):
        np.testing.assert_allclose(found["yaw"], rows[:, 0], atol=1e-3)
        np.testing.assert_allclose(found["roll"], rows[:, 2], atol=1e-3)
    np.testing.assert_allclose(by_npy["pitch"], 0, atol=1e-3)
    assert by_csv["pitch"].abs().max() > 0.1, "the file leaves it to the model"


def test_smoothing_has_no_delay_and_its_cut_off(rest: Rest) -> None:
    times = torch.arange(200) / FPS
    wave = torch.sin(2 * math.pi * 2.0 * times)[:, None] * rest.directions[:, 0]
    edited = apply(wave, rest, Smooth(directions=None, cut_off_hz=2.0, strength=1))
    inner = slice(50, 150)
    torch.testing.assert_close(edited[inner], 0.5 * wave[inner], rtol=0, atol=0.01)


def test_freezing_holds_the_first_frame_of_the_span(motion: Tensor, rest: Rest) -> None:
    edited = apply(motion, rest, Freeze(directions=None, start_s=1, end_s=2, strength=1)) @ rest.directions
    plain = motion @ rest.directions
    torch.testing.assert_close(edited[25:50], plain[25].expand(25, -1))
    assert torch.equal(edited[:25], plain[:25])
    assert torch.equal(edited[50:], plain[50:])


def windows(motion: Tensor, sizes: list[int]) -> list[MotionWindow]:
    starts = np.cumsum([0, *sizes])
    parts = zip(starts, motion.split(sizes), strict=False)
    return [MotionWindow(index=0, start=int(start), motion=part, cost=None) for start, part in parts]  # type: ignore[arg-type]


def test_motion_is_edited_as_it_is_sampled_where_that_is_possible(motion: Tensor, rest: Rest, file: str) -> None:
    seen: list[int] = []

    def sampled() -> Any:
        for window in windows(motion, [30, 30, 20]):
            seen.append(window.start)
            yield window

    def run(edit: Edit) -> tuple[Tensor, list[int]]:
        seen.clear()
        made, order = [], []
        for window in Edits(edits={"a": edit}).windows(sampled(), [rest], [T]):
            made.append(window.motion)
            order.append(len(seen))
        return torch.cat(made), order

    streamed = ScaleMeanings(file=file, meanings=["head"], strength=HALVED, around="portrait")
    edited, order = run(streamed)
    assert order == [1, 2, 3]
    torch.testing.assert_close(edited, apply(motion, rest, streamed))
    whole = Smooth(directions=None, cut_off_hz=3, strength=1)
    edited, order = run(whole)
    assert order == [3, 3, 3]
    torch.testing.assert_close(edited, apply(motion, rest, whole))


def test_the_record_tells_what_was_changed(atlas: Atlas, file: str, motion: Tensor, rest: Rest) -> None:
    blend = Edits(edits={"blend": AddMeanings(file=file, meanings={"yaw": 3.0}, strength=1)})
    found = blend.record([blend(motion, rest)[1]])
    assert found is not None
    assert found["names"] == ["blend"]
    assert found["rms"] == pytest.approx({**dict.fromkeys(NAMES, 0), "yaw": 3}, abs=1e-4)
    assert found["lips_kept"] == pytest.approx(1, abs=1e-6)
    still = Edits(edits={"scale": Scale(**{**ALL, "strength": 0})})
    told = still.record([still(motion, rest)[1]])
    assert told is not None
    assert list(told["rms"]) == [f"direction_{k:02}" for k in range(M)]
    assert told["lips_kept"] is None


def test_strengths_are_interpolated() -> None:
    curve = Curve("s", HALVED, low=0, high=1)
    np.testing.assert_allclose(curve(torch.tensor([0.0, 1, 2, 9]).double())[:, 0], [1, 0.75, 0.5, 0.5])


SCALE: Callable[..., Edit] = lambda **more: Scale(**{**ALL, "strength": 1, **more})  # noqa: E731


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: SCALE(strength=-1), "motion: strength=-1 must lie between 0 and 10"),
        (lambda f: SCALE(strength=math.nan), "value=nan must be a number"),
        (lambda f: SCALE(strength=[]), "keyframes must have at least one time"),
        (lambda f: SCALE(strength=[{"time_s": 0}]), "must have exactly the keys time_s and value"),
        (lambda f: SCALE(strength=[{"time_s": t, "value": 1} for t in (1, 1)]), "in strictly increasing order"),
        (lambda f: SCALE(strength="loud"), r"strength=loud must be a number, or a list of"),
        (lambda f: SCALE(around="nose"), "around=nose is unknown; choose portrait or mean"),
        (lambda f: Edits(edits={"a": SCALE(directions=[6])}).check(M), "scale.directions=6 must be one of .* 0 to 5"),
        (lambda f: Edits(edits={"a": Offset(coordinates={7: 1.0}, strength=1)}).check(M), "coordinates=7 must be one"),
        (lambda f: Freeze(directions=None, start_s=2, end_s=1, strength=1), "before motion.freeze.end_s=1"),
        (lambda f: Smooth(directions=None, cut_off_hz=0, strength=1), "cut_off_hz=0 must be positive"),
        (
            lambda f: AddMeanings(file=f, meanings={"jow": 1.0}, strength=1),
            r"no meaning jow \(did you mean jaw\?\); it",
        ),
        (lambda f: NoBlinks(file=f, most=2, strength=1), "no_blinks.most=2 must lie between 0, open, and 1, closed"),
        (
            lambda f: NoBlinks(file=f, most=0, strength=1).check_weights("v"),
            "was made from other weights than",
        ),
        (lambda f: NoBlinks(file=f, most=0, strength=1).check(20), "the atlas has 6 directions, and the model 20"),
        (
            lambda f: NoBlinks(file="no.safetensors", most=0, strength=1),
            r"no.safetensors does not exist; give atlas=",
        ),
    ],
)
def test_bad_settings_are_told_in_a_sentence(make: Callable[[str], Any], message: str, file: str) -> None:
    with pytest.raises(UserError, match=message):
        make(file)


def pose_error(motion: Tensor, rest: Rest, file: str, **more: Any) -> str:
    given = {"file": file, "strength": 1, "poses": None, "yaw": None, "pitch": None, "roll": None, **more}
    with pytest.raises(UserError) as error:
        apply(motion, rest, SetPose(**given))
    return str(error.value)


def test_bad_poses_are_told_in_a_sentence(motion: Tensor, rest: Rest, file: str, tmp_path: Path) -> None:
    def told(**more: Any) -> str:
        return pose_error(motion, rest, file, **more)

    def of(name: str, content: Any) -> Mapping[str, str]:
        path = tmp_path / name
        path.write_text(content) if name.endswith("csv") else np.save(path, content)
        return {"poses": str(path)}

    assert "needs an angle, such as motion.pose.yaw=10" in told()
    assert "both give the pose" in told(yaw=1, poses="a.csv")
    assert "yaw=200 must lie between -180 and 180" in told(yaw=200)
    assert "has 2 rows, too few for 80 frames at 25 frames" in told(**of("few.csv", "yaw\n1\n2\n"))
    assert "yaw of row 2 is nan" in told(**of("nan.csv", "yaw\n1\nnan\n"))
    assert "yaw of row 2 is nan" in told(**of("gap.csv", "yaw,roll\n1,0\n,0\n"))
    assert "pitch of row 1 is inf" in told(**of("inf.npy", np.array([[0, np.inf, 0]])))
    assert "could not convert string to float" in told(**of("word.csv", "yaw\nleft\n"))
    assert "its columns are a, b; give a CSV with columns" in told(**of("other.csv", "a,b\n1,2\n")).replace(")", "")
    assert "shape (80, 2)" in told(**of("two.npy", np.zeros((T, 2))))
    assert "cannot be read" in told(**of("objects.npy", np.array([[{}, {}, {}]], dtype=object)))
    assert "does not exist" in told(poses=str(tmp_path / "none.csv"))


def test_a_damaged_atlas_is_refused(atlas: Atlas, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    atlas.save(path)
    held = load_atlas(path)
    assert held.names == list(NAMES)
    assert torch.equal(held.map, atlas.map)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"atlas .* cannot be read .* or make one with"):
        load_atlas(path)
