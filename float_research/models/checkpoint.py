"""Where weights come from: the layouts in which FLOAT checkpoints are found, and seeded weights for tests and dry runs.

Parameter names are canonical, those of the official files. Their weight-normed convolution is `weight_g`, `weight_v`;
current libraries say `parametrizations.weight.original0`, `original1`. Both are read.
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

from float_research import tensors as files_of_tensors
from float_research.errors import UserError
from float_research.files import require_file, whole
from float_research.models.float_model import FloatModel

Shapes = Mapping[str, Sequence[int]]

UNUSED = re.compile(r"noise\.weight$|\.to_rgb1\.|\.kernel$|masked_spec_embed$|^fmt\.pos_embed$|^fmt\.alignment_mask$")
"""Tensors that checkpoints carry and inference has no use for: blur kernels, masks, tables and untaken branches."""

HOW_TO_GET = (
    "run download_checkpoints.sh of the official repository (deepbrainai-research/float) "
    "and name the folder it fills with checkpoint.folder=FOLDER, or run with checkpoint=random"
)
AUDIO_MODEL, EMOTION_MODEL = "wav2vec2-base-960h", "wav2vec-english-speech-emotion-recognition"
MAX_LISTED = 20
REAL = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
"""Types of weights."""


def canonical(key: str) -> str:
    """The official name of a parameter, whichever library version wrote it."""
    return key.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


class Checkpoint(ABC):
    """A source of weights.

    `trained` is False where frames mean nothing, `toy` True where training saw the toy world only. `notice` is what a
    run must say of its frames. `fps`: the frame rate of training, where it is known.
    """

    trained: ClassVar[bool] = True
    fps: ClassVar[float | None] = 25.0
    toy: ClassVar[bool] = False
    notice: ClassVar[str | None] = None

    @abstractmethod
    def files(self) -> list[Path]:
        """The files it consists of. Raises UserError for one that is not there, before anything is read."""

    @abstractmethod
    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        """Canonical name → tensor, for a model with parameters of these names and shapes."""

    def fingerprint(self) -> str:
        """SHA-256 of the files' contents; for random weights their seed."""
        states = ((path, path.stat()) for path in self.files())
        return _sha256(tuple((path, state.st_mtime_ns, state.st_size) for path, state in states))


@lru_cache(maxsize=16)
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    """SHA-256 of files by path, time of change and size: read once for all runs of a process."""
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
        return [existing(Path(self.folder) / "float.pth"), *speech_files(Path(self.folder))]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        main, *_ = self.files()
        return {**speech_tensors(Path(self.folder)), **read_tensors(main)}


@dataclass(frozen=True, kw_only=True)
class Unified(Checkpoint):
    """One file with the whole state dict, such as `FLOAT.safetensors`."""

    file: str

    def files(self) -> list[Path]:
        return [existing(Path(self.file), "name your file with checkpoint.file=FILE, or run with checkpoint=random")]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        return read_tensors(self.files()[0])


@dataclass(frozen=True, kw_only=True)
class Demo(Unified):
    """The weights in this package, trained on illustrated talking heads."""

    toy: ClassVar[bool] = True
    notice: ClassVar[str | None] = (
        "The demo weights know an illustrated toy world only: what they show says nothing about the official model."
    )


@dataclass(frozen=True, kw_only=True)
class Split(Checkpoint):
    """One file a network, without prefixes, and the two Hugging Face folders beside them."""

    folder: str

    PREFIXES: ClassVar[dict[str, str]] = {
        "motion_autoencoder/encoder.safetensors": "motion_autoencoder.enc.",
        "motion_autoencoder/decoder.safetensors": "motion_autoencoder.dec.",
        "audio_projections/projection.safetensors": "audio_encoder.audio_projection.",
        "fmt/fmt.safetensors": "fmt.",
    }

    def files(self) -> list[Path]:
        return [*(existing(Path(self.folder) / name) for name in self.PREFIXES), *speech_files(Path(self.folder))]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        tensors = speech_tensors(Path(self.folder))
        for name, prefix in self.PREFIXES.items():
            tensors |= {prefix + key: value for key, value in read_tensors(Path(self.folder) / name).items()}
        return tensors


@dataclass(frozen=True, kw_only=True)
class Stages(Checkpoint):
    """What our own trainings export: files that hold some networks each, under official names."""

    weights: Sequence[str]

    fps: ClassVar[float | None] = None

    def files(self) -> list[Path]:
        remedy = "name the weights.safetensors of each stage with checkpoint.weights=[FILE,FILE,…]"
        return [existing(Path(file), remedy) for file in self.weights]

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        return {name: value for file in self.files() for name, value in read_tensors(file).items()}


@dataclass(frozen=True, kw_only=True)
class Random(Checkpoint):
    """Weights drawn from each parameter's name and `seed`: the same on every machine, and meaningless."""

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
    """A weight from its canonical name: x ~ N(0, 1) from PCG64(crc32(name) ^ seed), scaled by the kind of parameter.

    Equalised layers of the motion auto-encoder take x itself, flow layers 0.02 x, other weights x / sqrt(fan_in),
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


def existing(path: Path, remedy: str = HOW_TO_GET) -> Path:
    """`path`, or a UserError that says what is expected there and how to get it."""
    return require_file(path, "checkpoint file", remedy)


def speech_files(folder: Path) -> list[Path]:
    """The weights of the two Hugging Face models in `folder`, safetensors preferred."""
    found = []
    for name in (AUDIO_MODEL, EMOTION_MODEL):
        candidates = [folder / name / "model.safetensors", folder / name / "pytorch_model.bin"]
        found.append(next((path for path in candidates if path.is_file()), candidates[0]))
    return [existing(path) for path in found]


def speech_tensors(folder: Path) -> dict[str, Tensor]:
    """The two Hugging Face models under the official prefixes; heads for other tasks are left out."""
    tensors: dict[str, Tensor] = {}
    prefixes = ("audio_encoder.", "emotion_encoder.wav2vec2_for_emotion.")
    for path, prefix in zip(speech_files(folder), prefixes, strict=True):
        for key, value in read_tensors(path).items():
            if not key.startswith("lm_head."):
                tensors[prefix + key] = value
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors or PyTorch file by canonical name. Nothing in a file is ever executed."""
    content = files_of_tensors.read_tensors(path, what="checkpoint file")
    return {canonical(key): value for key, value in content.items()}


def earlier_tensors(path: Path) -> dict[str, Tensor]:
    """What a training may begin with: a file of weights, or a folder that holds the two Hugging Face models."""
    return speech_tensors(path) if path.is_dir() else read_tensors(path)


def load_model(build: Callable[[], FloatModel], checkpoint: Checkpoint) -> FloatModel:
    """Builds the networks without memory, fills them from `checkpoint`, and returns them ready for inference.

    Weight norms are folded into their weights: a norm is a means of training, and costs time and pickling here.
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
            module._load_state_dict_pre_hooks.clear()  # weight_norm leaves one behind, which cannot be pickled
    return model.eval().requires_grad_(False)


def parameter_shapes(model: FloatModel) -> dict[str, tuple[int, ...]]:
    """Canonical name → shape of each parameter."""
    return {canonical(key): tuple(value.shape) for key, value in model.state_dict().items()}


def check_keys(shapes: Shapes, tensors: Mapping[str, Tensor]) -> None:
    """Raises a UserError that lists every missing, unexpected or wrongly shaped tensor, and those of whole numbers."""
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
        "wrongly shaped": wrong,
        "of another type": [f"{key} is {kinds[key]}" for key in kinds if tensors[key].dtype not in REAL],
    }
    if any(problems.values()):
        listed = "; ".join(f"{len(keys)} {kind}: {shortened(keys)}" for kind, keys in problems.items() if keys)
        raise UserError(f"the checkpoint does not fit the model ({listed}); choose the model=… it was made for")


def shortened(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return ", ".join(keys[:MAX_LISTED]) + more


def convert(checkpoint: Checkpoint, build: Callable[[], FloatModel], output: Path, *, half: bool) -> int:
    """Writes the checkpoint as one safetensors file under canonical names, checked against the model first.

    `half` stores 16-bit floats, at half the size. The file appears whole or not at all. Returns the number of tensors.
    """
    if output.suffix != ".safetensors":
        raise UserError(f"output={output} does not end in .safetensors")
    checkpoint.files()
    with torch.device("meta"):
        shapes = parameter_shapes(build())
    tensors = checkpoint.tensors(shapes)
    check_keys(shapes, tensors)
    if half:
        tensors = {name: value.to(torch.float16) for name, value in tensors.items()}
        infinite = [name for name, value in tensors.items() if not value.isfinite().all()]
        if infinite:
            raise UserError(f"half=true: {shortened(infinite)} is too large for 16-bit floats; convert with half=false")
    with whole(output) as part:
        files_of_tensors.save_tensors(tensors, part)
    return len(tensors)
