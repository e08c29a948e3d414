"""What a student remembers between two steps, as nested tuples and as one row of tensors.

Modules pass their state on as a tuple with names, one type for each kind. Exported graphs know
tensors alone: `flatten` lays a state out in the order of its fields, `unflatten` puts it together
again, and `names` says what each tensor is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from torch import Tensor

State = tuple[Any, ...]
"""Tensors [B, ...], or states; a NamedTuple where they have names of their own."""

StateT = TypeVar("StateT", bound=State)


def flatten(state: State) -> tuple[Tensor, ...]:
    """All tensors of a state, depth first."""
    return tuple(tensor for _, tensor in _leaves(state, ""))


def names(state: State) -> tuple[str, ...]:
    """What `flatten` gives, by name: fields and places in tuples, joined by "_"."""
    return tuple(name for name, _ in _leaves(state, ""))


def unflatten(like: StateT, tensors: Sequence[Tensor]) -> StateT:
    """The state that `flatten` makes `tensors` of; `like` is one of the same shapes, the batch
    size aside. Raises ValueError, naming the tensor, if there are more or fewer, or if one has
    another shape: as when two of them have changed places."""
    expected = list(_leaves(like, ""))
    if len(tensors) != len(expected):
        raise ValueError(f"a state of {len(expected)} tensors cannot be made of {len(tensors)}")
    for (name, tensor), given in zip(expected, tensors, strict=True):
        if given.shape[1:] != tensor.shape[1:]:
            raise ValueError(f"{name} is {list(given.shape[1:])}, not {list(tensor.shape[1:])}")
    return cast("StateT", _rebuild(like, iter(tensors)))


def _leaves(state: State, prefix: str) -> Iterator[tuple[str, Tensor]]:
    fields: Sequence[str] = getattr(state, "_fields", [str(i) for i in range(len(state))])
    for field, value in zip(fields, state, strict=True):
        if isinstance(value, Tensor):
            yield prefix + field, value
        else:
            yield from _leaves(value, f"{prefix}{field}_")


def _rebuild(like: State, tensors: Iterator[Tensor]) -> State:
    values = [next(tensors) if isinstance(x, Tensor) else _rebuild(x, tensors) for x in like]
    return type(like)(*values) if hasattr(like, "_fields") else tuple(values)
