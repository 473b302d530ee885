"""How the vector field is evaluated: by the plain modules, or by an engine."""

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
    """Makes the network that a guidance wraps."""

    def __call__(self, fmt: FlowMatchingTransformer, /) -> Network: ...


@dataclass(frozen=True, kw_only=True)
class Modules:
    """The plain modules, in the trainer's precision: what the engine is measured against."""

    def __call__(self, fmt: FlowMatchingTransformer, /) -> Network:
        return fmt.vector_field


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The engine; in 64 bits the modules. `precision`: float32, bfloat16 or float16; null is the trainer's."""

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
    """The engine as one program of PyTorch's compiler for each number of rows, on a GPU replayed as a CUDA graph."""

    compiled: ClassVar[bool] = True
