"""Faces, 478 points of a face, 52 blendshapes and the head's pose, by MediaPipe's Face Landmarker in PyTorch.

`face_landmarker()` returns the networks on this machine's best device; `detect(frames)` finds boxes and scores,
`landmarks(frames)` the points, blendshapes and pose of one face in each frame of a shot. `points.py` names the points.
"""
