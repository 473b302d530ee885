"""LSE-C and LSE-D: SyncNet's confidence and distance of lips and sound (Wav2Lip, arXiv 2008.10010)."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.landmarks.regions import s3fd_squares
from float_research.metrics.landmarks import read_faces
from float_research.metrics.metric import Better, Findings, FrameMetric, Frames, Need, Number, Subject, Watching
from float_research.metrics.mfcc import mfcc
from float_research.metrics.networks import device, fill
from float_research.metrics.requirements import SYNC_NET
from float_research.metrics.sync_network import (
    HOP_ROWS,
    SIZE_PX,
    WINDOW_FRAMES,
    WINDOW_ROWS,
    SyncNetwork,
    distances,
)
from float_research.types import Image, Waveform

FPS, RATE_HZ = 25, 16000
MAX_SHIFT = 15
BATCH = 20
CROP_SCALE, BORDER, REACH = 0.4, 110, 6
"""As in the published pipeline: crop margin, grey level outside the frame, frames on either side for smoothing."""


@dataclass(frozen=True, kw_only=True)
class SyncNet(FrameMetric):
    """SyncNet's scores by joonson's protocol (github.com/joonson/syncnet_python), with faces
    found by landmarks instead of S3FD.

    `lse_d`: the least mean distance over shifts of up to 15 frames. `lse_c`: the median over shifts minus `lse_d`.
    `sync_offset_frames`: the shift of `lse_d`, positive if lips are late. `weights`: syncnet_v2.model, or its
    safetensors.
    """

    weights: str | None

    numbers = (
        Number("lse_c", "embedding distance", Better.HIGHER, headline=True),
        Number("lse_d", "embedding distance", Better.LOWER, headline=True),
        Number("sync_offset_frames", "frames", 0.0),
    )
    needs = frozenset({Need.FRAMES, Need.AUDIO})
    requires = SYNC_NET

    def obstacle(self, clip: Subject) -> str | None:
        if (clip.fps, clip.sampling_rate_hz) != (FPS, RATE_HZ):
            return f"is defined for {FPS} frames/s and {RATE_HZ} Hz, not {clip.fps:g} and {clip.sampling_rate_hz}"
        return super().obstacle(clip)

    @cached_property
    def _network(self) -> SyncNetwork:
        assert self.weights is not None
        network = fill(SyncNetwork(), Path(self.weights))
        assert isinstance(network, SyncNetwork)
        return network

    def watch(self, clip: Subject) -> Watching:
        assert clip.waveform is not None
        track, windows = FaceTrack(), FaceWindows()
        lips: list[Float[Tensor, "b 1024"]] = []
        while (frames := (yield)) is not None:
            lips += [self._network.lips(batch) for batch in windows.add(track.add(frames.images, locate(frames)))]
        lips += [self._network.lips(batch) for batch in windows.add(track.end(), last=True)]
        if not lips:
            raise UserError(f"needs more than {WINDOW_FRAMES} frames, and the clip has {clip.num_frames}")
        sound = torch.cat([self._network.sound(batch) for batch in sound_windows(clip.waveform, sum(map(len, lips)))])
        found = distances(torch.cat(lips)[: len(sound)], sound, MAX_SHIFT).cpu()
        mean = found.mean(0)
        least, best = mean.min(0)
        confidence = np.full(clip.num_frames, np.nan)
        confidence[: len(found)] = (mean.median() - found[:, best]).numpy()
        return Findings(
            metrics={
                "lse_d": float(least),
                "lse_c": float(mean.median() - least),
                "sync_offset_frames": float(MAX_SHIFT - best),
            },
            traces={"sync_confidence": confidence},
        )


def sound_windows(waveform: Waveform, num_windows: int) -> Iterator[Float[Tensor, "b 1 13 20"]]:
    """Yields batches of the sound windows that match the lip windows, up to the end of the recording."""
    rows = torch.from_numpy(mfcc(waveform, RATE_HZ).T.astype(np.float32))
    windows = rows.unfold(1, WINDOW_ROWS, HOP_ROWS).permute(1, 0, 2)[:num_windows, None]
    if not len(windows):
        raise UserError(f"needs {WINDOW_FRAMES / FPS:g} s of sound")
    for batch in windows.split(BATCH):
        yield batch.to(device())


class FaceWindows:
    """Batches faces into windows of five, one per frame except for the last frames, as in the published code."""

    def __init__(self) -> None:
        self.faces: list[Image] = []

    def add(self, faces: Iterable[Image], *, last: bool = False) -> Iterator[Float[Tensor, "b 3 5 224 224"]]:
        self.faces += faces
        while len(self.faces) >= BATCH + WINDOW_FRAMES or (last and len(self.faces) > WINDOW_FRAMES):
            num = min(BATCH, len(self.faces) - WINDOW_FRAMES)
            pixels = np.stack(self.faces[: num + WINDOW_FRAMES - 1])[..., ::-1].astype(np.float32)
            windows = torch.from_numpy(pixels).unfold(0, WINDOW_FRAMES, 1)
            yield windows.permute(0, 3, 4, 1, 2).to(device())
            del self.faces[:num]


class FaceTrack:
    """Crops faces of 224 pixels around a box, with size and position smoothed by a median of 13 frames."""

    def __init__(self) -> None:
        self.boxes: list[Float[np.ndarray, 3]] = []
        self.waiting: deque[Image] = deque()

    def add(self, images: Iterable[Image], boxes: Float[np.ndarray, "n 3"]) -> Iterator[Image]:
        for image, box in zip(images, boxes, strict=True):
            self.boxes.append(box)
            self.waiting.append(image)
            if len(self.waiting) > REACH:
                yield self._next()

    def end(self) -> Iterator[Image]:
        while self.waiting:
            yield self._next()

    def _next(self) -> Image:
        number = len(self.boxes) - len(self.waiting)
        near = np.stack(self.boxes[max(0, number - REACH) : number + REACH + 1])
        if not np.isfinite(near).any():
            raise UserError(f"no face was found around frame {number}")
        return crop(self.waiting.popleft(), *np.nanmedian(near, axis=0))


def locate(frames: Frames) -> Float[np.ndarray, "n 3"]:
    """Returns centre x, centre y and half side of the face as S3FD would box it; NaN if there is none."""
    return s3fd_squares(read_faces(frames).points)


def crop(image: Image, x: float, y: float, half: float) -> Image:
    """Crops a face: from 1 half side above the centre to 1.8 below it, and 1.4 to the left and right."""
    border = int(half * (1 + 2 * CROP_SCALE))
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), constant_values=BORDER)
    x, y, wide = x + border, y + border, half * (1 + CROP_SCALE)
    face = padded[int(y - half) : int(y + half * (1 + 2 * CROP_SCALE)), int(x - wide) : int(x + wide)]
    return cv2.resize(face, (SIZE_PX, SIZE_PX))
