"""Settings of notifications."""

from __future__ import annotations

import string
from collections.abc import Iterator

from msgspec import field
from msgspec.structs import force_setattr

from edge_audio.bundle.spec import Spec
from edge_audio.sinks.delivery import Outcome, Plan
from edge_audio.sinks.notify.quiet_hours import MAX_QUIET_HOURS, QuietHours
from edge_audio.support.paths import expand_fields

MAX_CLIP_WAIT_S = 600.0
MAX_TEXT_CHARS = 1000
PLACES = ("label", "more", "stream", "time", "score")  # of a text, such as {label}


class NotifyConfig(Spec, frozen=True):
    """Who is told of events by a message, and when not.

    urls_file, urls_env: a file, or a variable of the environment, with an address of Apprise on
        each line, as NAME = URL or URL. urls: addresses without a secret.
    only, exclude: labels that are told, by default all that are watched. scores: label -> the
        score that an event must reach. recipients: name -> the labels that it is told; others are
        told all.
    urgent: labels that are told in quiet hours too, whatever `max_per_hour`, and without waiting.
    quiet_hours: such as "22:00-07:00" and "sat-sun 07:00-09:00", by the clocks of the place.
    pause_s: between two messages on one label. max_per_hour: on all labels.
    clip_wait_s: how long a message waits for the clip that goes with it; 0: no clip goes out.
    title, text: what is told, with {label}, {more}, {stream}, {time} and {score}.
    retries, backoff_s, queue: as of a webhook.
    """

    urls_file: str | None = None
    urls_env: str | None = None
    urls: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    urgent: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    recipients: dict[str, tuple[str, ...]] = field(default_factory=dict)
    quiet_hours: tuple[str, ...] = ()
    pause_s: float = 300.0
    max_per_hour: int = 20
    clip_wait_s: float = 0.0
    title: str = "{label}{more}"
    text: str = "{stream}, {time}, score {score}"
    retries: int = 5
    backoff_s: float = 5.0
    queue: int = 100

    def __post_init__(self) -> None:
        expand_fields(self, "urls_file")
        if self.urls_file is not None and self.urls_env is not None:
            raise ValueError("give urls_file or urls_env, not both")
        if not (self.urls or self.urls_file or self.urls_env):
            raise ValueError("say who is told: urls_file, urls_env or urls")
        if len(self.quiet_hours) > MAX_QUIET_HOURS:
            raise ValueError(f"quiet_hours has more than {MAX_QUIET_HOURS} lines")
        force_setattr(self, "quiet_hours", tuple(dict.fromkeys(self.quiet_hours)))
        _ = self.stretches
        self._check_numbers()
        for name in ("title", "text"):
            _check_text(name, getattr(self, name))

    def _check_numbers(self) -> None:
        if any(not 0.0 < score <= 1.0 for score in self.scores.values()):
            raise ValueError("scores must be probabilities such as 0.8")
        if not (0.0 <= self.pause_s <= 86_400.0 and 1 <= self.max_per_hour <= 3600):
            raise ValueError("need 0 <= pause_s <= 86400 and 1 <= max_per_hour <= 3600")
        if not 0.0 <= self.clip_wait_s <= MAX_CLIP_WAIT_S:
            raise ValueError(f"clip_wait_s must be within 0 and {MAX_CLIP_WAIT_S:g}")
        Plan[object](lambda _: Outcome(), self.retries, self.backoff_s, self.queue)

    @property
    def stretches(self) -> list[QuietHours]:
        """The quiet hours. Raises ValueError."""
        try:
            return [QuietHours.parse(text) for text in self.quiet_hours]
        except ValueError as error:
            raise ValueError(f"quiet_hours: {error}") from None

    @property
    def labels(self) -> Iterator[str]:
        """All that are named anywhere."""
        yield from (*self.only, *self.exclude, *self.urgent, *self.scores)
        for labels in self.recipients.values():
            yield from labels

    def __repr__(self) -> str:
        return "NotifyConfig(...)"  # addresses are secrets


def filled(text: str, values: dict[str, str]) -> str:
    """The text with values in its places."""
    parts = string.Formatter().parse(text)
    return "".join(f"{before}{values.get(name or '', '')}" for before, name, _, _ in parts)


def _check_text(name: str, text: str) -> None:
    """Raises ValueError for a place that is not there."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    plain = all(not spec and not conversion for _, _, spec, conversion in parts)
    named = {place for _, place, _, _ in parts if place is not None}
    if not plain or named - set(PLACES):
        places = ", ".join(f"{{{place}}}" for place in PLACES)
        raise ValueError(f"{name} may have {places} in it, and braces for nothing else")
    if not text.strip() or len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"{name} must have 1 to {MAX_TEXT_CHARS} characters")
