"""What motion from a video reaches: a toy performance, rendered to MP4, drives the portrait, in all or in its head."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.data.audio import num_video_frames
from float_research.evaluation.figure import Figure
from float_research.evaluation.speaking import JAW, YAW, Speaking, mean_correlation
from float_research.models.decoding import to_uint8
from float_research.toyface.identity import sample_identities
from float_research.toyface.performance import loudness, perform
from float_research.toyface.render import render
from float_research.toyface.speech import RATE_HZ, Utterance
from float_research.video.writer import H264

SIZE_PX, AT_ONCE = 256, 16
"""Of the rendered videos: their size, and the frames that are rendered at once."""
SETTINGS = H264(crf=16, preset="veryfast", audio_rate_hz=None, audio_bitrate_bps=128_000, fps=None, mark=None)


@dataclass(frozen=True, kw_only=True)
class FilmedPerformance:
    """A toy performance of a recording by another person, and its video."""

    motion: Float[Tensor, "t m"]
    video: Path


def driving(speaking: Speaking, plain: Sequence[Float[Tensor, "t m"]]) -> Iterator[Figure]:
    """Yields the figures of `motion=video`. `plain`: what is read of the recordings without edits.

    Each recording is driven by the performance of another one, so that its lips are not those of the speech.
    """
    with tempfile.TemporaryDirectory() as folder:
        others = [*speaking.recordings[1:], speaking.recordings[0]]
        seen = [performance(speech, speaking.fps, Path(folder), seed) for seed, speech in enumerate(others)]
        heard = list(zip(speaking.recordings, seen, strict=True))
        whole = [speaking.read(speech, *driven_by(made)) for speech, made in heard]
        head = [speaking.read(speech, *driven_by(made), "motion.video.take=[head]") for speech, made in heard]
    for name, column in (("yaw", YAW), ("jaw", JAW)):
        pairs = [(read[:, column], made.motion[:, column]) for read, made in zip(whole, seen, strict=True)]
        yield Figure(
            name=f"driven by a video: {name}, correlation with the truth",
            value=mean_correlation(pairs),
            goal=("≥", 0.9),
        )
    pairs = [(read[:, YAW], made.motion[:, YAW]) for read, made in zip(head, seen, strict=True)]
    name = "head by a video, lips by speech"
    yield Figure(name=f"{name}: yaw, correlation with the truth", value=mean_correlation(pairs), goal=("≥", 0.9))
    pairs = [(read[:, JAW], old[:, JAW]) for read, old in zip(head, plain, strict=True)]
    yield Figure(name=f"{name}: jaw, correlation with no edit", value=mean_correlation(pairs), goal=("≥", 0.9))


def driven_by(made: FilmedPerformance) -> list[str]:
    return ["motion=video", f"motion.video.file={made.video}"]


def performance(speech: Utterance, fps: float, folder: Path, seed: int, most: int | None = None) -> FilmedPerformance:
    """Writes the video of a person who performs a recording, or its first `most` frames."""
    generator = torch.Generator().manual_seed(seed)
    person = sample_identities(1, generator)
    loud = loudness(torch.from_numpy(speech.waveform), num_video_frames(len(speech.waveform), RATE_HZ, fps))
    motion = perform(speech.phones, loud, "neutral", fps=fps, generator=generator)[:most]
    return FilmedPerformance(motion=motion, video=write(folder / f"{seed}.mp4", person, motion, fps))


def write(path: Path, person: Float[Tensor, "1 k"], motion: Float[Tensor, "t m"], fps: float) -> Path:
    """Renders a person's motion to an MP4."""
    with SETTINGS.open(path, fps=fps, size_px=(SIZE_PX, SIZE_PX), recording=None) as writer:
        for part in motion.split(AT_ONCE):
            for frame in to_uint8(render(person.expand(len(part), -1), part, SIZE_PX).image).numpy():
                writer.add(frame)
    return path
