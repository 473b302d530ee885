"""A small sweep with metrics and traces like those of real runs."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from float_research import compose
from float_research.video.writer import H264, Recording

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
ORDERS = {"euler": 1, "midpoint": 2}
EVALUATIONS = (4, 8, 16)
SETTINGS = [
    *([f"solver={solver}", f"nfe={nfe}"] for solver in ORDERS for nfe in EVALUATIONS),
    *([f"guidance.audio.scale={a}", f"guidance.emotion.scale={e}"] for a in (1, 3) for e in (0, 2)),
    ["emotion=label", "emotion.label=happy"],
    ["chunking.previous_frames=0"],
]
"""Two solvers with three budgets, two scales of each guidance, another emotion, another number of previous frames."""


def make_sweep(folder: Path, audio: Path) -> Path:
    """Runs all settings. Errors fall exactly by the solvers' orders."""
    for number, overrides in enumerate(SETTINGS):
        place = folder / str(number)
        told = [
            *TINY,
            "solver=euler",
            "budget=evaluations",
            "nfe=4",
            f"data.audio={audio}",
            f"output_dir={place}",
            *overrides,
        ]
        compose.build_job(compose.compose_config(told)).run(Console(quiet=True))
        change(place, overrides=overrides)
        measure(place)
    return folder


def lengthen(sweep: Path, audio: Path, num_frames: int) -> Path:
    """Gives all runs of a sweep one longer video with brightening frames, and traces of that length."""
    levels = torch.linspace(0, 255, num_frames).byte()
    settings = H264(fps=None, mark=None, crf=20, preset="veryfast", audio_rate_hz=48000, audio_bitrate_bps=96000)
    video = sweep / "video.mp4"
    with settings.open(video, fps=25.0, size_px=64, recording=Recording(audio)) as writer:
        writer.write(levels[:, None, None, None].expand(num_frames, 64, 64, 3))
    for path in sweep.glob("*/record.json"):
        clips = json.loads(path.read_text())["clips"]
        for clip in clips:
            (path.parent / clip["video"]).unlink()
            (path.parent / clip["video"]).hardlink_to(video)
            traced(num_frames).to_parquet(path.parent / clip["traces"])
        change(path.parent, clips=[clip | {"num_frames": num_frames} for clip in clips])
    return sweep


def change(run: Path, **parts: Any) -> None:
    """Rewrites parts of the record of a run."""
    path = run / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def measure(run: Path) -> None:
    """Gives the clips of a run metrics, reasons of absent ones, and traces."""
    record = json.loads((run / "record.json").read_text())
    settings = dict(text.split("=") for text in record["overrides"])
    (run / "traces").mkdir(exist_ok=True)
    for clip in record["clips"]:
        error = 3.0 * clip["measured"]["evaluations"] ** -ORDERS[settings.get("solver", "euler")]
        clip["metrics"] = {"sampling_error": error, "motion_amplitude": 0.5, "seam_jump": 1.5}
        clip["absent"] = {"psnr_db": "needs a reference video"}
        clip["traces"] = f"traces/{clip['id']}.parquet"
        traced(clip["num_frames"]).to_parquet(run / clip["traces"])
    change(run, clips=record["clips"])


def traced(num_frames: int) -> pd.DataFrame:
    frame = np.arange(num_frames)
    columns = {
        "frame": frame,
        "time_s": frame / 25,
        "window": frame // 50,
        "motion_velocity": np.abs(np.sin(frame / 5)),
        "mouth_opening": np.abs(np.sin(frame / 3)),
        "audio_level": np.abs(np.sin(frame / 3.1)),
        "speech": (frame >= num_frames // 2).astype(float),
        "bilabial": (frame == num_frames // 2).astype(float),
        **{f"direction_{number:02d}": np.sin(frame / 9 + number) for number in range(3)},
        **{f"emotion_{name}": np.full(num_frames, 0.5) for name in ("happy", "sad")},
    }
    return pd.DataFrame(columns)


def synthetic(template: Path, folder: Path, count: int) -> Path:
    """Writes many runs from the record and config of one, without videos."""
    record = json.loads((template / "record.json").read_text())
    config = (template / "config.yaml").read_text()
    for number in range(count):
        place = folder / str(number)
        place.mkdir(parents=True)
        overrides = [f"solver={('euler', 'midpoint')[number % 2]}", f"nfe={2 + number % 20}", f"seed={number}"]
        (place / "record.json").write_text(json.dumps(record | {"overrides": overrides}))
        (place / "config.yaml").write_text(config)
    return folder


def crossed(template: Path, folder: Path, solvers: Sequence[str] = ("euler", "midpoint", "abm2")) -> Path:
    """Writes a run per solver from the record of one run: 3 recordings × 2 portraits × 2 seeds, without videos.

    Each solver raises `lip_correlation` over the one before, and none changes `flicker`.
    """
    random = np.random.default_rng(0)
    record = json.loads((template / "record.json").read_text())
    units = list(itertools.product("abc", "xy", (15, 16)))
    base = random.normal(0, 0.1, len(units))
    for number, solver in enumerate(solvers):
        place = folder / str(number)
        place.mkdir(parents=True)
        clips = [
            record["clips"][0]
            | {"id": f"{image}-{audio}-seed{seed}", "base_id": f"{image}-{audio}", "seed": seed}
            | {"audio_sha256": audio, "image_sha256": image, "video": None, "traces": None}
            | {"metrics": dict(zip(("lip_correlation", "flicker", "mine"), values, strict=True)), "absent": {}}
            for (audio, image, seed), own in zip(units, base, strict=True)
            for values in [(0.4 + 0.05 * number + own, 2.0, number + 1.5) + 0.0003 * random.normal(size=3)]
        ]
        (place / "record.json").write_text(json.dumps(record | {"overrides": [f"solver={solver}"], "clips": clips}))
        (place / "config.yaml").write_text((template / "config.yaml").read_text())
    return folder
