"""Names of the 478 points and the 52 blendshapes, from MediaPipe's face landmarker.

Left and right are the person's: the left eye is on the right side of an unmirrored picture. Sources in
github.com/google-ai-edge/mediapipe, mediapipe/tasks/cc/vision/face_landmarker: `face_landmarks_connections.h` for the
contours, `face_blendshapes_graph.cc` for the blendshapes and the points they are computed from.
"""

NUM_POINTS, NUM_RIGID = 478, 468
"""All points; those of the face's surface, without the irises, which the canonical face has too."""

LIPS_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIPS_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
"""Contours of the lips from the corner on the person's right to the one on the left. The k-th points of the upper and
the lower contour face each other; the middle of each is its sixth point."""

RIGHT_LID_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_LID_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_LID_LOWER = (263, 249, 390, 373, 374, 380, 381, 382, 362)
LEFT_LID_UPPER = (263, 466, 388, 387, 386, 385, 384, 398, 362)
"""Edges of the lids from the outer to the inner corner of the eye. The k-th points of both edges face each other."""

RIGHT_IRIS, LEFT_IRIS = (468, 469, 470, 471, 472), (473, 474, 475, 476, 477)
"""The iris: its centre, then four points on its edge."""

RIGHT_BROW_LOWER, RIGHT_BROW_UPPER = (46, 53, 52, 65, 55), (70, 63, 105, 66, 107)
LEFT_BROW_LOWER, LEFT_BROW_UPPER = (276, 283, 282, 295, 285), (300, 293, 334, 296, 336)
"""Edges of the brows from the outer to the inner end."""

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149),
    *(150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The outline of the face, closed, from the middle of the forehead over the person's left; the chin is point 152."""

BLENDSHAPES = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight"),
    *("eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen"),
    *("jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft"),
    *("mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)
"""The actions, 0 to 1, in the network's order. `_neutral` carries no meaning."""

BLENDSHAPE_POINTS = [
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314),
    *(317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382),
    *(384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473),
    *(474, 475, 476, 477),
]
