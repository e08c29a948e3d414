"""Hours of audio for the benchmarks: real clips at changing levels over changing noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list

SAMPLE_RATE_HZ = 16_000
N_CLIPS = 400


def long_stream(hours: float, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Blocks f32[n] within [-1, 1] that add up to `hours`, made as they are asked for.

    Clips of fold 5 in random order, each by -40 to 0 dB; a third of them in silence, the others
    in white noise of -70 to -40 dBFS; after every clip a pause of up to five seconds.
    """
    clip_list = named_clip_list()
    clips = [clip for clip in read_clip_list(clip_list) if clip.fold == 5]
    clips = clips[:: max(1, len(clips) // N_CLIPS)]
    sounds = [read_clip(clip_list.parent / clip.path, SAMPLE_RATE_HZ) for clip in clips]
    rng = np.random.default_rng(seed)
    n_left = round(hours * 3600 * SAMPLE_RATE_HZ)
    while n_left > 0:
        sound = sounds[rng.integers(len(sounds))]
        pause = np.zeros(rng.integers(5 * SAMPLE_RATE_HZ), np.float32)
        block = np.concatenate([sound * _gain(rng, -40.0, 0.0), pause])[:n_left]
        if rng.random() > 1 / 3:
            noise = rng.standard_normal(len(block), np.float32)
            block = block + noise * _gain(rng, -70.0, -40.0)
        n_left -= len(block)
        yield np.clip(block, -1.0, 1.0).astype(np.float32)


def _gain(rng: np.random.Generator, low_db: float, high_db: float) -> np.float32:
    gain: np.float32 = np.float32(10.0 ** (rng.uniform(low_db, high_db) / 20.0))
    return gain
