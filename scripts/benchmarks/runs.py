"""Benchmarks of whole runs, each in a process of its own."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from float_research.data.examples import example
from float_research.texts import count
from float_research.tracking.record import read_record
from float_research.tracking.runs import find

INFER = (sys.executable, str(Path(__file__).parents[1] / "infer.py"))
PHASES = ("encode_image", "encode_audio", "emotion", "sample", "decode", "write")
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
        clips = [clip for run in find(Path(folder) / "sweep").runs for clip in run.record["clips"]]
        timed_s = sum(sum(clip["seconds"].values()) for clip in clips)
        settings = [f"solver={solver} nfe={nfe}".split() for solver, nfe in product(SOLVERS, NFES)]
        separate = ["budget=evaluations", "cache=none", *arguments.overrides]
        separate_s = sum(
            infer(*setting, *separate, f"hydra.run.dir={folder}/separate/{number}")
            for number, setting in enumerate(settings)
        )
    device = table["device"][0]
    print(f"{len(table)} runs as one sweep: {sweep_s:.1f} s on {device}, with an empty cache")
    print(f"their sampling, decoding and encoding: {phases_s:.1f} s; the sweep took {sweep_s / phases_s:.2f} x that")
    print(f"all that records time, from reading to metrics: {timed_s:.1f} s; it took {sweep_s / timed_s:.2f} x that")
    print(
        f"{len(settings)} processes, cache=none: {separate_s:.1f} s; the sweep took {sweep_s / separate_s:.2f} x that"
    )
    return {
        "device": device,
        "runs": len(table),
        "sweep_s": sweep_s,
        "phases_s": phases_s,
        "timed_s": timed_s,
        "alone_s": separate_s,
    }


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
    print(f"{count(len(numbers), 'seed')} in one run: {one[0]:.1f} s, {one[1]:.1f} s of processor time")
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
    figures["imports_s"] = {name: taken_us / 1e6 for name, taken_us in by_package.most_common(arguments.packages)}
    print(f"imports: {total / 1e6:.2f} s in all while they were timed; of that")
    for name, taken_us in by_package.most_common(arguments.packages):
        print(f"{name:>16} {taken_us / 1e6:.2f} s, {taken_us / total:.0%}")
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
