"""Losses of the motion auto-encoder and of flow matching. All are means over the batch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def weighted_l1(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]) -> Tensor:
    """`mean(weight · |a - b|)`."""
    return ((a - b).abs() * weight).mean()


def gradient_l1(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]) -> Tensor:
    """L1 between image gradients (differences of neighbouring pixels) along x and along y."""
    error = a - b
    along_x = (error.diff(dim=-1).abs() * weight[..., 1:]).mean()
    return along_x + (error.diff(dim=-2).abs() * weight[..., 1:, :]).mean()


def multiscale_l1(frames: Sequence[Tensor], target: Float[Tensor, "b c h w"]) -> Tensor:
    """Mean L1 of smaller frames against the target resized to their sizes."""
    errors = [(frame - F.interpolate(target, size=frame.shape[-2:], mode="area")).abs().mean() for frame in frames]
    return torch.stack(errors).mean()


def flow_l1(flows: Sequence[Tensor], grid: Float[Tensor, "b h w 2"], weight: Float[Tensor, "b 1 h w"]) -> Tensor:
    """Mean L1 of each level's flow against the true sampling grid, weighted by where it is valid.

    The decoder samples at its flow plus a corner-to-corner base grid (see `models.motion_autoencoder.warp`).
    """
    errors = []
    for flow in flows:
        size = flow.shape[-2:]
        x = torch.linspace(-1, 1, size[1], device=flow.device, dtype=grid.dtype)
        y = torch.linspace(-1, 1, size[0], device=flow.device, dtype=grid.dtype)
        base = torch.stack(torch.meshgrid(x, y, indexing="xy"))
        wanted = F.interpolate(grid.permute(0, 3, 1, 2), size=size, mode="area") - base
        seen = F.interpolate(weight, size=size, mode="area")
        errors.append(((flow - wanted).abs() * seen).mean())
    return torch.stack(errors).mean()


def velocity_l1(a: Float[Tensor, "b l d"], b: Float[Tensor, "b l d"]) -> Tensor:
    """L1 between the differences of neighbouring frames (FLOAT section 3.2, arXiv 2412.01064)."""
    return (a - b).diff(dim=1).abs().mean()


def psnr_db(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in [-1, 1], `(b,)`, optionally with weighted pixels."""
    error = ((a.clamp(-1, 1) - b) / 2).square().mean(1, keepdim=True)
    weight = torch.ones_like(error) if weight is None else weight
    mean = (error * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return -10 * torch.log10(mean.clamp_min(1e-10))


def structural_similarity(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Tensor:
    """Returns the mean SSIM (Wang et al., 2004) of images in [-1, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = structural_similarity_index_measure(a, b, data_range=2.0)
    assert isinstance(found, Tensor)
    return found
