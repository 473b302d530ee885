"""Head pose from landmarks."""

import cv2
import numpy as np
from jaxtyping import Float

RIGID = {
    17: (-6.826, -6.761, -4.402),
    21: (-1.330, -7.122, -6.904),
    22: (1.330, -7.122, -6.904),
    26: (6.826, -6.761, -4.402),
    36: (-5.311, -5.485, -3.988),
    39: (-1.790, -5.394, -4.413),
    42: (1.790, -5.394, -4.413),
    45: (5.311, -5.485, -3.988),
    31: (-2.006, -1.410, -6.166),
    35: (2.006, -1.410, -6.166),
}
"""3D landmarks of a mean head that speech does not move: brows, eye corners, nostrils. x right, y down, z away."""


def head_pose_deg(points: Float[np.ndarray, "68 2"], width_px: int) -> Float[np.ndarray, "3"]:
    """Returns yaw, pitch and roll by `solvePnP`, for a focal length of one image width; NaN without landmarks.

    Yaw and roll are positive to the right of the image, pitch downwards. Because it uses a mean head, differences of
    angles are meaningful, absolute angles are not.
    """
    if not np.isfinite(points).all():
        return np.full(3, np.nan)
    camera = np.array([[width_px, 0, width_px / 2], [0, width_px, width_px / 2], [0, 0, 1]], dtype=float)
    found, turned, _ = cv2.solvePnP(
        np.array(list(RIGID.values())), points[list(RIGID)], camera, None, flags=cv2.SOLVEPNP_SQPNP
    )
    if not found:
        return np.full(3, np.nan)
    r = cv2.Rodrigues(turned)[0]
    yaw = np.arctan2(r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    return np.degrees([yaw, np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])])
