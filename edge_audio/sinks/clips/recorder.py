"""Recordings of the audio around events, for users who ask for them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.labels.find import find_label
from edge_audio.sinks.base import Destination, Sink
from edge_audio.sinks.clips.files import ClipFile, ClipFolder
from edge_audio.sinks.clips.index import ClipIndex
from edge_audio.sinks.clips.sidecar import ClipEvent, Sidecar
from edge_audio.sinks.records import event_record
from edge_audio.sinks.worker import Worker
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray
from edge_audio.support.paths import expand_fields
from edge_audio.support.plain_files import check_folder, reason_of
from edge_audio.support.slugs import Slugs, file_slug

PAUSE_NAME = "PAUSE"  # of the file in the folder that stops all recording
# Audio is written this much later than it is heard, plus one block: events are reported up to
# min_on_s or min_off_s after they happened, and PAUSE is to undo the moment before it.
DELAY_S = 1.0
_LOOK_EVERY_S = 0.2
_TIDY_EVERY_S = 3600.0
_MIN_PIECE_S = 0.1


class ClipsConfig(Spec, frozen=True):
    """Recordings of events, FLAC with a JSON file beside each.

    record: the switch, off by default: nobody is recorded by accident.
    labels: events that are recorded; empty = all that are watched.
    pre_s, post_s: audio before the first start and after the last end. max_s: longest clip.
    quota_mb: of all clips; the oldest make room. keep_days: clips that are older are deleted,
        0 = only for want of room.
    """

    folder: str
    record: bool = False
    labels: tuple[str, ...] = ()
    pre_s: float = 2.0
    post_s: float = 2.0
    max_s: float = 30.0
    quota_mb: float = 500.0
    keep_days: float = 0.0

    def __post_init__(self) -> None:
        expand_fields(self, "folder")
        if not (0.0 <= self.pre_s <= 60.0 and 0.0 <= self.post_s <= 600.0):
            raise ValueError("need 0 <= pre_s <= 60 and 0 <= post_s <= 600")
        if not self.pre_s < self.max_s <= 3600.0:
            raise ValueError("need pre_s < max_s <= 3600")
        if not (1.0 <= self.quota_mb < float("inf") and 0.0 <= self.keep_days < float("inf")):
            raise ValueError("need 1 <= quota_mb and 0 <= keep_days, both finite")


class ClipsDestination(Destination[ClipsConfig]):
    """A folder of clips of all streams. While FOLDER/PAUSE exists nothing is recorded, and what
    waits in memory is forgotten."""

    def __init__(self, config: ClipsConfig) -> None:
        """Saves what an earlier process was recording when it was killed. Raises UsageError if
        the folder cannot be written or another process records there."""
        self._folder = config.folder
        self._recorder = _Recorder(config) if config.record else None

    @staticmethod
    def check(config: ClipsConfig, labels: Sequence[str]) -> None:
        for label in config.labels if labels else ():
            find_label(label, labels)
        try:
            check_folder(Path(config.folder))
        except OSError as error:
            reason = reason_of(error)
            raise UsageError(f"cannot record clips in {config.folder}: {reason}") from error

    @property
    def index(self) -> ClipIndex | None:
        """Of the clips below its folder; None while none are recorded, for `record` is off."""
        return None if self._recorder is None else self._recorder.index

    @property
    def name(self) -> str:
        return f"clips {self._folder}"

    @property
    def problem(self) -> str:
        if self._recorder is None:
            return "nothing is recorded: set record = true under [clips] to do so"
        return self._recorder.problem

    @property
    def n_lost(self) -> int:
        """Clips that could not be written."""
        return 0 if self._recorder is None else self._recorder.folder.n_lost

    def open(self, stream: Stream) -> Sink:
        """Raises UsageError if the model does not know one of the labels. Of a stream without
        audio nothing is recorded."""
        if self._recorder is None or not stream.has_audio:
            return Sink()
        return self._recorder.open(stream)

    def reconfigure(self, config: ClipsConfig, undo: ExitStack) -> Callable[[], None] | None:
        """The same folder stays locked, and a clip that is being recorded goes on."""
        if self._recorder is None or not config.record:
            return None
        before = self._recorder.config
        is_same = os.path.realpath(config.folder) == os.path.realpath(before.folder)
        return self._recorder.reconfigure(config) if is_same else None

    def close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()


class _Recorder:
    """What the streams share: the folder, the thread that writes, and one that looks for PAUSE.

    is_paused: as it was seen last.
    """

    def __init__(self, config: ClipsConfig) -> None:
        self.config = config
        self._sinks: list[_ClipSink] = []
        path = Path(config.folder)
        self.folder = ClipFolder(path, *_limits(config))
        self.index = ClipIndex(path)
        self._pause = path / PAUSE_NAME
        self._slugs = Slugs(file_slug)
        self._worker: Worker[Callable[[], object]] = Worker("clips", lambda do: do())
        self._has_closed = threading.Event()
        self.is_paused = self._sees_pause()
        self._looker = threading.Thread(target=self._look, name="clips pause", daemon=True)
        self._looker.start()

    @property
    def problem(self) -> str:
        if self.is_paused:
            return f"nothing is recorded while {self._pause} exists"
        error, n_lost = self.folder.error, self.folder.n_lost
        return f"{error}; {n_lost} clips lost so far" if error and n_lost else error

    def open(self, stream: Stream) -> Sink:
        wanted = _wanted(self.config, stream)
        folder = self.folder.path / self._slugs(stream.name)  # one for each stream
        self._sinks.append(_ClipSink(stream, self, wanted, folder))
        return self._sinks[-1]

    def reconfigure(self, config: ClipsConfig) -> Callable[[], None]:
        """Raises UsageError if the model does not know one of the labels."""
        return partial(self._use, config, [_wanted(config, sink.stream) for sink in self._sinks])

    def _use(self, config: ClipsConfig, wanted: Sequence[frozenset[str]]) -> None:
        self.config = config
        self.folder.limit(*_limits(config))
        self.put(self.folder.tidy)
        for sink, labels in zip(self._sinks, wanted, strict=True):
            sink.use(config, labels)

    def put(self, do: Callable[[], object]) -> None:
        """Hands a call to the thread that writes."""
        self._worker.put(do)

    def close(self) -> None:
        self._has_closed.set()
        if self._worker.close():  # else the folder stays locked: it is still being written
            self.folder.close()

    def _look(self) -> None:
        """A disk that hangs holds up this thread, not the one that listens."""
        tidy_s = time.monotonic() + _TIDY_EVERY_S
        while not self._has_closed.wait(_LOOK_EVERY_S):
            self.is_paused = self._sees_pause()
            if time.monotonic() >= tidy_s:
                self.put(self.folder.tidy)
                tidy_s = time.monotonic() + _TIDY_EVERY_S

    def _sees_pause(self) -> bool:
        try:
            self._pause.lstat()
        except FileNotFoundError:
            return False
        except OSError:  # who cannot look does not record
            return True
        return True


def _limits(config: ClipsConfig) -> tuple[float, float]:
    """Bytes of all clips, and seconds that they are kept."""
    return config.quota_mb * 1e6, config.keep_days * 86_400.0


def _wanted(config: ClipsConfig, stream: Stream) -> frozenset[str]:
    """Labels that are recorded. Raises UsageError for an unknown one."""
    named = {find_label(label, stream.labels) for label in config.labels}
    return frozenset(named or stream.labels)


class _Clip:
    """A clip while it lasts; positions in samples of the stream.

    next: what is to be written next. end: where the clip ends, as things are now.
    """

    def __init__(self, file: ClipFile, begin: int, limit: int) -> None:
        """limit: where it ends at the latest."""
        self.begin = self.next = begin
        self.end = limit
        self._file, self._limit = file, limit
        self._events: list[ClipEvent] = []
        self._sounding: dict[str, int] = {}  # label -> index of its event
        self._latest_end = begin

    def start(self, event: Event, event_id: int | None) -> None:
        """Another event began: the clip lasts until that has ended as well."""
        self._sounding[event.label] = len(self._events)
        time_s, score = round(event.time_s, 3), round(event.score, 4)
        self._events.append(ClipEvent(event.label, time_s, None, score, event_id))
        self.end = self._limit

    def stop(self, event: Event, position: int, n_post: int) -> None:
        """position: where the event ended."""
        i = self._sounding.pop(event.label, None)
        if i is None:  # it began before the clip, or again after the longest clip
            return
        score = max(self._events[i].score, round(event.score, 4))
        changes = {"end_s": round(event.time_s, 3), "score": score}
        self._events[i] = msgspec.structs.replace(self._events[i], **changes)
        self._latest_end = max(self._latest_end, position)
        if not self._sounding:
            self.end = min(self._limit, max(self.next, self._latest_end + n_post))

    def write(self, position: int, samples: NDArray[np.int16]) -> Callable[[], None]:
        """To be called by the thread that writes."""
        return partial(self._file.write, position, samples)

    def finish(self, rate_hz: int) -> Callable[[], None]:
        """To be called by the thread that writes; changes nothing any more."""
        self._file.end = self.end
        self._file.sidecar = msgspec.structs.replace(
            self._file.sidecar,
            score=self._events[0].score,
            end_s=round(self.end / rate_hz, 3),
            events=tuple(self._events),
        )
        return self._file.finish


class _ClipSink(Sink):
    """Keeps the latest audio in memory, and passes it on while there is a clip.

    Writing lags DELAY_S and one block behind, so that the ends of clips are exact to the sample
    though events are told late.
    """

    def __init__(
        self, stream: Stream, recorder: _Recorder, wanted: frozenset[str], folder: Path
    ) -> None:
        self.stream, self._recorder, self._folder = stream, recorder, folder
        self._rate_hz = stream.sample_rate_hz
        self._n_delay, self._n_piece = self._samples(DELAY_S), self._samples(_MIN_PIECE_S)
        self.use(recorder.config, wanted)
        self._pieces: deque[tuple[int, NDArray[np.int16]]] = deque()  # with their positions
        self._clip: _Clip | None = None

    def use(self, config: ClipsConfig, wanted: frozenset[str]) -> None:
        """Goes on by other settings; a clip that has begun lasts as long as it would have."""
        self._wanted = wanted
        self._n_pre, self._n_post = self._samples(config.pre_s), self._samples(config.post_s)
        self._n_max = self._samples(config.max_s)

    def on_audio(self, block: Block) -> None:
        if self._recorder.is_paused:
            self._forget()
            return
        start = self._samples(block.time_s)
        self._advance(start - self._n_delay)
        self._remember(start, to_int16(block.samples))
        oldest = start - self._n_delay - max(self._n_pre, self._n_piece)
        while _end(self._pieces[0]) <= oldest:
            self._pieces.popleft()

    def on_event(self, event: Event) -> None:
        if not self._pieces:
            return
        position = self._samples(event.time_s)
        if event.kind == "start":
            if event.label not in self._wanted:
                return
            if self._clip is not None and position > self._clip.end:
                self._advance(self._clip.end)
            self._clip = self._clip or self._begin(event, position)
            sounding = self.stream.sounding.get(event.label)
            self._clip.start(event, None if sounding is None else sounding.id)
        elif self._clip is not None:
            self._clip.stop(event, position, self._n_post)

    def close(self) -> None:
        if self._clip is not None:
            self._clip.end = min(self._clip.end, _end(self._pieces[-1]))
            self._advance(self._clip.end)

    def _begin(self, event: Event, position: int) -> _Clip:
        begin = max(position - self._n_pre, self._pieces[0][0])
        fields = event_record(self.stream, event)
        del fields["kind"]
        fields["stream"] = self.stream.name.encode("utf-8", "replace").decode()
        start_s = round(begin / self._rate_hz, 3)
        fields |= {"start_s": start_s, "end_s": start_s, "events": ()}
        sidecar = msgspec.convert(fields, Sidecar)
        file = ClipFile(self._recorder.folder, self._folder, self._rate_hz, begin, sidecar)
        return _Clip(file, begin, begin + self._n_max)

    def _remember(self, start: int, samples: NDArray[np.int16]) -> None:
        """Joins short pieces, as a slow pipe delivers them: there are never many."""
        if self._pieces and _end(self._pieces[-1]) == start:
            last_start, last = self._pieces[-1]
            if len(last) + len(samples) <= self._n_piece:
                self._pieces[-1] = (last_start, np.concatenate([last, samples]))
                return
        self._pieces.append((start, samples))

    def _advance(self, position: int) -> None:
        """Passes on what the clip has up to there, unless that is little, and ends it if that is
        its end."""
        clip = self._clip
        if clip is None:
            return
        position = min(position, clip.end)
        if position < clip.end and position - clip.next < self._n_piece:
            return  # not yet worth it
        for start, samples in self._pieces:
            part = samples[max(0, clip.next - start) : max(0, position - start)]
            if len(part):
                self._recorder.put(clip.write(max(start, clip.next), part))
        clip.next = max(clip.next, position)
        if clip.next == clip.end:
            if clip.end > clip.begin:
                self._recorder.put(clip.finish(self._rate_hz))
            self._clip = None

    def _forget(self) -> None:
        """Ends the clip with what was passed on, and keeps nothing else."""
        if self._clip is not None:
            self._clip.end = self._clip.next
            self._advance(self._clip.end)
        self._pieces.clear()

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate_hz)


def to_int16(samples: FloatArray) -> NDArray[np.int16]:
    """f32[n] with full scale at 1.0 -> 16 bits, clipped; NaN is silence."""
    scaled = np.nan_to_num(samples * np.float32(32_768.0))
    pcm: NDArray[np.int16] = np.clip(np.rint(scaled), -32_768, 32_767).astype(np.int16)
    return pcm


def _end(piece: tuple[int, NDArray[np.int16]]) -> int:
    return piece[0] + len(piece[1])
