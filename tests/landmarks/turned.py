"""A photographed head that is turned to its side, by the depth of its own landmarks."""

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from float_research.landmarks.landmarker import FaceLandmarker
from float_research.landmarks.points import NUM_RIGID, OVAL

SIZE_PX, GROUND = 256, 150
RINGS = ((1.12, 0.15), (1.3, 0.5), (1.4, 1.0))
"""Hair and ears around the face's outline: how many times as far from its middle, and how much farther back in units
of the half width of the face, as a round head has them."""
FINE = 3
"""Points of the surface along a pixel; each is drawn as a square, and sides that turn to the front have no holes."""
SQUARE = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 1, 2)


def surface(landmarker: FaceLandmarker, image: np.ndarray) -> np.ndarray:
    """Returns points (x, y, depth) of the head in a picture: the face's 468, and rings around them."""
    face = landmarker.landmarks(image[None]).points[0, :NUM_RIGID]
    outline = face[list(OVAL)]
    middle, half = outline.mean(0), np.ptp(outline[:, 0]) / 2
    rings = [middle + np.array([out, out, 1]) * (outline - middle) + [0, 0, back * half] for out, back in RINGS]
    return np.concatenate([face, *rings])


def turned(image: np.ndarray, points: np.ndarray, yaw_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the head of `points` as its picture shows it, turned to the right and over a plain ground; its points.

    What is nearer hides what is farther. The turn is about the upright axis through the middle of the head, seen from
    far away; of what the photographer did not see, there is nothing.
    """
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    middle, scale = points.mean(0), 0.7 * SIZE_PX / (high - low).max()
    angle = np.radians(yaw_deg)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])

    def seen(places: np.ndarray) -> np.ndarray:
        return scale * (places - middle) @ turn.T + [SIZE_PX / 2, SIZE_PX / 2, 0]

    x, y = np.meshgrid(*(np.arange(a, b, 1 / scale / FINE) for a, b in zip(low, high, strict=True)))
    depth = LinearNDInterpolator(points[:, :2], points[:, 2])(x, y)
    colours = cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    on = np.isfinite(depth)
    drawn = seen(np.column_stack([x[on], y[on], depth[on]]))
    order = np.argsort(-drawn[:, 2])
    places = (np.round(drawn[order, :2]).astype(int) + SQUARE).transpose(1, 0, 2).reshape(-1, 2)
    canvas = np.full((SIZE_PX, SIZE_PX, 3), GROUND, np.uint8)
    inside = ((places >= 0) & (places < SIZE_PX)).all(1)
    canvas[places[inside, 1], places[inside, 0]] = np.repeat(colours[on][order], len(SQUARE), axis=0)[inside]
    return canvas, seen(points)
