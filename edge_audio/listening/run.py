"""A listening run: hearings and destinations as the settings name them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edge_audio.bundle.spec import Sensitivity
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.events.detector import LabelState
from edge_audio.listening.check import Problem, problems_of
from edge_audio.listening.config import Config
from edge_audio.listening.destinations import Destinations
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.hearing import Hearing, Wanted
from edge_audio.listening.label_changes import Model
from edge_audio.listening.listener import Listener
from edge_audio.listening.opening import Opening, Terms, wanted_of
from edge_audio.listening.reload import ProblemTeller, waiting_for_restart, without_restart
from edge_audio.listening.settings_editor import SettingsEditor, changed, teach_plan
from edge_audio.listening.settings_file import SettingsFile
from edge_audio.listening.signals import StopSignals
from edge_audio.page.run import ShownRun, StreamSettings
from edge_audio.service.notify import Notifier
from edge_audio.sinks.base import Change, Sink, Wish
from edge_audio.sources.interleave import interleaved
from edge_audio.support.text import printable
from edge_audio.support.time_zone import TimeZone


@dataclass(frozen=True)
class ScreenSpec:
    """What a screen may know of a run.

    title: the model's name, "" where devices have their own. hearings: open, one for each stream.
    explained: labels to explain. step_s: seconds between two steps.
        problems: of destinations, at the moment.
    """

    config: Config
    title: str
    hearings: Sequence[Hearing]
    explained: Sequence[str]
    step_s: float
    problems: Callable[[], Sequence[str]]


class Screen(AbstractContextManager["Screen"], Protocol):
    """What a run shows on standard output.

    is_live: it draws into the terminal, where other lines would disturb. sinks: of each stream.
    n_top: how many of the highest scores of each step it shows.
    """

    is_live: bool
    n_top: int
    sinks: Sequence[Sequence[Sink]]

    def explain(self, index: int, state_of: Callable[[str], LabelState]) -> None:
        """The labels of stream `index` that are explained have this state after each step."""

    def change(self, events: EventsConfig) -> None:
        """Shows the scores and events of other labels from now on."""

    def take_wishes(self) -> list[Wish]:
        """What keys that were pressed since the last call ask for."""

    def say(self, text: str) -> None:
        """Shows a line for people where it draws, and lets it stand there."""


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(f"edge-audio: {printable(text)}", file=sys.stderr, flush=True)  # noqa: T201


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
        self._config, self._file = config, file
        self._opening = Opening(config, terms, self._notice, say)
        self._check_labels()
        self._hearings = self._opening.hearings()
        self._notifier = Notifier.from_environment()
        self._wanted: Sequence[Wanted] = ()
        self._wished: Sensitivity | None = None  # which the file does not say
        self._postponed: list[Wish] = []
        self._destinations = Destinations(self._shown_run())
        self._notices: deque[tuple[str, str]] = deque()  # (stream, text) that sinks are to hear
        self._problems = ProblemTeller(self._say)
        self._signals = StopSignals(reloadable=file is not None)
        self._listeners: list[Listener] = []
        self._is_drawing = self._is_paused = False
        self._zone = TimeZone()

    def _check_labels(self) -> None:
        """Raises UsageError, with the line of the file."""
        with self._located("events"):
            self._opening.check_events(self._config.events)
        with self._located("clips"):
            self._opening.check_clips(self._config.clips)

    @contextmanager
    def _located(self, section: str) -> Iterator[None]:
        """Names the line of the file that an error is about."""
        try:
            yield
        except UsageError as error:
            if self._file is None:
                raise
            raise UsageError(self._file.located(str(error), section)) from error

    def problems(self) -> Iterator[Problem]:
        """What a run would lack, as far as that can be known before it begins; it opens nothing.
        May wait for a network."""
        return problems_of(self._config, self._opening)

    def go(self) -> None:
        """Listens until all sources have ended or a signal comes. Raises what ended the last
        source, if it was an error."""
        with self._signals, ExitStack() as opened:  # signals are minded until all is closed
            for hearing in self._hearings:
                opened.enter_context(hearing)
            self._begin(opened)
            self._notifier.ready()
            self._listen()
            self._notifier.stopping()
        self._say_summary()

    def _begin(self, opened: ExitStack) -> None:
        """Tells open hearings what is wanted of them, and gives them listeners."""
        # Wrong settings and models that do not load are found before anything is written or drawn.
        wanted_of(self._config, self._hearings, n_top=0)
        self._opening.load_model()
        opened.callback(self._close_destinations)
        self._screen = opened.enter_context(self._open_screen(self._screen_spec()))
        self._is_drawing = self._screen.is_live
        self._wanted = wanted = wanted_of(self._config, self._hearings, self._screen.n_top)
        for i, hearing in enumerate(self._hearings):
            hearing.begin(wanted[i])
            if hearing.label_state is not None:
                self._screen.explain(i, hearing.label_state)
            sink = self._destinations.add(hearing.stream, self._screen.sinks[i])
            sink.on_watch(list(wanted[i].events.thresholds))
            watched, policy = wanted[i].events.thresholds, self._config.events.policy()
            self._listeners.append(Listener(hearing, sink, policy, watched))
        self._destinations.prepare(self._config)()
        self._tell_run()
        self._say_what_streams_lack(wanted)

    def _screen_spec(self) -> ScreenSpec:
        bundle = self._opening.bundle
        return ScreenSpec(
            config=self._config,
            title=bundle.manifest.name if bundle else "",
            hearings=self._hearings,
            explained=self._opening.explained,
            step_s=bundle.manifest.model.step_s if bundle else 0.0,
            problems=self._problem_lines,
        )

    def _listen(self) -> None:
        feeds = [hearing.feed() for hearing in self._hearings]
        pieces = interleaved(feeds, self._source_ended, self._look_around)
        try:
            with closing(pieces):
                for i, piece in self._signals.until_stopped(pieces):
                    self._listeners[i].hear(piece)
                    self._look_around()
        finally:
            self._signals.hold()
            for listener in self._listeners:
                listener.finish()

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
        self._zone.look()
        while self._notices:
            name, text = self._notices.popleft()
            for listener in self._listeners:
                if listener.stream.name == name:
                    listener.sink.on_notice(text)
        names = [destination.name for destination in self._destinations]
        self._problems.tell(self._destinations.problems, names)
        for text in (*self._destinations.take_losses(), *self._destinations.take_remarks()):
            self._say(text)
        for wish in self._take_wishes():
            self._fulfil(wish)
        if not self._destinations.is_closing and self._signals.take_reload():
            self._wished = None
            self._reload()

    def _take_wishes(self) -> list[Wish]:
        wishes, self._postponed = self._postponed, []
        return [*wishes, *self._screen.take_wishes(), *self._destinations.take_wishes()]

    def _shown_run(self) -> ShownRun:
        """What the page shows of this."""
        bundle = self._opening.bundle
        edit = None
        if self._file is not None:
            edit = SettingsEditor(self._file, self._models, self._check_events)
        title = bundle.manifest.name if bundle else ""
        teach = None
        if bundle:
            teach = teach_plan(self._config, self._file, lambda: self._config.events.only)
        return ShownRun(title, self._stream_settings, edit, teach)

    def _stream_settings(self) -> list[StreamSettings]:
        pairs = zip(self._hearings, self._wanted, strict=False)  # there are none at first
        return [
            StreamSettings(
                stream=hearing.stream,
                own=hearing.default_events,
                normal=hearing.default_events.at_sensitivity(self._sensitivity),
                events=wanted.events,
            )
            for hearing, wanted in pairs
        ]

    def _models(self) -> list[Model]:
        return [(x.default_events, x.stream.labels) for x in self._hearings]

    def _check_events(self, events: EventsConfig) -> None:
        """Raises UsageError where nothing could go on by these settings."""
        wanted_of(msgspec.structs.replace(self._config, events=events), self._hearings, n_top=0)

    def _problem_lines(self) -> list[str]:
        return [f"{name}: {text}" for name, text in self._destinations.problems.items()]

    def _close_destinations(self) -> None:
        self._signals.hold()
        self._is_drawing = False
        self._destinations.close()
        for text in self._destinations.take_losses():  # the screen has ended
            say(text)
        self._signals.release()

    def _notice(self, name: str, text: str) -> None:
        """Tells people and sinks of something about a stream. May be called from any thread."""
        if not self._is_drawing:  # else the sink that draws shows it
            say(text if len(self._config.source) == 1 else f"{name}: {text}")
        self._notices.append((name, text))

    def _say(self, text: str) -> None:
        if self._is_drawing:
            self._screen.say(text)
        else:
            say(text)

    def _reload(self) -> str:
        """New thresholds, labels and destinations, all or none: what is new is opened first, and
        where anything is wrong with it all stays as it was. What cannot change while listening
        stays as well, and is named. Returns why all stays, "" if it does not."""
        assert self._file is not None
        self._notifier.reloading()
        waiting: list[str] = []
        text = ""
        try:
            config = self._with_wished(self._file.read_again())
            waiting = waiting_for_restart(self._config, config)
            wanted = wanted_of(config, self._hearings, self._screen.n_top)
            change_destinations = self._destinations.prepare(config)
        except Exception as error:  # nobody is there to start it again
            known = isinstance(error, EdgeAudioError)
            text = str(error) if known else f"unexpected {type(error).__name__}: {error}"
            self._say(f"settings stay as they were: {text}")
        else:
            self._go_on_by(without_restart(self._config, config), wanted)
            change_destinations()  # after sounds have ended that are no longer watched
            self._tell_run()
            self._say_what_streams_lack(wanted)
            self._say(f"settings read again from {self._file.path}")
        if waiting:
            self._say(f"restart for the new {', '.join(waiting)}")
        self._notifier.ready()
        return text

    def _with_wished(self, config: Config) -> Config:
        """With the sensitivity that somebody chose, where another change is the cause."""
        if self._wished is None:
            return config
        events = msgspec.structs.replace(config.events, sensitivity=self._wished)
        return msgspec.structs.replace(config, events=events)

    def _go_on_by(self, config: Config, wanted: Sequence[Wanted]) -> None:
        self._config, self._wanted = config, wanted
        for listener, each in zip(self._listeners, wanted, strict=True):
            listener.change(each, config.events.policy())
        self._screen.change(config.events)

    def _fulfil(self, wish: Wish) -> None:
        """Until settings are read again, which say what they say."""
        if wish.change is not None and self._destinations.is_closing:
            self._postponed.append(wish)
            return
        problem = "" if wish.change is None else self._change(wish.change)
        if wish.sensitivity not in (None, self._sensitivity):
            events = msgspec.structs.replace(self._config.events, sensitivity=wish.sensitivity)
            if problem := self._change_events(events):
                self._say(f"sensitivity stays {self._sensitivity}: {problem}")
            else:
                self._wished = wish.sensitivity
                self._say(f"sensitivity: {wish.sensitivity}")
        if wish.is_paused not in (None, self._is_paused):
            self._is_paused = bool(wish.is_paused)
            for listener in self._listeners:
                listener.pause(self._is_paused)
            self._say("paused: no event is reported" if self._is_paused else "events again")
        self._tell_run()
        if wish.answer is not None:
            wish.answer(problem)

    def _change(self, change: Change) -> str:
        """Where there is a file of settings, it says so by now. Returns what is in the way."""
        if self._file is not None:
            return self._reload()
        try:
            config = changed(self._config, change, self._models())
            wanted = wanted_of(config, self._hearings, self._screen.n_top)
            change_destinations = self._destinations.prepare(config)
        except UsageError as error:
            return str(error)
        self._go_on_by(config, wanted)
        change_destinations()
        return ""

    def _change_events(self, events: EventsConfig) -> str:
        """Returns what is in the way; "" if nothing is, and they hold."""
        config = msgspec.structs.replace(self._config, events=events)
        try:
            wanted = wanted_of(config, self._hearings, self._screen.n_top)
        except UsageError as error:
            return str(error)
        self._go_on_by(config, wanted)
        return ""

    @property
    def _sensitivity(self) -> Sensitivity:
        return self._config.events.sensitivity or "normal"

    def _tell_run(self) -> None:
        self._destinations.tell_run(self._sensitivity, self._is_paused)

    def _say_what_streams_lack(self, wanted: Sequence[Wanted]) -> None:
        """Tells people what a device cannot do of what they asked for."""
        clips = self._config.clips
        for hearing, each in zip(self._hearings, wanted, strict=True):
            lacks, name = hearing.check(each), hearing.stream.name
            if clips is not None and clips.record and not hearing.stream.has_audio:
                lacks.append("it sends no audio, so no clips of it are recorded")
            for text in lacks:
                self._say(f"{name}: {text}")
                self._notices.append((name, text))

    def _say_summary(self) -> None:
        for listener in self._listeners:
            name = f"{listener.stream.name}: " if len(self._listeners) > 1 else ""
            say(f"{name}{listener.hearing.summary()}")
