"""The words that every room of the package shares.

Shape letters: b batch, t frames of a clip, n rows of a window (previous and current), l current frames of a window,
p previous frames, d motion latent, a audio feature, e emotions, s samples, h and w pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    """The conditions of a whole clip. `id` names its noise; `seed`, if given, replaces the run's.

    `candidates`: for each window, which candidate's noise it starts from; without them 0, the plain noise, for all.
    """

    id: str
    audio: Float[Tensor, "t a"]
    reference: Float[Tensor, " d"]
    emotion: Float[Tensor, "t e"]
    seed: int | None = None
    candidates: Sequence[int] = ()

    @property
    def num_frames(self) -> int:
        return len(self.audio)


@dataclass(frozen=True, kw_only=True)
class MotionChunk:
    """Finished motion of clip `index` from frame `start` on, as the sampler hands it over, and what it cost.

    `candidate`: whose noise it is from. `scores`: where candidates were compared for this chunk and those after it,
    what the verifier found of each; None where it found no number.
    """

    index: int
    start: int
    motion: Float[Tensor, "l d"]
    cost: "Cost"
    candidate: int = 0
    scores: Sequence[float | None] = ()


@dataclass(frozen=True)
class Cost:
    """What sampling a clip costs: evaluations of the guided vector field, and the network rows computed for them.

    `verified_frames`: frames decoded for the verifier of a search. All candidates count.
    """

    evaluations: int = 0
    rows: int = 0
    verified_frames: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.evaluations + other.evaluations,
            self.rows + other.rows,
            self.verified_frames + other.verified_frames,
        )

    def __sub__(self, other: "Cost") -> "Cost":
        return self + other * -1

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.evaluations * times, self.rows * times, self.verified_frames * times)


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
    """One portrait to be animated by one recording.

    What it has of its own replaces the run's: a label as `emotion`, the `seed` of its noise, and for the detector's
    choice a `crop` (left, top, right, bottom in pixels of the upright portrait) or the index of a `face`, counted from
    0 in the detector's order.
    """

    id: str
    image: Path
    audio: Path
    emotion: str | None = None
    excerpt: Excerpt = WHOLE
    seed: int | None = None
    crop: tuple[int, int, int, int] | None = None
    face: int | None = None

    @property
    def own(self) -> dict[str, Any]:
        """What it is made of besides its files, as its record says it. A clip on disk that differs in it is another."""
        return {
            "label": self.emotion,
            "excerpt": asdict(self.excerpt),
            "seed": self.seed,
            "crop": list(self.crop) if self.crop else None,
            "face_index": self.face,
        }


@dataclass(frozen=True, kw_only=True)
class LoadedClip:
    """A clip with its files read: the face crop in [-1, 1] and the waveform as recorded, mono at the model's rate.

    `excerpt`: what it is of, track and channel chosen. `face` and `sound` are for the record.
    """

    clip: Clip
    image: Float[Tensor, "3 h w"]
    waveform: Waveform
    num_frames: int
    excerpt: Excerpt = WHOLE
    face: Mapping[str, Any] = field(default_factory=dict)
    sound: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FailedClip:
    """A clip that its files or its own settings did not let be made, and the sentence on why."""

    clip: Clip
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What a run says of one clip.

    `made_s`: seconds from loading to the last metric, where stages may overlap; clips sampled side by side share them.
    `declared` is None where a solver chooses its own number of evaluations; `reused` names what a cache gave, so that
    the seconds of these stages are those of looking it up. `search`: `candidates`, the one chosen for each window, and
    `scores`, those of all candidates each time that one was chosen; None without a search. `label` to `face_index`: see
    `Clip.own`. `metrics`: name → number; `absent`: name → why there is none; `measured_by`: name → digest of what its
    metric depends on; `from_video`: those that were measured later, of the encoded video, and not of the frames as they
    were made. `traces`, `flow`: files of what was measured over frames and over flow time, from the run's folder on.
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
    excerpt: Mapping[str, Any]
    seed: int | None
    crop: Sequence[int] | None
    face_index: int | None
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
    search: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    absent: Mapping[str, str]
    measured_by: Mapping[str, str]
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
