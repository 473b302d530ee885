"""Evaluation of the vector field by the plain modules or by an engine."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, runtime_checkable

from float_research.models.field_engine import FieldEngine
from float_research.models.flow_matching_transformer import FlowMatchingTransformer
from float_research.models.precision import PRECISIONS, Engines, check_precision, computing_dtype
from float_research.types import Network

_engines: Engines[FieldEngine] = Engines()


@runtime_checkable
class Evaluation(Protocol):
    """Builds the network that guidance wraps."""

    def __call__(self, fmt: FlowMatchingTransformer, /) -> Network: ...


@dataclass(frozen=True, kw_only=True)
class Modules:
    """Evaluates the plain modules, in the trainer's precision: the reference for the engine."""

    def __call__(self, fmt: FlowMatchingTransformer, /) -> Network:
        return fmt.vector_field


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Evaluates the prepared engine.

    `precision`: float32, bfloat16 or float16; null: the trainer's. In float64 it uses the plain modules.
    """

    precision: str | None
    compiled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_precision("vector_field.precision", self.precision)

    def __call__(self, fmt: FlowMatchingTransformer, /) -> Network:
        weight = fmt.c_embedder.weight
        dtype = computing_dtype(self.precision, weight)
        if dtype not in PRECISIONS.values():
            return fmt.vector_field
        make = partial(FieldEngine, fmt, dtype, compiled=self.compiled)
        return _engines.get(fmt, weight, (dtype, self.compiled), make).vector_field


@dataclass(frozen=True, kw_only=True)
class Compiled(Prepared):
    """Evaluates the engine compiled by torch.compile for each length, replayed as a CUDA graph on a GPU."""

    compiled: ClassVar[bool] = True
