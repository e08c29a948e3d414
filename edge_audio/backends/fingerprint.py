"""Which network a backend runs: what it makes of a sound that never changes."""

from __future__ import annotations

import numpy as np

from edge_audio.backends.base import Backend, step_blocks
from edge_audio.features.frontend import open_frontend
from edge_audio.support.arrays import FloatArray

_N_STEPS = 25
_MAX_DISTANCE = 0.1
"""Of one network as runtimes and schemes round it, relative to its length: `tiny` in float is 0.02
from its int8 on the engine, and another training of the same shape, tiny-base, 2.2."""


def fingerprint(backend: Backend) -> FloatArray:
    """f32[embedding_dim], after two seconds. Raises BundleError if the model gives no embedding."""
    spec = backend.spec
    n_samples = spec.overlap_samples + _N_STEPS * spec.step_samples
    rows = open_frontend(spec, None).push(_sound(n_samples))
    state, found = backend.initial_state(), np.zeros(0, np.float32)
    for block in step_blocks(spec, rows):
        _, found, state = backend.embed(block, state)
    return found


def is_same_network(ours: FloatArray, theirs: FloatArray) -> bool:
    """Whether two fingerprints are those of one network."""
    if ours.shape != theirs.shape:
        return False
    length = max(float(np.linalg.norm(theirs)), 1e-6)
    return float(np.linalg.norm(ours - theirs)) <= _MAX_DISTANCE * length


def _sound(n_samples: int) -> FloatArray:
    """Bursts of noise beside a tone, of integers that are the same everywhere."""
    raw = np.random.PCG64(0).random_raw(n_samples)
    noise = (raw >> np.uint64(48)).astype(np.float32) / np.float32(32768.0) - np.float32(1.0)
    time = np.arange(n_samples)
    is_burst = time // 4000 % 2 == 0
    tone = (time * 1000 // 16000 % 2).astype(np.float32) - np.float32(0.5)
    mixed: FloatArray = np.float32(0.2) * noise * is_burst + np.float32(0.1) * tone
    return mixed.astype(np.float32)
