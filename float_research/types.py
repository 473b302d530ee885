"""The words that every room of the package shares.

Shape letters: b batch, t frames of a clip, n rows of a window (previous and current), l current frames of a window,
p previous frames, d motion latent, a audio feature, e emotions, s samples, h and w pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

Image = UInt8[np.ndarray, "_ _ 3"]
Waveform = Float[np.ndarray, " _"]

VectorField = Callable[[Tensor, Tensor], Tensor]
"""`v(t, x)`: the velocity of the motion latents `x` `(b, l, d)` at flow time `t` (scalar, 0 noise to 1 data)."""


TOY_MARK = ("Source", "float-research toyface")
"""The text in PNG files of toy portraits by which they are known."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the vector field is conditioned on, for one window of a batch of clips."""

    audio: Float[Tensor, "b l a"]
    reference: Float[Tensor, "b d"]
    emotion: Float[Tensor, "b n e"]
    previous_motion: Float[Tensor, "b p d"]
    previous_audio: Float[Tensor, "b p a"]


Network = Callable[[Conditions], VectorField]
"""`f(conditions)`: the vector field of the l current frames under these conditions."""


@dataclass(frozen=True, kw_only=True)
class ClipConditions:
    """The conditions of a whole clip. `id` names its noise."""

    id: str
    audio: Float[Tensor, "t a"]
    reference: Float[Tensor, " d"]
    emotion: Float[Tensor, "t e"]

    @property
    def num_frames(self) -> int:
        return len(self.audio)


@dataclass(frozen=True, kw_only=True)
class MotionChunk:
    """Finished motion of clip `index` from frame `start` on, as the sampler hands it over, and what it cost."""

    index: int
    start: int
    motion: Float[Tensor, "l d"]
    cost: "Cost"


@dataclass(frozen=True)
class Cost:
    """What sampling a clip costs: evaluations of the guided vector field, and the network rows computed for them."""

    evaluations: int = 0
    rows: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.evaluations + other.evaluations, self.rows + other.rows)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.evaluations - other.evaluations, self.rows - other.rows)

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.evaluations * times, self.rows * times)


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """What is heard of an audio file. None: its first track with sound, the mean of the channels, the end of the file.

    `track` and `channel` count from 0, as FFmpeg does.
    """

    track: int | None = None
    channel: int | None = None
    start_s: float = 0.0
    end_s: float | None = None


WHOLE = Excerpt()


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One portrait to be animated by one recording. `emotion`, if given, is a label that replaces the run's source."""

    id: str
    image: Path
    audio: Path
    emotion: str | None = None
    excerpt: Excerpt = WHOLE


@dataclass(frozen=True, kw_only=True)
class LoadedClip:
    """A clip with its files read: the face crop in [-1, 1] and the waveform as recorded, mono at the model's rate.

    Of `clip`, track and channel are chosen. `face` and `sound` are for the record.
    """

    clip: Clip
    image: Float[Tensor, "3 h w"]
    waveform: Waveform
    num_frames: int
    face: Mapping[str, Any] = field(default_factory=dict)
    sound: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What a run says of one clip.

    `made_s`: seconds from loading to the last metric, where stages may overlap; clips sampled side by side share them.
    `declared` is None where a solver chooses its own number of evaluations; `reused` names what a cache gave, so that
    the seconds of these stages are those of looking it up. `label`: the clip's own emotion. `metrics`: name → number;
    `absent`: name → why there is none; `from_video`: those that were measured later, of the encoded video, and not of
    the frames as they were made. `traces`, `flow`: files of what was measured over frames and over flow time, from the
    run's folder on.
    """

    id: str
    run: str
    video: str
    video_sha256: str
    motion_sha256: str
    image: str
    audio: str
    image_sha256: str
    audio_sha256: str
    label: str | None
    num_frames: int
    num_chunks: int
    declared: Cost | None
    measured: Cost
    emotion: Mapping[str, float]
    face: Mapping[str, Any]
    sound: Mapping[str, Any]
    seconds: Mapping[str, float]
    made_s: float
    reused: Sequence[str]
    metrics: Mapping[str, float]
    absent: Mapping[str, str]
    from_video: Sequence[str]
    traces: str | None
    flow: str | None


@runtime_checkable
class EmotionPredictor(Protocol):
    """Predicts the emotion of normalised speech: `(b, s)` waveform → `(b, e)` probabilities."""

    def __call__(self, waveform: Float[Tensor, "b s"], /) -> Float[Tensor, "b e"]: ...


@runtime_checkable
class Observer(Protocol):
    """Hears how a run comes along. Every method is optional to act on; none may change the run."""

    def clip_started(self, id: str, num_frames: int, num_chunks: int) -> None: ...

    def frames_written(self, id: str, num_frames: int, chunk: int) -> None: ...

    def clip_finished(self, id: str) -> None: ...
