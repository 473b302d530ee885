"""Videos that a phone filmed sideways."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from float_research.video.reader import read_frames, read_frames_at, read_timing

MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Clockwise angle → a, b, c, d of the matrix in a track header of QuickTime and MP4."""
TO_MATRIX = 44
"""Bytes from the name of the track header's box to its matrix."""


@pytest.mark.parametrize("angle", MATRICES)
def test_frames_are_upright(tmp_path: Path, angle: int) -> None:
    upright = np.full((32, 64, 3), 128, np.uint8)
    upright[:16, :16], upright[16:, :16], upright[16:, 48:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = np.ascontiguousarray(np.rot90(upright, angle // 90))
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *stored.shape[:2], "yuv420p"
        stream.options = {"crf": "1"}
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + TO_MATRIX
    a, b, c, d = (number << 16 for number in MATRICES[angle])
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    timing = read_timing(path)
    assert (timing.width, timing.height, timing.num_frames) == (64, 32, 2)
    for frame in [*read_frames(path), *read_frames_at(path, 25)]:
        np.testing.assert_allclose(frame[4:12, 4:12].mean((0, 1)), upright[8, 8], atol=8)
        np.testing.assert_allclose(frame[20:28, 4:12].mean((0, 1)), upright[24, 8], atol=8)
        np.testing.assert_allclose(frame[20:28, 52:60].mean((0, 1)), upright[24, 56], atol=8)
