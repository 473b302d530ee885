"""What devices can do. CUDA's, Apple's MPS and Intel's XPU differ in what their modules of PyTorch offer."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def best() -> torch.device:
    """The accelerator of this machine, or else its CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def module(device: torch.device) -> Any:
    """PyTorch's module for a kind of devices, such as `torch.cuda`."""
    return torch.get_device_module(device)


def has_streams(device: torch.device) -> bool:
    """Whether work of several threads can be kept apart there: on CUDA and XPU, not on MPS."""
    return device.type != "cpu" and hasattr(module(device), "Stream")


def own_stream(device: torch.device) -> AbstractContextManager[object]:
    """A stream of one's own for what this thread computes, where there are any."""
    return module(device).stream(module(device).Stream(device)) if has_streams(device) else nullcontext()


def finish(device: torch.device) -> None:
    """Waits for what this thread's stream has to do; for all of a device that has no streams."""
    if has_streams(device):
        module(device).current_stream(device).synchronize()
    elif device.type != "cpu":
        module(device).synchronize()


def widest(device: torch.device) -> torch.dtype:
    """The most exact real numbers: of 64 bits, but for MPS, which knows no more than 32."""
    return torch.float32 if device.type == "mps" else torch.float64


def name(device: torch.device) -> str | None:
    """What a device calls itself, if it does."""
    tell = getattr(module(device), "get_device_name", None) if device.type != "cpu" else None
    return None if tell is None else str(tell(device))


def peak_mb(device: torch.device) -> float | None:
    """The most memory that tensors had on a device, in MB; MPS does not tell."""
    tell = getattr(module(device), "max_memory_allocated", None) if device.type != "cpu" else None
    return None if tell is None else tell(device) / 1e6
