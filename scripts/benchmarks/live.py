"""Live sessions against whole recordings."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, product
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from float_research import loading
from float_research.data.examples import example
from float_research.inference.parity import relative_error
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ
from float_research.tracking.record import device_name


def live(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares live sessions with whole recordings for several look-aheads and contexts: the relative error of the
    motion, as sampling_error defines it, with the emotion of the settings and with a fixed one; and measures latency
    and real-time factor on speech that is given in blocks of 40 ms as fast as it is taken.
    """
    pipeline, portrait, block = loading.load(arguments.overrides), example("portrait"), RATE_HZ // 25
    spoken = {each.id: each.waveform for each in recordings()[: arguments.recordings]}
    if arguments.joined:
        spoken["joined"] = np.concatenate(list(spoken.values()))

    class Undecoded:
        """Stands in for the decoder where only the motion counts."""

        def peak_mb(self, frame_mb: float) -> float:
            return 0

        def __call__(self, autoencoder: Any, features: Any, latents: Tensor, /) -> Iterator[Tensor]:
            yield torch.zeros(len(latents), 1, 1, 3, dtype=torch.uint8)

    blind = pipeline.with_core(replace(pipeline.core, decoding=Undecoded()))
    cases = [
        (name, seed, emotion) for name in spoken for seed in range(arguments.seeds) for emotion in (None, "neutral")
    ]
    wholes = {
        (name, seed, emotion): blind(portrait, spoken[name], rate_hz=RATE_HZ, emotion=emotion, seed=seed).motion
        for name, seed, emotion in cases
    }

    def errors(look_ahead_s: float, context_s: float) -> dict[tuple[str, int, str | None], float]:
        found = {}
        for name, seed, emotion in cases:
            chosen: dict[str, Any] = {"look_ahead_s": look_ahead_s, "context_s": context_s, "emotion": emotion}
            with blind.live(portrait, rate_hz=RATE_HZ, seed=seed, **chosen) as session:
                frames = chain(session.feed(spoken[name]), session.finish())
                motion = torch.stack([frame.motion for frame in frames])
            found[name, seed, emotion] = relative_error(motion, wholes[name, seed, emotion])
        return found

    figures: dict[str, Any] = {}
    settings = [(ahead, arguments.context_s[-1]) for ahead in arguments.look_ahead_s]
    settings += [(arguments.look_ahead_s[-1], context) for context in arguments.context_s[:-1]]
    for ahead, context in settings:
        found, row = errors(ahead, context), dict[str, float]()
        for emotion, long in product((None, "neutral"), (False, True) if arguments.joined else (False,)):
            some = [each for (name, _, felt), each in found.items() if felt == emotion and (name == "joined") == long]
            row[f"{'all joined' if long else 'mean'}, emotion {emotion or 'heard'}"] = sum(some) / len(some)
        figures[f"look_ahead_s={ahead:g} context_s={context:g}"] = row
        said = ", ".join(f"{name} {error:.3f}" for name, error in row.items())
        print(f"look-ahead {ahead:g} s, context {context:g} s: {said}", flush=True)

    first_s, factors, processor_s = [], [], 0.0
    for waveform in spoken.values():
        with pipeline.live(portrait, rate_hz=RATE_HZ) as session:
            began, processor, computing, num_frames = time.perf_counter(), time.process_time(), 0.0, 0
            for start in range(0, len(waveform), block):
                given = time.perf_counter()
                for _ in session.feed(waveform[start : start + block]):
                    if not num_frames:
                        computing, heard_s = time.perf_counter() - given, session.heard_s
                    num_frames += 1
            num_frames += sum(1 for _ in session.finish())
            factors.append((time.perf_counter() - began) / session.heard_s)
            processor_s += (time.process_time() - processor) / session.heard_s / len(spoken)
            if computing:
                first_s.append(heard_s - pipeline.core.sampler.chunking.window_s + computing)
    figures |= {"first_s": median(first_s), "real_time_factor": median(factors), "processor_s": processor_s}
    figures["device"] = device_name(pipeline.device)
    print(
        f"first frame {figures['first_s']:.2f} s after the speech of its window of "
        f"{pipeline.core.sampler.chunking.window_s:g} s, real-time factor {figures['real_time_factor']:.2f}, medians "
        f"of {len(spoken)} recordings on {figures['device']}; {processor_s:.2f} s of processor time a second of speech"
    )
    return figures
