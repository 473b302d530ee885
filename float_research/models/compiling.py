"""Programs of torch.compile: one for each shape of inputs, replayed as CUDA graphs on a GPU."""

from collections.abc import Callable
from threading import RLock
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
MAX_SHAPES = 256
"""PyTorch's default of 8 is too few for a sweep over windows, guidance or batches, and exceeding it is an error."""
_lock = RLock()


def compiled_for(device: torch.device, function: Callable[P, R]) -> Callable[P, R]:
    """Compiles a function of inputs on a device.

    Threads call compiled functions one by one, because in PyTorch 2.11 a call fails while another thread compiles. On
    a GPU a call only queues work.
    """
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    program = torch.compile(function, fullgraph=True, dynamic=False, mode=mode)

    def call(*arguments: P.args, **more: P.kwargs) -> R:
        with _lock, torch._dynamo.config.patch(recompile_limit=MAX_SHAPES):  # which holds for one thread
            return program(*arguments, **more)

    return call
