"""Benchmarks that compare two or more variants in one run: `python scripts/bench.py memory`."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, product
from math import log10
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from scipy.stats import bootstrap
from torch import Tensor

from float_research import cli, compose, loading
from float_research.analysis.load import load_runs
from float_research.analysis.page import write_page
from float_research.data.examples import example
from float_research.evaluation.searching import compare
from float_research.inference.ahead import phase_threads
from float_research.inference.parity import relative_error
from float_research.inference.stopwatch import Stopwatch
from float_research.inference.stream import stream as inference_stream
from float_research.models.decoding import Decoding, Framewise
from float_research.models.vector_field import Evaluation, Modules, Prepared
from float_research.printing import stdout
from float_research.sampling.budget import Budget, Evaluations, GridPoints
from float_research.sampling.solver import Rk4, Solver
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ
from float_research.tracking.record import device_name, read_record, write_json

INFER = (sys.executable, str(Path(__file__).with_name("infer.py")))
PHASES = ("encode_image", "encode_audio", "emotion", "sample", "decode", "write")
FINE = 41
"""Grid points of the Rk4 reference solution; its error is about a hundredth of the measured errors."""
SOLVERS, NFES = ("euler", "midpoint", "heun3", "rk4"), (4, 6, 8, 10, 12, 16)


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the peak memory of a long clip with that of a short one, each in its own process. Linux only.

    Private memory is anonymous memory (RssAnon); resident memory also includes mapped files such as code and audio.
    """
    speech, rate_hz = soundfile.read(example("speech"), dtype="float32")
    own, resident = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (arguments.short_s, arguments.long_s):
            name, audio, output = f"{seconds:g} s", Path(folder) / f"{seconds}.wav", Path(folder) / str(seconds)
            soundfile.write(audio, np.resize(speech, int(seconds * rate_hz)), rate_hz)
            own[name] = peak_own_mb(f"data.audio={audio}", f"hydra.run.dir={output}", *arguments.overrides)
            record = json.loads((output / "record.json").read_text())
            resident[name] = record["peak_memory_mb"]["host"]
            print(
                f"{name} clip: {record['totals']['frames']} frames in {record['wall_s']:.0f} s on {record['device']}, "
                f"peak {own[name]:.0f} MB private memory, {resident[name]:.0f} MB resident"
            )
    short, long = own.values()
    print(f"private memory: {long / short:.2f} x as much for {arguments.long_s:g} s as for {arguments.short_s:g} s")
    return {"own_mb": own, "resident_mb": resident, "ratio": long / short}


def peak_own_mb(*arguments: str) -> float:
    """Runs scripts/infer.py and samples its private memory 20 times per second; returns the peak in MB."""
    peak_kb = 0
    with subprocess.Popen([*INFER, *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak_kb = max([peak_kb, *map(int, re.findall(r"RssAnon:\s*(\d+)", status))])
            time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return peak_kb * 1024 / 1e6


def sweep(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares a sweep of 24 runs, start to end, with the sum of its runs' phases and with 24 separate processes."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [f"hydra.sweep.dir={folder}/sweep", f"cache.folder={folder}/cache"]
        names = [f"solver={','.join(SOLVERS)}", f"nfe={','.join(map(str, NFES))}", "budget=evaluations"]
        sweep_s = infer("-m", *names, *folders, *arguments.overrides)
        table = pd.read_csv(Path(folder) / "sweep" / "summary.csv")
        phases_s = float(table[[f"{phase}_s" for phase in PHASES]].to_numpy().sum())
        settings = [f"solver={solver} nfe={nfe}".split() for solver, nfe in product(SOLVERS, NFES)]
        separate = ["budget=evaluations", "cache=none", *arguments.overrides]
        separate_s = sum(
            infer(*setting, *separate, f"hydra.run.dir={folder}/separate/{number}")
            for number, setting in enumerate(settings)
        )
    device = table["device"][0]
    print(f"{len(table)} runs as one sweep: {sweep_s:.1f} s on {device}, with an empty cache")
    print(f"their sampling, decoding and encoding: {phases_s:.1f} s; the sweep took {sweep_s / phases_s:.2f} x that")
    print(
        f"{len(settings)} processes, cache=none: {separate_s:.1f} s; the sweep took {sweep_s / separate_s:.2f} x that"
    )
    return {"device": device, "runs": len(table), "sweep_s": sweep_s, "phases_s": phases_s, "alone_s": separate_s}


def analysis(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times loading many runs as a data frame, writing their comparison page, and opening it in a browser."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "sweep"
        infer(f"hydra.run.dir={folder / '0'}", *arguments.overrides)
        record = json.loads((folder / "0" / "record.json").read_text())
        for number in range(1, arguments.runs):
            shutil.copytree(folder / "0", folder / str(number), copy_function=os.link)
            varied = [f"solver={SOLVERS[number % len(SOLVERS)]}", f"nfe={2 + number % 20}", f"seed={number}"]
            write_json(folder / str(number) / "record.json", {**record, "overrides": [*record["overrides"], *varied]})
        figures = {"load_runs_s": timed(lambda: load_runs(folder))}
        figures["write_page_s"] = timed(lambda: write_page(folder, folder / "report", "bench"))
        if browser := shutil.which("chromium"):
            figures["open_page_s"] = time_opening(browser, folder / "report" / "index.html")
    for name, seconds in figures.items():
        print(f"{name.removesuffix('_s').replace('_', ' ')}, {arguments.runs} runs: {seconds:.2f} s")
    return figures


def timed(act: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def time_opening(browser: str, page: Path) -> float:
    """Returns the seconds from requesting a page until its table and first video are shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=browser).new_page(viewport={"width": 1500, "height": 1500})
        started = time.perf_counter()
        window.goto(page.as_uri())
        window.locator("#table tbody tr").first.wait_for()
        window.locator("video").first.wait_for()
        return time.perf_counter() - started


def seeds(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares several seeds in one run with as many runs of one seed, as processes and as a sweep, each with an empty
    cache: time, processor time, and whether the videos are the same.
    """
    numbers = list(range(15, 15 + arguments.seeds))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def measured(name: str, *overrides: str) -> tuple[float, float]:
            before = os.times()
            seconds = infer(*overrides, f"cache.folder={place / name / 'cache'}", *arguments.overrides)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            return seconds, used

        one = measured("one", f"seeds={numbers}", f"hydra.run.dir={place / 'one'}")
        apart = [
            measured(f"apart/{seed}", f"seed={seed}", f"hydra.run.dir={place / 'apart' / str(seed)}")
            for seed in numbers
        ]
        swept = measured("sweep", "-m", f"seed={','.join(map(str, numbers))}", f"hydra.sweep.dir={place / 'sweep'}")
        videos = {clip["id"]: clip["video_sha256"] for clip in read_record(place / "one" / "record.json")["clips"]}
        singles = {
            f"{clip['id']}-seed{seed}": clip["video_sha256"]
            for seed in numbers
            for clip in read_record(place / "apart" / str(seed) / "record.json")["clips"]
        }
    figures: dict[str, Any] = {"seeds": len(numbers), "same_videos": videos == singles}
    totals = {"processes": tuple(map(sum, zip(*apart, strict=True))), "sweep": swept}
    print(f"{len(numbers)} seeds in one run: {one[0]:.1f} s, {one[1]:.1f} s of processor time")
    for name, (seconds, used) in totals.items():
        figures[name] = {"s": seconds, "processor_s": used, "ratio": one[0] / seconds, "processor_ratio": one[1] / used}
        print(
            f"one seed each, as {name}: {seconds:.1f} s, {used:.1f} s of processor time; one run takes "
            f"{one[0] / seconds:.2f} x and {one[1] / used:.2f} x that"
        )
    print(f"videos: {'the same, byte for byte' if figures['same_videos'] else 'not the same'}")
    return {**figures, "one": {"s": one[0], "processor_s": one[1]}}


def metrics(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the time spent in metrics with the rest of a run, excluding startup and imports."""
    with tempfile.TemporaryDirectory() as folder:
        infer(f"hydra.run.dir={folder}", "cache=none", *arguments.overrides)
        record = json.loads((Path(folder) / "record.json").read_text())
    metrics_s, frames = record["totals"]["seconds"]["metrics"], record["totals"]["frames"]
    share = metrics_s / (record["wall_s"] - metrics_s)
    print(f"{frames} frames on {record['device']}: {record['wall_s']:.2f} s, {metrics_s:.2f} s of it in metrics")
    print(f"metrics take {share:.1%} of the time of everything else")
    return {"device": record["device"], "wall_s": record["wall_s"], "metrics_s": metrics_s, "share": share}


@torch.inference_mode()
def decode(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares decoder engines on random motion with framewise float32 decoding: speed and PSNR."""
    pipeline = loading.load(arguments.overrides)
    clip = pipeline(example("portrait"), example("speech")).clip
    direction, generator = pipeline.core.model.motion_autoencoder.dec.direction, torch.Generator().manual_seed(0)
    motion = direction(torch.randn(arguments.frames, 20, generator=generator) * arguments.amplitude)
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


def solvers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the motion error of solvers and numbers of evaluations with that of Euler with nine, paired.

    Whole clips of held-out recordings with several seeds, against fine-grid solutions from the same noise. 95 percent
    bootstrap confidence intervals over clips, taken as independent.
    """
    pipeline = loading.load(arguments.overrides)
    portrait = example("portrait")
    spoken = recordings()[: arguments.recordings]
    with pipeline.computing():
        ready = [pipeline(portrait, each.waveform, rate_hz=RATE_HZ, id=each.id).clip for each in spoken]
        seeds = range(arguments.seeds)
        clips = [replace(clip.conditions, seed=seed) for clip in ready for seed in seeds]
        network = pipeline.core.vector_field(pipeline.core.model.fmt)

        def motion(solver: Solver, nfe: int, budget: Budget) -> list[Tensor]:
            sampler = replace(pipeline.core.sampler, solver=solver, nfe=nfe, budget=budget)
            parts: list[list[Tensor]] = [[] for _ in clips]
            for window in sampler(network, clips):
                parts[window.index].append(window.motion)
            return [torch.cat(part) for part in parts]

        exact = motion(Rk4(skip_end=False), FINE, GridPoints())

        def errors(name: str, nfe: int) -> Tensor:
            solver = compose.build(compose.compose_config([f"solver={name}"]).solver)
            found = motion(solver, nfe, Evaluations())
            return torch.stack([(one - true).norm() / true.norm() for one, true in zip(found, exact, strict=True)])

        base = errors("euler", 9)
        figures: dict[str, Any] = {"clips": len(clips), "euler 9": float(base.mean())}
        print(
            f"{len(clips)} clips: {len(spoken)} recordings x {len(seeds)} seeds; Euler with 9: {float(base.mean()):.4f}"
        )
        for name, nfe in product(arguments.solvers.split(","), arguments.nfe):
            found = errors(name, nfe)
            ratio = bootstrap((found.numpy(), base.numpy()), ratio_of_means, paired=True, random_state=0)
            low, high = ratio.confidence_interval
            result = {"error": float(found.mean()), "ratio": float(found.mean() / base.mean()), "from": low, "to": high}
            figures[f"{name} {nfe}"] = result
            print(
                f"{name:<16} {nfe:>3}  {result['error']:.4f}  {result['ratio']:.2f} [{low:.2f}, {high:.2f}]", flush=True
            )
    return figures


def ratio_of_means(one: Any, other: Any, axis: int = -1) -> Any:
    """The statistic of the bootstrap."""
    return one.mean(axis=axis) / other.mean(axis=axis)


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the best of several candidates with no search on held-out recordings: quality and cost."""
    max_samples = int(arguments.seconds * RATE_HZ)
    spoken = {each.id: each.waveform[:max_samples] for each in recordings()[: arguments.recordings]}
    table = compare(loading.load(arguments.overrides), example("portrait"), spoken, range(arguments.seeds))
    stdout().print(table)
    return {str(name): dict(zip(table.names[1:], figures, strict=True)) for name, *figures in table.rows}


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


def startup(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times a whole run, a refusal and help, each in a process of its own, and lists what a run imports by package."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = [f"hydra.run.dir={folder}/run", *arguments.overrides]
        for name, given in {"run": whole, "refusal": ["nfe=ten"], "help": ["--help"]}.items():
            walls, processors = zip(*(spent(given) for _ in range(arguments.rounds)), strict=True)
            figures[name] = {"wall_s": median(walls), "cpu_s": median(processors)}
            print(f"{name}: {median(walls):.2f} s, {median(processors):.2f} s of processor time")
        timed_imports = [sys.executable, "-X", "importtime", *INFER[1:], *whole]
        said = subprocess.run(timed_imports, check=True, capture_output=True, text=True).stderr
    by_package: Counter[str] = Counter()
    for microseconds, name in re.findall(r"import time: +(\d+) \| +\d+ \| +([\w.]+)", said):
        by_package[name.partition(".")[0]] += int(microseconds)
    total = by_package.total()
    figures["imports_s"] = {name: count / 1e6 for name, count in by_package.most_common(arguments.packages)}
    print(f"imports: {total / 1e6:.2f} s in all while they were timed; of that")
    for name, count in by_package.most_common(arguments.packages):
        print(f"{name:>16} {count / 1e6:.2f} s, {count / total:.0%}")
    return figures


def spent(arguments: Sequence[str]) -> tuple[float, float]:
    """Returns the seconds of a scripts/infer.py process, and its processor time."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([*INFER, *arguments], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    processor_s = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, processor_s


def infer(*arguments: str) -> float:
    """Returns the seconds of one scripts/infer.py process."""
    started = time.perf_counter()
    subprocess.run([*INFER, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tiny = ["model=tiny", "checkpoint=random", "face=none"]
    long = command(commands, memory, tiny)
    long.add_argument("--short-s", type=float, default=10, help="length of the short clip in seconds")
    long.add_argument("--long-s", type=float, default=600, help="length of the long clip in seconds")
    command(commands, sweep, [])
    command(commands, metrics, [])
    several = command(commands, seeds, [])
    several.add_argument("--seeds", type=int, default=3, help="number of seeds")
    official = ["model=official", "checkpoint=random", "cache=none", "face=none"]
    decoders = command(commands, decode, official)
    decoders.add_argument("--frames", type=int, default=64, help="number of frames")
    decoders.add_argument("--at-once", type=int, default=16, help="frames per call")
    decoders.add_argument("--amplitude", type=float, default=0.3, help="standard deviation of the motion coordinates")
    samplers = command(commands, sample, official)
    samplers.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    fronts = command(commands, solvers, [])
    fronts.add_argument("--recordings", type=int, default=6, help="number of recordings")
    fronts.add_argument("--seeds", type=int, default=4, help="number of seeds")
    fronts.add_argument(
        "--solvers", default="euler,midpoint,ab2,ab3,abm2,dpm_2m", help="comma-separated, such as abm2,euler"
    )
    fronts.add_argument("--nfe", type=int, nargs="+", default=[4, 6, 8, 9, 12], help="evaluations per window")
    searches = command(commands, search, ["search=best_of", "search.n=8"])
    searches.add_argument("--recordings", type=int, default=6, help="number of recordings")
    searches.add_argument("--seeds", type=int, default=4, help="number of seeds")
    searches.add_argument("--seconds", type=float, default=60, help="maximum length of each recording")
    clips = command(commands, clip, official)
    clips.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    streams = command(commands, stream, [])
    streams.add_argument("--seconds", type=float, default=20, help="length of the clip")
    streams.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    lives = command(commands, live, [])
    lives.add_argument("--recordings", type=int, default=6, help="number of recordings")
    lives.add_argument("--seeds", type=int, default=2, help="number of seeds")
    lives.add_argument("--joined", action="store_true", help="also all recordings as one")
    lives.add_argument(
        "--look-ahead-s", type=float, nargs="+", default=[0, 0.5, 2, 4, 1], help="with the last of the contexts"
    )
    lives.add_argument(
        "--context-s", type=float, nargs="+", default=[1, 2, 4, 8], help="with the last of the look-aheads"
    )
    starts = command(commands, startup, [])
    starts.add_argument("--rounds", type=int, default=3, help="number of repetitions; the median counts")
    starts.add_argument("--packages", type=int, default=12, help="number of packages to list")
    many = command(commands, analysis, tiny)
    many.add_argument("--runs", type=int, default=1000, help="number of runs")
    arguments = parser.parse_args()
    figures = arguments.measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def command(
    commands: Any, measure: Callable[[argparse.Namespace], dict[str, Any]], overrides: Sequence[str]
) -> argparse.ArgumentParser:
    """Adds a sub-command named after the function."""
    help_text = " ".join((measure.__doc__ or "").split())
    parser: argparse.ArgumentParser = commands.add_parser(measure.__name__, help=help_text, description=help_text)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("overrides", nargs="*", default=overrides, help=f"settings of all runs ({' '.join(overrides)})")
    parser.set_defaults(measure=measure)
    return parser


if __name__ == "__main__":
    cli.run(main)
