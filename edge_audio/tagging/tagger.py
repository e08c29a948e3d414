"""One stream of audio in, events out: composes front end, backend and event detector."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend, open_backend
from edge_audio.backends.base import require_embedding
from edge_audio.backends.stream import open_stream, open_watch_of
from edge_audio.bundle.spec import EventSpec, Sensitivity
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event, EventDetector, LabelState
from edge_audio.events.policy import EventPolicy, PolicySpec
from edge_audio.features.frontend import BLOCK_FRAMES
from edge_audio.features.gate import LevelGate, Stretch
from edge_audio.sinks.base import TopLabels
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.tagging.samples import SampleInput
from edge_audio.tagging.settings import choose_events
from edge_audio.tagging.turns import Turns


class Step(NamedTuple):
    """What one step brought.

    time_s: audio seconds from the start of the stream to the end of the step.
    scores: f32[n_labels], probabilities in the order of `Tagger.labels`.
    events: starts and ends that the step brought to light, at its time or a little earlier.
    """

    time_s: float
    scores: NDArray[np.float32]
    events: list[Event]


class Tagger:
    """Listens to one stream, from one thread at a time; a second one is refused. Any number of
    taggers, each in a thread of its own, may share a backend: `another` makes one that does.

    bundle, backend: as given.
    labels: names of the scores, in their order.
    sample_rate_hz: of the samples that are pushed.

    In a `with` statement it is closed at the end. It cannot be pickled: open one in each process.

    Pushing the samples in any chunks gives the same scores and events: the front end is fed
    whole steps only, so that every step is computed by calls of the same shapes. (The bits
    are equal where frames_per_step is a multiple of 8, as in all shipped models; otherwise
    scores agree to about 1e-5.)
    """

    _has_ended: bool  # by flush

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        events: EventSpec | None = None,
        gate_dbfs: float | None = None,
        explained: Collection[str] = (),
        sensitivity: Sensitivity | None = None,
        policy: PolicySpec | None = None,
        rate_hz: int | None = None,
        embedding: bool = False,
    ) -> None:
        """A tagger at the start of a stream.

        events: what to report; None = what the bundle's manifest says.
        gate_dbfs: skips long silence below this RMS level of a step, in dB relative to full
            scale, see `edge_audio.features.gate.LevelGate`; None = skips nothing.
        explained: labels whose `label_state` will be asked for, watched or not.
        sensitivity: which of the manifest's thresholds count; None = those of `normal`.
        policy: which of the detected events are reported; None = all. `PolicySpec()` makes one
            sound one event, as the command line does.
        rate_hz: of the samples that are pushed, [n] or [n, n_channels], which are mixed and
            resampled; None = mono samples at the model's rate.
        embedding: whether `embedding` will be asked for.

        Raises UsageError for a gate_dbfs or rate_hz out of range, or a sensitivity beside `events`,
        for which `select_events` takes it; BundleError for an embedding that the model file does
        not give.
        """
        if sensitivity is not None and events is not None:
            raise UsageError("sensitivity chooses among a manifest's thresholds: leave out events")
        manifest = bundle.manifest
        frontend = manifest.model.frontend
        self.bundle = bundle
        self.backend = backend
        self.labels = manifest.labels
        if embedding:
            require_embedding(backend.spec)
        self._embeds, self._rate_hz = embedding, frontend.sample_rate_hz
        self._given_rate_hz, self._input = rate_hz, SampleInput(self._rate_hz, rate_hz)
        self.sample_rate_hz = self._input.rate_hz
        self._step_samples = manifest.model.step_samples
        self._overlap_samples = manifest.model.overlap_samples
        n_block_steps = max(1, BLOCK_FRAMES // manifest.model.frames_per_step)
        self._max_samples = n_block_steps * self._step_samples
        self._stream = open_stream(backend, manifest.model)
        event_spec = manifest.events.at_sensitivity(sensitivity) if events is None else events
        step_s, open_watch = manifest.model.step_s, open_watch_of(backend)
        self._detector = EventDetector(self.labels, event_spec, step_s, explained, open_watch)
        self._gate = LevelGate(manifest.model, gate_dbfs)
        parents, watched = bundle.parents, event_spec.thresholds
        self._policy = None if policy is None else EventPolicy(policy, parents, watched)
        self._open_another = partial(
            type(self), bundle, backend, event_spec, gate_dbfs, explained, None, policy
        )
        self._turns = Turns(
            "tagger", "give each stream its own, made by another()", "open another with Tagger.open"
        )
        self.reset()

    @classmethod
    def open(
        cls,
        model: str | Path = "tiny-int8",
        backend: str = "auto",
        *,
        events: EventSpec | None = None,
        gate_dbfs: float | None = None,
        sensitivity: Sensitivity | None = None,
        policy: PolicySpec | None = None,
        only: Iterable[str] = (),
        exclude: Iterable[str] = (),
        threshold: float | Mapping[str, float] | None = None,
        rate_hz: int | None = None,
        embedding: bool = False,
        sounds: str | Path | None = None,
    ) -> Tagger:
        """Loads a model and makes a tagger of it.

        model: a name of `shipped_bundles`, or the folder of a bundle.
        backend: as `open_backend` takes it.
        only, exclude, threshold, sensitivity: as `select_events` takes them; not beside `events`.
        sounds: a file of sounds that `learn` taught, which are labels like all others.
        events, gate_dbfs, policy, rate_hz, embedding: as for the constructor.

        Raises BundleError, BackendError or UsageError, each saying what to do.
        """
        bundle = load_with_sounds(model, sounds)
        chosen = choose_events(bundle, events, only, exclude, threshold, sensitivity)
        opened = open_backend(bundle, backend)
        open_one = partial(cls, bundle, opened, chosen, gate_dbfs, policy=policy)
        return open_one(rate_hz=rate_hz, embedding=embedding)

    def another(self) -> Tagger:
        """A tagger of another stream, with the settings that this one was opened with. They share
        the model, and each may be in a thread of its own."""
        return self._open_another(rate_hz=self._given_rate_hz, embedding=self._embeds)

    def __enter__(self) -> Tagger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends its use: whoever pushes samples from now on gets a UsageError. Events that are
        open are not reported: `flush` before does that. May be called again."""
        self._turns.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Tagger follows one stream and cannot be pickled or copied: open one in each process "
            "with Tagger.open, or let edge_audio.tag_files do that"
        )

    def __repr__(self) -> str:
        name, backend = self.bundle.manifest.name, self.backend.name
        return f"<Tagger {name} on {backend}, {self.sample_rate_hz} Hz, {self.time_s:.2f} s heard>"

    @property
    def scores(self) -> NDArray[np.float32]:
        """f32[n_labels]: probabilities after the latest step, zeros before the first."""
        return self._scores

    @property
    def by_label(self) -> dict[str, float]:
        """`scores` by label: `tagger.by_label["Dog"]`."""
        return dict(zip(self.labels, self._scores.tolist(), strict=True))

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k labels with the highest scores after the latest step, highest first."""
        return TopLabels(self.labels, k)(self._scores)

    @property
    def embedding(self) -> NDArray[np.float32]:
        """f32[embedding_dim]: the last hidden layer in the latest step that was computed, zeros
        before the first. Raises UsageError unless the tagger was opened with embedding=True."""
        if not self._embeds:
            raise UsageError("open the tagger with embedding=True: it costs a little in each step")
        return self._embedding

    @property
    def has_embedding(self) -> bool:
        """Whether the tagger was opened with embedding=True."""
        return self._embeds

    @property
    def time_s(self) -> float:
        """Audio seconds heard so far."""
        return self._n_samples / self._rate_hz

    @property
    def n_steps(self) -> int:
        """Steps so far, those that the gate skipped included."""
        return self._n_steps

    @property
    def n_skipped_steps(self) -> int:
        """Steps that were not computed, because the gate was closed."""
        return self._n_skipped_steps

    @property
    def gate_dbfs(self) -> float | None:
        """Level of the gate in dB relative to full scale, None = always open. It may be set at any
        time and counts from the next step on. Raises UsageError for a level out of range."""
        return self._gate.dbfs

    @gate_dbfs.setter
    def gate_dbfs(self, gate_dbfs: float | None) -> None:
        self._gate.dbfs = gate_dbfs

    @property
    def is_idle(self) -> bool:
        """Whether no event is open or about to be reported."""
        return self._detector.is_idle

    def label_state(self, label: str) -> LabelState:
        """What the event detector knows of a label that is watched or explained, after the
        latest step that the model heard. Raises ValueError for any other label."""
        return self._detector.state(label)

    def push(self, pcm: NDArray[Any]) -> list[Event]:
        """int16[n], or float32[n] / float64[n] in [-1, 1], any n >= 0, at sample_rate_hz, mono
        -> the events that these samples complete. [n, n_channels] if opened with a rate_hz.

        NaN counts as silence and larger values are clipped; a tagger warns once of floats that are
        plainly on the scale of int16. Raises UsageError for any other dtype or shape, from a
        second thread at the same time, and once it is closed.
        """
        return [event for _, _, events in self.steps(pcm) for event in events]

    def steps(self, pcm: NDArray[Any]) -> Iterator[Step]:
        """Like `push`, but yields a `Step` for every step that these samples complete. Iterate to
        the end: the work is done on the way, and samples that are not reached are lost. Raises
        UsageError at once for a wrong dtype or shape."""
        pcm = self._input.checked(pcm)
        with self._turns:
            if self._has_ended:
                self._reset()
        return self._in_turn(self._reported(self._steps(pcm)))

    def last_steps(self) -> Iterator[Step]:
        """The steps that `flush` computes before it ends all events: of what was held back, and the
        last incomplete one, padded with zeros. Nothing but `flush` may follow."""
        return self._in_turn(self._reported(self._rest()))

    def flush(self) -> list[Event]:
        """Ends the stream: computes the last incomplete step, padded with zeros, and ends every
        open event. `scores`, `time_s` and `n_steps` can be read until the next push, which
        starts a new stream."""
        with self._turns:
            if self._has_ended:
                return []
            events = [event for *_, found in self._reported(self._rest()) for event in found]
            self._has_ended = True
            ended = self._detector.flush(self.time_s)
            return events + (self._policy.flush(ended, self.time_s) if self._policy else ended)

    @property
    def watched(self) -> frozenset[str]:
        """Labels that may become events."""
        return frozenset(self._detector.spec.thresholds)

    def change_events(self, events: EventSpec) -> list[Event]:
        """Reports by other settings from the next step on; the model's state stays. Returns the
        ends of open events whose labels are no longer watched."""
        with self._turns:
            time_s = self._step_end_s()
            ended = self._detector.change(events, time_s)
            if self._policy is not None:
                self._policy.watch(events.thresholds)
                ended = self._policy.push(ended, time_s)
            return ended

    def reset(self) -> None:
        """Starts a new stream: what follows is as from a new Tagger."""
        with self._turns:
            self._reset()

    def _reset(self) -> None:
        self._input.reset()
        self._stream.reset()
        self._detector.reset()
        self._gate.reset()
        if self._policy:
            self._policy.reset()
        self._scores = np.zeros(len(self.labels), np.float32)
        self._embedding = np.zeros(self.backend.spec.embedding_dim, np.float32)
        self._waiting = np.zeros(0, np.float32)  # not yet enough for a step
        self._n_samples = self._n_steps = self._n_skipped_steps = 0
        self._has_ended = False

    def _in_turn(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The same, each made in a turn of its own: between them a loop may ask or reset."""
        while True:
            with self._turns:
                step = next(steps, None)
            if step is None:
                return
            yield step

    def _steps(self, pcm: NDArray[Any]) -> Iterator[Step]:
        for start in range(0, len(pcm), self._max_samples):  # a long file is not copied whole
            yield from self._take(self._input.take(pcm[start : start + self._max_samples]))

    def _take(self, block: NDArray[np.float32]) -> Iterator[Step]:
        """Samples at the model's rate -> the steps that they complete."""
        self._n_samples += len(block)
        samples = np.concatenate([self._waiting, block])
        n_missing = self._missing_samples()
        n_ready = 0
        if len(samples) >= n_missing:
            n_ready = len(samples) - (len(samples) - n_missing) % self._step_samples
        self._waiting = samples[n_ready:]
        if n_ready:
            yield from self._run(samples[:n_ready])

    def _rest(self) -> Iterator[Step]:
        """What was held back, and the step that has begun, padded with zeros."""
        yield from self._take(self._input.flush())
        if n_waiting := len(self._waiting):
            padding = np.zeros(self._missing_samples() - n_waiting, np.float32)
            last, self._waiting = np.concatenate([self._waiting, padding]), padding[:0]
            yield from self._run(last)

    def _reported(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The steps with those of their events that the policy lets pass."""
        if self._policy is None:
            yield from steps
            return
        for step in steps:
            yield step._replace(events=self._policy.push(step.events, step.time_s))

    def _missing_samples(self) -> int:
        """How many samples the next step needs; the first fills the window as well."""
        return self._step_samples + (self._overlap_samples if self._n_steps == 0 else 0)

    def _run(self, samples: NDArray[np.float32]) -> Iterator[Step]:
        """Samples of whole steps -> one item per step."""
        for stretch in self._gate.stretches(samples, lambda: self._detector.is_idle):
            yield from self._hear(stretch) if stretch.is_heard else self._skip(stretch)

    def _hear(self, stretch: Stretch) -> Iterator[Step]:
        """Steps that come late were yielded when they were skipped: the first item after them
        has their events."""
        if stretch.n_late:
            self._stream.forget_samples()
            self._n_steps -= stretch.n_late
            self._n_skipped_steps -= stretch.n_late
        n_late, events = stretch.n_late, []
        for scores in self._computed(stretch.samples):
            self._scores = scores
            self._n_steps += 1
            time_s = self._step_end_s()
            events += self._detector.push(scores, time_s)
            if n_late:
                n_late -= 1
                continue
            yield Step(time_s, scores, events)
            events = []

    def _computed(self, samples: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
        """Scores of each step, whose embedding is kept meanwhile where it is wanted."""
        return self._embedded(samples) if self._embeds else self._stream.push(samples)

    def _embedded(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        for scores, embedding in self._stream.embed(samples):
            self._embedding = embedding
            yield scores

    def _skip(self, stretch: Stretch) -> Iterator[Step]:
        for _ in range(len(stretch.samples) // self._step_samples):
            self._n_steps += 1
            self._n_skipped_steps += 1
            yield Step(self._step_end_s(), self._scores, [])

    def _step_end_s(self) -> float:
        """End of the latest step's last window; never beyond the audio, though flush pads."""
        n_heard = self._overlap_samples + self._n_steps * self._step_samples
        return min(n_heard, self._n_samples) / self._rate_hz
