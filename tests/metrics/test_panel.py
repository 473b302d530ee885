"""Several metrics together: needs, failures, and numbers that are not finite."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from subjects import subject, track

from float_research.errors import UserError
from float_research.metrics.metric import (
    Findings,
    FrameMetric,
    Frames,
    MotionMetric,
    Need,
    Number,
    Subject,
    Watching,
    check_names,
)
from float_research.metrics.motion import Motion
from float_research.metrics.panel import Panel
from float_research.metrics.requirements import Requirements
from float_research.metrics.track import MotionTrack


@dataclass(frozen=True, kw_only=True)
class Counter(FrameMetric):
    """Counts frames, and calls `at` with each batch."""

    at: Callable[[Frames], object]
    weights: str | None = "somewhere"

    numbers = (Number("count", "frames", None), Number("half", "frames", None))
    needs = frozenset({Need.FRAMES, Need.AUDIO})

    def watch(self, clip: Subject) -> Watching:
        count = 0
        while (frames := (yield)) is not None:
            self.at(frames)
            count += len(frames.images)
        return Findings(metrics={"count": count, "half": count / 2}, traces={"ones": np.ones(count)})


@dataclass(frozen=True, kw_only=True)
class Odd(MotionMetric):
    """Only returns NaN."""

    numbers = (Number("odd", "", None),)
    needs = frozenset({Need.MOTION})

    def measure(self, clip: Subject, track: MotionTrack) -> Findings:
        return Findings(metrics={"odd": float("nan")})


IMAGES = np.zeros((5, 8, 8, 3), dtype=np.uint8)


def found(*metrics: FrameMetric | MotionMetric, clip: Subject | None = None) -> Findings:
    panel = Panel(metrics, clip or subject(10))
    panel.see(IMAGES)
    panel.see(IMAGES)
    return panel.finish(track(torch.zeros(10, 4)))


def fail(frames: Frames) -> None:
    raise RuntimeError("no\nluck")


def test_frames_and_motion_reach_their_metrics() -> None:
    made = found(Counter(at=lambda frames: None), Motion())
    assert (made.metrics["count"], made.metrics["half"]) == (10, 5)
    assert {"ones", "motion_velocity"} <= set(made.traces)


def test_single_frames_reach_metrics_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen at a time, and the rest at the end; fewer if they are large. The caller may overwrite them."""

    def parts(num_frames: int) -> list[list[int]]:
        seen: list[list[int]] = []
        panel = Panel([Counter(at=lambda frames: seen.append(frames.images[:, 0, 0, 0].tolist()))], subject(num_frames))
        reused = np.empty((1, 8, 8, 3), dtype=np.uint8)
        for number in range(num_frames):
            reused[:] = number
            panel.see(reused)
        assert panel.finish(None).metrics["count"] == num_frames
        return seen

    assert parts(35) == [[*range(16)], [*range(16, 32)], [32, 33, 34]]
    assert parts(16) == [[*range(16)]]
    monkeypatch.setattr("float_research.metrics.panel.MOST_BYTES", 2 * 8 * 8 * 3)
    assert parts(5) == [[0, 1], [2, 3], [4]]


def test_a_failing_metric_is_reported_and_does_not_affect_others() -> None:
    made = found(Counter(at=fail), Odd(), Motion())
    assert made.absent["count"] == made.absent["half"] == "failed with RuntimeError: no luck"
    assert made.absent["odd"] == "came out as nan"
    assert made.metrics["motion_amplitude"] == 0


@pytest.fixture
def _doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_doubles")
def test_metrics_compute_in_32_bits_with_any_trainer() -> None:
    seen = []

    def product(frames: Frames) -> None:
        seen.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert found(Counter(at=product)).absent == {}
    assert set(seen) == {torch.float32}
    assert torch.get_default_dtype() == torch.float64


def test_missing_needs_are_reported_and_nothing_is_measured() -> None:
    clip = subject(10, missing={Need.AUDIO: "a.wav does not exist"})
    panel = Panel([Counter(at=fail)], clip)
    assert not panel.wants_frames
    assert set(panel.finish(None).absent.values()) == {"needs the recording, and a.wav does not exist"}


def test_missing_packages_and_weights_are_named() -> None:
    class Packaged(Counter):
        requires = Requirements(option="counter", packages={"nowhere": "faces"})

    class Weighted(Counter):
        requires = Requirements(option="counter", weights=("weights",))

    def lacks(metric: FrameMetric) -> str | None:
        return metric.obstacle(subject())

    assert lacks(Packaged(at=fail)) == "needs nowhere; pip install -e '.[faces]' -c constraints.txt"
    assert lacks(Weighted(at=fail, weights=None)) == "needs weights; give their file with metrics.counter.weights=FILE"
    assert lacks(Weighted(at=fail, weights="a.pt")) == "needs weights, and metrics.counter.weights=a.pt does not exist"
    assert lacks(Weighted(at=fail, weights=__file__)) is None


def test_shared_results_are_computed_once() -> None:
    calls = []

    def share(frames: Frames) -> None:
        frames.shared("faces", lambda images: calls.append(len(images)))

    found(Counter(at=share), Counter(at=share))
    assert calls == [10], "once for frames that are seen together"


def test_names_are_unique() -> None:
    check_names([Motion(), Odd()])
    with pytest.raises(UserError, match="two metrics are named motion_amplitude"):
        check_names([Motion(), Odd(), Motion()])
