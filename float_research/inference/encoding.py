"""The outputs of the networks that encode a clip's inputs, computed or kept from an earlier run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.data.image import to_tensor
from float_research.inference.reuse import KeptOutputs
from float_research.models.float_model import FloatModel
from float_research.types import FilmedFace

FRAMES_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class ClipEncoder:
    """Encodes the inputs of one clip on the model's device. `reused`: the networks whose outputs were kept."""

    model: FloatModel
    kept: KeptOutputs
    reused: set[str] = field(default_factory=set)

    def image(self, image: Float[Tensor, "3 h w"]) -> Mapping[str, Tensor]:
        """Returns `identity`, the `reference` motion and the decoder's features, as `feature_LEVEL`."""
        return self._known("motion_autoencoder", lambda: self.encode_image(image), image=image)

    def motion(self, video: FilmedFace) -> Float[Tensor, "t d"]:
        """Returns the motion latents of a video."""
        known = self._known(
            "motion_autoencoder", lambda: {"motion": torch.cat(list(self._motion(video)))}, video=video.key
        )
        return known["motion"]

    def audio(self, waveform: Float[Tensor, "1 s"], num_frames: int) -> Float[Tensor, "1 t c"]:
        known = self._known(
            "audio_encoder",
            lambda: {"audio": self.model.audio_encoder(waveform, num_frames)},
            speech=waveform,
            num_frames=num_frames,
        )
        return known["audio"]

    def emotion(self, speech: Float[Tensor, "b s"]) -> Float[Tensor, "b e"]:
        """Returns the probabilities of the emotions heard in `speech`."""
        known = self._known("emotion_encoder", lambda: {"emotion": self.model.emotion_encoder(speech)}, speech=speech)
        return known["emotion"]

    def encode_image(self, image: Float[Tensor, "3 h w"]) -> dict[str, Tensor]:
        """Computes what `image` returns, and keeps nothing."""
        autoencoder = self.model.motion_autoencoder
        like = autoencoder.dec.direction.weight
        identity, features = autoencoder.encode(image[None].to(like.device, like.dtype))
        levels = {f"feature_{level:02}": feature for level, feature in enumerate(features)}
        return {"identity": identity, "reference": autoencoder.reference_motion(identity), **levels}

    def _motion(self, video: FilmedFace) -> Iterator[Float[Tensor, "n d"]]:
        autoencoder = self.model.motion_autoencoder
        like = autoencoder.dec.direction.weight
        left = islice(video(), len(video))
        while originals := list(islice(left, FRAMES_AT_ONCE)):
            images = torch.stack([to_tensor(original.crop, autoencoder.image_size) for original in originals])
            yield autoencoder.reference_motion(autoencoder.encode(images.to(like.device, like.dtype))[0])

    def _known(self, network: str, compute: Callable[[], dict[str, Tensor]], **inputs: Any) -> Mapping[str, Tensor]:
        device = self.model.motion_autoencoder.dec.direction.weight.device
        tensors, found = self.kept.get(network, inputs, compute, device)
        if found:
            self.reused.add(network)
        return tensors
