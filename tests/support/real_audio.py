"""Real recordings put together for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.support.paths import REPOSITORY

SOUNDSCAPE_CLIPS = tuple(
    (REPOSITORY / "tests" / "support" / "soundscape_clips.txt").read_text(encoding="utf-8").split()
)
"""Fold 5 of the first clip list by name, so that lists may grow. No shipped model was trained on it
(tests/shipped/test_unheard.py)."""


def first_clip_list(data_dir: Path) -> Path:
    """What the first shipped weights were trained by: the whole list has the same clips, and
    more."""
    return data_dir / "manifest.csv"


def soundscape(data_dir: Path, duration_s: float) -> np.ndarray:
    """int16 at 16 kHz: some of SOUNDSCAPE_CLIPS, evenly spread, one after the other."""
    paths = [data_dir / name for name in SOUNDSCAPE_CLIPS]
    total_s = sum(round(soundfile.info(path).duration, 3) for path in paths)
    chosen = paths[:: max(1, int(total_s / duration_s))]
    pieces = [soundfile.read(path, dtype="int16")[0] for path in chosen]
    samples = np.concatenate(pieces)[: round(duration_s * 16_000)]
    assert len(samples) >= 0.9 * duration_s * 16_000
    return samples
