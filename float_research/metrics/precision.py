"""Computation in a fixed precision, independent of the trainer's."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from float_research.devices import best


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Sets the default type of new tensors, without autocast and gradients."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with ExitStack() as stack:
            for kind in {"cpu", best().type}:
                stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(torch.inference_mode())
            yield
    finally:
        torch.set_default_dtype(before)
