"""YAMNet's embedding in the place of ours, for few-shot learning by the same protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.data.clip_list import Clip
from distill.data.split import Split
from distill.scoring.negatives import bank_rows, telling_rows
from distill.teachers.yamnet import (
    EMBEDDING_DIM,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    YamnetTeacher,
)
from edge_audio.learning.bank import Bank
from edge_audio.learning.fit import Whitening
from edge_audio.support.arrays import FloatArray


class YamnetEmbedder:
    """An `Embedder`: a step is a window of 0.975 s, every half of it. The stored negatives are of
    the recordings that ours are of, and as many as they come, however large."""

    embedding_dim, sample_rate_hz = EMBEDDING_DIM, SAMPLE_RATE_HZ
    step_samples, step_s = HOP_SAMPLES, HOP_SAMPLES / SAMPLE_RATE_HZ

    def __init__(self, peers: Path, split: Split, clips: Sequence[Clip], folder: Path) -> None:
        """Raises UsageError if the folder of peers lacks it, BackendError without LiteRT."""
        self._yamnet = YamnetTeacher.load(peers, keeps_embedding=True)
        self._source = split, clips, folder

    @cached_property
    def bank(self) -> Bank:
        return bank_rows(telling_rows(self, *self._source))

    @cached_property
    def whitening(self) -> Whitening:
        return Whitening.of(self.bank.rows)

    def hear(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """f32[n] -> scores f32[n_windows, 521], embeddings f32[n_windows, EMBEDDING_DIM]."""
        return self._yamnet.window_embeddings(samples)

    def step_ends_s(self, n_steps: int) -> NDArray[np.float64]:
        """When windows end."""
        ends = WINDOW_SAMPLES + HOP_SAMPLES * np.arange(n_steps)
        return np.asarray(ends / SAMPLE_RATE_HZ, np.float64)
