"""Which events are reported: cooldown, longest duration, and one event for one sound.

The detector, which every runtime has, decides when a label sounds, and bridges short gaps
(EventSpec.min_off_s). What follows here runs on the host, for events from any detector; the C
engine has the same rules for related labels (firmware_bridge/engine/src/fold.c).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import msgspec

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.labels.family import Family

Related = Literal["most-specific", "first", "all"]
RELATED: tuple[Related, ...] = ("all", "most-specific", "first")
"""In the order of the C engine's numbers for them."""


class PolicySpec(Spec, frozen=True):
    """By default one sound is one event, and otherwise events leave as they were detected.

    cooldown_s: a label stays quiet this long after an event of it that was reported. A sound
        that begins meanwhile is not reported at all, and does not prolong the cooldown.
    max_s: an event that lasts longer ends then, and its label stays quiet until it really
        ends, where its cooldown begins; 0 = no limit.
    related: what is reported of labels that may name one sound. "most-specific": while Bark sounds,
        neither its ancestors in the AudioSet ontology (Dog, Animal) nor its near-synonyms start; an
        ancestor that has started ends when Bark starts, and stays quiet until its own end.
        "first": while a label sounds, neither ancestors nor descendants of it start. "all": every
        label. What is held back stays so until its own end.
    """

    cooldown_s: float = 0.0
    max_s: float = 0.0
    related: Related = "most-specific"

    def __post_init__(self) -> None:
        if not (0.0 <= self.cooldown_s < math.inf and 0.0 <= self.max_s < math.inf):
            raise ValueError("cooldown_s and max_s must be finite and not negative")
        if self.related not in RELATED:
            raise ValueError(f"related is {self.related!r}: it is one of {', '.join(RELATED)}")


FOLD_S = 0.16
"""Two steps: scores of a label and of a kind of it cross their thresholds within so much."""

_EPSILON_S = 1e-6  # step times are sums of floats

REPORT_ALL = PolicySpec(related="all")
ONE_SOUND = PolicySpec()


@dataclass
class _Sound:
    """A label from its start to its real end.

    fate: "open" was reported; "cut" was, and its end too, for it was too long or something more
        specific started; "cooling" came within the cooldown; "related" to another that sounded.
    """

    start: Event
    fate: Literal["open", "cut", "cooling", "related"]


class _Held(NamedTuple):
    """A start that waits for a more specific one."""

    start: Event
    until_s: float


class EventPolicy:
    """Follows one stream. Per label, starts and ends alternate and times never fall, even where
    the events that come in lack some of them."""

    def __init__(
        self,
        spec: PolicySpec,
        parents: Mapping[str, str] = MappingProxyType({}),
        watched: Iterable[str] = (),
    ) -> None:
        """parents: labels that were taught -> the label that each is a kind of. watched: labels
        that may start, where that is known: see `watch`."""
        if not isinstance(spec, PolicySpec):
            raise UsageError(f"policy is {spec!r}: give a PolicySpec, such as PolicySpec()")
        self.spec, self._family = spec, Family(parents)
        self.reset()
        self.watch(watched)

    def reset(self) -> None:
        """Forgets everything: as if nothing had sounded before the next push."""
        self._sounds: dict[str, _Sound] = {}
        self._quiet_until_s: dict[str, float] = {}
        self._latest_s: dict[str, float] = {}  # of the events that left
        self._due_s = math.inf  # when the first open event is too long
        self._starting: set[str] = set()  # labels, in this step
        self._held: dict[str, _Held] = {}

    def watch(self, labels: Iterable[str]) -> None:
        """Which labels may start from now on. Those that have kinds among them wait for these for
        FOLD_S, so that a sound whose general name comes a moment sooner is one event all the
        same. What waits of other labels is not reported any more."""
        labels = set(labels)
        self._general = {ancestor for label in labels for ancestor in self._family.ancestors(label)}
        self._held = {label: held for label, held in self._held.items() if label in labels}

    @property
    def held_back(self) -> frozenset[str]:
        """Labels that sound and are not reported: within their cooldown, beyond their longest
        duration, for a related one, or not yet."""
        silent = [label for label, sound in self._sounds.items() if sound.fate != "open"]
        return frozenset([*silent, *self._held])

    @property
    def is_waiting(self) -> bool:
        """Whether a step without events may bring some."""
        return bool(self._held) or self._due_s < math.inf

    def push(self, events: Sequence[Event], time_s: float) -> list[Event]:
        """Events of the step that ends at time_s -> those that are reported, sorted by time if the
        events are. To be called for every step, for events become too long between others."""
        if not events and not self._held and time_s < self._due_s:  # nearly all steps
            return []
        return self._push(self._ripe(events, time_s), time_s)

    def _push(self, events: Sequence[Event], time_s: float) -> list[Event]:
        self._starting = {event.label for event in events if event.kind == "start"}
        passed = [out for event in events for out in self._take(event)]
        if time_s >= self._due_s:
            passed = sorted([*passed, *self._cut(time_s)], key=_by_time)
        self._find_due()
        return passed

    def flush(self, events: Sequence[Event], time_s: float) -> list[Event]:
        """The last events of a stream that ends at time_s; ends what is open, then resets."""
        held = [held.start for held in self._held.values()]
        passed = self._push(sorted([*held, *events], key=_by_time), time_s)
        for sound in self._open_sounds():
            passed.append(self._leave(_end_of(sound.start, time_s)))
        self.reset()
        return passed

    def change(self, spec: PolicySpec) -> None:
        """Goes on by another spec; what was held back stays so until its end."""
        self.spec = spec
        self._find_due()

    def _ripe(self, events: Sequence[Event], time_s: float) -> list[Event]:
        """What need not wait any longer, sorted by time if the events are."""
        if not self._general and not self._held:
            return list(events)
        ripe: list[Event] = []
        for event in events:
            if event.kind == "start":
                ripe += self._hold_or_pass(event, time_s + FOLD_S)
            else:
                held = self._held.pop(event.label, None)
                ripe += [event] if held is None else [held.start, event]
        due = [label for label, held in self._held.items() if held.until_s <= time_s + _EPSILON_S]
        ripe += [self._held.pop(label).start for label in due]
        return sorted(ripe, key=_by_time)

    def _hold_or_pass(self, start: Event, until_s: float) -> list[Event]:
        """A start that waits, and more general ones with it; or it, and what waited for it."""
        general = [label for label in self._family.ancestors(start.label) if label in self._held]
        if self.spec.related != "most-specific" or start.label not in self._general:
            return [*(self._held.pop(label).start for label in general), start]
        for label in general:
            self._held[label] = self._held[label]._replace(until_s=until_s)
        self._held[start.label] = _Held(start, until_s)
        return []

    def _take(self, event: Event) -> Iterable[Event]:
        sound = self._sounds.get(event.label)
        if event.kind == "start":
            return self._start(event) if sound is None else ()
        return () if sound is None else self._end(event, sound)

    def _start(self, event: Event) -> Iterable[Event]:
        label = event.label
        sound = self._sounds[label] = _Sound(event, "open")
        if self._is_covered(label):
            sound.fate = "related"
        elif event.time_s < self._quiet_until_s.get(label, -math.inf):
            sound.fate = "cooling"
        else:
            if self.spec.related == "most-specific":
                yield from self._end_ancestors(event)
            sound.start = self._leave(event)
            yield sound.start

    def _end(self, event: Event, sound: _Sound) -> Iterable[Event]:
        del self._sounds[event.label]
        if sound.fate in ("open", "cut"):
            self._quiet_until_s[event.label] = event.time_s + self.spec.cooldown_s
        if sound.fate == "open":
            if event.time_s > self._limit_s(sound):
                event = msgspec.structs.replace(event, time_s=self._limit_s(sound))
            yield self._leave(event)

    def _is_covered(self, label: str) -> bool:
        """Whether another label, which is not held back itself, says what this one would."""
        if self.spec.related == "all":
            return False
        if self.spec.related == "first":
            covering = self._family.related(label)
        else:
            more_specific = self._family.related(label) - self._family.ancestors(label)
            if more_specific & self._starting:
                return True
            covering = more_specific | self._family.synonyms(label)
        return any(
            other in covering and sound.fate != "related" for other, sound in self._sounds.items()
        )

    def _end_ancestors(self, start: Event) -> Iterable[Event]:
        """Ends what is open and less specific than a label that starts."""
        for sound in self._open_sounds():
            if sound.start.label in self._family.ancestors(start.label):
                sound.fate = "cut"
                end_s = min(start.time_s, self._limit_s(sound))
                yield self._leave(_end_of(sound.start, end_s))

    def _cut(self, time_s: float) -> Iterable[Event]:
        for sound in self._open_sounds():
            if self._limit_s(sound) <= time_s:
                sound.fate = "cut"
                yield self._leave(_end_of(sound.start, self._limit_s(sound)))

    def _leave(self, event: Event) -> Event:
        """The event as it is reported: no earlier than the event of its label before."""
        earliest_s = self._latest_s.get(event.label, -math.inf)
        if event.time_s < earliest_s:
            event = msgspec.structs.replace(event, time_s=earliest_s)
        self._latest_s[event.label] = event.time_s
        return event

    def _open_sounds(self) -> list[_Sound]:
        return [sound for sound in self._sounds.values() if sound.fate == "open"]

    def _limit_s(self, sound: _Sound) -> float:
        return sound.start.time_s + self.spec.max_s if self.spec.max_s else math.inf

    def _find_due(self) -> None:
        self._due_s = min(map(self._limit_s, self._open_sounds()), default=math.inf)


def _by_time(event: Event) -> float:
    return event.time_s


def _end_of(start: Event, time_s: float) -> Event:
    """An end that no detector reported; the score of the start is the highest one known."""
    return Event("end", start.label, time_s, start.score)
