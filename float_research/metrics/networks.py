"""Networks loaded from the user's files: weights, which are data, and TorchScript, which is executable code."""

from pathlib import Path

import torch
from torch import Tensor, nn

from float_research.devices import best
from float_research.errors import UserError, reading
from float_research.files import require_file
from float_research.tensors import read_tensors, refuse_cut_pickles, refuse_damaged


def device() -> torch.device:
    """Returns the device of the metrics' networks."""
    return best()


def fill(network: nn.Module, path: Path) -> nn.Module:
    """Loads weights from a safetensors or PyTorch file into a network, in evaluation mode. The file runs no code.

    Raises:
        UserError: the file cannot be read, or its weights do not match.
    """
    network.load_state_dict(_matching(read_tensors(path, what="weights"), network, path))
    return network.to(device()).eval().requires_grad_(False)


def _matching(tensors: dict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Raises a UserError for missing, wrongly shaped or complex weights. Only `num_batches_tracked` may be missing."""
    wanted = network.state_dict()
    found = {name: tensors.get(name, value) for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    for name, value in wanted.items():
        given = found.get(name, tensors.get(name))
        if given is None or given.shape != value.shape or given.is_complex():
            has = "nothing" if given is None else "complex numbers" if given.is_complex() else tuple(given.shape)
            raise UserError(f"{path} holds {has} as {name}, which should be {tuple(value.shape)}; get another file")
        found[name] = given
    return found


def scripted(path: Path) -> torch.jit.ScriptModule:
    """Loads a TorchScript network in evaluation mode.

    Such a file is a program that is executed: only give one that you trust.

    Raises:
        UserError: the file is damaged, or not TorchScript.
    """
    what, remedy = "TorchScript network", "save one with torch.jit.save"
    require_file(path, what, remedy)
    with reading(f"{what} {path}", remedy):
        refuse_damaged(path)
        refuse_cut_pickles(path)
        return torch.jit.load(str(path), map_location=device()).eval()
