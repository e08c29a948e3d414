"""One stream of audio in, events out: composes front end, backend and event detector."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend, open_backend
from edge_audio.backends.base import require_embedding
from edge_audio.backends.stream import open_watch_of
from edge_audio.bundle.spec import EventSpec, Sensitivity
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event, EventDetector, LabelState
from edge_audio.events.policy import EventPolicy, PolicySpec
from edge_audio.sinks.base import TopLabels
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.tagging.scorer import ScoredSteps, Scorer, StepListener
from edge_audio.tagging.settings import ScoresOf, check_scored, choose_events, with_scores_of
from edge_audio.tagging.step_reporter import Step, StepReporter, Steps
from edge_audio.tagging.turns import Turns


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
        self.bundle = bundle
        self.backend = backend
        self.labels = manifest.labels
        if embedding:
            require_embedding(backend.spec)
        self._embeds, self._given_rate_hz = embedding, rate_hz
        self._scorer = Scorer(manifest.model, backend, gate_dbfs, rate_hz, embedding)
        self.sample_rate_hz = self._scorer.input.rate_hz
        event_spec = manifest.events.at_sensitivity(sensitivity) if events is None else events
        step_s, open_watch = manifest.model.step_s, open_watch_of(backend)
        detector = EventDetector(self.labels, event_spec, step_s, explained, open_watch)
        parents, watched = bundle.parents, event_spec.thresholds
        sieve = None if policy is None else EventPolicy(policy, parents, watched)
        sizes = len(self.labels), backend.spec.embedding_dim
        self._reporter = StepReporter(detector, sieve, self._scorer.ends_s, *sizes)
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
        scores: ScoresOf = "all",
    ) -> Tagger:
        """Loads a model and makes a tagger of it.

        model: a name of `shipped_bundles`, or the folder of a bundle.
        backend: as `open_backend` takes it.
        only, exclude, threshold, sensitivity: as `select_events` takes them; not beside `events`.
        sounds: a file of sounds that `learn` taught, which are labels like all others.
        scores: "watched": labels that may become events are all that has scores, `labels` are
            these, and the engine computes no others. Their events and scores are the same.
        events, gate_dbfs, policy, rate_hz, embedding: as for the constructor.

        Raises BundleError, BackendError or UsageError, each saying what to do.
        """
        bundle = load_with_sounds(model, sounds)
        chosen = choose_events(bundle, events, only, exclude, threshold, sensitivity)
        bundle = with_scores_of(bundle, chosen, scores)
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
        return self._reporter.scores

    @property
    def by_label(self) -> dict[str, float]:
        """`scores` by label: `tagger.by_label["Dog"]`."""
        return dict(zip(self.labels, self._reporter.scores.tolist(), strict=True))

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k labels with the highest scores after the latest step, highest first."""
        return TopLabels(self.labels, k)(self._reporter.scores)

    @property
    def embedding(self) -> NDArray[np.float32]:
        """f32[embedding_dim]: the last hidden layer in the latest step that was computed, zeros
        before the first. Raises UsageError unless the tagger was opened with embedding=True."""
        if not self._embeds:
            raise UsageError("open the tagger with embedding=True: it costs a little in each step")
        return self._reporter.embedding

    @property
    def has_embedding(self) -> bool:
        """Whether the tagger was opened with embedding=True."""
        return self._embeds

    @property
    def time_s(self) -> float:
        """Audio seconds heard so far."""
        return self._scorer.time_s

    @property
    def n_steps(self) -> int:
        """Steps so far, those that the gate skipped included."""
        return self._reporter.n_steps

    @property
    def n_skipped_steps(self) -> int:
        """Steps that were not computed, because the gate was closed."""
        return self._reporter.n_skipped_steps

    @property
    def gate_dbfs(self) -> float | None:
        """Level of the gate in dB relative to full scale, None = always open. It may be set at any
        time and counts from the next step on. Raises UsageError for a level out of range."""
        return self._scorer.gate.dbfs

    @gate_dbfs.setter
    def gate_dbfs(self, gate_dbfs: float | None) -> None:
        self._scorer.gate.dbfs = gate_dbfs

    @property
    def is_idle(self) -> bool:
        """Whether no event is open or about to be reported."""
        return self._reporter.is_idle()

    def label_state(self, label: str) -> LabelState:
        """What the event detector knows of a label that is watched or explained, after the
        latest step that the model heard. Raises ValueError for any other label."""
        return self._reporter.detector.state(label)

    def push(self, pcm: NDArray[Any]) -> list[Event]:
        """int16[n], or float32[n] / float64[n] in [-1, 1], any n >= 0, at sample_rate_hz, mono
        -> the events that these samples complete. [n, n_channels] if opened with a rate_hz.

        NaN counts as silence and larger values are clipped; a tagger warns once of floats that are
        plainly on the scale of int16. Raises UsageError for any other dtype or shape, from a
        second thread at the same time, and once it is closed.
        """
        pcm = self._scorer.input.checked(pcm)
        with self._turns:
            self._begin()
            return self._events_of(self._scorer.push(pcm, self._reporter))

    def push_steps(self, pcm: NDArray[Any]) -> list[Steps]:
        """Like `push`, but returns all steps that these samples complete, sooner than `steps` can:
        nothing can be asked or changed between them."""
        pcm = self._scorer.input.checked(pcm)
        with self._turns:
            self._begin()
            scored = self._scorer.push(pcm, self._reporter)
            return [steps for part in scored for steps in self._reporter.cut(part)]

    def steps(self, pcm: NDArray[Any]) -> Iterator[Step]:
        """Like `push`, but yields a `Step` for every step that these samples complete. Iterate to
        the end: the work is done on the way, and samples that are not reached are lost. Raises
        UsageError at once for a wrong dtype or shape."""
        pcm = self._scorer.input.checked(pcm)
        with self._turns:
            self._begin()
        return self._in_turn(self._reporter.one_by_one(self._scored(pcm)))

    def last_steps(self) -> Iterator[Step]:
        """The steps that `flush` computes before it ends all events: of what was held back, and the
        last incomplete one, padded with zeros. Nothing but `flush` may follow."""
        rest = self._scorer.rest(StepListener(self._reporter.is_idle))
        return self._in_turn(self._reporter.one_by_one(rest))

    def push_last_steps(self) -> list[Steps]:
        """`last_steps` as `push_steps` has them."""
        with self._turns:
            return [steps for part in self._rest() for steps in self._reporter.cut(part)]

    def flush(self) -> list[Event]:
        """Ends the stream: computes the last incomplete step, padded with zeros, and ends every
        open event. `scores`, `time_s` and `n_steps` can be read until the next push, which
        starts a new stream."""
        with self._turns:
            if self._has_ended:
                return []
            events = self._events_of(self._rest())
            self._has_ended = True
            return events + self._reporter.flush(self.time_s)

    @property
    def watched(self) -> frozenset[str]:
        """Labels that may become events."""
        return frozenset(self._reporter.detector.spec.thresholds)

    def change_events(self, events: EventSpec) -> list[Event]:
        """Reports by other settings from the next step on; the model's state stays. Returns the
        ends of open events whose labels are no longer watched. Raises UsageError for labels that
        have no scores, see `open`."""
        check_scored(self.bundle, events)
        with self._turns:
            return self._reporter.change(events)

    def reset(self) -> None:
        """Starts a new stream: what follows is as from a new Tagger."""
        with self._turns:
            self._reset()

    def _reset(self) -> None:
        self._scorer.reset()
        self._reporter.reset()
        self._has_ended = False

    def _in_turn(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The same, each made in a turn of its own: between them a loop may ask or reset."""
        while True:
            with self._turns:
                step = next(steps, None)
            if step is None:
                return
            yield step

    def _begin(self) -> None:
        if self._has_ended:
            self._reset()

    def _scored(self, pcm: NDArray[Any]) -> Iterator[ScoredSteps]:
        """Begins when it is iterated."""
        yield from self._scorer.push(pcm, StepListener(self._reporter.is_idle))

    def _rest(self) -> Iterator[ScoredSteps]:
        return self._scorer.rest(self._reporter)

    def _events_of(self, scored: Iterable[ScoredSteps]) -> list[Event]:
        at_once = self._reporter.at_once
        return [event for part in scored for _, found in at_once(part) for event in found]
