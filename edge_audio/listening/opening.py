"""From the settings of a listening run to what it hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from edge_audio.backends import Backend, open_backend
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.labels.find import find_label
from edge_audio.listening.audio_hearing import AudioHearing
from edge_audio.listening.config import Config, SourceConfig
from edge_audio.listening.device_hearing import DeviceHearing
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.hearing import Hearing, Wanted
from edge_audio.serial.device import PATIENCE_S, SerialDevice
from edge_audio.sinks.clips.recorder import ClipsConfig
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.sources.opening import make_source, microphone_or_demo, reconnecting
from edge_audio.sources.rest import Rest
from edge_audio.tagging.tagger import Tagger


@dataclass(frozen=True)
class Terms:
    """What the command line alone can say about a run.

    pcm: form of raw PCM on standard input. realtime: the pace of files and the demo; None =
        the demo in real time. explained: labels to explain.
    """

    duration_s: float | None = None
    realtime: bool | None = None
    pcm: dict[str, Any] = field(default_factory=dict)
    explained: tuple[str, ...] = ()


class Opening:
    """Makes the hearings of a run, not yet open. The model is loaded where there is audio to tag:
    devices have their own.

    bundle: the model, None if only devices are listened to. explained: labels to explain.
    """

    def __init__(
        self,
        config: Config,
        terms: Terms,
        notice: Callable[[str, str], None],
        say: Callable[[str], None],
    ) -> None:
        """notice: is told (name of a stream, what happened to its source), by any thread. say: is
        told what everybody should know at once. Raises BundleError or UsageError."""
        self._config, self._terms, self._notice, self._say = config, terms, notice, say
        has_audio = not all(source.is_device for source in config.source)
        self.bundle: Bundle | None = None
        if has_audio:
            self.bundle = load_with_sounds(config.model, config.sounds)
        self.explained = self._known(terms.explained)

    def hearings(self) -> list[Hearing]:
        """A hearing for each source, not yet open. Raises UsageError."""
        sources = zip(self._config.source, self._config.names, strict=True)
        return [self._hearing(source, name) for source, name in sources]

    def check_events(self, config: EventsConfig) -> None:
        """Checks the settings of events as far as that is possible before devices have told their
        labels. Raises UsageError."""
        if self.bundle is not None and not any(s.is_device for s in self._config.source):
            config.apply(self.bundle.manifest.events, self.bundle.manifest.labels)

    def check_clips(self, config: ClipsConfig | None) -> None:
        """Checks the labels that are recorded. Raises UsageError."""
        if config is None or self.bundle is None:
            return
        for label in config.labels:
            find_label(label, self.bundle.manifest.labels)

    def load_model(self) -> None:
        """Raises BackendError."""
        if self.bundle is not None:
            _ = self._backend

    def _known(self, names: Sequence[str]) -> list[str]:
        if not names:
            return []
        if self.bundle is None:
            raise UsageError(
                "--explain needs the scores of every step, which a device (serial:) does not send"
            )
        labels = self.bundle.manifest.labels
        return list(dict.fromkeys(find_label(name, labels) for name in names))

    def _hearing(self, source: SourceConfig, name: str) -> Hearing:
        if source.is_device:
            patience_s = float("inf") if self._config.reconnect else PATIENCE_S
            device = SerialDevice(*source.port, patience_s)
            return DeviceHearing(name, device, self._noticed(name), self._terms.duration_s)
        return self._audio(name, source)

    def _audio(self, name: str, source: SourceConfig) -> Hearing:
        assert self.bundle is not None
        url = microphone_or_demo(self._say) if source.url == "auto" else source.url
        realtime = url == "demo" if self._terms.realtime is None else self._terms.realtime
        rate_hz = self.bundle.manifest.model.frontend.sample_rate_hz
        in_short_blocks = bool(self._terms.realtime)

        rest = Rest(self._config.latency_s)

        def make() -> Any:
            pcm, channel = self._terms.pcm, source.channel
            return make_source(url, source.device, rate_hz, pcm, in_short_blocks, channel, rest)

        found = reconnecting(make, self._noticed(name)) if self._config.reconnect else make()
        duration_s = self._terms.duration_s
        return AudioHearing(name, found, self.bundle, self._open_tagger, realtime, duration_s, rest)

    def _noticed(self, name: str) -> Callable[[str], None]:
        return lambda text: self._notice(name, text)

    def _open_tagger(self, events: EventSpec, gate_dbfs: float | None) -> Tagger:
        assert self.bundle is not None
        return Tagger(self.bundle, self._backend, events, gate_dbfs, self.explained)

    @cached_property
    def _backend(self) -> Backend:
        assert self.bundle is not None
        return open_backend(self.bundle, self._config.backend)


def wanted_of(config: Config, hearings: Sequence[Hearing], n_top: int) -> list[Wanted]:
    """What is wanted of each stream, all of which are open. n_top: highest scores that the screen
    shows. Raises UsageError, for a label only if no stream knows it."""
    events = config.events
    specs = chosen_events(events, [(h.default_events, h.stream.labels) for h in hearings])
    n_top = max(n_top, config.json.top if config.json else 0)
    # A device ranks either all labels or those that are on; the sinks leave out the rest.
    n_asked = n_top + len(events.exclude) if n_top else 0
    only = bool(events.only)
    return [Wanted(spec, events.gate_dbfs, n_asked, only, events.related) for spec in specs]


def chosen_events(
    config: EventsConfig, models: Sequence[tuple[EventSpec, Sequence[str]]]
) -> list[EventSpec]:
    """The settings of each stream, of which (own settings of its model, labels) are given: a label
    that some do not know is for the others. Raises UsageError."""
    every_label = list(dict.fromkeys(label for _, labels in models for label in labels))
    for name in (*config.only, *config.exclude, *config.thresholds):
        find_label(name, every_label)
    return [_chosen_events(config, spec, labels) for spec, labels in models]


def _chosen_events(config: EventsConfig, spec: EventSpec, labels: Sequence[str]) -> EventSpec:
    known = {label.casefold() for label in labels}
    own = msgspec.structs.replace(
        config,
        only=tuple(x for x in config.only if x.casefold() in known),
        exclude=tuple(x for x in config.exclude if x.casefold() in known),
        thresholds={x: on for x, on in config.thresholds.items() if x.casefold() in known},
    )
    if config.only and not own.only:  # nothing that somebody wants to hear about
        return msgspec.structs.replace(spec, thresholds={})
    return own.apply(spec, labels)
