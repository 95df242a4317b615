"""The globals that state dicts name, each standing for something here: nothing of a file's choosing is imported.

References:
    torch/_utils.py (arguments of the rebuild functions); torch/serialization.py (persistent ids of storages).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forensics.errors import CheckpointError

MAX_RANK = 64
"""Dimensions of a tensor; torch's own iterators stop there."""

ITEMSIZE: dict[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex128": 16, "complex64": 8,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
}  # fmt: skip
"""Bytes per element of the torch dtypes that a state dict may name."""

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PickledStorage:
    """The zip entry ``data/<key>``: ``n_bytes`` that hold elements of ``type_name``."""

    key: str
    type_name: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A view into a storage, in elements; not ``as_stored`` where it stands for negated or conjugated values."""

    storage: PickledStorage
    type_name: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    as_stored: bool


@dataclass(frozen=True, slots=True)
class TensorClass:
    """A storage class or dtype, as its element type; or a tensor class, of which nothing needs to be known."""

    type_name: str = ""


OPAQUE = object()
"""Stands for what no tensor hangs on."""


def is_count(number: object) -> bool:
    """True for a whole number from 0 to 2^63."""
    # The exact type, because True is an int too; below 2^63 as in torch, so that products stay short.
    return type(number) is int and 0 <= number < 1 << 63


def _tensor(args: tuple[Any, ...]) -> PickledTensor:
    """(storage, offset, shape, stride, grad, hooks[, dtype][, metadata]); a dtype comes with untyped storages."""
    match args:
        # Eight at most: a memoised tuple of millions could else be copied with every call.
        case (PickledStorage() as storage, offset, tuple() as shape, tuple() as stride, *rest) if len(args) <= 8:
            name, metadata = storage.type_name, rest[2:]
            if metadata and isinstance(metadata[0], TensorClass):
                name, metadata = metadata[0].type_name, metadata[1:]
            sound = name in ITEMSIZE and len(shape) == len(stride) <= MAX_RANK
            if sound and all(map(is_count, (offset, *shape, *stride))):
                return PickledTensor(storage, name, offset, shape, stride, not any(metadata))
    raise CheckpointError("rebuilds a tensor from wrong arguments")


def _parameter(args: tuple[Any, ...]) -> PickledTensor:
    if args and isinstance(args[0], PickledTensor):
        return args[0]
    raise CheckpointError("makes a parameter from what is not a tensor")


def _tensor_with_attributes(args: tuple[Any, ...]) -> PickledTensor:
    match args:
        # That one function only: if it could call itself, its arguments could nest without end.
        case (function, TensorClass(""), tuple() as inner, *_) if function == _tensor:
            return _tensor(inner)
    raise CheckpointError("rebuilds a tensor with attributes from wrong arguments")


def _mapping(args: tuple[Any, ...]) -> dict[str, Any]:
    if args:
        raise CheckpointError("fills an OrderedDict as no Python 3 does")
    return {}


def _opaque(_: tuple[Any, ...]) -> object:
    return OPAQUE


GLOBALS: dict[str, object] = {
    "collections OrderedDict": _mapping,
    **{f"torch._utils _rebuild_tensor{version}": _tensor for version in ("", "_v2", "_v3")},
    **{f"torch._utils _rebuild_parameter{version}": _parameter for version in ("", "_with_state")},
    "torch._tensor _rebuild_from_type_v2": _tensor_with_attributes,
    "torch Tensor": TensorClass(),
    "torch.storage UntypedStorage": TensorClass("uint8"),
    **{f"torch {name}Storage": TensorClass(element) for name, element in _STORAGES.items()},
    **{f"torch {name}": TensorClass(name) for name in ITEMSIZE},
    # What training checkpoints hold beside tensors: shapes, devices, layouts, schedules, bytes and sets.
    **dict.fromkeys(
        ("torch Size", "torch device", "torch.serialization _get_layout", "collections Counter",
         "_codecs encode", "__builtin__ set", "builtins set"), _opaque,
    ),
}  # fmt: skip
"""By module and name."""
