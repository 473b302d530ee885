"""Toy portraits: effects of the parameters, and the ground-truth flow between two frames."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from float_research.toyface import geometry
from float_research.toyface.correspondence import flow
from float_research.toyface.geometry import Pose
from float_research.toyface.identity import IDENTITY, Look, sample_identities
from float_research.toyface.motion import MOTION, ONE_SIDED, sample_motions
from float_research.toyface.render import Rendering, render
from float_research.toyface.shapes import pixel_grid

SIZE = 64


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def identities() -> Tensor:
    return sample_identities(6, generator())


def posed(num: int, **numbers: float) -> Tensor:
    motion = torch.zeros(num, len(MOTION))
    for name, value in numbers.items():
        motion[:, MOTION.index(name)] = value
    return motion


def psnr(a: Tensor, b: Tensor, weight: Tensor | float = 1.0) -> float:
    weight = torch.as_tensor(weight).expand_as(a)
    return float(-10 * torch.log10(((a - b).square() * weight).sum() / weight.sum() / 4))


@pytest.mark.parametrize("detailed", [False, True])
def test_images_are_in_range_and_people_differ(identities: Tensor, detailed: bool) -> None:
    drawn = render(identities, posed(6), SIZE, detailed=detailed)
    assert drawn.image.shape == (6, 3, SIZE, SIZE)
    assert drawn.image.abs().max() <= 1
    assert all(psnr(drawn.image[i], drawn.image[j]) < 25 for i in range(6) for j in range(i))
    torch.testing.assert_close(drawn.layers.sum(1), torch.ones(6, SIZE, SIZE))
    assert drawn.layers.min() >= -1e-6


def test_a_portrait_does_not_depend_on_its_batch(identities: Tensor) -> None:
    motions = sample_motions(6, generator())
    alone = render(identities[2:3], motions[2:3], SIZE).image
    torch.testing.assert_close(render(identities, motions, SIZE).image[2:3], alone)


@pytest.mark.parametrize("name", MOTION)
def test_every_motion_parameter_changes_the_image(identities: Tensor, name: str) -> None:
    neutral, moved = render(identities, posed(6), SIZE).image, render(identities, posed(6, **{name: 1.0}), SIZE).image
    assert ((neutral - moved).abs().amax((1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("name", ["width", "pucker", "press", "smile", "lids", "gaze_x", "gaze_y"])
def test_expressions_change_only_the_expression_region(identities: Tensor, name: str) -> None:
    drawn: list[Rendering] = [render(identities, posed(6, **{name: value}), SIZE) for value in (0.0, 1.0)]
    change = (drawn[0].image - drawn[1].image).abs().sum(1, keepdim=True)
    assert (change * drawn[0].expression).sum() > 0.9 * change.sum()


@pytest.mark.parametrize("name", ["smile", "raise", "jaw"])
def test_details_deepen_with_the_expression(identities: Tensor, name: str) -> None:
    def added(value: float) -> Tensor:
        motion = posed(6, **{name: value})
        plain, detailed = (render(identities, motion, SIZE, detailed=detailed).image for detailed in (False, True))
        return (plain - detailed).abs().mean((1, 2, 3))

    assert (added(0.0) > 0.005).all()
    assert (added(1.0) > added(0.0)).all()


def test_the_mouth_darkens_as_the_jaw_opens(identities: Tensor) -> None:
    def inside(jaw: float) -> Tensor:
        drawn = render(identities, posed(6, jaw=jaw), SIZE)
        return (drawn.image[:, 1] < -0.75).float().sum()

    amounts = [inside(jaw) for jaw in (0.0, 0.5, 1.0)]
    assert amounts[0] < amounts[1] < amounts[2]


def test_unturn_inverts_turn(identities: Tensor) -> None:
    look, pose = Look(identities), Pose(sample_motions(6, generator()))
    x, y = pixel_grid(SIZE, identities)
    x, y = x.expand(6, SIZE, SIZE), y.expand(6, SIZE, SIZE)
    u, v = geometry.unturn(x, y, look, pose)
    dx, dy = geometry.turn(u, v, look, pose)
    torch.testing.assert_close((u + dx, v + dy), (x, y), atol=1e-4, rtol=0)
    torch.testing.assert_close(geometry.from_image(*geometry.to_image(x, y, pose), pose), (x, y), atol=1e-5, rtol=0)
    closed = geometry.lift_jaw(y, look, pose)
    torch.testing.assert_close(closed + geometry.jaw_drop(closed, look, pose), y, atol=2e-3, rtol=0)


@pytest.mark.parametrize("detailed", [False, True])
def test_the_flow_warps_one_frame_to_another(identities: Tensor, detailed: bool) -> None:
    source, target = 0.5 * sample_motions(6, generator()), sample_motions(6, torch.Generator().manual_seed(8))
    first, second = (render(identities, motion, SIZE, detailed=detailed) for motion in (source, target))
    grid, weight = flow(first, second)
    carried = F.grid_sample(first.image, grid, align_corners=False)
    assert weight.mean() > 0.75
    assert psnr(carried, second.image, weight * (1 - second.expression)) > 28 > psnr(first.image, second.image) + 8


@pytest.mark.parametrize("name", ["jaw", "smile", "width", "raise", "furrow", "lids", "gaze_x"])
def test_the_flow_follows_lips_eyes_and_brows(identities: Tensor, name: str) -> None:
    still, moved = torch.zeros(6, len(MOTION)), torch.zeros(6, len(MOTION))
    for motion, value in ((still, 0.3), (moved, 0.9)):
        motion[:, MOTION.index(name)] = value
    first, second = render(identities, still, SIZE), render(identities, moved, SIZE)
    grid, weight = flow(first, second)
    carried = F.grid_sample(first.image, grid, align_corners=False)
    there = weight * second.expression
    assert there.sum() > 0.7 * second.expression.sum()
    assert psnr(carried, second.image, there) > psnr(first.image, second.image, there) + 1.5


def test_hidden_areas_have_no_flow(identities: Tensor) -> None:
    closed, opened = torch.zeros(6, len(MOTION)), torch.zeros(6, len(MOTION))
    opened[:, MOTION.index("jaw")] = 1.0
    frames = [render(identities, motion, SIZE) for motion in (closed, opened)]
    _, opening = flow(frames[0], frames[1])
    _, closing = flow(frames[1], frames[0])
    mouth = (frames[1].expression > 0.9) & (torch.arange(SIZE)[:, None] > SIZE // 2)
    assert (opening < 0.5)[mouth].float().mean() > (closing < 0.5)[mouth].float().mean() + 0.05


def test_no_motion_gives_zero_flow(identities: Tensor) -> None:
    frame = render(identities, sample_motions(6, generator()), SIZE)
    grid, weight = flow(frame, frame)
    x, y = pixel_grid(SIZE, identities)
    assert ((grid - torch.stack(torch.broadcast_tensors(x, y), -1)).abs() * weight.permute(0, 2, 3, 1)).max() < 5e-3


def test_sampled_parameters_are_in_range() -> None:
    motions, people = sample_motions(4000, generator()), sample_identities(4000, generator())
    assert people.shape == (4000, len(IDENTITY))
    assert 0 <= people.min() <= people.max() <= 1
    for name, values in zip(MOTION, motions.unbind(1), strict=True):
        assert (0 if name in ONE_SIDED else -1) <= values.min()
        assert values.max() <= 1
        assert values.std() > 0.15, name
    torch.testing.assert_close(sample_motions(4000, generator()), motions)
