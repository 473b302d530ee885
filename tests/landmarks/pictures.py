"""Photographs in the public domain that dependencies install: scikit-image's astronaut, matplotlib's admiral."""

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import skimage

ASTRONAUT = Path(skimage.__file__).parent / "data" / "astronaut.png"
ADMIRAL = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
CROPS = {
    "astronaut": (ASTRONAUT, slice(0, 230), slice(110, 340)),
    "mirrored": (ASTRONAUT, slice(0, 230), slice(340, 110, -1)),
    "admiral": (ADMIRAL, slice(20, 420), slice(60, 460)),
    "small": (ADMIRAL, slice(0, 600), slice(0, 512)),
}
"""Parts of the pictures that are shown to the networks, resized to their input."""


def picture(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def part(name: str, size_px: int) -> np.ndarray:
    path, rows, columns = CROPS[name]
    return cv2.resize(np.ascontiguousarray(picture(path)[rows, columns]), (size_px, size_px))
