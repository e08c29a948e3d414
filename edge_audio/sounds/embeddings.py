"""Embeddings as bytes: a byte for each value."""

from __future__ import annotations

import numpy as np

from edge_audio.bundle.manifest import EMBEDDING_BOUND
from edge_audio.support.arrays import FloatArray

_LOWEST = -0.375  # of hardswish
_UNIT = (EMBEDDING_BOUND - _LOWEST) / 255.0


def to_bytes(rows: FloatArray) -> bytes:
    """f32[n, embedding_dim] -> n * embedding_dim bytes; what is out of range goes to its end."""
    steps = np.round((np.asarray(rows, np.float32) - _LOWEST) / _UNIT)
    return np.clip(steps, 0, 255).astype(np.uint8).tobytes()


def from_bytes(content: bytes, embedding_dim: int) -> FloatArray:
    """What `to_bytes` made, within 0.0125: f32[n, embedding_dim]. Raises ValueError for bytes that
    are no rows."""
    if embedding_dim < 1 or len(content) % embedding_dim:
        raise ValueError(f"{len(content)} bytes are no rows of {embedding_dim}")
    steps = np.frombuffer(content, np.uint8).reshape(-1, embedding_dim)
    return np.asarray(steps * np.float32(_UNIT) + np.float32(_LOWEST), np.float32)
