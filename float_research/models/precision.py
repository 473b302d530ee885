"""Precisions of the engines, and a cache of engines per model."""

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from float_research.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FUSED = "_convolution_pointwise"
E = TypeVar("E")


def check_precision(name: str, value: str | None) -> None:
    """Raises a UserError for a precision that engines do not support."""
    if value is not None and value not in PRECISIONS:
        raise UserError(f"{name}={value} is unknown; choose {', '.join(PRECISIONS)} or null")


def computing_dtype(precision: str | None, weight: torch.Tensor) -> torch.dtype:
    """Returns the dtype of `precision`; for None that of autocast, or else of the weights."""
    if precision is not None:
        return PRECISIONS[precision]
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def supports_fusion(dtype: torch.dtype, device: torch.device) -> bool:
    """Returns whether PyTorch's fused oneDNN operators, which its compiler uses, support this dtype on this CPU."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, FUSED):
        return False
    supported = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
    return dtype == torch.float32 or bool(getattr(torch.ops.mkldnn, supported[dtype])())


class Engines(Generic[E]):
    """Caches engines by module, key, dtype and device, for the lifetime of the module."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], E]] = WeakKeyDictionary()

    def get(self, module: nn.Module, weight: torch.Tensor, key: tuple[object, ...], make: Callable[[], E]) -> E:
        """Returns the engine of a module for `key`, built on first use. `weight`: any weight of the module."""
        engines, whole = self._made.setdefault(module, {}), (*key, weight.dtype, weight.device)
        if whole not in engines:
            engines[whole] = make()
        return engines[whole]
