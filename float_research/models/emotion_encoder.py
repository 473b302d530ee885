"""Speech-emotion classifier: speech → probabilities of the emotions (FLOAT section 3.3, arXiv 2412.01064)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from float_research.models.wav2vec2 import build_wav2vec2, conv_features


class ClassificationHead(nn.Module):
    """linear → tanh → linear."""

    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, num_classes)

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b e"]:
        return self.out_proj(torch.tanh(self.dense(x)))


class SpeechClassifier(nn.Module):
    """The modules of the pretrained classifier, under the names in its state dict."""

    def __init__(self, wav2vec2: Mapping[str, Any], num_classes: int):
        super().__init__()
        self.wav2vec2 = build_wav2vec2(wav2vec2)
        self.classifier = ClassificationHead(self.wav2vec2.config.hidden_size, num_classes)


class EmotionEncoder(nn.Module):
    """Wav2Vec 2.0 → mean over time → linear → tanh → linear → softmax."""

    def __init__(self, *, wav2vec2: Mapping[str, Any], num_emotions: int, segment_frames: int):
        super().__init__()
        self.wav2vec2_for_emotion = SpeechClassifier(wav2vec2, num_emotions)
        self.segment_frames = segment_frames

    def forward(self, audio: Float[Tensor, "b s"]) -> Float[Tensor, "b e"]:
        encoder, head = self.wav2vec2_for_emotion.wav2vec2, self.wav2vec2_for_emotion.classifier
        features = conv_features(encoder, audio, self.segment_frames)
        hidden = encoder.encoder(encoder.feature_projection(features)[0]).last_hidden_state
        return torch.softmax(head(hidden.mean(dim=1)), dim=-1)
