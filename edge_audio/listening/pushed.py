"""Samples that a program brings forth, as a source."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from edge_audio.sources.base import Block
from edge_audio.tagging.samples import SampleInput


class PushedSamples:
    """A `Source` of any iterable of arrays, such as a generator that reads a camera."""

    name = "samples"
    live = False
    waits = True
    max_burst_s = 0.0
    n_restarts = 0

    def __init__(
        self, chunks: Iterable[NDArray[Any]], sample_rate_hz: int, rate_hz: int | None
    ) -> None:
        """sample_rate_hz: of the blocks. rate_hz: of the chunks, see `SampleInput`."""
        self.sample_rate_hz = sample_rate_hz
        self._chunks, self._input = chunks, SampleInput(sample_rate_hz, rate_hz)
        self._stopped = threading.Event()

    def __enter__(self) -> PushedSamples:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()

    def blocks(self) -> Iterator[Block]:
        """Raises UsageError for chunks that are no samples, and what the iterable raises."""
        n_samples = 0
        for samples in self._mono():
            if len(samples):
                yield Block(samples, n_samples / self.sample_rate_hz)
            n_samples += len(samples)

    def _mono(self) -> Iterator[NDArray[Any]]:
        for chunk in self._chunks:
            if self._stopped.is_set():
                return
            yield self._input.take(self._input.checked(chunk))
        yield self._input.flush()
