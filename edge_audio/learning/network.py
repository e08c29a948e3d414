"""The network whose embedding is learned on, with all that comes with it."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import open_backend
from edge_audio.backends.fingerprint import fingerprint
from edge_audio.backends.stream import open_stream
from edge_audio.bundle.store import Bundle
from edge_audio.learning.bank import Bank, load_bank
from edge_audio.learning.fit import Whitening
from edge_audio.support.arrays import FloatArray


class Embedder(Protocol):
    """What sounds can be learned on: embeddings of a stream, step by step, and stored negatives."""

    @property
    def bank(self) -> Bank: ...

    @property
    def whitening(self) -> Whitening: ...

    @property
    def embedding_dim(self) -> int: ...

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def step_samples(self) -> int: ...

    @property
    def step_s(self) -> float: ...

    def hear(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """f32[n] -> scores f32[n_steps, n_labels], embeddings f32[n_steps, embedding_dim]."""
        ...

    def step_ends_s(self, n_steps: int) -> NDArray[np.float64]:
        """When steps end, in seconds of the samples."""
        ...


class Network:
    """One loaded model, for one thread. bundle: without rows. fingerprint: f32[embedding_dim]."""

    def __init__(self, bundle: Bundle, backend: str = "auto") -> None:
        """Raises BundleError for a bundle without embedding, BackendError."""
        self.bundle = bundle.without_rows()
        self.spec = self.bundle.manifest.model
        self.labels = self.bundle.manifest.labels
        self._backend = open_backend(self.bundle, backend)
        self.fingerprint = fingerprint(self._backend)
        self._stream = open_stream(self._backend, self.spec)

    @cached_property
    def bank(self) -> Bank:
        """The stored negatives. Raises BundleError."""
        return load_bank(self.bundle, self.fingerprint)

    @cached_property
    def whitening(self) -> Whitening:
        """By the stored negatives."""
        return Whitening.of(self.bank.rows)

    @property
    def sample_rate_hz(self) -> int:
        """Of all samples here."""
        return self.spec.frontend.sample_rate_hz

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding."""
        return len(self.fingerprint)

    @property
    def step_samples(self) -> int:
        """By which a stream moves on in a step."""
        return self.spec.step_samples

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.spec.step_s

    def begin(self) -> None:
        """Starts a new stream."""
        self._stream.reset()

    def push(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """f32[n] of the stream, n the first time the overlap and whole steps, later whole steps ->
        scores f32[n_steps, n_labels], embeddings f32[n_steps, embedding_dim]."""
        return self._stream.embed(np.ascontiguousarray(samples, np.float32))

    def hear(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`push` of a whole recording, padded with zeros to whole steps."""
        step, overlap = self.spec.step_samples, self.spec.overlap_samples
        n_steps = max(1, -(-(len(samples) - overlap) // step))
        self.begin()
        return self.push(np.pad(samples, (0, overlap + n_steps * step - len(samples))))

    def step_ends_s(self, n_steps: int) -> NDArray[np.float64]:
        """When the steps of a stream end, in seconds of its audio."""
        overlap_s = self.spec.overlap_samples / self.sample_rate_hz
        return np.asarray(overlap_s + self.spec.step_s * np.arange(1, n_steps + 1), np.float64)
