"""Previews of a training: labelled rows of images, a film with sound, or a confusion matrix, as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from float_research.files import whole
from float_research.types import Waveform
from float_research.video.writer import H264, Recording

LABEL_PX, TEXT_PX, CELL_PX = 14, 11, 14
COLOURS = ("#1f77b4", "#d62728", "#2ca02c")
ENCODER = H264(crf=20, preset="veryfast", audio_rate_hz=48000, audio_bitrate_bps=96000, fps=None, mark=None)


@runtime_checkable
class Preview(Protocol):
    """What shows the progress of a training. `suffix` is the file's."""

    suffix: str

    def write(self, path: Path) -> None:
        """Writes the file whole."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Rows of images in [-1, 1] by their labels, all of one size."""

    rows: Mapping[str, Float[Tensor, "n 3 h w"]]

    suffix = ".png"

    def write(self, path: Path) -> None:
        strips = []
        for label, images in self.rows.items():
            strip = np.concatenate(list(to_pixels(images)), axis=1)
            strips += [caption({label: 0}, strip.shape[1]), strip]
        save(np.concatenate(strips), path)


@dataclass(frozen=True, kw_only=True)
class Film:
    """Two heads side by side, each with its label, above curves over time; with sound.

    `heads`: two films of square images in [-1, 1]. `curves`: values of each frame, drawn on one scale.
    """

    heads: Mapping[str, Float[Tensor, "t 3 h h"]]
    curves: Mapping[str, Float[Tensor, " t"]]
    waveform: Waveform
    rate_hz: int
    fps: float

    suffix = ".mp4"

    def write(self, path: Path) -> None:
        (size,) = {heads.shape[-1] for heads in self.heads.values()}
        top = caption({label: i * size for i, label in enumerate(self.heads)}, 2 * size)
        plot = self._plot(2 * size, size - LABEL_PX)
        with ENCODER.open(
            path, fps=self.fps, size_px=2 * size, recording=Recording(self.waveform, self.rate_hz)
        ) as writer:
            num = len(next(iter(self.heads.values())))
            for frame in range(num):
                row = np.concatenate([to_pixels(heads[frame : frame + 1])[0] for heads in self.heads.values()], axis=1)
                below = plot.copy()
                below[:, min(frame * 2 * size // num, 2 * size - 1)] = 0
                writer.write(torch.from_numpy(np.concatenate([top, row, below]))[None])

    def _plot(self, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
        picture = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(picture)
        values = torch.stack(list(self.curves.values())) if self.curves else torch.zeros(1, 2)
        low, high = float(values.min()), float(values.max())
        for number, (label, curve) in enumerate(self.curves.items()):
            heights = height - 2 - (curve - low) / max(high - low, 1e-6) * (height - LABEL_PX - 4)
            places = np.linspace(0, width - 1, len(curve))
            draw.line(list(zip(places.tolist(), heights.tolist(), strict=True)), fill=COLOURS[number])
            draw.text((4 + number * width // 2, 0), label, fill=COLOURS[number], font=font())
        return np.array(picture)


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often each class, a row, was taken for each class, a column, as shares of the row."""

    classes: Sequence[str]
    counts: Float[Tensor, "k k"]

    suffix = ".png"

    def write(self, path: Path) -> None:
        shares = self.counts / self.counts.sum(1, keepdim=True).clamp_min(1)
        margin = 8 + max(round(font().getlength(name)) for name in self.classes)
        size = margin + CELL_PX * len(self.classes)
        picture = Image.new("RGB", (size, size + LABEL_PX), "white")
        draw = ImageDraw.Draw(picture)
        draw.text((4, size), "true (rows) and predicted (columns)", fill="black", font=font())
        across = Image.new("RGB", (size - margin, margin), "white")
        for i, name in enumerate(self.classes):
            draw.text((4, margin + i * CELL_PX), name, fill="black", font=font())
            label = Image.new("RGB", (margin, CELL_PX), "white")
            ImageDraw.Draw(label).text((4, 0), name, fill="black", font=font())
            across.paste(label.rotate(90, expand=True), (i * CELL_PX, 0))
            for k, share in enumerate(shares[i].tolist()):
                left, top = margin + k * CELL_PX, margin + i * CELL_PX
                light = round(255 * (1 - share))
                draw.rectangle((left, top, left + CELL_PX - 2, top + CELL_PX - 2), fill=(light, light, 255))
        picture.paste(across, (margin, 0))
        save(np.array(picture), path)


def confusion(classes: Sequence[str], truth: Tensor, predicted: Tensor) -> Confusion:
    """Counts pairs of true and predicted classes."""
    num = len(classes)
    counts = torch.bincount((truth * num + predicted).flatten().cpu(), minlength=num * num)
    return Confusion(classes=classes, counts=counts.reshape(num, num).float())


def to_pixels(images: Float[Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    return ((images.float().clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)


def caption(labels: Mapping[str, int], width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draws labels, each at its place from the left."""
    picture = Image.new("RGB", (width, LABEL_PX), "white")
    for label, left in labels.items():
        ImageDraw.Draw(picture).text((left + 4, 0), label, fill="black", font=font())
    return np.array(picture)


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PX)


def save(pixels: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
    with whole(path) as part:
        Image.fromarray(pixels).save(part, format="PNG")
