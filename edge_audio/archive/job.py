"""What tagging a recording takes and gives; a worker of any process or machine runs it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec
import numpy as np

from edge_audio.backends import backends_for, open_backend
from edge_audio.backends.stream import open_watch_of
from edge_audio.bundle.spec import EventSpec, Spec
from edge_audio.bundle.store import MODELS_DIR, Bundle
from edge_audio.errors import BundleError, EdgeAudioError, SourceError
from edge_audio.events.policy import ONE_SOUND, PolicySpec
from edge_audio.events.unwatched import HeardOff, UnwatchedSounds
from edge_audio.sinks.base import TopLabels
from edge_audio.sinks.segments import Segment, SegmentSink
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.sources.audio_file import LONG_BLOCK_MS, AudioFile
from edge_audio.sources.resample import MIX
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import encodable, one_line, printable
from edge_audio.tagging.tagger import Tagger

MAX_REASON_CHARS = 200

OnProgress = Callable[[float], None]  # is told how many more seconds of audio have been tagged


class FileTags(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a file.

    path: with escapes for what UTF-8 cannot hold, else as it is.
    top: labels with the highest score that each reached in any step.
    unwatched: labels that are off and were heard all the same, see `UnwatchedSounds`.
    error: why it could not be read, or not to its end, on one line; "" if it could.
    """

    path: str
    duration_s: float = 0.0
    top: list[tuple[str, float]] = []
    segments: list[Segment] = []
    unwatched: list[HeardOff] = []
    error: str = ""

    @property
    def was_heard(self) -> bool:
        """Whether there was any audio, so that what was found in it counts."""
        return not self.error or self.duration_s > 0.0


class Job(Spec, frozen=True):
    """All that a worker needs to know, and all that results depend on beside the recording.

    model: a shipped name or an absolute folder. backend: "auto" only where none is installed.
    ranked: the labels that `top` chooses from. channel: see `check_channel`. sounds: file of sounds
        that were taught, "" if none.
    """

    model: str
    model_sha256: str
    backend: str
    events: EventSpec
    n_top: int
    ranked: tuple[str, ...]
    policy: PolicySpec = ONE_SOUND
    gate_dbfs: float | None = None
    channel: str = MIX
    sounds: str = ""

    @property
    def settings_sha256(self) -> str:
        """A hash of all settings but the model."""
        settings = msgspec.structs.replace(self, model="", model_sha256="", sounds="")
        return hashlib.sha256(msgspec.msgpack.encode(settings)).hexdigest()

    def open(self, explained: Collection[str] = ()) -> Tagger:
        """The job's tagger, which explains these labels. Raises BundleError if the model found
        here is not the one that the job was written for."""
        bundle = load_with_sounds(self.model, self.sounds)
        if model_sha256(bundle) != self.model_sha256:
            raise BundleError(
                f"model {self.model} of this worker differs from that of the run: install the "
                "same edge-audio on all machines, or put the bundle on a disk that all share"
            )
        told = {*self.ranked, *self.events.thresholds, *explained}
        bundle = bundle.with_labels(told or bundle.manifest.labels)  # nobody sees other scores
        return Tagger(
            bundle,
            open_backend(bundle, self.backend),
            self.events,
            self.gate_dbfs,
            explained,
            policy=self.policy,
        )


def make_job(
    bundle: Bundle,
    backend: str,
    events: EventSpec,
    n_top: int,
    ranked: Iterable[str],
    policy: PolicySpec = ONE_SOUND,
    gate_dbfs: float | None = None,
    channel: str = MIX,
) -> Job:
    """backend: as the user named it. Raises UsageError."""
    if backend == "auto":
        backend = next(iter(backends_for(bundle)), "auto")
    return Job(
        model=_name_or_folder(bundle),
        model_sha256=model_sha256(bundle),
        backend=backend,
        events=events,
        n_top=n_top,
        ranked=tuple(ranked),
        policy=policy,
        gate_dbfs=gate_dbfs,
        channel=channel,
        sounds=os.path.abspath(bundle.rows.path) if bundle.rows is not None else "",
    )


def _name_or_folder(bundle: Bundle) -> str:
    """What finds the bundle on another machine: the name of a shipped one, or its folder."""
    is_shipped = bundle.path.parent == MODELS_DIR
    return bundle.path.name if is_shipped else os.path.abspath(bundle.path)


def model_sha256(bundle: Bundle) -> str:
    """SHA-256 of the manifest, which has the hash of every other file."""
    digest = hashlib.sha256(msgspec.json.encode(bundle.manifest))
    if (rows := bundle.rows) is not None:  # of whose weights the manifest says nothing
        for array in (rows.weight, rows.scale, rows.bias):
            digest.update(array.tobytes())
    return digest.hexdigest()


Tagged = tuple[str, FileTags]  # with the path as it was handed in

_opened = threading.local()  # a tagger follows one stream: each thread has its own


def tag_file(job: bytes, path: str, on_progress: OnProgress | None = None) -> FileTags:
    """Tags one file from start to end; a file that cannot be read is a result with an error.

    job: an encoded `Job`; the thread keeps its model for the next file.
    Raises BundleError, BackendError or UsageError if the model cannot be opened.
    """
    if getattr(_opened, "job", None) != job:
        decoded = msgspec.msgpack.decode(job, type=Job)
        tagger = decoded.open()
        _opened.job, _opened.worker = job, _Worker(decoded, tagger)
    try:
        return _tag(path, _opened.worker, on_progress)
    except Exception as error:  # no decoder says which errors it has; the next file may be fine
        return failed(path, problem_of(path, error))


def problem_of(path: str, error: Exception) -> str:
    """What kept a file from being tagged."""
    if isinstance(error, EdgeAudioError | OSError):
        return str(error)
    reason = one_line(str(error), MAX_REASON_CHARS)
    return f"{path}: unexpected {type(error).__name__}: {reason}"


def failed(path: str, problem: str) -> FileTags:
    """The result for a file that could not be tagged."""
    return FileTags(path=encodable(path), error=printable(problem))


class _Worker:
    """What files of one job share."""

    def __init__(self, job: Job, tagger: Tagger) -> None:
        self.tagger, self.channel = tagger, job.channel
        self.top = TopLabels(tagger.labels, job.n_top, frozenset(job.ranked))
        step_s, open_watch = tagger.bundle.manifest.model.step_s, open_watch_of(tagger.backend)
        self.unwatched = UnwatchedSounds(tagger.labels, job.events, step_s, job.ranked, open_watch)


def _tag(path: str, worker: _Worker, on_progress: OnProgress | None) -> FileTags:
    tagger, unwatched = worker.tagger, worker.unwatched
    tagger.reset()
    unwatched.reset()
    highest = np.zeros(len(tagger.labels), np.float32)
    sink, problem = SegmentSink(), ""
    try:
        for samples in samples_of(path, tagger.sample_rate_hz, worker.channel):
            for steps in tagger.push_steps(samples):
                np.maximum(highest, steps.scores.max(axis=0), out=highest)
                for event in steps.events:
                    sink.on_event(event)
                sounding = steps.held_back.union(sink.open_labels)
                unwatched.push_steps(steps.scores, steps.times_s, sounding)
            if on_progress:
                on_progress(len(samples) / tagger.sample_rate_hz)
    except SourceError as error:
        if not tagger.time_s:
            raise
        problem = printable(str(error))  # what was heard before it counts
    for event in tagger.flush():
        sink.on_event(event)
    np.maximum(highest, tagger.scores, out=highest)  # a last step that flush completed
    return FileTags(
        path=encodable(path),
        duration_s=tagger.time_s,
        top=worker.top(highest),
        segments=sink.segments,
        unwatched=unwatched.highest(),
        error=problem,
    )


def samples_of(path: str, sample_rate_hz: int, channel: str) -> Iterator[FloatArray]:
    """Of a file, block by block."""
    with AudioFile(path, sample_rate_hz, LONG_BLOCK_MS, channel) as source:
        for block in source.blocks():
            yield block.samples
