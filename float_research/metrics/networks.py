"""Networks that a metric gets from the user's files, read without running code of theirs."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from float_research.errors import UserError


def device() -> torch.device:
    """Where networks of metrics compute."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fill(network: nn.Module, path: Path) -> nn.Module:
    """A network with the weights of a file, safetensors or PyTorch's, for evaluation.

    Raises:
        UserError: the file cannot be read, or holds other weights.
    """
    network.load_state_dict(_matching(read_weights(path), network, path))
    return network.to(device()).eval().requires_grad_(False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name → tensor. A file that would run code is refused."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"{path} cannot be read as weights ({type(error).__name__}); get it again") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{path} holds no state dict; save one, or safetensors")
    return tensors


def _matching(tensors: dict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Raises a UserError for weights that are missing or of another shape. Counters of batches may be missing."""
    wanted = network.state_dict()
    found = {name: tensors.get(name, value) for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    for name, value in wanted.items():
        if name not in found:
            if name not in tensors or tensors[name].shape != value.shape:
                has = tuple(tensors[name].shape) if name in tensors else "nothing"
                raise UserError(f"{path} holds {has} as {name}, which should be {tuple(value.shape)}; get another file")
            found[name] = tensors[name]
    return found


def scripted(path: Path) -> torch.jit.ScriptModule:
    """A TorchScript network, for evaluation. Raises a UserError for another file."""
    try:
        return torch.jit.load(str(path), map_location=device()).eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is no TorchScript network; save one with torch.jit.save") from error
