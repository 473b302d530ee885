"""Capabilities of devices. PyTorch's modules for CUDA, Apple's MPS and Intel's XPU differ in what they offer."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def best() -> torch.device:
    """Returns the accelerator of this machine, or else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def module(device: torch.device) -> Any:
    """Returns PyTorch's module for a type of device, such as `torch.cuda`."""
    return torch.get_device_module(device)


def has_streams(device: torch.device) -> bool:
    """Returns whether a device has streams to separate threads' work: CUDA and XPU do, MPS does not."""
    return device.type != "cpu" and hasattr(module(device), "Stream")


def own_stream(device: torch.device) -> AbstractContextManager[object]:
    """Runs this thread's work on a new stream, where the device has streams."""
    return module(device).stream(module(device).Stream(device)) if has_streams(device) else nullcontext()


def finish(device: torch.device) -> None:
    """Synchronises this thread's stream, or the whole device if it has no streams."""
    if has_streams(device):
        module(device).current_stream(device).synchronize()
    elif device.type != "cpu":
        module(device).synchronize()


def widest(device: torch.device) -> torch.dtype:
    """Returns the widest floating-point type: 64 bits, or 32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def name(device: torch.device) -> str | None:
    """Returns the model name of a device, if PyTorch reports one."""
    get = getattr(module(device), "get_device_name", None) if device.type != "cpu" else None
    return None if get is None else str(get(device))


def peak_mb(device: torch.device) -> float | None:
    """Returns the peak memory allocated by tensors on a device, in MB; MPS does not report it."""
    get = getattr(module(device), "max_memory_allocated", None) if device.type != "cpu" else None
    return None if get is None else get(device) / 1e6
