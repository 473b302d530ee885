"""The flow matching transformer prepared for sampling: conditions embedded once, weights cast to `dtype`.

Hidden states and layer norms are float32 in any precision.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from float_research.models.compiling import compiled_for
from float_research.models.flow_matching_transformer import FlowMatchingTransformer, attention_mask, position_table
from float_research.models.precision import supports_fusion
from float_research.types import Conditions, VectorField

NUM_POSITIONS = 192
"""Positions of a batch for which oneDNN lays out its weights; other numbers work, too."""


class PreparedLinear(NamedTuple):
    """A prepared linear layer. If `packed`, its weight is in oneDNN's layout."""

    weight: Tensor
    bias: Tensor
    packed: bool

    def __call__(self, x: Float[Tensor, "*b cin"], *, gelu: bool = False) -> Float[Tensor, "*b cout"]:
        """Applies the layer and, if `gelu`, the tanh approximation of GELU."""
        x = x.to(self.weight.dtype)
        if self.packed:
            name = "gelu" if gelu else "none"
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], "tanh" if gelu else "")
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y, approximate="tanh") if gelu else y


class PreparedBlock(NamedTuple):
    """The layers of a transformer block."""

    modulation: PreparedLinear
    qkv: PreparedLinear
    proj: PreparedLinear
    fc1: PreparedLinear
    fc2: PreparedLinear


class FieldEngine:
    """A transformer prepared in `dtype`, on the device of its weights; it shares the weights if they have that dtype.

    If `compiled`, torch.compile turns it into one program, replayed as a CUDA graph on a GPU.
    """

    def __init__(self, fmt: FlowMatchingTransformer, dtype: torch.dtype, *, compiled: bool = False):
        self.fmt, self.dtype = fmt, dtype
        device = fmt.c_embedder.weight.device
        self.packs = dtype != fmt.c_embedder.weight.dtype and not compiled and supports_fusion(dtype, device)
        blocks: list[Any] = list(fmt.blocks)
        self.num_heads = blocks[0].attn.num_heads
        self.blocks = [
            PreparedBlock(
                *map(self._linear, (it.adaLN_modulation[1], it.attn.qkv, it.attn.proj, it.mlp.fc1, it.mlp.fc2))
            )
            for it in blocks
        ]
        last: Any = fmt.decoder
        self.first, self.last = self._linear(fmt.x_embedder.proj), self._linear(last.linear)
        self.last_modulation = self._linear(last.adaLN_modulation[1])
        self._run = self._velocities
        if compiled:
            self._run = compiled_for(device, self._velocities)

    def _linear(self, layer: nn.Linear) -> PreparedLinear:
        weight, bias = layer.weight.detach().to(self.dtype), layer.bias.detach().to(self.dtype)
        if self.packs:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, NUM_POSITIONS)
        return PreparedLinear(weight, bias, self.packs)

    def vector_field(self, conditions: Conditions) -> VectorField:
        """Returns the field under these conditions, which are embedded once for all flow times."""
        fmt = self.fmt
        like = fmt.c_embedder.weight
        with torch.autocast(like.device.type, enabled=False):
            audio = torch.cat([conditions.previous_audio, conditions.audio], dim=1)
            num_positions = audio.shape[1]
            reference = conditions.reference[:, None].expand(-1, num_positions, -1)
            embedded = fmt.c_embedder(torch.cat([reference, audio, conditions.emotion], dim=-1).to(like.dtype)).float()
        previous = conditions.previous_motion
        positions = position_table(num_positions, len(like), like.device, torch.float32)
        blocks, reach = fmt.computed(conditions.weakness)
        mask = attention_mask(num_positions, reach, like.device)

        def field(t: Tensor, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
            with torch.autocast(like.device.type, enabled=False):
                condition = embedded + fmt.t_embedder(t.reshape(-1).to(like.device), like.dtype)[:, None]
                motion = torch.cat([previous.to(x.dtype), x], dim=1)
                velocities = self._run(motion, F.silu(condition), positions, mask, blocks)
                return velocities[:, -x.shape[1] :].to(x.dtype, copy=True)  # a replayed graph overwrites its results

        return field

    def _velocities(
        self,
        motion: Float[Tensor, "b n d"],
        condition: Float[Tensor, "b n h"],
        positions: Tensor,
        mask: Tensor,
        blocks: tuple[int, ...],
    ) -> Float[Tensor, "b n d"]:
        hidden = self.first(motion).float() + positions
        condition = condition.to(self.dtype)
        for block in [self.blocks[i] for i in blocks]:
            shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = block.modulation(condition).chunk(6, dim=-1)
            attended = self._attend(block, modulate(hidden, shift_a, scale_a), mask)
            hidden = torch.addcmul(hidden, gate_a.float(), attended.float())
            moved = block.fc2(block.fc1(modulate(hidden, shift_m, scale_m), gelu=True))
            hidden = torch.addcmul(hidden, gate_m.float(), moved.float())
        shift, scale = self.last_modulation(condition).chunk(2, dim=-1)
        return self.last(modulate(hidden, shift, scale))

    def _attend(self, block: PreparedBlock, x: Float[Tensor, "b n h"], mask: Tensor) -> Float[Tensor, "b n h"]:
        q, k, v = block.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return block.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


def modulate(x: Float[Tensor, "b n h"], shift: Tensor, scale: Tensor) -> Float[Tensor, "b n h"]:
    """Returns `norm(x) · (1 + scale) + shift` in float32."""
    normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return torch.addcmul(normed + shift.float(), normed, scale.float())
