"""Agreement of the two ways to read a mouth: landmarks, and the toy reader, on drawn heads."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.evaluation.figure import Figure
from float_research.landmarks.landmarker import face_landmarker
from float_research.metrics.landmarks import few_faces, lip_aperture
from float_research.metrics.series import correlation
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION
from float_research.toyface.reader import MotionReader
from float_research.toyface.render import render
from float_research.training.objective import HELD_OUT, BatchKey

SIZES_PX, NUM_HEADS, NUM_FRAMES = (64, 128), 20, 24
SEED, PERIOD_FRAMES = 7, 11
"""Of the drawn people, and of one opening of their mouths."""
JAW, YAW = MOTION.index("jaw"), MOTION.index("yaw")


def agreement(reader: MotionReader) -> Iterator[Figure]:
    """Yields how well both readings of the mouth correlate over the frames of a held-out head, and with the truth.

    The mouths open and shut while the heads turn from one side to the other.
    """
    frame = torch.arange(NUM_FRAMES)
    motion = torch.zeros(NUM_FRAMES, len(MOTION))
    motion[:, JAW] = (1 - torch.cos(2 * torch.pi * frame / PERIOD_FRAMES)) / 2
    motion[:, YAW] = torch.linspace(-0.5, 0.5, NUM_FRAMES)
    people = sample_identities(NUM_HEADS, BatchKey(HELD_OUT, 0).generator(SEED, 2))
    for size_px in SIZES_PX:
        found, together, true = 0.0, [], []
        for person in people:
            frames, neutral = drawn(person, motion, size_px), drawn(person, motion[:1] * 0, size_px)
            aperture = lip_aperture(face_landmarker().landmarks(pixels(frames)).points)
            found += float(np.isfinite(aperture).mean()) / NUM_HEADS
            if not few_faces(aperture):
                together.append(correlation(aperture, reader(frames, neutral)[:, JAW].double().numpy()))
                true.append(correlation(aperture, motion[:, JAW].double().numpy()))
        at = f"at {size_px} px"
        yield Figure(name=f"frames in which landmarks find a drawn head, {at}", value=found)
        yield mean(f"correlation of the lips by landmarks and by the toy reader, {at}", together)
        yield mean(f"correlation of the lips by landmarks and as drawn, {at}", true)


def drawn(person: Float[Tensor, " k"], motion: Float[Tensor, "t m"], size_px: int) -> Float[Tensor, "t 3 s s"]:
    return render(person.expand(len(motion), -1), motion, size_px).image


def pixels(images: Float[Tensor, "t 3 s s"]) -> UInt8[np.ndarray, "t s s 3"]:
    return ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def mean(name: str, values: Sequence[float]) -> Figure:
    """Returns the mean over heads, absent if there are none."""
    known = np.array(values)[np.isfinite(values)]
    return Figure(
        name=name,
        value=float(known.mean()) if len(known) else None,
        absent=None if len(known) else "landmarks read no head",
    )
