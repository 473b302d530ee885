"""Sources of weights: the layouts of FLOAT checkpoints, and seeded weights for tests and dry runs.

Canonical parameter names are those of the official files. They name a weight-normed convolution `weight_g`, `weight_v`;
current libraries use `parametrizations.weight.original0`, `original1`. Both are accepted.
"""

import hashlib
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from float_research.errors import UserError
from float_research.files import require_file, whole
from float_research.models.float_model import FloatModel
from float_research.tensors import read_tensors, save_tensors

Shapes = Mapping[str, Sequence[int]]

UNUSED = re.compile(r"noise\.weight$|\.to_rgb1\.|\.kernel$|masked_spec_embed$|^fmt\.pos_embed$|^fmt\.alignment_mask$")
"""Tensors in checkpoints that inference does not use: blur kernels, masks, tables and unused branches."""

HOW_TO_GET = (
    "run download_checkpoints.sh of the official repository (deepbrainai-research/float) "
    "and give its folder as checkpoint.folder=FOLDER, or use checkpoint=random"
)
AUDIO_MODEL, EMOTION_MODEL = "wav2vec2-base-960h", "wav2vec-english-speech-emotion-recognition"
MAX_LISTED = 20
REAL = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
"""Accepted types of weights."""


def canonical(key: str) -> str:
    """Returns the official name of a parameter, for any library version that wrote it."""
    return key.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


class Checkpoint(ABC):
    """A source of weights.

    `trained`: False if the frames are meaningless. `toy`: trained on the toy world only. `notice`: what a run must say
    about its frames. `fps`: frame rate of the training data, if known.
    """

    trained: ClassVar[bool] = True
    fps: ClassVar[float | None] = 25.0
    toy: ClassVar[bool] = False
    notice: ClassVar[str | None] = None

    @abstractmethod
    def files(self) -> list[Path]:
        """Returns its files, without reading them. Raises a UserError if one is missing."""

    @abstractmethod
    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        """Returns tensors by canonical name, for a model with parameters of these names and shapes."""

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the files' contents; for random weights their seed."""
        states = ((path, path.stat()) for path in self.files())
        return _sha256(tuple((path, state.st_mtime_ns, state.st_size) for path, state in states))


@lru_cache(maxsize=16)
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Returns the SHA-256 of files, cached per process by path, modification time and size."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Official(Checkpoint):
    """`float.pth` and the two Hugging Face folders, as the official download script lays them out."""

    folder: str

    def files(self) -> list[Path]:
        return [require_checkpoint(Path(self.folder) / "float.pth"), *speech_files(Path(self.folder))]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        main, *_ = self.files()
        return {**speech_tensors(Path(self.folder)), **read_weights(main)}


@dataclass(frozen=True, kw_only=True)
class Unified(Checkpoint):
    """One file with the whole state dict, such as `FLOAT.safetensors`."""

    file: str

    def files(self) -> list[Path]:
        return [require_checkpoint(Path(self.file), "give your file as checkpoint.file=FILE, or use checkpoint=random")]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        return read_weights(self.files()[0])


@dataclass(frozen=True, kw_only=True)
class Demo(Unified):
    """The weights in this package, trained on illustrated talking heads."""

    toy: ClassVar[bool] = True
    notice: ClassVar[str | None] = (
        "The demo weights are trained on an illustrated toy world: their frames say nothing about the official model."
    )


@dataclass(frozen=True, kw_only=True)
class Split(Checkpoint):
    """One file per network, without prefixes, and the two Hugging Face folders next to them."""

    folder: str

    PREFIXES: ClassVar[dict[str, str]] = {
        "motion_autoencoder/encoder.safetensors": "motion_autoencoder.enc.",
        "motion_autoencoder/decoder.safetensors": "motion_autoencoder.dec.",
        "audio_projections/projection.safetensors": "audio_encoder.audio_projection.",
        "fmt/fmt.safetensors": "fmt.",
    }

    def files(self) -> list[Path]:
        return [
            *(require_checkpoint(Path(self.folder) / name) for name in self.PREFIXES),
            *speech_files(Path(self.folder)),
        ]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        tensors = speech_tensors(Path(self.folder))
        for name, prefix in self.PREFIXES.items():
            tensors |= {prefix + key: value for key, value in read_weights(Path(self.folder) / name).items()}
        return tensors


@dataclass(frozen=True, kw_only=True)
class Stages(Checkpoint):
    """The exports of scripts/train.py: each file holds some of the networks, under official names."""

    weights: Sequence[str]

    fps: ClassVar[float | None] = None

    def files(self) -> list[Path]:
        remedy = "give the weights.safetensors of each stage as checkpoint.weights=[FILE,FILE,…]"
        return [require_checkpoint(Path(file), remedy) for file in self.weights]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        return {name: value for file in self.files() for name, value in read_weights(file).items()}


@dataclass(frozen=True, kw_only=True)
class Random(Checkpoint):
    """Untrained weights seeded by `seed` and each parameter's name: the same on every machine."""

    seed: int

    trained: ClassVar[bool] = False
    fps: ClassVar[float | None] = None
    notice: ClassVar[str | None] = (
        "The weights are untrained (seeded random numbers): the frames show that the pipeline runs, not a face."
    )

    def files(self) -> list[Path]:
        return []

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        return {name: seeded_weight(name, shape, self.seed) for name, shape in shapes.items()}

    def fingerprint(self) -> str:
        return f"random-{self.seed}"


def seeded_weight(name: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """Draws a weight: x ~ N(0, 1) from PCG64(crc32(name) ^ seed), scaled by the kind of parameter.

    Equalised layers of the motion auto-encoder are x itself, flow layers 0.02 x, other weights x / sqrt(fan_in),
    biases 0.1 x; gains and modulation biases 1 + 0.1 x.
    """
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) ^ seed))
    x = torch.from_numpy(generator.standard_normal(tuple(shape), dtype=np.float32))
    if name.startswith("motion_autoencoder."):
        if name.endswith("modulation.bias"):
            return 1 + 0.1 * x
        if len(shape) == 1 or name.endswith(".bias"):
            return 0.1 * x
        return 0.02 * x if re.search(r"to_flows\.\d+\.conv\.weight$", name) else x
    if len(shape) >= 2:
        return x / np.sqrt(np.prod(shape[1:])).astype(np.float32)
    return 1 + 0.1 * x if "norm" in name and name.endswith("weight") else 0.1 * x


def require_checkpoint(path: Path, remedy: str = HOW_TO_GET) -> Path:
    """Returns `path`. Raises a UserError with the `remedy` if it is not a file."""
    return require_file(path, "checkpoint file", remedy)


def speech_files(folder: Path) -> list[Path]:
    """Returns the weight files of the two Hugging Face models in `folder`, preferring safetensors."""
    found = []
    for name in (AUDIO_MODEL, EMOTION_MODEL):
        candidates = [folder / name / "model.safetensors", folder / name / "pytorch_model.bin"]
        found.append(next((path for path in candidates if path.is_file()), candidates[0]))
    return [require_checkpoint(path) for path in found]


def speech_tensors(folder: Path) -> dict[str, Tensor]:
    """Reads the two Hugging Face models under the official prefixes, without heads for other tasks."""
    tensors: dict[str, Tensor] = {}
    prefixes = ("audio_encoder.", "emotion_encoder.wav2vec2_for_emotion.")
    for path, prefix in zip(speech_files(folder), prefixes, strict=True):
        for key, value in read_weights(path).items():
            if not key.startswith("lm_head."):
                tensors[prefix + key] = value
    return tensors


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors or PyTorch file by canonical name, without executing any code in it."""
    content = read_tensors(path, what="checkpoint file")
    return {canonical(key): value for key, value in content.items()}


def earlier_tensors(path: Path) -> dict[str, Tensor]:
    """Reads weights for `init_from`: a file of weights, or a folder with the two Hugging Face models."""
    return speech_tensors(path) if path.is_dir() else read_weights(path)


def load_model(build: Callable[[], FloatModel], checkpoint: Checkpoint) -> FloatModel:
    """Builds the networks on the meta device, loads `checkpoint` into them and returns them ready for inference.

    Weight norms are folded into their weights: only training needs them, and they cost time and prevent pickling.
    """
    checkpoint.files()
    with torch.device("meta"):
        model = build()
    names = {canonical(key): key for key in model.state_dict()}
    shapes = parameter_shapes(model)
    tensors = checkpoint.tensors(shapes)
    check_keys(shapes, tensors)
    state = {own: tensors[name].to(torch.float32) for name, own in names.items()}
    model.load_state_dict(state, strict=True, assign=True)
    for module in model.modules():
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
            module._load_state_dict_pre_hooks.clear()  # weight_norm leaves a hook that cannot be pickled
    return model.eval().requires_grad_(False)


def parameter_shapes(model: FloatModel) -> dict[str, tuple[int, ...]]:
    """Returns each parameter's shape by canonical name."""
    return {canonical(key): tuple(value.shape) for key, value in model.state_dict().items()}


def check_keys(shapes: Shapes, tensors: Mapping[str, Tensor]) -> None:
    """Raises a UserError that lists tensors that are missing, unexpected, or of the wrong shape or type."""
    given = {key for key in tensors if not UNUSED.search(key)}
    wrong = [
        f"{key} is {list(tensors[key].shape)} instead of {list(shape)}"
        for key, shape in shapes.items()
        if key in given and tuple(tensors[key].shape) != tuple(shape)
    ]
    kinds = {key: str(tensors[key].dtype).removeprefix("torch.") for key in shapes if key in given}
    problems = {
        "missing": [key for key in shapes if key not in given],
        "unexpected": sorted(given - set(shapes)),
        "of the wrong shape": wrong,
        "of the wrong type": [f"{key} is {kinds[key]}" for key in kinds if tensors[key].dtype not in REAL],
    }
    if any(problems.values()):
        listed = "; ".join(f"{len(keys)} {kind}: {shorten(keys)}" for kind, keys in problems.items() if keys)
        raise UserError(f"the checkpoint does not fit the model ({listed}); choose the model=… it was trained with")


def shorten(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return ", ".join(keys[:MAX_LISTED]) + more


def convert(checkpoint: Checkpoint, build: Callable[[], FloatModel], output: Path, *, half: bool) -> int:
    """Checks the checkpoint against the model and writes it as one safetensors file under canonical names.

    `half` stores 16-bit floats, at half the size. The file is written atomically. Returns the number of tensors.
    """
    if output.suffix != ".safetensors":
        raise UserError(f"output={output} must end in .safetensors")
    checkpoint.files()
    with torch.device("meta"):
        shapes = parameter_shapes(build())
    tensors = checkpoint.tensors(shapes)
    check_keys(shapes, tensors)
    if half:
        tensors = {name: value.to(torch.float16) for name, value in tensors.items()}
        infinite = [name for name, value in tensors.items() if not value.isfinite().all()]
        if infinite:
            raise UserError(f"half=true: {shorten(infinite)} overflows 16-bit floats; convert with half=false")
    with whole(output) as part:
        save_tensors(tensors, part)
    return len(tensors)
