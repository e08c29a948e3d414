"""What becomes an event, as settings and flags say it: a section of `Config`, and all that commands
take of them which hear files alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import field

from edge_audio.bundle.spec import EventSpec, Sensitivity, Spec
from edge_audio.errors import UsageError
from edge_audio.events.choice import select_events
from edge_audio.events.policy import PolicySpec, Related
from edge_audio.features.gate import MAX_DBFS, MIN_DBFS, is_level
from edge_audio.sinks.base import TopLabels

MAX_EVENT_S = 86_400.0  # of smoothing, of durations


class EventsConfig(Spec, frozen=True):
    """What becomes an event: changes to the model's own settings, see EventSpec, and what follows
    on them, see PolicySpec and LevelGate.

    only: report these labels alone. exclude: never these. sensitivity: which of the model's own
    thresholds count; None = those of `normal`. threshold: `on` for all watched labels.
    thresholds: label -> `on`, which also switches on labels that are off by default.
    gate_dbfs: level below which the model hears nothing; None = it always hears.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None
    threshold: float | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    smoothing_s: float | None = None
    attack_s: float | None = None
    min_on_s: float | None = None
    min_off_s: float | None = None
    cooldown_s: float = 0.0
    max_s: float = 0.0
    related: Related = "most-specific"
    gate_dbfs: float | None = None

    def __post_init__(self) -> None:
        self.policy()
        names = ("smoothing_s", "attack_s", "min_on_s", "min_off_s", "cooldown_s", "max_s")
        for name in names:
            if not 0.0 <= (getattr(self, name) or 0.0) <= MAX_EVENT_S:
                raise ValueError(f"{name} must be within 0 and {MAX_EVENT_S:g}")
        if self.threshold is not None and not 0.0 < self.threshold <= 1.0:
            raise ValueError("threshold must be a probability such as 0.5")
        if not is_level(self.gate_dbfs):
            raise ValueError(f"gate_dbfs must be within {MIN_DBFS:g} and {MAX_DBFS:g}")

    def policy(self) -> PolicySpec:
        """Which of the detected events are reported. Raises ValueError."""
        return PolicySpec(cooldown_s=self.cooldown_s, max_s=self.max_s, related=self.related)

    def apply(self, spec: EventSpec, labels: Sequence[str]) -> EventSpec:
        """The model's settings as changed. Raises UsageError."""
        spec = spec.at_sensitivity(self.sensitivity)
        watched = dict.fromkeys([*spec.thresholds, *self.only])
        common = {} if self.threshold is None else dict.fromkeys(watched, self.threshold)
        pairs = [*common.items(), *self.thresholds.items()]
        on = {label.casefold(): value for label, value in pairs}
        chosen = select_events(spec, labels, self.only, self.exclude, on or None)
        if self.smoothing_s is not None:  # of both directions, unless attack_s says otherwise
            chosen = msgspec.structs.replace(chosen, attack_s=None)
        names = ("smoothing_s", "attack_s", "min_on_s", "min_off_s")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        try:
            return msgspec.structs.replace(chosen, **given)
        except ValueError as error:
            raise UsageError(f"events: {error}") from error

    def top(self, labels: Sequence[str], n_top: int) -> TopLabels:
        """Ranks the labels that are left; to be called when `apply` accepted them."""
        return TopLabels(labels, n_top, self.wanted(labels))

    def wanted(self, labels: Sequence[str]) -> frozenset[str]:
        """Labels that `only` and `exclude` leave, watched or not."""
        only = {label.casefold() for label in self.only or labels}
        only -= {label.casefold() for label in self.exclude}
        return frozenset(label for label in labels if label.casefold() in only)
