"""Benchmarks of sampling, decoding and encoding in this process."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from math import log10
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks.timing import timed
from float_research import loading
from float_research.data.examples import example
from float_research.devices import finish
from float_research.inference.ahead import phase_threads
from float_research.inference.parity import relative_error
from float_research.inference.stopwatch import Stopwatch
from float_research.inference.stream import stream as inference_stream
from float_research.models.decoding import Decoding, Framewise
from float_research.models.vector_field import Evaluation, Modules, Prepared
from float_research.tracking.record import device_name


@torch.inference_mode()
def decode(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares decoder engines on random motion with framewise float32 decoding: speed and PSNR."""
    pipeline = loading.load(arguments.overrides)
    clip = pipeline(example("portrait"), example("speech")).clip
    direction, generator = pipeline.core.model.motion_autoencoder.dec.direction, torch.Generator().manual_seed(0)
    drawn = torch.randn(arguments.frames, 20, generator=generator) * arguments.amplitude
    motion = direction(drawn.to(pipeline.device))
    batched: Any = pipeline.core.decoding
    engines: dict[str, Decoding] = {"framewise float32": Framewise()}
    for precision in ("float32", "bfloat16"):
        engines[f"batched {precision}"] = replace(batched, precision=precision)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    frames: dict[str, list[Tensor]] = {name: [] for name in engines}
    for part in motion.split(arguments.at_once):
        for name, engine in engines.items():
            started = time.perf_counter()
            frames[name] += list(replace(pipeline.core, decoding=engine).frames(clip, part))
            finish(pipeline.device)
            seconds[name].append((time.perf_counter() - started) / len(part))
    base = torch.cat(frames["framewise float32"]).cpu().double()
    size = pipeline.core.model.motion_autoencoder.image_size
    figures: dict[str, Any] = {"device": device_name(pipeline.device), "size_px": size}
    for name, times in seconds.items():
        ratio = median(seconds["framewise float32"][1:]) / median(times[1:])
        psnr_db = 10 * log10(255**2 / max(1e-9, float((torch.cat(frames[name]).cpu() - base).square().mean())))
        figures[name] = {"ms": 1e3 * median(times[1:]), "speed": ratio, "psnr_db": psnr_db}
        print(f"{name}: {1e3 * median(times[1:]):.1f} ms a frame of {size} px, {ratio:.1f} x, PSNR {psnr_db:.1f} dB")
    print(f"on {figures['device']}")
    return figures


def sample(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the vector field engine with the modules: time per guided evaluation, relative error of the motion."""
    pipeline = loading.load(arguments.overrides)
    networks: dict[str, Evaluation] = {"modules float32": Modules()}
    networks |= {f"prepared {precision}": Prepared(precision=precision) for precision in ("float32", "bfloat16")}
    motion: dict[str, Tensor] = {}
    figures: dict[str, Any] = {"device": device_name(pipeline.device)}
    clip = pipeline(example("portrait"), example("speech")).clip
    with pipeline.computing():
        for name, network in networks.items():
            core = replace(pipeline.core, vector_field=network)
            times = []
            for _ in range(arguments.rounds):
                started = time.perf_counter()
                windows = list(core.motion([clip], Stopwatch(pipeline.device)))
                finish(pipeline.device)
                times.append((time.perf_counter() - started) / sum(window.cost.evaluations for window in windows))
            motion[name] = torch.cat([window.motion for window in windows])
            figures[name] = {
                "ms": 1e3 * median(times),
                "error": relative_error(motion[name], motion["modules float32"]),
            }
            figures[name]["speed"] = figures["modules float32"]["ms"] / figures[name]["ms"]
            branches = windows[0].cost.branches / windows[0].cost.evaluations
            print(
                f"{name}: {figures[name]['ms']:.1f} ms per evaluation, {branches:g} branches, "
                f"{figures[name]['speed']:.1f} x, relative error of the motion {figures[name]['error']:.1e}"
            )
    print(f"on {figures['device']}")
    return figures


def clip(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares engines (float32, bfloat16) with the modules in float32, from portrait and speech to the finished video:
    time, and relative error of the motion.
    """
    engines = ["vector_field=prepared", "decoding=batched"]
    variants = {
        "modules float32": ["vector_field=modules", "decoding=framewise"],
        "engines float32": engines,
        "engines bfloat16": [*engines, "trainer.precision=bf16-mixed"],
    }
    pipelines = {name: loading.load([*arguments.overrides, *overrides]) for name, overrides in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    motion: dict[str, Tensor] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name, pipeline in pipelines.items():
                started = time.perf_counter()
                result = pipeline(example("portrait"), example("speech"))
                result.save(Path(folder) / "video.mp4")
                seconds[name].append(time.perf_counter() - started)
                motion[name] = result.motion
    figures: dict[str, Any] = {"device": device_name(result.pipeline.device), "frames": len(result.motion)}
    for name, times in seconds.items():
        speed = median(seconds["modules float32"]) / median(times)
        error = relative_error(motion[name], motion["modules float32"])
        figures[name] = {"s": median(times), "speed": speed, "error": error}
        print(
            f"{name}: {median(times):.2f} s for {figures['frames']} frames, {speed:.1f} x; "
            f"relative error of the motion {error:.1e}"
        )
    print(f"on {figures['device']}")
    return figures


def stream(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares overlapped sampling, decoding and encoding of a clip with sequential execution and with each phase by
    itself, run with the intra-op threads of overlapped phases.
    """
    pipeline = loading.load(arguments.overrides)
    speech, rate_hz = soundfile.read(example("speech"), dtype="float32")
    result = pipeline(example("portrait"), np.resize(speech, int(arguments.seconds * rate_hz)), rate_hz=rate_hz)
    clip, core, fps = result.clip, pipeline.core, pipeline.core.model.fps
    size_px = core.model.motion_autoencoder.image_size
    num_threads = torch.get_num_threads()

    def encode(batches: Iterable[Tensor]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            with pipeline.video.open(path, fps=fps, size_px=size_px, recording=result.recording) as writer:
                for batch in batches:
                    writer.write(batch)

    def whole(*, overlap: bool) -> None:
        watch = Stopwatch(pipeline.device)
        decoded = inference_stream(core, [clip], overlap=overlap, sampling=watch, decoding=[watch])
        with closing(decoded):
            encode(batch for _, batch in decoded)

    with pipeline.computing():
        batches = [batch.cpu() for batch in core.frames(clip, result.motion)]
        acts: dict[str, Callable[[], object]] = {
            "sampling": lambda: list(core.motion([clip], Stopwatch(pipeline.device))),
            "decoding": lambda: [batch.cpu() for batch in core.frames(clip, result.motion)],
            "encoding": lambda: encode(batches),
        }
        seconds: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            torch.set_num_threads(phase_threads())
            for name, act in acts.items():
                seconds.setdefault(name, []).append(timed(act))
            torch.set_num_threads(num_threads)
            seconds.setdefault("sequential", []).append(timed(lambda: whole(overlap=False)))
            seconds.setdefault("overlapped", []).append(timed(lambda: whole(overlap=True)))
    figures: dict[str, Any] = {name: median(times) for name, times in seconds.items()}
    slowest = max(acts, key=lambda name: figures[name])
    figures["ratio"] = figures["overlapped"] / figures[slowest]
    for name in seconds:
        print(f"{name}: {figures[name]:.2f} s for {len(result.motion)} frames")
    print(f"overlapped execution takes {figures['ratio']:.2f} x {slowest} by itself, on {device_name(pipeline.device)}")
    return {**figures, "device": device_name(pipeline.device)}
