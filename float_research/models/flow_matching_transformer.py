"""Flow matching transformer: the vector field of FLOAT (section 3.2, arXiv 2412.01064)."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from float_research.types import Conditions, VectorField, Weakness

TIME_FREQUENCIES = 128


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def position_table(num_positions: int, width: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "n h"]:
    """Returns sinusoids of `position / 10000^(2 ⌊i/2⌋ / h)`: sine at even i, cosine at odd i (arXiv 1706.03762)."""
    i = torch.arange(width, dtype=torch.float64, device="cpu")
    angle = torch.arange(num_positions, dtype=torch.float64, device="cpu")[:, None] / 10000 ** (2 * (i // 2) / width)
    return torch.where(i % 2 == 0, angle.sin(), angle.cos()).to(device, dtype)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def attention_mask(num_positions: int, reach: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Returns a mask that is True where position i may attend to position j: `|i - j| <= reach`."""
    i = torch.arange(num_positions, device="cpu")
    return ((i[:, None] - i[None]).abs() <= reach).to(device)


class Attention(nn.Module):
    """Multi-head self-attention within a mask."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n h"], mask: Bool[Tensor, "n n"]) -> Float[Tensor, "b n h"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with the tanh approximation of GELU between them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b n h"]) -> Float[Tensor, "b n h"]:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm without affine weights: `norm(x) · (1 + scale) + shift`."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class Block(nn.Module):
    """Transformer block whose shifts, scales and gates depend on each position's condition (DiT, arXiv 2212.09748)."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        self.attn = Attention(width, num_heads)
        self.mlp = MLP(width, int(width * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(
        self, x: Float[Tensor, "b n h"], condition: Float[Tensor, "b n h"], mask: Bool[Tensor, "n n"]
    ) -> Float[Tensor, "b n h"]:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition).chunk(6, dim=-1)
        x = x + gate_a * self.attn(modulate(x, shift_a, scale_a), mask)
        return x + gate_m * self.mlp(modulate(x, shift_m, scale_m))


class OutputLayer(nn.Module):
    """Adaptive norm and projection back to the motion latent."""

    def __init__(self, width: int, latent_dim: int):
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.linear = nn.Linear(width, latent_dim)

    def forward(self, x: Float[Tensor, "b n h"], condition: Float[Tensor, "b n h"]) -> Float[Tensor, "b n d"]:
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=-1)
        return self.linear(modulate(x, shift, scale))


class TimeEmbedder(nn.Module):
    """Flow time → `[cos, sin]` of `t · exp(-ln(10000) k / 128)` → two linear layers with SiLU."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Float[Tensor, " b"], dtype: torch.dtype) -> Float[Tensor, "b h"]:
        k = torch.arange(TIME_FREQUENCIES, device=t.device, dtype=torch.float32)
        angle = t[:, None].float() * torch.exp(-math.log(10000) * k / TIME_FREQUENCIES)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1).to(dtype))


class Projection(nn.Module):
    """Motion latent → transformer width."""

    def __init__(self, latent_dim: int, width: int):
        super().__init__()
        self.proj = nn.Linear(latent_dim, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n h"]:
        return self.proj(x)


class FlowMatchingTransformer(nn.Module):
    """Vector field of the motion in a window, conditioned on audio, reference motion, emotion and the frames before.

    Positional encoding and attention mask are computed for any length, so window and previous frames can be swept.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        audio_dim: int,
        num_emotions: int,
        width: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        attention_window: int,
    ):
        super().__init__()
        self.attention_window, self.mlp_ratio = attention_window, mlp_ratio
        self.x_embedder = Projection(latent_dim, width)
        self.t_embedder = TimeEmbedder(width)
        self.c_embedder = nn.Linear(latent_dim + audio_dim + num_emotions, width)
        self.blocks = nn.ModuleList([Block(width, num_heads, mlp_ratio) for _ in range(depth)])
        self.decoder = OutputLayer(width, latent_dim)

    def forward(
        self, t: Float[Tensor, "..."], x: Float[Tensor, "b l d"], conditions: Conditions
    ) -> Float[Tensor, "b n d"]:
        """Returns the velocities at all n = p + l positions: p previous frames, then the l frames of the window.

        The flow time t is a scalar, or one per sample, `(b,)`.
        """
        weight = self.x_embedder.proj.weight
        motion = torch.cat([conditions.previous_motion, x], dim=1).to(weight.dtype)
        _b, n, _ = motion.shape
        audio = torch.cat([conditions.previous_audio, conditions.audio], dim=1)
        reference = conditions.reference[:, None].expand(-1, n, -1)
        condition = self.c_embedder(torch.cat([reference, audio, conditions.emotion], dim=-1).to(weight.dtype))
        condition = condition + self.t_embedder(t.reshape(-1).to(weight.device), weight.dtype)[:, None]
        hidden = self.x_embedder(motion) + position_table(n, weight.shape[0], motion.device, motion.dtype)
        blocks, reach = self.computed(conditions.weakness)
        mask = attention_mask(n, reach, motion.device)
        for i in blocks:
            hidden = self.blocks[i](hidden, condition, mask)
        return self.decoder(hidden, condition).to(x.dtype)

    def computed(self, weakness: Weakness) -> tuple[tuple[int, ...], int]:
        """Returns the indices of the blocks to compute, and their attention window."""
        blocks = tuple(i for i in range(len(self.blocks)) if i not in weakness.skip_blocks)
        return blocks, self.attention_window if weakness.attention_window is None else weakness.attention_window

    def vector_field(self, conditions: Conditions) -> VectorField:
        """Returns the velocity field of the window's frames under these conditions."""
        return lambda t, x: self(t, x, conditions)[:, -x.shape[1] :]
