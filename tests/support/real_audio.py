"""Real recordings put together for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from distill.data.clip_list import read_clip_list


def soundscape(data_dir: Path, duration_s: float) -> np.ndarray:
    """int16 at 16 kHz: clips of fold 5, which no shipped model was trained on, evenly spread
    over the manifest, one after the other."""
    clips = [clip for clip in read_clip_list(data_dir) if clip.fold == 5]
    total_s = sum(clip.duration_s for clip in clips)
    chosen = clips[:: max(1, int(total_s / duration_s))]
    pieces = [soundfile.read(data_dir / clip.path, dtype="int16")[0] for clip in chosen]
    samples = np.concatenate(pieces)[: round(duration_s * 16_000)]
    assert len(samples) >= 0.9 * duration_s * 16_000
    return samples
