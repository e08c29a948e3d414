"""One stream of audio in, events out: composes front end, backend and event detector."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend, open_backend
from edge_audio.backends.stream import open_stream, open_watch_of
from edge_audio.bundle.spec import EventSpec, Sensitivity
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event, EventDetector, LabelState
from edge_audio.events.policy import EventPolicy, PolicySpec
from edge_audio.features.frontend import BLOCK_FRAMES
from edge_audio.features.gate import LevelGate, Stretch

_MIN_TELLING_SAMPLES, _MAX_TELLING_SAMPLES = 100, 1_600  # of one push
_BEYOND_FULL_SCALE = 1.5
_SCALE_HINT = (
    "samples are floats on the scale of int16 and are clipped to -1 to 1: divide them by 32768, or "
    "pass them as int16"
)
_DTYPES = (np.dtype(np.int16), np.dtype(np.float32), np.dtype(np.float64))


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
    """Listens to one stream, in one thread. Taggers may share a backend.

    bundle, backend: as given.
    labels: names of the scores, in their order.
    sample_rate_hz: of the samples that are pushed.

    Pushing the samples in any chunks gives the same scores and events: the front end is fed
    whole steps only, so that every step is computed by calls of the same shapes. (The bits
    are equal where frames_per_step is a multiple of 8, as in all shipped models; otherwise
    scores agree to about 1e-5.)
    """

    _has_ended: bool  # by flush
    _is_scale_told = False  # that samples are not within -1 and 1

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        events: EventSpec | None = None,
        gate_dbfs: float | None = None,
        explained: Collection[str] = (),
        sensitivity: Sensitivity | None = None,
        policy: PolicySpec | None = None,
    ) -> None:
        """A tagger at the start of a stream.

        events: what to report; None = what the bundle's manifest says.
        gate_dbfs: skips long silence below this RMS level of a step, in dB relative to full
            scale, see `edge_audio.features.gate.LevelGate`; None = skips nothing.
        explained: labels whose `label_state` will be asked for, watched or not.
        sensitivity: which of the manifest's thresholds count; None = those of `normal`.
        policy: which of the detected events are reported; None = all. `PolicySpec()` makes one
            sound one event, as the command line does.

        Raises UsageError for a gate_dbfs out of range, or a sensitivity beside `events`, for which
        `select_events` takes it.
        """
        if sensitivity is not None and events is not None:
            raise UsageError("sensitivity chooses among a manifest's thresholds: leave out events")
        manifest = bundle.manifest
        frontend = manifest.model.frontend
        self.bundle = bundle
        self.backend = backend
        self.labels = manifest.labels
        self.sample_rate_hz = frontend.sample_rate_hz
        self._step_samples = manifest.model.step_samples
        self._overlap_samples = manifest.model.overlap_samples
        self._max_samples = self._step_samples * max(
            1, BLOCK_FRAMES // manifest.model.frames_per_step
        )
        self._stream = open_stream(backend, manifest.model)
        event_spec = manifest.events.at_sensitivity(sensitivity) if events is None else events
        step_s, open_watch = manifest.model.step_s, open_watch_of(backend)
        self._detector = EventDetector(self.labels, event_spec, step_s, explained, open_watch)
        self._gate = LevelGate(manifest.model, gate_dbfs)
        self._policy = EventPolicy(policy) if policy is not None else None
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
    ) -> Tagger:
        """Loads a model and makes a tagger of it.

        model: a name of `shipped_bundles`, or the folder of a bundle.
        backend: as `open_backend` takes it.
        events, gate_dbfs, sensitivity, policy: as for the constructor.

        Raises BundleError, BackendError or UsageError, each saying what to do.
        """
        bundle = load_bundle(model)
        opened = open_backend(bundle, backend)
        return cls(bundle, opened, events, gate_dbfs, sensitivity=sensitivity, policy=policy)

    @property
    def scores(self) -> NDArray[np.float32]:
        """f32[n_labels]: probabilities after the latest step, zeros before the first."""
        return self._scores

    @property
    def time_s(self) -> float:
        """Audio seconds pushed so far."""
        return self._n_samples / self.sample_rate_hz

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

    def label_state(self, label: str) -> LabelState:
        """What the event detector knows of a label that is watched or explained, after the
        latest step that the model heard. Raises ValueError for any other label."""
        return self._detector.state(label)

    def push(self, pcm: NDArray[Any]) -> list[Event]:
        """int16[n], or float32[n] / float64[n] in [-1, 1], any n >= 0, at sample_rate_hz, mono
        -> the events that these samples complete.

        NaN counts as silence and larger values are clipped; a tagger warns once of floats that are
        plainly on the scale of int16. Raises UsageError for any other dtype or shape.
        """
        return [event for _, _, events in self.steps(pcm) for event in events]

    def steps(self, pcm: NDArray[Any]) -> Iterator[Step]:
        """Like `push`, but yields a `Step` for every step that these samples complete. Iterate to
        the end: the work is done on the way, and samples that are not reached are lost. Raises
        UsageError at once for a wrong dtype or shape."""
        pcm = _checked(pcm)
        if not self._is_scale_told and _looks_like_int16(pcm):
            self._is_scale_told = True
            warnings.warn(_SCALE_HINT, stacklevel=3)
        if self._has_ended:
            self.reset()
        return self._reported(self._steps(pcm))

    def flush(self) -> list[Event]:
        """Ends the stream: computes the last incomplete step, padded with zeros, and ends every
        open event. `scores`, `time_s` and `n_steps` can be read until the next push, which
        starts a new stream."""
        if self._has_ended:
            return []
        events: list[Event] = []
        if n_waiting := len(self._waiting):
            padding = np.zeros(self._missing_samples() - n_waiting, np.float32)
            last = np.concatenate([self._waiting, padding])
            events += [event for *_, found in self._reported(self._run(last)) for event in found]
        self._has_ended = True
        ended = self._detector.flush(self.time_s)
        return events + (self._policy.flush(ended, self.time_s) if self._policy else ended)

    def change_events(self, events: EventSpec) -> list[Event]:
        """Reports by other settings from the next step on; the model's state stays. Returns the
        ends of open events whose labels are no longer watched."""
        time_s = self._step_end_s()
        ended = self._detector.change(events, time_s)
        return self._policy.push(ended, time_s) if self._policy else ended

    def reset(self) -> None:
        """Starts a new stream: what follows is as from a new Tagger."""
        self._stream.reset()
        self._detector.reset()
        self._gate.reset()
        if self._policy:
            self._policy.reset()
        self._scores = np.zeros(len(self.labels), np.float32)
        self._waiting = np.zeros(0, np.float32)  # not yet enough for a step
        self._n_samples = 0
        self._n_steps = 0
        self._n_skipped_steps = 0
        self._has_ended = False

    def _steps(self, pcm: NDArray[Any]) -> Iterator[Step]:
        for start in range(0, len(pcm), self._max_samples):  # a long file is not copied whole
            block = _to_float32(pcm[start : start + self._max_samples])
            self._n_samples += len(block)
            samples = np.concatenate([self._waiting, block])
            n_missing = self._missing_samples()
            n_ready = 0
            if len(samples) >= n_missing:
                n_ready = len(samples) - (len(samples) - n_missing) % self._step_samples
            self._waiting = samples[n_ready:]
            if n_ready:
                yield from self._run(samples[:n_ready])

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
        for scores in self._stream.push(stretch.samples):
            self._scores = scores
            self._n_steps += 1
            time_s = self._step_end_s()
            events += self._detector.push(scores, time_s)
            if n_late:
                n_late -= 1
                continue
            yield Step(time_s, scores, events)
            events = []

    def _skip(self, stretch: Stretch) -> Iterator[Step]:
        for _ in range(len(stretch.samples) // self._step_samples):
            self._n_steps += 1
            self._n_skipped_steps += 1
            yield Step(self._step_end_s(), self._scores, [])

    def _step_end_s(self) -> float:
        """End of the latest step's last window; never beyond the audio, though flush pads."""
        n_heard = self._overlap_samples + self._n_steps * self._step_samples
        return min(n_heard, self._n_samples) / self.sample_rate_hz


def _checked(pcm: NDArray[Any]) -> NDArray[Any]:
    if isinstance(pcm, (bytes, bytearray, memoryview)):
        raise UsageError(
            "samples are bytes: say what is in them, e.g. np.frombuffer(samples, np.int16)"
        )
    pcm = np.asarray(pcm)
    if pcm.ndim == 2:
        axis = 0 if pcm.shape[0] < pcm.shape[1] else 1  # the shorter is that of the channels
        raise UsageError(
            f"samples have shape {pcm.shape}: pass one channel, e.g. samples.mean(axis={axis})"
        )
    if pcm.ndim != 1:
        raise UsageError(f"samples have shape {pcm.shape}: pass one channel, of shape (n,)")
    if pcm.dtype not in _DTYPES:
        raise UsageError(
            f"samples are {pcm.dtype}: pass int16, or float32 scaled to the range -1 to 1"
        )
    return pcm


def _looks_like_int16(pcm: NDArray[Any]) -> bool:
    """Whether floats are plainly on the scale of int16: most beyond full scale, none beyond
    that."""
    if pcm.dtype == np.int16 or len(pcm) < _MIN_TELLING_SAMPLES:
        return False
    sizes = np.abs(pcm[:_MAX_TELLING_SAMPLES])
    largest = np.maximum.reduce(sizes)
    if not _BEYOND_FULL_SCALE < largest <= 32_768.0:  # the usual case, at a tenth of the cost
        return False
    return bool(np.median(sizes) > _BEYOND_FULL_SCALE)


def _to_float32(pcm: NDArray[Any]) -> NDArray[np.float32]:
    if pcm.dtype == np.int16:
        samples: NDArray[np.float32] = pcm.astype(np.float32) * np.float32(1.0 / 32768.0)
        return samples
    if pcm.dtype == np.float32:
        return pcm
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is clipped
        return pcm.astype(np.float32)
