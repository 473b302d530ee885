"""Faces, 478 points, 52 blendshapes and head pose of pictures and videos, as MediaPipe's Face Landmarker finds them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from float_research.devices import best
from float_research.landmarks import regions
from float_research.landmarks.detection import Faces, decode, squares, whole, windows
from float_research.landmarks.heap import keep_freed_memory
from float_research.landmarks.networks import MESH_PX, Networks, load_networks
from float_research.landmarks.points import BLENDSHAPES, NUM_POINTS, NUM_RIGID
from float_research.landmarks.pose import fit_pose
from float_research.landmarks.regions import Points, Regions
from float_research.types import Image

MIN_PRESENCE = 0.5
"""The least probability, by the mesh network, that a face is where it looks."""
KEY_EVERY = 8
"""Every how many frames a face is searched for; between them its region is interpolated."""
AT_ONCE = {"cpu": 16}
"""Pictures that a network sees at once: fewer on the CPU, whose caches they fill."""

Frames = UInt8[np.ndarray, "t h w 3"]


class Landmarks(NamedTuple):
    """What is seen of one face in each frame; NaN where it was not found.

    `points`: x, y in pixels with the centre of the first pixel at 0, and depth in pixels, smaller nearer to the camera;
    `points.py` names them. `blendshapes`: actions from 0 to 1 in the order of `points.BLENDSHAPES`. `pose`: maps the
    canonical face, in centimetres, to the camera (`pose.fit_pose`). `found`: whether the face was seen. `num_faces`:
    faces that the detector saw, in the frames that it searched.
    """

    points: Float[np.ndarray, "t 478 3"]
    blendshapes: Float[np.ndarray, "t 52"]
    pose: Float[np.ndarray, "t 4 4"]
    found: Bool[np.ndarray, " t"]
    num_faces: Float[np.ndarray, " t"]


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """Computes in single precision without gradients, whatever the caller computes in, and convolves without TF32."""
    deterministic = torch.backends.cudnn.deterministic
    single = torch.backends.cudnn.flags(enabled=True, deterministic=deterministic, allow_tf32=False)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), single:
        yield


class FaceLandmarker:
    """The networks on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.at_once = AT_ONCE.get(device.type, 64)

    @cached_property
    def _networks(self) -> Networks:
        if self.device.type == "cpu":
            keep_freed_memory()
        return load_networks().to(self.device)

    @property
    def rigidity(self) -> Float[np.ndarray, " m"]:
        """The weight of each point of the face's surface when a pose is fitted; 0 for those that expressions move."""
        return self._networks.geometry.weights.cpu().double().numpy()

    def detect(self, frames: Frames) -> list[Faces]:
        """Returns the faces in each frame. A frame without any is searched again in windows of half its size.

        The network finds faces from 12 % of the side of what it sees, so that 6 % of the longer side is the least.
        """
        size_px = frames.shape[1:3]
        faces = []
        for piece in self._pieces(len(frames)):
            shown = np.tile(whole(size_px), (len(frames[piece]), 1))
            outputs = zip(*self._detector(frames[piece], shown), strict=True)
            faces += [decode(boxes[None], logits[None], whole(size_px)) for boxes, logits in outputs]
        for number, found in enumerate(faces):
            if not len(found.scores):
                shown = windows(size_px)
                same = np.broadcast_to(frames[number], (len(shown), *frames[number].shape))
                faces[number] = decode(*self._detector(same, shown), shown)
        return faces

    def _detector(
        self, images: Frames, shown: Regions
    ) -> tuple[Float[np.ndarray, "n 896 16"], Float[np.ndarray, "n 896"]]:
        with computing(self.device):
            boxes, logits = self._networks.detector(self._tensor(squares(images, shown)) * 2 - 1)
        return boxes.cpu().double().numpy(), logits.cpu().double().numpy()

    def faces(self, image: Image) -> tuple[Points, Float[np.ndarray, " n"]]:
        """Returns the points of all faces in a picture and the detector's scores, surest first."""
        found = self.detect(image[None])[0]
        where = regions.from_detections(found.boxes, found.keypoints)
        points = self._read(np.broadcast_to(image, (len(where), *image.shape)), where)
        return points[is_found(points)], found.scores[is_found(points)]

    def landmarks(self, frames: Frames) -> Landmarks:
        """Returns the landmarks of one face in a whole shot: the largest where a face is first seen."""
        return self.follow()(frames)

    def follow(self) -> "Follower":
        """Returns a function that reads a shot in consecutive parts."""
        return Follower(self)

    def _look(
        self, frames: Frames, centre: Float[np.ndarray, "2"] | None = None
    ) -> tuple[Points, Float[np.ndarray, " t"]]:
        """Returns the points of detected faces: of the nearest to `centre`, or else of the largest; and their numbers.

        In each later frame it is the nearest to that of the frame before.
        """
        where, seen = np.full((len(frames), 4), np.nan), self.detect(frames)
        for region, faces in zip(where, seen, strict=True):
            if len(faces.scores):
                found = regions.from_detections(faces.boxes, faces.keypoints)
                far = -found[:, 2] if centre is None else np.linalg.norm(found[:, :2] - centre, axis=1)
                region[:] = found[far.argmin()]
                centre = region[:2]
        return self._read(frames, where), np.array([len(faces.scores) for faces in seen], dtype=float)

    def _read(self, frames: Frames, where: Regions) -> Points:
        """Returns the points of the faces in these regions; NaN where there is none, or no region."""
        points = np.full((len(frames), NUM_POINTS, 3), np.nan)
        given = np.flatnonzero(np.isfinite(where).all(1))
        for piece in self._pieces(len(given)):
            chosen = given[piece]
            crops = regions.crop(frames[chosen], where[chosen], MESH_PX)
            with computing(self.device):
                inside, logits = self._networks.mesh(self._tensor(crops))
                present = (logits.sigmoid() >= MIN_PRESENCE).cpu().numpy()
            found = regions.project(inside.cpu().double().numpy(), where[chosen])
            points[chosen[present]] = found[present]
        return points

    def _described(self, points: Points, num_faces: Float[np.ndarray, " t"], size_px: tuple[int, int]) -> Landmarks:
        """Adds blendshapes and pose to the points."""
        found, geometry = is_found(points), self._networks.geometry
        blendshapes, pose = np.full((len(points), len(BLENDSHAPES)), np.nan), np.full((len(points), 4, 4), np.nan)
        if found.any():
            with computing(self.device):
                actions = self._networks.blendshapes(torch.from_numpy(points[found]).float().to(self.device))
            blendshapes[found] = actions.cpu().double().numpy()
            canonical, weights = geometry.canonical.cpu().double().numpy(), geometry.weights.cpu().double().numpy()
            pose[found] = fit_pose(points[found, :NUM_RIGID], size_px, canonical, weights)
        return Landmarks(points, blendshapes, pose, found, num_faces)

    def _pieces(self, number: int) -> Iterator[slice]:
        return (slice(start, start + self.at_once) for start in range(0, number, self.at_once))

    def _tensor(self, images: UInt8[np.ndarray, "n s s 3"]) -> Float[Tensor, "n 3 s s"]:
        """Returns pictures in [0, 1] on the device."""
        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255


class Follower:
    """Reads consecutive parts of a shot, following one face: the largest where a face is first seen.

    The reference looks in each frame where the points of the frame before were. Here the detector searches every
    `KEY_EVERY`-th frame and the last of each part, the points found there tell where the face is, and all frames are
    read where it must have been in between, many at once. Frames in which it is not there are searched by themselves.
    """

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker
        self._last: Regions | None = None
        """The region of the face in the last frame that showed it."""
        self._ago = 0
        """How many frames ago that was."""

    def __call__(self, frames: Frames) -> Landmarks:
        reader, numbers = self._landmarker, np.arange(len(frames))
        points = np.full((len(frames), NUM_POINTS, 3), np.nan)
        key = (numbers % KEY_EVERY == KEY_EVERY - 1) | (numbers == len(frames) - 1)
        if self._last is None:
            key |= numbers == 0
        centre = None if self._last is None else self._last[0, :2]
        num_faces = np.full(len(frames), np.nan)
        first, num_faces[key] = reader._look(frames[key], centre)
        seen = is_found(first)
        at, there = numbers[key][seen], regions.from_points(first[seen])
        if self._last is not None and self._ago <= KEY_EVERY:
            at, there = np.append(-self._ago, at), np.concatenate([self._last, there])
        where = np.full((len(frames), 4), np.nan)
        if len(at):
            where = regions.between(there, at, numbers)
            points, centre = reader._read(frames, where), where[0, :2]
        lost = ~is_found(points) & ~key
        again, num_faces[lost] = reader._look(frames[lost], centre)
        where[lost] = regions.from_points(again)
        points[lost] = reader._read(frames[lost], where[lost])
        self._remember(where, is_found(points))
        return reader._described(points, num_faces, frames.shape[1:3])

    def _remember(self, where: Regions, found: Bool[np.ndarray, " t"]) -> None:
        self._ago += len(found)
        if found.any():
            last = int(np.flatnonzero(found)[-1])
            self._last, self._ago = where[last, None], len(found) - last


def is_found(points: Points) -> Bool[np.ndarray, " t"]:
    return np.isfinite(points[:, 0, 0])


@lru_cache(maxsize=1)
def face_landmarker() -> FaceLandmarker:
    """Returns the landmarker on this machine's best device, loaded once per process."""
    return FaceLandmarker(best())
