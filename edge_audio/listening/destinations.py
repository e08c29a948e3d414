"""All destinations of a listening run, as its settings name them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from edge_audio.bundle.spec import Spec
from edge_audio.events.detector import Event
from edge_audio.listening.config import Config
from edge_audio.sinks.base import Destination, Sink
from edge_audio.sinks.clips.recorder import ClipsDestination
from edge_audio.sinks.jsonl import JsonLinesDestination
from edge_audio.sinks.mqtt.sink import MqttDestination
from edge_audio.sinks.prometheus import MetricsDestination
from edge_audio.sinks.webhook.destination import WebhookDestination
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray

_KINDS: dict[str, Callable[..., Destination]] = {
    "json": JsonLinesDestination,
    "mqtt": MqttDestination,
    "webhook": WebhookDestination,
    "clips": ClipsDestination,
    "metrics": MetricsDestination,
}


class Destinations:
    """Opens what the settings name and, when they change, only what changed."""

    def __init__(self) -> None:
        self._open: dict[str, Destination] = {}
        self._sinks: dict[str, list[Sink]] = {}  # one for each stream

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._open.values())

    @property
    def problems(self) -> list[str]:
        """One line for each destination that has a problem at the moment."""
        return [
            f"{destination.name}: {destination.problem}"
            for destination in self
            if destination.problem
        ]

    def sinks(self, config: Config, streams: Sequence[Stream]) -> list[list[Sink]]:
        """The sinks of each stream from now on. Destinations that the settings no longer name
        are closed before new ones are opened: they may want the same port or file. Raises what
        opening one of them raised; the others are open then."""
        wanted = {key: (kind, section) for key, kind, section in _sections(config)}
        for key in [key for key in self._open if key not in wanted]:
            self._close(key)
        for key, (kind, section) in wanted.items():
            if key not in self._open:
                self._open_one(key, kind, section, streams)
        return [[self._sinks[key][i] for key in wanted] for i in range(len(streams))]

    def _open_one(self, key: str, kind: str, section: Spec, streams: Sequence[Stream]) -> None:
        others = [self] if kind == "metrics" else []  # whose problems it shows
        destination = _KINDS[kind](section, *others)
        try:
            self._sinks[key] = [destination.open(stream) for stream in streams]
        except Exception:
            destination.close()
            raise
        self._open[key] = destination

    def close(self) -> None:
        """Ends all, each within seconds."""
        for key in list(self._open):
            self._close(key)

    def _close(self, key: str) -> None:
        for sink in self._sinks.pop(key, []):
            sink.close()
        self._open.pop(key).close()


def _sections(config: Config) -> Iterator[tuple[str, str, Spec]]:
    """(what tells it from others, kind, section) of every destination."""
    for kind in _KINDS:
        section = getattr(config, kind)
        if section is not None:
            yield f"{kind} {msgspec.json.encode(section).decode()}", kind, section


class FanOut(Sink):
    """Passes everything on to several sinks, which may be others from one step to the next;
    whoever opened them closes them."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self.sinks = list(sinks)

    def on_watch(self, labels: Sequence[str]) -> None:
        for sink in self.sinks:
            sink.on_watch(labels)

    def on_audio(self, block: Block) -> None:
        for sink in self.sinks:
            sink.on_audio(block)

    def on_event(self, event: Event) -> None:
        for sink in self.sinks:
            sink.on_event(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        for sink in self.sinks:
            sink.on_scores(time_s, scores)

    def on_notice(self, text: str) -> None:
        for sink in self.sinks:
            sink.on_notice(text)
