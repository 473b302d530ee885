"""What edits of motion reach, read from generated frames by the motion reader, next to the same clips without edits."""

import statistics
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.evaluation.driving import driving
from float_research.evaluation.figure import Figure
from float_research.evaluation.speaking import JAW, LIDS, Speaking, mean_correlation
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION, MOUTH, within_range
from float_research.toyface.reader import DEGREES, MotionReader
from float_research.toyface.render import render

STILL = ("yaw", "pitch", "roll", "lids")
"""What does not move if only the lips do."""
TURN_DEGREES, CALM = 10.0, 0.5
CLOSED = 0.5
"""Lids that are read above this count as closed."""
SIZE_PX = 128
Read = Float[Tensor, "t m"]


def moving(speaking: Speaking) -> Iterator[Figure]:
    """Yields the figures of all edits."""
    plain = [speaking.read(speech, "motion=none") for speech in speaking.recordings]
    yield from lips_only(speaking, plain)
    yield from calm(speaking, plain)
    yield from pose(speaking, plain)
    yield from no_blinks(speaking, plain)
    yield from amplify_lips(speaking, plain)
    yield from driving(speaking, plain)


def lips_only(speaking: Speaking, plain: Sequence[Read]) -> Iterator[Figure]:
    """Measures how much of the head and the lids still moves: what is read of it, and what the coordinates say.

    What is read where nothing of them moves is the error of the reader, and that of the decoder and the reader.
    """
    edited = [speaking.read(speech, "motion=lips_only") for speech in speaking.recordings]
    meant = [speaking.meant(speech, "motion=lips_only") for speech in speaking.recordings]
    sampled = [speaking.meant(speech, "motion=none") for speech in speaking.recordings]
    decoded = [speaking.shown(mouth_of(motion)) for motion in sampled]
    rendered = [mouth_alone(speaking.reader, read) for read in plain]
    for name in STILL:
        place = MOTION.index(name)
        yield Figure(name=f"lips_only: {name} that is left", value=left(edited, plain, place), goal=("≤", 0.05))
        yield Figure(name=f"lips_only: {name} in the motion's coordinates", value=left(meant, sampled, place))
        yield Figure(name=f"a still {name}, read from decoded frames", value=left(decoded, plain, place))
        yield Figure(name=f"a still {name}, read from true renders", value=left(rendered, plain, place))
    yield jaw("lips_only", edited, plain, 0.95)


def calm(speaking: Speaking, plain: Sequence[Read]) -> Iterator[Figure]:
    edited = [speaking.read(speech, "motion=calm", f"motion.calm.strength={CALM}") for speech in speaking.recordings]
    share = statistics.mean(head_speed(new) / head_speed(old) for new, old in zip(edited, plain, strict=True))
    yield Figure(name=f"calm {CALM}: head velocity that is left", value=share)
    yield Figure(name=f"calm {CALM}: its distance from {CALM}", value=abs(share - CALM), goal=("≤", 0.1 * CALM))
    yield jaw(f"calm {CALM}", edited, plain)


def pose(speaking: Speaking, plain: Sequence[Read]) -> Iterator[Figure]:
    """Turns the head from one side to the other and back, by each angle in turn, with the other angles at 0."""
    shortest = min(speaking.recordings, key=lambda speech: len(speech.waveform))
    still = speaking.read(shortest, "motion=scale", "motion.scale.strength=0").mean(0)
    for name in DEGREES:
        at_rest = float(still[MOTION.index(name)]) * DEGREES[name]
        yield Figure(name=f"{name} read from the portrait at rest", value=at_rest, unit="°")
        edited, at_keys, meant_at_keys, between = [], list[float](), list[float](), list[float]()
        for speech, old in zip(speaking.recordings, plain, strict=True):
            keys = [0, (len(old) - 1) // 2, len(old) - 1]
            values = [-TURN_DEGREES, TURN_DEGREES, -TURN_DEGREES]
            frames = ", ".join(f"{{time_s: {k / speaking.fps}, value: {v}}}" for k, v in zip(keys, values, strict=True))
            angles = [f"motion.pose.{other}={f'[{frames}]' if other == name else 0}" for other in DEGREES]
            read = speaking.read(speech, "motion=pose", *angles)
            found = read[:, MOTION.index(name)] * DEGREES[name]
            half = torch.linspace(-TURN_DEGREES, TURN_DEGREES, keys[1] + 1)
            back = torch.linspace(TURN_DEGREES, -TURN_DEGREES, keys[2] - keys[1] + 1)
            wanted = torch.cat([half, back[1:]])
            error = (found - wanted).abs()
            at_keys += error[keys].tolist()
            meant = speaking.meant(speech, "motion=pose", *angles)[:, MOTION.index(name)] * DEGREES[name]
            meant_at_keys += (meant - wanted).abs()[keys].tolist()
            between.append(float(error.mean()))
            edited.append(read)
        limit = f"pose: {name} ±{TURN_DEGREES:g}°"
        yield Figure(name=f"{limit}, largest error at keyframes", value=max(at_keys), unit="°", goal=("≤", 2))
        truth = f"{limit}, largest error at keyframes in the motion's coordinates"
        yield Figure(name=truth, value=max(meant_at_keys), unit="°", goal=("≤", 2))
        yield Figure(name=f"{limit}, mean error of all frames", value=statistics.mean(between), unit="°", goal=("≤", 2))
        yield jaw(limit, edited, plain, 0.9)


def no_blinks(speaking: Speaking, plain: Sequence[Read]) -> Iterator[Figure]:
    edited = [speaking.read(speech, "motion=no_blinks") for speech in speaking.recordings]
    yield Figure(name="lids without edits, largest", value=max(float(read[:, LIDS].max()) for read in plain))
    most = max(float(read[:, LIDS].max()) for read in edited)
    yield Figure(name="no_blinks: lids, largest", value=most, goal=("≤", CLOSED))
    yield jaw("no_blinks", edited, plain)


def amplify_lips(speaking: Speaking, plain: Sequence[Read]) -> Iterator[Figure]:
    edited = [speaking.read(speech, "motion=amplify_lips") for speech in speaking.recordings]
    gains = [float(new[:, JAW].std() / old[:, JAW].std()) for new, old in zip(edited, plain, strict=True)]
    yield Figure(name="amplify_lips 1.5: gain in jaw amplitude", value=statistics.mean(gains))
    yield jaw("amplify_lips 1.5", edited, plain)


def jaw(edit: str, edited: Sequence[Read], plain: Sequence[Read], goal: float | None = None) -> Figure:
    """Correlates the jaw with that of the clips without edits."""
    pairs = [(new[:, JAW], old[:, JAW]) for new, old in zip(edited, plain, strict=True)]
    name, value = f"{edit}: jaw, correlation with no edit", mean_correlation(pairs)
    return Figure(name=name, value=value, goal=None if goal is None else ("≥", goal))


def left(made: Sequence[Read], plain: Sequence[Read], place: int) -> float:
    """Returns the share of a parameter's standard deviation in the clips without edits that is left."""
    return statistics.mean(
        float(new[:, place].std() / old[:, place].std()) for new, old in zip(made, plain, strict=True)
    )


def head_speed(read: Read) -> float:
    """Returns the mean step of the head's rotation between frames, in degrees."""
    degrees = torch.stack([read[:, MOTION.index(name)] * unit for name, unit in DEGREES.items()], 1)
    return float(degrees.diff(dim=0).norm(dim=1).mean())


def mouth_alone(reader: MotionReader, read: Read) -> Read:
    """Returns what is read from true renders in which only the mouth moves, as it was read."""
    motion = within_range(mouth_of(read))
    person = sample_identities(1, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        neutral = render(person, torch.zeros(1, len(MOTION)), SIZE_PX).image
        return reader(render(person.expand(len(motion), -1), motion, SIZE_PX).image, neutral)


def mouth_of(motion: Read) -> Read:
    """Returns the motion of the mouth, with everything else at rest."""
    places = [MOTION.index(name) for name in MOUTH]
    alone = torch.zeros_like(motion)
    alone[:, places] = motion[:, places]
    return alone
