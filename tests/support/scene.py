"""Loud and silent noise, in which low thresholds find many events."""

from __future__ import annotations

import numpy as np

RATE_HZ = 16_000
_SILENCE_S = 37.77  # a gate closes, and skips more than it replays


def _scene() -> np.ndarray:
    """Bursts that are short, long and overlapping, and a long silence; of odd lengths."""
    generator = np.random.default_rng(0)
    loud = np.repeat(generator.integers(0, 2, 90) * generator.integers(200, 12_000, 90), 1_913)
    pcm = generator.normal(0.0, 1.0, len(loud)) * loud
    silence = np.zeros(round(_SILENCE_S * RATE_HZ))
    return np.concatenate([pcm, silence, pcm[:50_003]]).clip(-32_768, 32_767).astype(np.int16)


SCENE = _scene()
