"""Capabilities of devices. PyTorch's modules for CUDA, Apple's MPS and Intel's XPU differ in what they offer."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import torch

_idle_streams: dict[torch.device, SimpleQueue[Any]] = defaultdict(SimpleQueue)


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


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Runs this thread's work on a stream of its own, where the device has streams.

    Streams are used again, because the allocator keeps freed memory for each.
    """
    if not has_streams(device):
        yield
        return
    idle = _idle_streams[device]
    try:
        stream = idle.get_nowait()
    except Empty:
        stream = module(device).Stream(device)
    try:
        with module(device).stream(stream):
            yield
    finally:
        idle.put(stream)


def finish(device: torch.device) -> None:
    """Synchronises this thread's stream, or the whole device if it has no streams."""
    if has_streams(device):
        module(device).current_stream(device).synchronize()
    elif device.type != "cpu":
        module(device).synchronize()


def use(device: torch.device) -> None:
    """Makes a device the default of its type, so that the processes of a run do not all use the first one."""
    if has_streams(device):
        module(device).set_device(device)


def allow_tf32(allowed: bool) -> None:
    """Sets whether CUDA may round the factors of float32 products to 10 bits of mantissa. PyTorch's default is mixed:
    convolutions are rounded and matrix products are not.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def tf32_allowed() -> bool:
    return bool(torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32)


def widest(device: torch.device) -> torch.dtype:
    """Returns the widest floating-point type: 64 bits, or 32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def name(device: torch.device) -> str | None:
    """Returns the model name of a device, if PyTorch reports one, and whether it computes in TF32."""
    get = getattr(module(device), "get_device_name", None) if device.type != "cpu" else None
    if get is None:
        return None
    return f"{get(device)}, TF32" if device.type == "cuda" and tf32_allowed() else str(get(device))


def start_peak(device: torch.device) -> None:
    """Starts a new peak of a device's memory at what is allocated now."""
    reset = getattr(module(device), "reset_peak_memory_stats", None) if device.type != "cpu" else None
    if reset is not None:
        reset(device)


def peak_mb(device: torch.device) -> float | None:
    """Returns the peak memory allocated by tensors on a device since `start_peak`, in MB; MPS does not report it."""
    get = getattr(module(device), "max_memory_allocated", None) if device.type != "cpu" else None
    return None if get is None else get(device) / 1e6
