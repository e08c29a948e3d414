"""The head of an engine image: which labels it has, and those beside the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.rows import HeadRows
from edge_audio.errors import BundleError
from edge_audio.support.arrays import FloatArray

_LARGEST = 32_767  # of the integers of `numbers`


def numbers(values: np.ndarray) -> bytes:
    """The unit as float32, then int16 multiples of it, the largest being 32767."""
    unit = np.float32(np.abs(values).max(initial=0.0) / _LARGEST) or np.float32(1.0)
    return _multiples(unit, np.round(values.astype(float) / unit))


def padded(content: bytes, unit: int = 4) -> bytes:
    """Zeros up to a multiple of `unit` bytes."""
    return content + bytes(-len(content) % unit)


def with_chosen_rows(
    arrays: bytes, embedding_dim: int, n_labels: int, kept: Sequence[int]
) -> bytes:
    """The arrays with only those rows of the head, which is what they end with: weights, scales,
    biases. Raises BundleError for arrays that are too short for it."""
    head = _head(arrays, embedding_dim, n_labels)
    chosen = list(kept)
    columns = (head.scale, head.bias)
    return b"".join(
        (
            head.before,
            head.weight[chosen].tobytes(),
            *(_multiples(unit, integers[chosen]) for unit, integers in columns),
        )
    )


def with_more_rows(arrays: bytes, embedding_dim: int, n_labels: int, rows: HeadRows) -> bytes:
    """The arrays with more rows behind those of the head, whose own bytes stay. Raises BundleError
    where the rows do not fit the network, or its numbers."""
    if rows.weight.shape[1] != embedding_dim:
        raise BundleError(
            f"the sounds are rows of {rows.weight.shape[1]}, this model's embedding has "
            f"{embedding_dim}: learn them again with this model"
        )
    head = _head(arrays, embedding_dim, n_labels)
    weight = np.pad(rows.weight, ((0, 0), (0, head.weight.shape[1] - embedding_dim)))
    columns = ((head.scale, rows.scale), (head.bias, rows.bias))
    return b"".join(
        (
            head.before,
            head.weight.tobytes(),
            weight.tobytes(),
            *(_with_more(*column, more) for column, more in columns),
        )
    )


_Numbers = tuple[np.float32, NDArray[np.int16]]


class _Head(NamedTuple):
    """before: all other arrays. weight: int8[n_labels, row]. scale, bias: unit and multiples."""

    before: bytes
    weight: NDArray[np.int8]
    scale: _Numbers
    bias: _Numbers


def _head(arrays: bytes, embedding_dim: int, n_labels: int) -> _Head:
    row = embedding_dim + -embedding_dim % 8
    n_bytes = 4 + 2 * (n_labels + n_labels % 2)  # of scales or biases
    start = len(arrays) - n_labels * row - 2 * n_bytes
    if start < 0:
        raise BundleError("engine.bin does not fit its manifest: restore the original bundle")
    weight = np.frombuffer(arrays, np.int8, n_labels * row, start).reshape(n_labels, row)
    scale, bias = arrays[-2 * n_bytes : -n_bytes], arrays[-n_bytes:]
    return _Head(arrays[:start], weight, _parsed(scale, n_labels), _parsed(bias, n_labels))


def _parsed(column: bytes, n: int) -> _Numbers:
    return np.frombuffer(column, "<f4", 1)[0], np.frombuffer(column, "<i2", n, 4)


def _with_more(unit: np.float32, integers: NDArray[np.int16], more: FloatArray) -> bytes:
    """In the unit that is there, so that no number before changes."""
    added = np.round(more.astype(float) / float(unit))
    if len(added) and np.abs(added).max() > _LARGEST:
        raise BundleError(
            "the sounds have larger numbers than this engine.bin can hold: use --backend litert, "
            "or learn them again"
        )
    return _multiples(unit, np.concatenate([integers, added]))


def _multiples(unit: np.float32, integers: np.ndarray) -> bytes:
    return np.array(unit, "<f4").tobytes() + padded(integers.astype("<i2").tobytes())
