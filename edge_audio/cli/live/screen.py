"""What a listening run shows on standard output: a live view, lines of text, JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import get_args

from rich.console import Console
from rich.text import Text

from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity
from edge_audio.cli.live.display import LIVE_TOP, LiveSink, can_draw
from edge_audio.cli.live.explain import Explained, Explainer, ExplainSink, ExplainView
from edge_audio.cli.live.heard import HeardTeller
from edge_audio.cli.live.state import Watched
from edge_audio.cli.live.streams import LiveView
from edge_audio.events.detector import LabelState
from edge_audio.listening.config import Format
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.hearing import Hearing
from edge_audio.listening.opening import chosen_events
from edge_audio.listening.run import ScreenSpec
from edge_audio.sinks.base import Sink, TopLabels, Wish
from edge_audio.sinks.console import ConsoleSink
from edge_audio.sinks.jsonl import JsonLinesSink
from edge_audio.sources.stream import Stream
from edge_audio.support.text import printable

FORMATS = get_args(Format)


class Screen:
    """Standard output of a run; sinks: for each stream, those that write there."""

    def __init__(self, spec: ScreenSpec) -> None:
        """Charts of the labels that are explained take the place of the live view."""
        self._console = Console()
        config, streams = spec.config, [hearing.stream for hearing in spec.hearings]
        explained = Explained(spec.explained, spec.step_s) if spec.explained else None
        self._config, self._title, self._explained = config, spec.title, explained
        self._hearings, self._step_s = spec.hearings, spec.step_s
        self._watch: list[Callable[[Watched], None]] = []  # for each stream, where any
        self._wishes: list[Wish] = []
        self._sensitivity: Sensitivity = config.events.sensitivity or "normal"
        self._draw_line: list[Callable[[Text], None]] = []
        is_possible = can_draw(self._console) and not (explained and len(streams) > 1)
        self.is_live = config.format == "live" and is_possible
        self.n_top = config.top or LIVE_TOP * self.is_live
        names = [stream.name if len(streams) > 1 else "" for stream in streams]
        shown = self._shown(spec.hearings, names, spec.problems)
        self._explainers = [self._explainer(*pair) for pair in zip(streams, names, strict=True)]
        self.sinks: Sequence[Sequence[Sink]] = [
            [*a, *b] for a, b in zip(shown, self._explainers, strict=True)
        ]

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (sink for sinks in self.sinks for sink in sinks):
            sink.close()

    def explain(self, index: int, state_of: Callable[[str], LabelState]) -> None:
        """The labels of stream `index` that are explained have this state after each step."""
        for explainer in self._explainers[index]:
            explainer.read(state_of)

    def change(self, events: EventsConfig) -> None:
        """Ranks the scores of other labels from now on."""
        self._sensitivity = events.sensitivity or "normal"
        for top in self._tops:
            top.choose(events.wanted(top.known))
        for watch, watched in zip(self._watch, self._watched(events), strict=False):
            watch(watched)

    def take_wishes(self) -> list[Wish]:
        """Sensitivities that `s` in the live view asked for."""
        wishes, self._wishes[:] = list(self._wishes), ()
        return wishes

    def say(self, text: str) -> None:
        """A line below what is drawn, for a while, which is printed again when the terminal is
        given back."""
        line = Text(f"edge-audio: {printable(text)}", style="yellow")
        for draw in self._draw_line or [self._console.print]:
            draw(line)

    def _watched(self, events: EventsConfig) -> list[Watched]:
        """By what settings each stream is listened to."""
        streams = [hearing.stream for hearing in self._hearings]
        own = [hearing.default_events for hearing in self._hearings]
        specs = chosen_events(
            events, [(spec, stream.labels) for spec, stream in zip(own, streams, strict=True)]
        )
        return [
            Watched(spec, self._step_s, events.wanted(stream.labels))
            for spec, stream in zip(specs, streams, strict=True)
        ]

    def _shown(
        self,
        hearings: Sequence[Hearing],
        names: Sequence[str],
        problems: Callable[[], Sequence[str]],
    ) -> list[list[Sink]]:
        config, streams = self._config, [hearing.stream for hearing in hearings]
        self._tops = tops = [config.events.top(stream.labels, self.n_top) for stream in streams]
        if config.format == "none" or (self.is_live and self._explained):
            return [[] for _ in streams]
        watched = self._watched(config.events)
        if self.is_live and len(streams) > 1:
            view = LiveView(self._console, self._title, tops, streams, problems, watched)
            self._watch, self._draw_line = view.watchers, [view.frames.say]
            return [[sink] for sink in view.sinks]
        if self.is_live:
            return [[self._live_sink(hearings[0], tops[0], problems, watched[0])]]
        if config.format == "jsonl":
            each = zip(streams, tops, strict=True)
            return [[JsonLinesSink(sys.stdout, *pair)] for pair in each]
        tellers = [HeardTeller(*each) for each in zip(streams, watched, names, strict=True)]
        self._watch = [teller.watch for teller in tellers]
        pairs = zip(tops, names, strict=True)
        consoles = [ConsoleSink(sys.stdout, *pair) for pair in pairs]
        return [list(pair) for pair in zip(consoles, tellers, strict=True)]

    def _live_sink(
        self,
        hearing: Hearing,
        top: TopLabels,
        problems: Callable[[], Sequence[str]],
        watched: Watched,
    ) -> LiveSink:
        sink = LiveSink(
            self._console,
            printable(f"{self._title} on {hearing.source_name}".strip()),
            top,
            hearing.stream,
            hearing.playing,
            problems,
            lambda: hearing.line_state,
            watched,
            grows=self._config.top is None,
            wish=self._wish_next,
        )
        self._watch, self._draw_line = [sink.watch], [sink.say]
        return sink

    def _wish_next(self) -> None:
        """The next sensitivity, after the last the first."""
        place = SENSITIVITIES.index(self._sensitivity) + 1
        self._wishes.append(Wish(SENSITIVITIES[place % len(SENSITIVITIES)]))

    def _explainer(self, stream: Stream, name: str) -> list[Explainer]:
        if self._explained is None or not stream.has_audio:
            return []
        explainer: Explainer
        if self.is_live and not self._console.options.ascii_only:
            title = f"{self._title} on {stream.name}"
            view = ExplainView(self._console, title, stream.labels, self._explained)
            self._draw_line.append(view.say)
            explainer = view
        else:
            is_text = self._config.format in ("live", "text")
            output = sys.stdout if is_text else sys.stderr
            explainer = ExplainSink(output, stream.labels, self._explained, name)
        return [explainer]
