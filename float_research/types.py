"""Types shared by all parts of the package.

Shape letters: b batch, t frames of a clip, n positions of a window (previous and current), l current frames of a
window, p previous frames, d motion latent, a audio feature, e emotions, s samples, h and w pixels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

Image = UInt8[np.ndarray, "_ _ 3"]
Waveform = Float[np.ndarray, " _"]

VectorField = Callable[[Tensor, Tensor], Tensor]
"""`v(t, x)`: the velocity of the motion latents `x` `(b, l, d)` at flow time `t` (scalar, 0 noise to 1 data)."""


TOY_MARK = ("Source", "float-research toyface")
"""The PNG text chunk that identifies toy portraits."""


class Weakness(NamedTuple):
    """How the network is weakened: transformer blocks that are skipped, and a narrower attention window."""

    skip_blocks: tuple[int, ...] = ()
    attention_window: int | None = None


FULL_STRENGTH = Weakness()


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions of the vector field, for one window of a batch of clips, and how its network is weakened."""

    audio: Float[Tensor, "b l a"]
    reference: Float[Tensor, "b d"]
    emotion: Float[Tensor, "b n e"]
    previous_motion: Float[Tensor, "b p d"]
    previous_audio: Float[Tensor, "b p a"]
    weakness: Weakness = FULL_STRENGTH


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
class MotionWindow:
    """Finished motion of clip `index` from frame `start` on, as the sampler returns it, and its cost.

    `candidate`: whose noise it is from. `scores`: where candidates were compared for this window and those after it,
    what the verifier found of each; None where it found no number. `edited`: the coordinates along the decoder's
    directions before and after edits, if there are any.
    """

    index: int
    start: int
    motion: Float[Tensor, "l d"]
    cost: "Cost"
    candidate: int = 0
    scores: Sequence[float | None] = ()
    edited: Float[Tensor, "2 l m"] | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of sampling: evaluations of the guided vector field, and guidance branches computed for them.

    `verified_frames`: frames decoded for the verifier of a search. All candidates count.
    """

    evaluations: int = 0
    branches: int = 0
    verified_frames: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.evaluations + other.evaluations,
            self.branches + other.branches,
            self.verified_frames + other.verified_frames,
        )

    def __sub__(self, other: "Cost") -> "Cost":
        return self + other * -1

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.evaluations * times, self.branches * times, self.verified_frames * times)


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The part of an audio file that is used. None: its first track with sound, the channel mean, the end of the file.

    `track` and `channel` count from 0, as in FFmpeg.
    """

    track: int | None = None
    channel: int | None = None
    start_s: float = 0.0
    end_s: float | None = None


WHOLE = Excerpt()


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One portrait to be animated by one recording.

    Its own settings replace the run's: a label as `emotion`, the `seed` of its noise, and instead of the detector's
    choice a `crop` (left, top, right, bottom in pixels of the upright portrait) or the index of a `face`, counted from
    0 in the detector's order. `base_id`: the id without the seed, where the run has several seeds.
    """

    id: str
    image: Path
    audio: Path
    emotion: str | None = None
    excerpt: Excerpt = WHOLE
    seed: int | None = None
    crop: tuple[int, int, int, int] | None = None
    face: int | None = None
    base_id: str | None = None

    @property
    def noise_id(self) -> str:
        """What the clip's noise is named after, besides its seed."""
        return self.base_id or self.id

    @property
    def inputs(self) -> "Clip":
        """The clip without its seed: equal for clips that are encoded alike."""
        return replace(self, id="", base_id=None, seed=None)

    @property
    def own(self) -> dict[str, Any]:
        """The clip's own settings, as recorded. A clip on disk that differs in them is a different clip."""
        return {
            "label": self.emotion,
            "excerpt": asdict(self.excerpt),
            "seed": self.seed,
            "crop": list(self.crop) if self.crop else None,
            "face_index": self.face,
            "base_id": self.base_id,
        }


class Region(NamedTuple):
    """A rectangle in pixels of a picture, which it may exceed."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Original:
    """An upright sRGB picture, and the region of it that the face crop shows. `crop`: as the network gets it.

    `region` is None if the cropper, which may be a user's own, does not say it.
    """

    picture: Image
    region: Region | None
    crop: Image


Originals = Callable[[], Iterator[Original]]
"""Returns the original of each frame of a video. It may read a file, and raise a UserError."""


@runtime_checkable
class FilmedFace(Protocol):
    """A video of a face: the originals of its frames, of which the last repeats for ever.

    Its length is that of the video. `key`: everything that the crops depend on.
    """

    @property
    def key(self) -> Mapping[str, Any]: ...

    def __len__(self) -> int: ...

    def __call__(self) -> Iterator[Original]: ...

    def notes(self) -> list[str]:
        """Returns what a user should know of it."""


@dataclass(frozen=True, kw_only=True)
class LoadedClip:
    """A clip with its files read: the face crop in [-1, 1] and the unnormalised mono waveform at the model's rate.

    `excerpt` has the chosen track and channel. `face` and `sound` are for the record. `originals`: what the crop was
    cut from. `video`: the video that it was taken from, if any, at a frame rate.
    """

    clip: Clip
    image: Float[Tensor, "3 h w"]
    originals: Originals
    waveform: Waveform
    num_frames: int
    video: Callable[[float], FilmedFace] | None = None
    excerpt: Excerpt = WHOLE
    face: Mapping[str, Any] = field(default_factory=dict)
    sound: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FailedClip:
    """A clip that failed because of its files or its own settings, and the reason as a sentence."""

    clip: Clip
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """The result of one clip, as recorded.

    `made_s`: seconds from loading to the last metric, where phases may overlap; clips sampled in one batch share them.
    `declared` is None where a solver chooses its own number of evaluations; `reused`: networks answered by a cache,
    whose seconds are those of the lookup; of clips that differ only in their seed, the first of a batch has all seconds
    of encoding.
    `edits`: their names, the root mean square of the change by meaning and `lips_kept`, the correlation of the jaw with
    the unedited one; None without edits.
    `search`: `candidates`, the one chosen for each window, and `scores`, those of all candidates at each choice; None
    without a search.
    `label` to `base_id`: see `Clip.own`. `composite`: kind, width and height of what the video shows instead of the
    network's frames, which are measured; None where it shows these.
    `metrics`: name → number; `absent`: name → why there is none; `measured_by`: name → digest of what its metric
    depends on; `from_video`: metrics measured later on the encoded video, not on the frames before encoding. `traces`,
    `flow`: files of values over frames and over flow time, relative to the run's folder.
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
    base_id: str | None
    num_frames: int
    num_windows: int
    declared: Cost | None
    measured: Cost
    emotion: Mapping[str, float]
    face: Mapping[str, Any]
    composite: Mapping[str, Any] | None
    sound: Mapping[str, Any]
    seconds: Mapping[str, float]
    made_s: float
    reused: Sequence[str]
    search: Mapping[str, Any] | None
    edits: Mapping[str, Any] | None
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
    """Receives the progress of a run. Any method may do nothing; none may change the run."""

    def clip_started(self, id: str, num_frames: int, num_windows: int) -> None: ...

    def frames_written(self, id: str, num_frames: int, window: int) -> None: ...

    def clip_finished(self, id: str) -> None: ...


class Meaning(NamedTuple):
    """A number that a reader sees in a face, such as `yaw`, its group, such as `head`, and its unit.

    Names in common: `head`: yaw, pitch, roll (°, positive to the right of the image, downwards, clockwise), shift_x,
    shift_y, scale. `mouth`: jaw (0 closed, 1 wide open), smile, … `eyes`: lids (0 open, 1 closed), gaze_x, gaze_y, …
    """

    name: str
    group: str
    unit: str


@runtime_checkable
class FaceReader(Protocol):
    """Reads named numbers from the frames of a person, given their portrait; NaN where it sees no face."""

    @property
    def meanings(self) -> Sequence[Meaning]: ...

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"], portrait: Image, /) -> Float[np.ndarray, "n k"]: ...
