"""Head pose, by MediaPipe's geometry pipeline: a weighted Procrustes fit of a canonical face in a virtual camera."""

import numpy as np
from jaxtyping import Float

FIELD_OF_VIEW_DEG = 63.0
"""Vertical field of view of the virtual camera."""

ANGLES = ("yaw", "pitch", "roll")
"""What `angles_deg` returns."""


def fit_pose(
    points: Float[np.ndarray, "n m 3"],
    size_px: tuple[int, int],
    canonical: Float[np.ndarray, "m 3"],
    weights: Float[np.ndarray, " m"],
) -> Float[np.ndarray, "n 4 4"]:
    """Returns matrices that map the canonical face, in centimetres, to the camera's coordinates.

    x points to the right of the picture, y up and z out of it; the camera is in the origin and looks along -z. `points`
    are in pixels of a picture of `size_px` (height, width). The first fit gives the scale of the points as they lie in
    the picture, the second corrects it after their perspective is undone, and the third gives the pose.
    """
    height, width = size_px
    near_height = 2 * np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2)
    unit = near_height / height  # of a pixel on the plane one centimetre before the camera
    flat = np.stack([points[..., 0] - width / 2, height / 2 - points[..., 1], points[..., 2]], axis=-1) * unit
    middle = flat[..., 2].mean(1)[:, None]

    def unprojected(scale: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n m 3"]:
        away = (flat[..., 2] - middle + 1) / scale[:, None]
        return np.stack([flat[..., 0] * away, flat[..., 1] * away, -away], axis=-1)

    first = scale_of(procrustes(canonical, flat * np.array([1, 1, -1]), weights))
    second = scale_of(procrustes(canonical, unprojected(first), weights))
    return procrustes(canonical, unprojected(first * second), weights)


def scale_of(pose: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, " n"]:
    return np.linalg.norm(pose[:, :3, 0], axis=1)


def procrustes(
    source: Float[np.ndarray, "m 3"], target: Float[np.ndarray, "n m 3"], weights: Float[np.ndarray, " m"]
) -> Float[np.ndarray, "n 4 4"]:
    """Returns rotation, scale and translation that map `source` to each `target` with the least weighted squares."""
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, np.einsum("m,nmk->nk", share, target)
    centred = (source - source_mean) * share[:, None]
    covariance = np.einsum("nmi,mj->nij", target - target_mean[:, None], centred)
    left, values, right = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(left) * np.linalg.det(right))
    left[:, :, 2] *= sign[:, None]
    values[:, 2] *= sign
    scale = values.sum(1) / np.sum(centred * (source - source_mean))
    pose = np.tile(np.eye(4), (len(target), 1, 1))
    pose[:, :3, :3] = scale[:, None, None] * (left @ right)
    pose[:, :3, 3] = target_mean - pose[:, :3, :3] @ source_mean
    return pose


def angles_deg(pose: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 3"]:
    """Returns yaw, pitch and roll, in this order of turning: R = R_y(yaw) R_x(pitch) R_z(-roll).

    Yaw and roll are positive to the right of the picture, pitch downwards.
    """
    rotation = pose[:, :3, :3] / scale_of(pose)[:, None, None]
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    pitch = np.arcsin(np.clip(-rotation[:, 1, 2], -1, 1))
    roll = np.arctan2(-rotation[:, 1, 0], rotation[:, 1, 1])
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))
