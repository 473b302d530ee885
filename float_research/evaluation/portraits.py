"""Quality of the motion auto-encoder's reconstructions, and accuracy of the motion reader."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from float_research.evaluation.figure import Figure
from float_research.models.motion_autoencoder import Features, MotionAutoencoder
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION, sample_motions
from float_research.toyface.reader import SIZE_PX, MotionReader
from float_research.toyface.render import render
from float_research.training.losses import psnr_db
from float_research.training.objective import HELD_OUT, BatchKey
from float_research.training.portraits import ToyPortraits

BATCH_SIZE = 32
SOURCE_SPREAD = 0.6
PLAIN_PX = 128
"""Larger models are trained on detailed portraits."""
SEED = 7
CPU = torch.device("cpu")


def reconstruction(model: MotionAutoencoder, num_pairs: int) -> Iterator[Figure]:
    """Evaluates held-out people driven by a frame of themselves and, for half of them, of another person too."""
    portraits = ToyPortraits(
        size_px=model.image_size,
        batch_size=BATCH_SIZE,
        swapped=0.5,
        source_spread=SOURCE_SPREAD,
        detailed=model.image_size > PLAIN_PX,
        compiled=False,
        seed=SEED,
    )
    scores = defaultdict(list)
    for number in range(-(-num_pairs // BATCH_SIZE)):
        pairs = portraits(BatchKey(HELD_OUT, number), CPU)
        identity, features = model.encode(pairs.source)

        def driven_by(image: Tensor, identity: Tensor = identity, features: Features = features) -> Tensor:
            motion = model.reference_motion(model.encode(image)[0])
            return model.decode([feature[: len(image)] for feature in features], identity[: len(image)] + motion)

        made, half = driven_by(pairs.target).clamp(-1, 1), pairs.num_swapped
        quality = psnr_db(made, pairs.target)
        scores["same"].append(quality)
        scores["ssim"].append(ssim(made, pairs.target))
        scores["copied"].append(psnr_db(pairs.source, pairs.target))
        scores["expression"].append(psnr_db(made, pairs.target, pairs.expression))
        scores["lost"].append(quality[:half] - psnr_db(driven_by(pairs.driving[:half]), pairs.target[:half]))
    mean = {name: float(torch.cat(values).mean()) for name, values in scores.items()}
    yield Figure(name="PSNR", value=mean["same"], unit="dB", goal=("≥", 28.0 if model.image_size > PLAIN_PX else 25.5))
    yield Figure(name="SSIM", value=mean["ssim"], goal=("≥", 0.90 if model.image_size > PLAIN_PX else 0.85))
    yield Figure(name="PSNR of eyes and mouth", value=mean["expression"], unit="dB")
    yield Figure(name="PSNR of the source, copied", value=mean["copied"], unit="dB")
    yield Figure(name="gain over copying", value=mean["same"] - mean["copied"], unit="dB", goal=("≥", 8.0))
    yield Figure(name="loss if somebody else drives", value=mean["lost"], unit="dB", goal=("≤", 1.0))


def ssim(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Returns the structural similarity of each pair of images in [-1, 1], computed in [0, 1]."""
    value = structural_similarity_index_measure((a + 1) / 2, (b + 1) / 2, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value


def reading(reader: MotionReader, num_renders: int) -> Iterator[Figure]:
    """Yields R² of the motion reader on renders of held-out people. All figures on videos depend on this reader."""
    read, true = [], []
    for number in range(-(-num_renders // BATCH_SIZE)):
        generator = BatchKey(HELD_OUT, number).generator(SEED, 1)
        motion = sample_motions(BATCH_SIZE, generator)
        people = sample_identities(BATCH_SIZE, generator)
        moved, neutral = (render(people, pose, SIZE_PX).image for pose in (motion, torch.zeros_like(motion)))
        read.append(reader(moved, neutral))
        true.append(motion)
    wanted = torch.cat(true)
    determined = 1 - (torch.cat(read) - wanted).square().mean(0) / wanted.var(0, correction=0)
    for name, value in zip(MOTION, determined.tolist(), strict=True):
        yield Figure(name=f"R² of {name}, read from renders", value=value, goal=("≥", 0.95) if name == "jaw" else None)
