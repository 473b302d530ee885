"""A benchmark of composite=paste: what it does to the rest of a picture, to its edge, to memory and to time."""

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as PillowImage

from benchmarks.runs import peak_own_mb
from float_research import compose
from float_research.data.examples import ASSETS, example
from float_research.data.image import read_image
from float_research.tracking.record import read_record
from float_research.types import Image, Region
from float_research.video.composite import even, seam_of
from float_research.video.preview import contact_sheet
from float_research.video.reader import read_frames


def composite(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures composite=paste on the astronaut and on a toy head in a picture of 3840 x 2160: changes outside of the
    crop, gradients at its edge against the picture's own, flicker there, and what it costs in memory and time. Linux.
    """
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, image, crop in (("astronaut", Path(example("photo")), ""), ("group", *group_picture(folder))):
            (folder / f"{name}.csv").write_text(f'image,audio,end_s,crop\n{image},{example("speech")},2,"{crop}"\n')
            memory_mb = {}
            for setting in ("none", "paste", "paste composite.colour=poisson", "paste composite.colour=null"):
                run = folder / f"{name} {setting.rpartition('=')[2]}"
                told = [f"data.file={folder / name}.csv", f"hydra.run.dir={run}", f"composite={setting}"]
                memory_mb[setting] = peak_own_mb(*arguments.overrides, *told[:2], *told[2].split())
                (clip,) = (content := read_record(run / "record.json"))["clips"]
                write_ms = 1000 * content["totals"]["seconds"]["write"] / clip["num_frames"]
                if setting == "none":
                    print(f"{name}, composite=none: {write_ms:.0f} ms a frame to write")
                    continue
                found = at_the_seam(run / clip["video"], read_image(image, "black"), clip["face"])
                found |= {"memory_mb": memory_mb[setting] - memory_mb["none"], "write_ms": write_ms}
                figures[f"{name} {setting}"] = found
                print(
                    f"{name}, composite={setting}: {found['outside']} pixels changed outside, gradient at the edge "
                    f"{found['gradient']:.2f} x the picture's, flicker {found['flicker']:.3f} of 255 at the edge and "
                    f"{found['motion']:.2f} inside, {found['memory_mb']:+.0f} MB, {write_ms:.0f} ms a frame to write"
                )
                sheet = contact_sheet(run / clip["video"], folder / f"{run.name}.png", rows=1, columns=3)
                with PillowImage.open(sheet) as picture:
                    picture.resize((1200, round(1200 * picture.height / picture.width))).save(sheet, optimize=True)
    return figures


def group_picture(folder: Path) -> tuple[Path, str]:
    """Writes toy portraits on a wall as one picture of 3840 x 2160; returns it, and the crop of one of the heads."""
    rng, cubic = np.random.default_rng(0), cv2.INTER_CUBIC
    wall = cv2.resize(rng.integers(110, 150, (27, 48), dtype=np.uint8), (3840, 2160), interpolation=cubic)
    picture = np.repeat((wall + rng.normal(0, 2, wall.shape)).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    for number, path in enumerate(sorted((ASSETS / "suites" / "portraits").glob("toy_*.png"))):
        left, top = 150 + 1220 * (number % 3), 20 + 1080 * (number // 3)
        head = cv2.resize(read_image(path, "black"), (900, 900), interpolation=cubic)
        framed = cv2.copyMakeBorder(head, 70, 70, 70, 70, cv2.BORDER_REPLICATE)
        picture[top : top + 1040, left : left + 1040] = framed
    place = folder / "group.png"
    PillowImage.fromarray(picture).save(place, compress_level=1)
    return place, "1440,90,2340,990"


def at_the_seam(video: Path, picture: Image, face: dict[str, int]) -> dict[str, float]:
    """Measures a pasted video at its edge.

    `outside`: pixels farther than 4 px from the crop that differ from the picture, encoded alone. `gradient`: the
    largest ratio of mean luma gradients to the picture's, in four strips of opacity and 2 px around the edge.
    `flicker`, `motion`: mean absolute second difference over time, where the opacity is below 0.1 and above 0.9.
    """
    picture = even(picture)
    height, width = picture.shape[:2]
    region = Region(*(face[f"crop_{name}"] for name in Region._fields))
    seam = seam_of(region, width, height, float(compose.compose_config(["composite=paste"]).composite.feather))
    with tempfile.TemporaryDirectory() as folder:
        encoder = compose.build(compose.compose_config(["video.crf=0"]).video)
        with encoder.open(Path(folder, "a.mp4"), fps=25.0, size_px=(width, height), recording=None) as writer:
            writer.add(picture)
        (still,) = read_frames(Path(folder, "a.mp4"))
    opacity = np.zeros((height, width), np.float32)
    opacity[seam.top : seam.bottom, seam.left : seam.right] = seam.opacity(slice(seam.top, seam.bottom))[..., 0]
    near = slice(max(0, seam.top - 8), seam.bottom + 8), slice(max(0, seam.left - 8), seam.right + 8)
    crop = (opacity[near] > 0).astype(np.uint8)
    outside = cv2.dilate((opacity > 0).astype(np.uint8), np.ones((9, 9))) == 0
    edges = (0, 0.1, 0.5, 0.9, 1)
    strips = [(opacity[near] > low) & (opacity[near] <= high) for low, high in pairwise(edges)]
    strips.append(cv2.dilate(crop, np.ones((5, 5))) != cv2.erode(crop, np.ones((5, 5)), borderValue=1))

    def gradients(frame: Image) -> Any:
        slopes = np.hypot(*np.gradient(cv2.cvtColor(frame[near], cv2.COLOR_RGB2GRAY).astype(np.float32)))
        return np.array([slopes[strip].mean() for strip in strips])

    changed, slopes, bends, last = 0, list[Any](), list[Any](), list[Any]()
    for frame in read_frames(video):
        changed += int((frame[outside] != still[outside]).any(-1).sum())
        slopes.append(gradients(frame))
        last = [*last[-2:], frame[near].astype(np.int16)]
        if len(last) == 3:
            bend = np.abs(last[0] - 2 * last[1] + last[2]).mean(-1)
            bends.append([bend[strips[0]].mean(), bend[strips[3]].mean()])
    flicker, motion = np.mean(bends, axis=0)
    gradient = (np.mean(slopes, axis=0) / gradients(still)).max()
    return {"outside": changed, "gradient": float(gradient), "flicker": float(flicker), "motion": float(motion)}
