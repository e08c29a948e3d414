"""Counters and levels of all streams for Prometheus to fetch."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import force_setattr

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Destination, Sink
from edge_audio.sinks.metrics_server import Server
from edge_audio.sources.stream import Stats, Stream
from edge_audio.support.address import check_own, own_address
from edge_audio.support.arrays import FloatArray

if TYPE_CHECKING:
    from prometheus_client import Metric


DEFAULT_PORT = 9400


class MetricsConfig(Spec, frozen=True):
    """Where to answer Prometheus. host: an address of this machine; the default one is heard by
    programs on this machine alone. HOST:PORT and http://HOST:PORT do as well."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    def __post_init__(self) -> None:
        """Puts a port beside the host, also of http://HOST:PORT/metrics, into its own field."""
        host = self.host.removesuffix("/metrics")
        host, port = own_address(host, self.port, ("http",), DEFAULT_PORT)
        force_setattr(self, "host", host)
        force_setattr(self, "port", port)


_LEVEL = "level_dbfs"
# (type, name, help, value) of what there is one of for each stream
_OF_STREAMS: tuple[tuple[str, str, str, Callable[[Stats], float]], ...] = (
    ("counter", "audio_seconds", "Audio that came.", lambda stats: stats.audio_s),
    ("counter", "lost_seconds", "Audio that was lost.", lambda stats: stats.lost_s),
    ("counter", "restarts", "Openings after the source broke.", lambda stats: stats.n_restarts),
    ("counter", "unknown_gaps", "Losses of unknown length.", lambda stats: stats.n_unknown_gaps),
    ("gauge", _LEVEL, "RMS level of the latest block.", lambda stats: stats.level_dbfs),
    (
        "gauge",
        "cpu_seconds_per_audio_second",
        "CPU time of the whole process since the start, per second of this audio.",
        lambda stats: stats.load,
    ),
)


class MetricsDestination(Destination[MetricsConfig]):
    """A page of text at http://HOST:PORT/metrics, made when it is asked for: listening does
    nothing for it but count."""

    def __init__(
        self, config: MetricsConfig, destinations: Iterable[Destination[Any]] = ()
    ) -> None:
        """destinations: whose problems are shown as well. Raises UsageError if the port cannot be
        had or prometheus-client is not installed."""
        self._config = config
        self._sinks: list[_MetricsSink] = []
        self._destinations = destinations
        self._server = Server(config.host, config.port, _application(self))

    @staticmethod
    def check(config: MetricsConfig, labels: Sequence[str]) -> None:
        """The port itself may be in use, by a run of these settings."""
        _application(None)
        check_own(config.host)

    @property
    def name(self) -> str:
        return f"metrics {self._config.host}:{self._config.port}"

    def open(self, stream: Stream) -> Sink:
        self._sinks.append(_MetricsSink(stream))
        return self._sinks[-1]

    def reconfigure(self, config: MetricsConfig, undo: ExitStack) -> Callable[[], None] | None:
        """Counters go on, also where they are answered at another address."""
        if self._server.is_at(config.host, config.port):
            return partial(self._use, config, self._server)
        server = Server(config.host, config.port, self._server.application, beside=self._server)
        undo.callback(server.close)
        return partial(self._use, config, server)

    def _use(self, config: MetricsConfig, server: Server) -> None:
        before, self._config, self._server = self._server, config, server
        if before is not server:
            threading.Thread(target=before.close, name="metrics", daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now; called by prometheus_client, in threads of the server."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        sinks = list(self._sinks)
        for kind, name, text, value in _OF_STREAMS:
            family = kinds[kind](f"edge_audio_{name}", text, labels=["stream"])
            for sink in sinks:
                if sink.stream.has_audio or name != _LEVEL:
                    family.add_metric([sink.name], value(sink.stream.stats))
            yield family
        events = CounterMetricFamily("edge_audio_events", "Starts.", labels=["stream", "label"])
        scores = GaugeMetricFamily(
            "edge_audio_score", "Latest score of a watched label.", labels=["stream", "label"]
        )
        for sink in sinks:
            for label, n_starts in list(sink.n_starts.items()):
                events.add_metric([sink.name, _valid(label)], n_starts)
            for label, score in sink.watched_scores():
                scores.add_metric([sink.name, _valid(label)], score)
        yield from (events, scores, self._problems())

    def _problems(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        text = "1 where a destination has a problem."
        family = GaugeMetricFamily("edge_audio_destination_problem", text, labels=["destination"])
        for destination in list(self._destinations):
            family.add_metric([_valid(destination.name)], float(bool(destination.problem)))
        return family


class _MetricsSink(Sink):
    """n_starts: events of each label."""

    def __init__(self, stream: Stream) -> None:
        self.name, self.stream = _valid(stream.name), stream
        self.n_starts: Counter[str] = Counter()
        self._watched: dict[str, int] = {}  # label -> index
        self._scores: FloatArray = np.zeros(0, np.float32)

    def on_watch(self, labels: Sequence[str]) -> None:
        watched = set(labels)
        self._watched = {x: i for i, x in enumerate(self.stream.labels) if x in watched}
        for label in labels:
            self.n_starts[label] += 0  # a rate needs a zero to begin with

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self.n_starts[event.label] += 1

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._scores = scores.copy()  # the runtime may use its buffer again

    def watched_scores(self) -> Iterator[tuple[str, float]]:
        """From any thread; nothing before the first step. Of a device those that it has sent."""
        watched, scores = self._watched, self._scores
        for label, i in watched.items() if len(scores) else ():
            if scores[i] > 0.0 or self.stream.has_audio:
                yield label, float(scores[i])


def _application(collector: Any) -> Any:
    """The page of a collector, if there is one, as a WSGI application. Raises UsageError."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
    except ImportError as error:
        hint = "pip install 'edge-audio[metrics]'"
        raise UsageError(f"metrics need prometheus-client: {hint}") from error
    registry = CollectorRegistry()  # the global one may belong to a program around us
    ProcessCollector(registry=registry)
    if collector is not None:
        registry.register(collector)
    return make_wsgi_app(registry)


def _valid(text: str) -> str:
    """The text without lone surrogates, which names of files may have and UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
