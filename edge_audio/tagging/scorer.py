"""From samples to scores of whole steps: what a tagger does before there are events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend
from edge_audio.backends.stream import open_stream
from edge_audio.bundle.spec import ModelSpec
from edge_audio.events.detector import Watch
from edge_audio.features.gate import LevelGate, Stretch
from edge_audio.support.arrays import FloatArray
from edge_audio.tagging.samples import SampleInput


class Listener(Protocol):
    """What hears the scores, and is asked before each part of them.

    watch: what may follow the steps beside the network; None where the listener has to see each.
    """

    @property
    def watch(self) -> Watch | None: ...

    def is_idle(self) -> bool:
        """Whether no event is open or about to be, see `LevelGate.stretches`."""


class StepListener(NamedTuple):
    """One that sees each step."""

    is_idle: Callable[[], bool]
    watch: None = None


class ScoredSteps(NamedTuple):
    """Consecutive steps with one fate.

    scores: f32[n_steps, n_labels]. embeddings: f32[n_steps, embedding_dim], None where nobody wants
        them. Both are those of the latest step, again and again, where the model did not hear any.
    is_heard, n_late: see `Stretch`.
    n_watched: what the listener's watch said of them; None where it was not asked.
    """

    scores: FloatArray
    embeddings: FloatArray | None
    is_heard: bool
    n_late: int
    n_watched: int | None = None


class StepGrid(NamedTuple):
    """Where the steps of a stream lie: the first has the whole window, of which overlap_samples
    come before what each step adds."""

    overlap_samples: int
    step_samples: int
    rate_hz: int

    @classmethod
    def of(cls, model: ModelSpec) -> StepGrid:
        return cls(model.overlap_samples, model.step_samples, model.frontend.sample_rate_hz)

    def ends_s(self, steps: range, n_samples: int) -> list[float]:
        """Where the windows of these steps end, of which the first of a stream is 1; never beyond
        the n_samples of audio, though the last step may be padded."""
        overlap_samples, step_samples, rate_hz = self
        ends = [overlap_samples + step * step_samples for step in steps]
        return [min(end, n_samples) / rate_hz for end in ends]

    def begun(self, n_taken: int) -> tuple[int, int]:
        """Of the step that has begun after so many samples, how many there are and how many it
        lacks; the first fills the window as well."""
        n_beyond = n_taken - self.overlap_samples
        if n_beyond < self.step_samples:
            return n_taken, self.step_samples - n_beyond
        n_waiting = n_beyond % self.step_samples
        return n_waiting, self.step_samples - n_waiting


class Scorer:
    """Front end, gate and network of one stream, for one thread. The samples may come in any
    pieces.

    n_samples: at the model's rate, so far.
    """

    def __init__(
        self,
        model: ModelSpec,
        backend: Backend,
        gate_dbfs: float | None = None,
        rate_hz: int | None = None,
        embeds: bool = False,
    ) -> None:
        """rate_hz: of the samples, see `SampleInput`. embeds: whether embeddings are wanted. Raises
        UsageError for a gate_dbfs or rate_hz out of range."""
        self._rate_hz = model.frontend.sample_rate_hz
        self.input = SampleInput(self._rate_hz, rate_hz)
        self.gate = LevelGate(model, gate_dbfs)
        self._stream = open_stream(backend, model)
        self._embeds = embeds
        self._step_samples = model.step_samples
        self._grid = StepGrid.of(model)
        self._n_labels = model.scores.shape[1]
        embedding_dim = backend.spec.embedding_dim
        self._no_embedding = np.zeros((1, embedding_dim), np.float32) if embeds else None
        self._clear()

    def _clear(self) -> None:
        self.n_samples = self._n_taken = 0  # the latter with padding
        self._waiting = np.zeros(0, np.float32)  # for the gate, which takes whole steps
        self._has_passed = False  # samples by the gate
        self._latest = np.zeros((1, self._n_labels), np.float32), self._no_embedding
        self._stream_key = object()  # another one as soon as the stream ends

    def reset(self) -> None:
        """Starts a new stream."""
        self.input.reset()
        self.gate.reset()
        self._stream.reset()
        self._clear()

    @property
    def time_s(self) -> float:
        """Audio seconds so far."""
        return self.n_samples / self._rate_hz

    def ends_s(self, steps: range) -> list[float]:
        """See `StepGrid`."""
        return self._grid.ends_s(steps, self.n_samples)

    def push(self, pcm: NDArray[Any], listener: Listener) -> Iterable[ScoredSteps]:
        """Of what `SampleInput.checked` gave -> the steps that they complete. Iterate to the end,
        and let the listener hear each part before the next."""
        n_most = self._stream.max_steps * self._step_samples
        if len(pcm) <= n_most:
            return self._push(pcm, listener)
        pieces = (pcm[i : i + n_most] for i in range(0, len(pcm), n_most))  # not copied whole
        return (part for piece in pieces for part in self._push(piece, listener))

    def rest(self, listener: Listener) -> Iterator[ScoredSteps]:
        """What was held back, and the step that has begun, padded with zeros."""
        self._stream_key = object()
        samples = self.input.flush()
        self.n_samples += len(samples)
        yield from self._take(samples, listener)
        n_waiting, n_missing = self._begun()
        if n_waiting:
            yield from self._take(np.zeros(n_missing, np.float32), listener)

    def _push(self, pcm: NDArray[Any], listener: Listener) -> Iterable[ScoredSteps]:
        samples = self.input.take(pcm)
        self.n_samples += len(samples)
        return self._take(samples, listener)

    def _begun(self) -> tuple[int, int]:
        return self._grid.begun(self._n_taken)

    def _take(self, samples: FloatArray, listener: Listener) -> Iterable[ScoredSteps]:
        if not self.gate.is_off:
            return self._gated(samples, listener)
        if len(samples) == 0:
            return ()
        self._n_taken += len(samples)
        self._has_passed = True
        if len(self._waiting):
            samples, self._waiting = np.concatenate([self._waiting, samples]), self._waiting[:0]
        return self._heard(samples, 0, listener)

    def _gated(self, samples: FloatArray, listener: Listener) -> Iterator[ScoredSteps]:
        """A step that began before there was a gate is in the stream, and heard. Whoever ends the
        stream between two parts gives up the rest."""
        stream_key = self._stream_key
        if self._has_passed:
            self.gate.pass_by()
            self._has_passed = False
        n_waiting, n_missing = self._begun()
        self._n_taken += len(samples)
        if n_waiting > len(self._waiting):
            yield from self._heard(samples[:n_missing], 0, listener)
            if self._stream_key is not stream_key:
                return
            samples = samples[n_missing:]
        samples = np.concatenate([self._waiting, samples])
        n_ready = max(0, len(samples) - self._begun()[0])
        self._waiting = samples[n_ready:]
        if n_ready:
            for stretch in self.gate.stretches(samples[:n_ready], listener.is_idle):
                yield from self._of(stretch, listener)
                if self._stream_key is not stream_key:
                    return

    def _of(self, stretch: Stretch, listener: Listener) -> Iterable[ScoredSteps]:
        if stretch.is_heard:
            return self._heard(stretch.samples, stretch.n_late, listener)
        n_steps = len(stretch.samples) // self._step_samples
        scores, embeddings = self._latest
        scores = np.repeat(scores, n_steps, axis=0)
        if embeddings is not None:
            embeddings = np.repeat(embeddings, n_steps, axis=0)
        return (ScoredSteps(scores, embeddings, is_heard=False, n_late=0),)

    def _heard(self, samples: FloatArray, n_late: int, listener: Listener) -> Iterable[ScoredSteps]:
        """One part, or none where no step is complete."""
        if n_late:
            self._stream.forget_samples()
        embeddings, n_watched = None, None
        if self._embeds:
            scores, embeddings = self._stream.embed(samples)
        elif (watch := listener.watch) is not None:
            scores, n_watched = self._stream.follow(samples, watch)
        else:
            scores = self._stream.push(samples)
        if len(scores) == 0:
            return ()
        # Copies, since callers may write to what they get, and views would keep all of it.
        self._latest = scores[-1:].copy(), None if embeddings is None else embeddings[-1:].copy()
        return (ScoredSteps(scores, embeddings, True, n_late, n_watched),)
