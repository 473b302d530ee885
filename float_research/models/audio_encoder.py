"""Audio encoder: speech → one feature per video frame (FLOAT section 3.2, arXiv 2412.01064)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from float_research.errors import UserError
from float_research.models.wav2vec2 import Statistics, build_wav2vec2, conv_features, hop_and_field


class AudioEncoder(nn.Module):
    """Wav2Vec 2.0 at the video's frame rate, with the outputs of all layers projected: linear → layer norm → SiLU.

    The projection of the concatenated layers is computed as a sum of projections, accumulated layer by layer.

    With `window_frames`, the transformer processes a long clip in windows of that length plus `overlap_frames` of
    context on both sides: an approximation whose cost is linear in the clip's length instead of quadratic.
    """

    def __init__(
        self,
        *,
        wav2vec2: Mapping[str, Any],
        feature_dim: int,
        only_last_features: bool,
        sampling_rate_hz: int,
        fps: float,
        segment_frames: int,
        window_frames: int | None,
        overlap_frames: int,
    ):
        super().__init__()
        self.wav2vec2 = build_wav2vec2(wav2vec2)
        config = self.wav2vec2.config
        num_layers = 1 if only_last_features else config.num_hidden_layers
        self.audio_projection = nn.Sequential(
            nn.Linear(num_layers * config.hidden_size, feature_dim), nn.LayerNorm(feature_dim), nn.SiLU()
        )
        self.feature_dim, self.only_last_features = feature_dim, only_last_features
        self.sampling_rate_hz, self.fps = sampling_rate_hz, fps
        self.segment_frames = segment_frames
        self.window_frames, self.overlap_frames = window_frames, overlap_frames
        if window_frames is not None and window_frames < 1:
            raise UserError(f"model.audio_encoder.window_frames={window_frames} must be a positive number or null")
        if overlap_frames < 0:
            raise UserError(f"model.audio_encoder.overlap_frames={overlap_frames} must not be negative")

    def forward(self, audio: Float[Tensor, "b s"], num_frames: int) -> Float[Tensor, "b t a"]:
        """Returns features `wa` of `num_frames` frames. Shorter audio is padded with its last sample."""
        hidden = self.frame_features(audio, num_frames)
        window, overlap = self.window_frames or num_frames, self.overlap_frames
        parts = []
        for start in range(0, num_frames, window):
            before = min(start, overlap)
            heard = hidden[:, start - before : start + window + overlap]
            parts.append(self.audio_projection[1:](self._project_layers(heard))[:, before : before + window])
        return torch.cat(parts, dim=1)

    def frame_features(self, audio: Float[Tensor, "b s"], num_frames: int) -> Float[Tensor, "b t c"]:
        """Returns the transformer's input: convolutional features, interpolated to one per video frame."""
        num_samples = int(num_frames * self.sampling_rate_hz / self.fps)
        features = conv_features(self.wav2vec2, audio, self.segment_frames, num_samples=num_samples).transpose(1, 2)
        features = F.interpolate(features, size=num_frames, mode="linear", align_corners=True).transpose(1, 2)
        return self.wav2vec2.feature_projection(features)[0]

    def excerpt(
        self, audio: Float[Tensor, "b s"], first: int, num_frames: int, statistics: Statistics | None
    ) -> Float[Tensor, "b t a"]:
        """Returns features of the frames from `first` on, of which `audio` is all that the transformer hears.

        `audio` begins at `first_sample(first)` of its recording. Frame τ reads the convolutional features at position
        `τ · rate / (fps · hop)`, which is where `forward` reads them if a frame is a whole number of samples.
        `statistics`: those of a norm over time.
        """
        features = conv_features(self.wav2vec2, audio, self.segment_frames, statistics=statistics)
        start = self.first_sample(first) // self._hop
        at = (torch.arange(first, first + num_frames, dtype=torch.float64) * self._step - start).to(audio.device)
        before = at.floor().long().clamp(max=features.shape[1] - 1)
        after = (before + 1).clamp(max=features.shape[1] - 1)
        share = (at - before).clamp(max=1).to(features.dtype)[:, None]
        hidden = self.wav2vec2.feature_projection(features[:, before].lerp(features[:, after], share))[0]
        return self.audio_projection[1:](self._project_layers(hidden))

    def first_sample(self, frame: int) -> int:
        """Returns the first sample that a frame's features depend on, without the transformer's context."""
        return math.floor(frame * self._step) * self._hop

    @property
    def _hop(self) -> int:
        return hop_and_field(self.wav2vec2)[0]

    @property
    def _step(self) -> float:
        """Convolutional features per video frame."""
        return self.sampling_rate_hz / (self.fps * self._hop)

    def layers(self, audio: Float[Tensor, "b s"], num_frames: int) -> Float[Tensor, "b t k"]:
        """Returns the concatenated outputs of all layers, of which `audio_projection` gives `wa`. For training."""
        outputs: list[Tensor] = []
        self._encode(self.frame_features(audio, num_frames), outputs.append)
        return torch.cat(outputs, dim=-1)

    def _project_layers(self, hidden: Float[Tensor, "b t c"]) -> Float[Tensor, "b t a"]:
        linear = self.audio_projection[0]
        assert isinstance(linear, nn.Linear)
        parts = iter(linear.weight.split(hidden.shape[-1], dim=1))
        total: Tensor = linear.bias

        def add(output: Tensor) -> None:
            nonlocal total
            total = total + F.linear(output, next(parts))

        self._encode(hidden, add)
        return total

    def _encode(self, hidden: Float[Tensor, "b t c"], visit: Callable[[Tensor], None]) -> None:
        """Runs the transformer and calls `visit` with each layer output that the projection uses, in order."""
        encoder = self.wav2vec2.encoder
        hooks = [
            layer.register_forward_hook(lambda _module, _args, output: visit(_first(output)))
            for layer in ([] if self.only_last_features else list(encoder.layers)[:-1])
        ]
        try:
            visit(encoder(hidden).last_hidden_state)
        finally:
            for hook in hooks:
                hook.remove()


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
