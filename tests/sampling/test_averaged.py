import pytest
import torch

from float_research.models.float_model import FloatModel
from float_research.sampling import stitch
from float_research.sampling.averaged import Averaged, window_weights
from float_research.types import Conditions, VectorField
from tests.sampling.test_sampler import PREVIOUS, WINDOW, clip, sample, sampler

OVERLAP = 4
HOP = WINDOW - OVERLAP


@pytest.mark.parametrize("num_frames", [1, WINDOW])
def test_one_window_equals_autoregressive(model: FloatModel, num_frames: int) -> None:
    plain, averaged = (
        sample(sampler(stitch=joined), model, [clip(model, num_frames)])[0]
        for joined in (stitch.Autoregressive(), Averaged(overlap_frames=OVERLAP))
    )
    assert torch.equal(plain[0], averaged[0])
    assert plain[1] == averaged[1]


def test_all_windows_form_one_batch_without_previous_motion(model: FloatModel) -> None:
    seen: list[Conditions] = []

    def spying(c: Conditions) -> VectorField:
        seen.append(c)
        return model.vector_field(c)

    s, conditions = sampler(nfe=3, stitch=Averaged(overlap_frames=OVERLAP)), clip(model, 25)
    with torch.inference_mode():
        windows = list(s(spying, [conditions]))
    assert [(window.start, len(window.motion)) for window in windows] == [(0, HOP), (HOP, HOP), (2 * HOP, HOP), (18, 7)]
    (batch,) = seen
    num_windows = s.windows_at_once(25)
    assert num_windows == 4
    branches = s.guidance.num_branches(0.0)
    assert len(batch.audio) == num_windows * branches
    assert batch.previous_motion.abs().sum() == 0
    for k in range(num_windows):
        window = batch.audio[-num_windows:][k]
        assert torch.equal(window[:7], conditions.audio[k * HOP : k * HOP + 7])
    assert torch.equal(batch.previous_audio[-num_windows:][2], conditions.audio[2 * HOP - PREVIOUS : 2 * HOP])
    assert sum(window.cost.evaluations for window in windows) == 2
    assert sum(window.cost.branches for window in windows) == 2 * branches * num_windows


@pytest.mark.parametrize("overlap", [0, 1, 4, 5, 9])
def test_the_field_is_the_weighted_mean_of_the_windows(overlap: int) -> None:
    """The field of each window is its number; every frame gets the mean over the windows that contain it, for any x."""
    num_windows, hop = 4, WINDOW - overlap
    x = torch.randn(2, 3 * hop + WINDOW, 3, generator=torch.Generator().manual_seed(1))

    def numbers(t: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
        for k, window in enumerate(windows.unflatten(0, (2, num_windows)).unbind(1)):
            assert torch.equal(window, x[:, k * hop : k * hop + WINDOW])
        return torch.arange(num_windows, dtype=x.dtype).repeat(2)[:, None, None].expand_as(windows)

    joined = Averaged(overlap_frames=overlap).join(numbers, num_windows, WINDOW)(torch.tensor(0.5), x)
    for frame in range(x.shape[1]):
        weights = {k: min(f + 1, WINDOW - f) for k in range(num_windows) if 0 <= (f := frame - k * hop) < WINDOW}
        mean = sum(k * w for k, w in weights.items()) / sum(weights.values())
        assert torch.allclose(joined[:, frame], torch.tensor(mean))


def test_weights_of_a_frame_sum_to_one() -> None:
    places = [slice(start, start + WINDOW) for start in (0, 4, 8)]
    total = torch.zeros(18, 1)
    for place, shared in zip(places, window_weights(places, torch.zeros(1, 18, 2)), strict=True):
        total[place] += shared
    assert torch.allclose(total, torch.ones(18, 1))


def test_overlapping_windows_share_their_noise(model: FloatModel) -> None:
    """With a zero field, the motion is the noise: that of the first window, then the new frames of each further one."""
    s = sampler(stitch=Averaged(overlap_frames=OVERLAP))
    motion = torch.cat([window.motion for window in s(lambda c: lambda t, x: x * 0, [clip(model, 22)])])
    drawn = s.noise(seed=3, clip="one", num_frames=WINDOW, latent_dim=motion.shape[1])
    first, second, third = (next(drawn) for _ in range(3))
    assert torch.equal(motion, torch.cat([first, second[OVERLAP:], third[OVERLAP:]]))
