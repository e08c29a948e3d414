"""A listening run: sources, taggers and destinations as the settings name them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge_audio.backends import open_backend
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import load_bundle
from edge_audio.errors import EdgeAudioError
from edge_audio.events.detector import LabelState
from edge_audio.labels.find import find_label
from edge_audio.listening.config import Config, EventsConfig, SettingsFile, SourceConfig
from edge_audio.listening.destinations import Destinations
from edge_audio.listening.listener import Listener
from edge_audio.listening.reload import ProblemTeller, waiting_for_restart, without_restart
from edge_audio.listening.signals import StopSignals, first_seconds
from edge_audio.service.notify import Notifier
from edge_audio.sinks.base import Sink
from edge_audio.sources.audio_file import AudioFile, Microphone, StdinPcm, has_microphone
from edge_audio.sources.base import Block, Source, paced
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.interleave import interleaved
from edge_audio.sources.network import NetworkStream, is_network_url
from edge_audio.sources.reconnect import Reconnecting
from edge_audio.sources.stream import Stream
from edge_audio.tagging.tagger import Tagger

REALTIME_BLOCK_MS = 80.0  # as a microphone delivers
FILE_BLOCK_MS = 1000.0  # halves the cost of a file that nobody waits for


@dataclass(frozen=True)
class Terms:
    """What the command line alone can say about a run.

    pcm: format of raw PCM on standard input. realtime: the pace of files and the demo; None =
        the demo in real time. explained: labels to explain.
    """

    duration_s: float | None = None
    realtime: bool | None = None
    pcm: dict[str, Any] = field(default_factory=dict)
    explained: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScreenSpec:
    """What a screen may know of a run.

    title: the model's name. explained: labels to explain. step_s: seconds between two steps.
        problems: of destinations, at the moment.
    """

    config: Config
    title: str
    streams: Sequence[Stream]
    sources: Sequence[Source]
    explained: Sequence[str]
    step_s: float
    problems: Callable[[], Sequence[str]]


class Screen(AbstractContextManager["Screen"], Protocol):
    """What a run shows on standard output.

    is_live: it draws into the terminal, where other lines would disturb. sinks: of each stream.
    """

    is_live: bool
    sinks: Sequence[Sequence[Sink]]

    def explain(self, index: int, state_of: Callable[[str], LabelState]) -> None:
        """The labels of stream `index` that are explained have this state after each step."""

    def change(self, events: EventsConfig) -> None:
        """Other labels are wanted from now on."""


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(f"edge-audio: {text}", file=sys.stderr, flush=True)


class ListenRun:
    """Everything that is open while listening."""

    def __init__(
        self,
        config: Config,
        terms: Terms,
        file: SettingsFile | None,
        open_screen: Callable[[ScreenSpec], Screen],
    ) -> None:
        """file: where SIGHUP reads the settings again. Raises UsageError for labels or thresholds
        that the model does not know; opens nothing yet."""
        self._open_screen = open_screen
        self._config, self._terms, self._file = config, terms, file
        self._bundle = load_bundle(config.model)
        self._events = self._chosen_events(config)
        self._explained = self._chosen_labels(terms.explained)
        self._notifier = Notifier.from_environment()
        self._destinations = Destinations()
        self._notices: deque[tuple[str, str]] = deque()  # (stream, text) that sinks are to hear
        self._problems = ProblemTeller(self._say)
        self._signals = StopSignals(reloadable=file is not None)
        self._listeners: list[Listener] = []
        self._is_drawing = False

    def go(self) -> None:
        """Listens until all sources have ended or a signal comes. Raises what ended the last
        source, if it was an error."""
        with ExitStack() as opened:
            sources = [opened.enter_context(self._source(s)) for s in self._config.source]
            backend = open_backend(self._bundle, self._config.backend)
            opened.callback(self._close_destinations)
            streams = [
                self._stream(*pair) for pair in zip(self._config.source, sources, strict=True)
            ]
            self._screen = opened.enter_context(self._make_screen(streams, sources))
            self._is_drawing = self._screen.is_live
            for i, (stream, source) in enumerate(zip(streams, sources, strict=True)):
                gate_dbfs = self._config.events.gate_dbfs
                tagger = Tagger(self._bundle, backend, self._events, gate_dbfs, self._explained)
                self._screen.explain(i, tagger.label_state)
                policy = self._config.events.policy()
                sink = self._destinations.add(stream, self._screen.sinks[i])
                sink.on_watch(list(self._events.thresholds))
                self._listeners.append(Listener(stream, source, tagger, sink, policy))
            self._destinations.prepare(self._config)()
            with self._signals:
                self._notifier.ready()
                self._listen()
            self._notifier.stopping()
        self._say_summary()

    def _make_screen(self, streams: Sequence[Stream], sources: Sequence[Source]) -> Screen:
        spec = ScreenSpec(
            config=self._config,
            title=self._bundle.manifest.name,
            streams=streams,
            sources=sources,
            explained=self._explained,
            step_s=self._bundle.manifest.model.step_s,
            problems=self._problem_lines,
        )
        return self._open_screen(spec)

    def _listen(self) -> None:
        try:
            for i, block in self._signals.until_stopped(self._blocks()):
                self._listeners[i].hear(block)
                self._look_around()
        finally:
            for listener in self._listeners:
                listener.finish()

    def _blocks(self) -> Iterator[tuple[int, Block]]:
        """Of one source directly, of several by a thread each."""
        sources = [listener.source for listener in self._listeners]
        blocks = [self._paced(source) for source in sources]
        if len(sources) == 1 and not isinstance(sources[0], Reconnecting | NetworkStream):
            yield from ((0, block) for block in blocks[0])
            return
        rows = [(blocks[i], source.sample_rate_hz, source.live) for i, source in enumerate(sources)]
        yield from interleaved(rows, self._source_ended, self._look_around)

    def _paced(self, source: Source) -> Iterable[Block]:
        blocks: Iterable[Block] = source.blocks()
        if self._is_realtime(source) and not source.live:
            blocks = paced(blocks, source.sample_rate_hz)
        if self._terms.duration_s is not None:
            blocks = first_seconds(blocks, source.sample_rate_hz, self._terms.duration_s)
        return blocks

    def _is_realtime(self, source: Source) -> bool:
        realtime = self._terms.realtime
        return isinstance(source, DemoScene) if realtime is None else realtime

    def _source_ended(self, index: int, error: Exception | None) -> None:
        """One of several has ended: the others go on, and the last error ends the run."""
        self._listeners[index].finish()
        if error is None:
            return
        if all(listener.has_ended for listener in self._listeners):
            raise error
        self._notice(self._listeners[index].stream.name, str(error))

    # What is looked after between blocks, and while none come

    def _look_around(self) -> None:
        self._notifier.watchdog()
        while self._notices:
            name, text = self._notices.popleft()
            for listener in self._listeners:
                if listener.stream.name == name:
                    listener.sink.on_notice(text)
        self._problems.tell(self._destinations.problems)
        if not self._destinations.is_closing and self._signals.take_reload():
            self._reload()

    def _problem_lines(self) -> list[str]:
        return [f"{name}: {text}" for name, text in self._destinations.problems.items()]

    def _close_destinations(self) -> None:
        for text in self._destinations.close():  # the screen has ended
            say(text)

    def _notice(self, name: str, text: str) -> None:
        """From any thread."""
        self._say(text if len(self._config.source) == 1 else f"{name}: {text}")
        self._notices.append((name, text))

    def _say(self, text: str) -> None:
        if not self._is_drawing:
            say(text)

    def _reload(self) -> None:
        """New thresholds, labels and destinations, all or none: what is new is opened first, and
        where anything is wrong with it all stays as it was. What cannot change while listening
        stays as well, and is named."""
        assert self._file is not None
        self._notifier.reloading()
        waiting: list[str] = []
        try:
            config = self._file.read()
            waiting = waiting_for_restart(self._config, config)
            events = self._chosen_events(config)
            change_destinations = self._destinations.prepare(config)
        except Exception as error:  # nobody is there to start it again
            known = isinstance(error, EdgeAudioError)
            text = str(error) if known else f"unexpected {type(error).__name__}: {error}"
            self._say(f"settings stay as they were: {text}")
        else:
            self._config = without_restart(self._config, config)
            self._events = events
            for listener in self._listeners:
                listener.change(events, config.events.policy(), config.events.gate_dbfs)
            self._screen.change(config.events)
            change_destinations()  # after sounds have ended that are no longer watched
            self._say(f"settings read again from {self._file.path}")
        if waiting:
            self._say(f"restart for the new {', '.join(waiting)}")
        self._notifier.ready()

    def _chosen_events(self, config: Config) -> EventSpec:
        manifest = self._bundle.manifest
        return config.events.apply(manifest.events, manifest.labels)

    def _chosen_labels(self, names: tuple[str, ...]) -> list[str]:
        labels = self._bundle.manifest.labels
        return list(dict.fromkeys(find_label(name, labels) for name in names))

    # Sources

    def _stream(self, config: SourceConfig, source: Source) -> Stream:
        labels = self._bundle.manifest.labels
        live = source.live or self._is_realtime(source)
        return Stream(config.shown_name, labels, source.sample_rate_hz, live)

    def _source(self, config: SourceConfig) -> Source:
        source = self._make(config)
        can_return = isinstance(source, Microphone | NetworkStream)
        if not (self._config.reconnect and can_return):
            return source
        return Reconnecting(
            lambda: self._make(config),
            lambda text: self._notice(config.shown_name, text),
        )

    def _make(self, config: SourceConfig) -> Source:
        """The source that the settings name, not yet open."""
        rate_hz = self._bundle.manifest.model.frontend.sample_rate_hz
        url = config.url
        if url == "auto":
            url = "mic" if has_microphone() else "demo"
            if url == "demo":
                say("no microphone here, so this is the demo scene")
        if url == "mic":
            return Microphone(config.device, rate_hz)
        if url == "demo":
            return DemoScene(rate_hz)
        if url == "-":
            return StdinPcm(sys.stdin.buffer, sample_rate_hz=rate_hz, **self._terms.pcm)
        if is_network_url(url):
            return NetworkStream(url, rate_hz)
        return AudioFile(url, rate_hz, REALTIME_BLOCK_MS if self._terms.realtime else FILE_BLOCK_MS)

    def _say_summary(self) -> None:
        for listener in self._listeners:
            name = f"{listener.stream.name}: " if len(self._listeners) > 1 else ""
            say(f"{name}{listener.stream.stats.summary()}")
