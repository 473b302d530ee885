"""Files of named tensors: safetensors and PyTorch state dicts. Nothing in a file is ever executed."""

import json
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from float_research.errors import UserError, named, reading
from float_research.files import require_file

AGAIN = "get it again"
MAX_HEADER_BYTES = 4_000_000
"""The limit of a safetensors header: 911 tensors take about 0.15 MB."""
TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}

Module = TypeVar("Module", bound=nn.Module)


def read_module(module: Module, path: Path, *, what: str) -> Module:
    """Returns a module with the weights of this package's file, in single precision and without gradients."""
    remedy = "reinstall the package"
    tensors = read_tensors(path, what=what, remedy=remedy)
    with reading(f"{what} {path}", remedy):
        module.load_state_dict(tensors)
    return module.eval().requires_grad_(False).float()


def read_tensors(path: Path, *, what: str = "file", remedy: str = AGAIN) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file, known by its suffix, or of a PyTorch file.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    require_file(path, what, remedy)
    if path.suffix == ".safetensors":
        return read_safetensors(path, what=what, remedy=remedy)[0]
    try:
        with reading(f"{what} {path}", remedy), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            refuse_compressed(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise UserError(
                f"{named(what, path)} was not loaded: it is not a plain state dict (it is damaged, or would run "
                f"code); {remedy}, or convert it to safetensors if you trust it"
            ) from error
        raise
    tensors = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) and is_plain(value) for name, value in content.items()
    )
    if not tensors:
        raise UserError(f"{named(what, path)} is not a state dict of named tensors; {remedy}")
    return dict(content)


def read_safetensors(
    path: Path, *, what: str = "file", remedy: str = AGAIN
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads the tensors and the metadata of a safetensors file."""
    require_file(path, what, remedy)
    with reading(f"{what} {path}", remedy):
        refuse_long_header(path)
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def refuse_long_header(path: Path) -> None:
    """Raises a ValueError for a header that declares too great a length: the library would parse up to 100 MB."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header of {length:,} bytes is too long")


def refuse_compressed(path: Path) -> None:
    """Raises a ValueError for an archive with compressed parts, which PyTorch never writes and may expand endlessly."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("its parts are compressed")
        if sum(part.file_size for part in archive.infolist()) > 2 * path.stat().st_size:
            raise ValueError("its parts overlap")


def refuse_damaged(path: Path) -> None:
    """Raises a ValueError for an archive with a wrong checksum, which PyTorch does not verify."""
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise ValueError(f"the checksum of {broken} is wrong")


def refuse_cut_pickles(path: Path) -> None:
    """Raises a ValueError for a pickle in an archive that declares more bytes than it has: C readers would allocate
    them first. Nothing in it is executed.
    """
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.filename.endswith(".pkl"):
                for _ in pickletools.genops(archive.read(part)):
                    pass


def is_plain(value: Tensor) -> bool:
    """Returns whether a tensor is dense, unquantised and on the CPU, rather than a shape without data."""
    return value.device.type == "cpu" and value.layout == torch.strided and not value.is_quantized


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file, tensor by tensor. A full disk raises an OSError, which the library's writer hides."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name, value in tensors.items():
        header[name] = {
            "dtype": TYPES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [begin, begin + value.nbytes],
        }
        begin += value.nbytes
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)
    with path.open("wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for value in tensors.values():
            file.write(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
