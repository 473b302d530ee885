"""The four networks of FLOAT under the names of the official state dict."""

from collections.abc import Sequence

from torch import nn

from float_research.models.audio_encoder import AudioEncoder
from float_research.models.emotion_encoder import EmotionEncoder
from float_research.models.flow_matching_transformer import FlowMatchingTransformer
from float_research.models.motion_autoencoder import MotionAutoencoder
from float_research.types import Conditions, VectorField


class FloatModel(nn.Module):
    """FLOAT (Ki et al., arXiv 2412.01064): the networks, and the frame rate, sampling rate and emotions they expect."""

    def __init__(
        self,
        *,
        fps: float,
        sampling_rate_hz: int,
        emotions: Sequence[str],
        motion_autoencoder: MotionAutoencoder,
        audio_encoder: AudioEncoder,
        emotion_encoder: EmotionEncoder,
        fmt: FlowMatchingTransformer,
    ):
        super().__init__()
        self.fps, self.sampling_rate_hz, self.emotions = fps, sampling_rate_hz, tuple(emotions)
        self.motion_autoencoder = motion_autoencoder
        self.audio_encoder = audio_encoder
        self.emotion_encoder = emotion_encoder
        self.fmt = fmt

    def vector_field(self, conditions: Conditions) -> VectorField:
        """Returns the velocity field of the window's frames, which guidance wraps and a solver integrates."""
        return self.fmt.vector_field(conditions)
