"""Measures two things in one run and prints their difference or ratio: `python scripts/bench.py memory`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import log10
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from torch import Tensor

from float_research import cli, compose
from float_research.analysis.load import load_runs
from float_research.analysis.page import write_page
from float_research.data.examples import example
from float_research.data.image import read_image, to_tensor
from float_research.models.checkpoint import load_model
from float_research.models.decoding import Decoding, Framewise
from float_research.tracking.record import device_name, write_json

INFER = (sys.executable, str(Path(__file__).with_name("infer.py")))
STAGES = ("encode_image", "encode_audio", "emotion", "sample", "decode", "write")
SOLVERS, NFES = ("euler", "midpoint", "heun3", "rk4"), (4, 6, 8, 10, 12, 16)


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a long clip against a short one, each made by a process of its own."""
    speech, rate_hz = soundfile.read(example("speech"), dtype="float32")
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (arguments.short_s, arguments.long_s):
            audio, output = Path(folder) / f"{seconds}.wav", Path(folder) / str(seconds)
            soundfile.write(audio, np.resize(speech, int(seconds * rate_hz)), rate_hz)
            infer(f"data.audio={audio}", f"hydra.run.dir={output}", *arguments.overrides)
            record = json.loads((output / "record.json").read_text())
            peaks[f"{seconds:g} s"] = record["peak_memory_mb"]["host"]
            frames, wall_s = record["totals"]["frames"], record["wall_s"]
            print(
                f"{seconds:g} s clip: {frames} frames in {wall_s:.0f} s on {record['device']}, "
                f"peak {record['peak_memory_mb']['host']:.0f} MB"
            )
    short, long = peaks.values()
    print(f"the {arguments.long_s:g} s clip peaks {long - short:+.0f} MB against the {arguments.short_s:g} s clip")
    return {**peaks, "difference_mb": long - short}


def sweep(arguments: argparse.Namespace) -> dict[str, Any]:
    """A sweep of 24 settings, from start to end, against its runs' own stages, and against 24 processes that share
    nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = [f"hydra.sweep.dir={folder}/sweep", f"cache.folder={folder}/cache"]
        names = [f"solver={','.join(SOLVERS)}", f"nfe={','.join(map(str, NFES))}", "budget=evaluations"]
        sweep_s = infer("-m", *names, *places, *arguments.overrides)
        table = pd.read_csv(Path(folder) / "sweep" / "summary.csv")
        stages_s = float(table[[f"{stage}_s" for stage in STAGES]].to_numpy().sum())
        settings = [f"solver={solver} nfe={nfe}".split() for solver, nfe in product(SOLVERS, NFES)]
        alone = ["budget=evaluations", "cache=none", *arguments.overrides]
        alone_s = sum(
            infer(*setting, *alone, f"hydra.run.dir={folder}/alone/{place}") for place, setting in enumerate(settings)
        )
    device = table["device"][0]
    print(f"{len(table)} runs as one sweep: {sweep_s:.1f} s on {device}, in a cache that was empty")
    print(f"their sampling, decoding and encoding: {stages_s:.1f} s; the sweep took {sweep_s / stages_s:.2f} x that")
    print(f"{len(settings)} processes with cache=none: {alone_s:.1f} s; the sweep took {sweep_s / alone_s:.2f} x that")
    return {"device": device, "runs": len(table), "sweep_s": sweep_s, "stages_s": stages_s, "alone_s": alone_s}


def analysis(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time to load many runs as a data frame, to write their comparison page, and to open it in a browser."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sweep"
        infer(f"hydra.run.dir={folder / '0'}", *arguments.overrides)
        record = json.loads((folder / "0" / "record.json").read_text())
        for number in range(1, arguments.runs):
            shutil.copytree(folder / "0", folder / str(number), copy_function=os.link)
            varied = [f"solver={SOLVERS[number % len(SOLVERS)]}", f"nfe={2 + number % 20}", f"seed={number}"]
            write_json(folder / str(number) / "record.json", {**record, "overrides": [*record["overrides"], *varied]})
        figures = {"load_runs_s": timed(lambda: load_runs(folder))}
        figures["write_page_s"] = timed(lambda: write_page(folder, folder / "report", "bench"))
        if browser := shutil.which("chromium"):
            figures["open_page_s"] = opened(browser, folder / "report" / "index.html")
    for name, seconds in figures.items():
        print(f"{name.removesuffix('_s').replace('_', ' ')}, {arguments.runs} runs: {seconds:.2f} s")
    return figures


def timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def opened(browser: str, page: Path) -> float:
    """Seconds from asking for a page to its table and its first video."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=browser).new_page(viewport={"width": 1500, "height": 1500})
        started = time.perf_counter()
        window.goto(page.as_uri())
        window.locator("#table tbody tr").first.wait_for()
        window.locator("video").first.wait_for()
        return time.perf_counter() - started


def metrics(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time spent in metrics against all else that a run does, its start and the loading of packages aside."""
    with tempfile.TemporaryDirectory() as folder:
        infer(f"hydra.run.dir={folder}", "cache=none", *arguments.overrides)
        record = json.loads((Path(folder) / "record.json").read_text())
    metrics_s, frames = record["totals"]["seconds"]["metrics"], record["totals"]["frames"]
    share = metrics_s / (record["wall_s"] - metrics_s)
    print(f"{frames} frames on {record['device']}: {record['wall_s']:.2f} s, of them {metrics_s:.2f} s in metrics")
    print(f"metrics take {share:.1%} of the time of all else")
    return {"device": record["device"], "wall_s": record["wall_s"], "metrics_s": metrics_s, "share": share}


@torch.inference_mode()
def decode(arguments: argparse.Namespace) -> dict[str, Any]:
    """Decoder engines in turn, with the networks and weights of the given settings, on random motion: their speed
    against framewise in float32, and their PSNR.
    """
    cfg = compose.compose_config([*arguments.overrides, "output_dir=."])
    autoencoder = load_model(compose.model_builder(cfg), compose.build(cfg.checkpoint)).motion_autoencoder
    generator = torch.Generator().manual_seed(0)
    size = autoencoder.image_size
    image = to_tensor(read_image(Path(example("portrait")), cfg.background), size)
    identity, features = autoencoder.encode(image[None])
    motion = autoencoder.dec.direction(torch.randn(arguments.frames, 20, generator=generator) * arguments.amplitude)
    batched = compose.build(cfg.decoding)
    engines: dict[str, Decoding] = {"framewise float32": Framewise()}
    for precision in ("float32", "bfloat16"):
        engines[f"batched {precision}"] = replace(batched, precision=precision)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    frames: dict[str, list[Tensor]] = {name: [] for name in engines}
    for latents in (identity + motion).split(arguments.at_once):
        for name, engine in engines.items():
            started = time.perf_counter()
            frames[name] += list(engine(autoencoder, features, latents))
            seconds[name].append((time.perf_counter() - started) / len(latents))
    base = torch.cat(frames["framewise float32"]).double()
    figures: dict[str, Any] = {"device": device_name(identity.device), "size_px": size}
    for name, times in seconds.items():
        ratio = median(seconds["framewise float32"][1:]) / median(times[1:])
        psnr_db = 10 * log10(255**2 / max(1e-9, float((torch.cat(frames[name]) - base).square().mean())))
        figures[name] = {"ms": 1e3 * median(times[1:]), "speed": ratio, "psnr_db": psnr_db}
        print(f"{name}: {1e3 * median(times[1:]):.1f} ms a frame of {size} px, {ratio:.1f} x, PSNR {psnr_db:.1f} dB")
    print(f"on {figures['device']}")
    return figures


def infer(*arguments: str) -> float:
    """Seconds that scripts/infer.py takes as a process."""
    started = time.perf_counter()
    subprocess.run([*INFER, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tiny = ["model=tiny", "checkpoint=random", "face=none"]
    long = command(commands, memory, tiny)
    long.add_argument("--short-s", type=float, default=10, help="seconds of the short clip")
    long.add_argument("--long-s", type=float, default=600, help="seconds of the long clip")
    command(commands, sweep, [])
    command(commands, metrics, [])
    decoders = command(commands, decode, ["model=official", "checkpoint=random"])
    decoders.add_argument("--frames", type=int, default=64, help="how many")
    decoders.add_argument("--at-once", type=int, default=16, help="frames handed over together")
    decoders.add_argument("--amplitude", type=float, default=0.3, help="of the motion's coordinates")
    many = command(commands, analysis, tiny)
    many.add_argument("--runs", type=int, default=1000, help="how many")
    arguments = parser.parse_args()
    figures = arguments.measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def command(
    commands: Any, measure: Callable[[argparse.Namespace], dict[str, Any]], overrides: Sequence[str]
) -> argparse.ArgumentParser:
    """A sub-command of the function's name."""
    help_text = " ".join((measure.__doc__ or "").split())
    parser: argparse.ArgumentParser = commands.add_parser(measure.__name__, help=help_text, description=help_text)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("overrides", nargs="*", default=overrides, help=f"settings of all runs ({' '.join(overrides)})")
    parser.set_defaults(measure=measure)
    return parser


if __name__ == "__main__":
    cli.run(main)
