"""Pairs of portraits for the motion auto-encoder: a source for the identity, a driver for the motion."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.toyface.correspondence import flow
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import sample_motions
from float_research.toyface.render import Rendering, render
from float_research.training.objective import BatchKey
from float_research.training.videos import VideoFolder


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Ground truth of synthetic pairs: motion parameters, the flow from source to target and where it is valid."""

    source_motion: Float[Tensor, "b m"]
    driving_motion: Float[Tensor, "b m"]
    grid: Float[Tensor, "b h w 2"]
    seen: Float[Tensor, "b 1 h w"]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """A batch of pairs: `target` shows the person of `source` in the motion of `driving`. Images are in [-1, 1].

    `expression` is near 1 around eyes and mouth, where errors weigh more; None if unknown. The first `num_swapped`
    drivers show other people; the others are the target itself.
    """

    source: Float[Tensor, "b 3 h w"]
    driving: Float[Tensor, "b 3 h w"]
    target: Float[Tensor, "b 3 h w"]
    expression: Float[Tensor, "b 1 h w"] | None
    num_swapped: int
    truth: Truth | None


@runtime_checkable
class Portraits(Protocol):
    """Produces pairs. The same key gives the same batch, so that a resumed training sees the same data."""

    def __call__(self, key: BatchKey, device: torch.device) -> Pairs: ...

    def require_data(self) -> None:
        """Raises a UserError for missing data."""


@dataclass(frozen=True, kw_only=True)
class ToyPortraits:
    """Renders pairs on the training device.

    `source_spread` scales the motion of sources, because users give calm, frontal photos. `detailed`: draws what only
    larger images can show.
    """

    size_px: int
    batch_size: int
    swapped: float
    source_spread: float
    detailed: bool
    compiled: bool
    seed: int

    def require_data(self) -> None:
        """Does nothing: portraits are rendered."""

    def __call__(self, key: BatchKey, device: torch.device) -> Pairs:
        """Renders one batch. Held-out people come from another stream of random numbers."""
        generator = key.generator(self.seed)
        num, num_swapped = self.batch_size, round(self.swapped * self.batch_size)
        people, others = sample_identities(num, generator), sample_identities(num, generator)
        source_motion = self.source_spread * sample_motions(num, generator)
        motion = sample_motions(num, generator)
        people, others, source_motion, motion = (x.to(device) for x in (people, others, source_motion, motion))
        draw, follow = (torch.compile(render), torch.compile(flow)) if self.compiled else (render, flow)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            source: Rendering = draw(people, source_motion, self.size_px, detailed=self.detailed)
            target: Rendering = draw(people, motion, self.size_px, detailed=self.detailed)
            swapped: Rendering = draw(others[:num_swapped], motion[:num_swapped], self.size_px, detailed=self.detailed)
            grid, seen = follow(source, target)
        return Pairs(
            source=source.image,
            driving=torch.cat([swapped.image, target.image[num_swapped:]]),
            target=target.image,
            expression=target.expression,
            num_swapped=num_swapped,
            truth=Truth(source_motion=source_motion, driving_motion=motion, grid=grid, seen=seen),
        )


@dataclass(frozen=True, kw_only=True)
class VideoPortraits:
    """Takes two random frames of one video."""

    videos: VideoFolder
    batch_size: int
    seed: int

    def require_data(self) -> None:
        _ = self.videos.shots

    def __call__(self, key: BatchKey, device: torch.device) -> Pairs:
        """Reads one batch."""
        generator, shots = np.random.default_rng(key.seed(self.seed)), self.videos.shots[key.stream]
        sources, targets = [], []
        for number in generator.integers(len(shots), size=self.batch_size):
            shot = shots[number]
            source, target = generator.choice(len(shot), size=2, replace=False).tolist()
            sources.append(shot.frame(source))
            targets.append(shot.frame(target))
        target_images = torch.stack(targets).to(device)
        return Pairs(
            source=torch.stack(sources).to(device),
            driving=target_images,
            target=target_images,
            expression=None,
            num_swapped=0,
            truth=None,
        )
