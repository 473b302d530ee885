"""Warping and 2× upsampling for the decoder engine: as the plain modules, with fewer passes over memory."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def upsample_2x(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Upsamples by 2 with the filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 16 and zero padding."""
    large = F.interpolate(x, scale_factor=2.0, mode="bilinear")  # repeats the edges instead of zero padding
    for edge in (large[..., 0], large[..., -1], large[..., 0, :], large[..., -1, :]):
        edge.mul_(0.75)
    return large


def table(feature: Float[Tensor, "1 c h w"], dtype: torch.dtype) -> Float[Tensor, "h+3 w+3 c"]:
    """Returns a feature map as a table of pixels, padded with zeros: one before, two after."""
    return F.pad(feature[0].to(dtype).permute(1, 2, 0), (0, 0, 1, 2, 1, 2)).contiguous()


def masked_warp(
    table: Float[Tensor, "_ _ c"], flow: Float[Tensor, "n 2 h w"], mask: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, "n c h w"]:
    """Computes `warp(feature, flow) · mask`: each pixel is a weighted sum of four table rows of contiguous channels."""
    n, _, h, w = flow.shape
    stride = table.shape[1]
    x = pixel_coordinates(flow[:, 0], torch.linspace(-1, 1, w, device=flow.device, dtype=flow.dtype))
    y = pixel_coordinates(flow[:, 1], torch.linspace(-1, 1, h, device=flow.device, dtype=flow.dtype)[:, None])
    left, top = x.floor(), y.floor()
    right, below = x.sub_(left), y.sub_(top)
    corner = ((top + 1) * stride + (left + 1)).to(torch.int32).clamp_(0, table.shape[0] * stride - stride - 2)  # NaN
    corners = torch.stack([corner, corner + 1, corner + stride, corner + stride + 1], dim=-1).view(-1, 4)
    lower = below * mask[:, 0]
    upper = mask[:, 0] - lower
    se, ne = lower * right, upper * right
    weights = torch.stack([upper - ne, ne, lower - se, se], dim=-1).view(-1, 4).to(table.dtype)
    rows = F.embedding_bag(corners, table.view(-1, table.shape[2]), per_sample_weights=weights, mode="sum")
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)


def pixel_coordinates(flow: Float[Tensor, "n h w"], base: Tensor) -> Float[Tensor, "n h w"]:
    """Returns coordinates in pixels, as grid_sample without aligned corners, clamped to one pixel outside."""
    size = flow.shape[-1]
    return torch.add((base + 1) * (size / 2) - 0.5, flow, alpha=size / 2).clamp_(-1, size)


def warp_few(feature: Float[Tensor, "1 c h w"], flow: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n c h w"]:
    """Computes `warp(feature, flow)` with grid_sample, for a few channels."""
    n, _, h, w = flow.shape
    x, y = (torch.linspace(-1, 1, n, device=flow.device, dtype=flow.dtype) for n in (w, h))
    grid = torch.stack([flow[:, 0] + x, flow[:, 1] + y[:, None]], dim=-1)
    return F.grid_sample(feature.expand(n, -1, -1, -1), grid, "bilinear", "zeros", align_corners=False)
