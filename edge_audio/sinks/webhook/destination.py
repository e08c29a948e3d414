"""Events as HTTP requests, one each, to an address of the user's choice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from msgspec import field

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Destination, Sink
from edge_audio.sinks.delivery import Delivery, Outcome, Plan
from edge_audio.sinks.records import event_record
from edge_audio.sinks.webhook.post import DeadLetters, Poster
from edge_audio.sources.stream import Stream
from edge_audio.support.address import check_host, check_known
from edge_audio.support.paths import expand_fields
from edge_audio.support.secrets import read_secret


class WebhookConfig(Spec, frozen=True):
    """Where every event is posted, as JSON.

    url: http:// or https://, without user and password. headers: sent with every request.
    bearer_env, bearer_file: a variable of the environment, or a file, that holds a token for
        "Authorization: Bearer ...".
    ca_file: certificates to trust in place of the system's.
    timeout_s: for the connection, and for the answer. retries: attempts after the first.
    backoff_s: before the second attempt; doubles up to a minute.
    queue: events that wait. dead_letter: a file for events that were given up, one per line.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    bearer_env: str | None = None
    bearer_file: str | None = None
    ca_file: str | None = None
    timeout_s: float = 5.0
    retries: int = 5
    backoff_s: float = 1.0
    queue: int = 1000
    dead_letter: str | None = None

    def __post_init__(self) -> None:
        expand_fields(self, "bearer_file", "ca_file", "dead_letter")
        self._check_url()
        self._check_headers()
        if self.bearer_env is not None and self.bearer_file is not None:
            raise ValueError("give bearer_env or bearer_file, not both")
        if not 0.1 <= self.timeout_s <= 60.0:
            raise ValueError("need 0.1 <= timeout_s <= 60")
        self.plan(lambda _: Outcome())

    def plan(self, post: Callable[[str], Outcome]) -> Plan[str]:
        """Raises ValueError."""
        return Plan(post, self.retries, self.backoff_s, self.queue)

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_web = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError as error:  # a wrong port, or a bracket that is open
            raise ValueError(f"url is no address: {error}") from None
        if not is_web or not _is_plain(self.url) or " " in self.url:
            raise ValueError(
                "url must be the address of a web server, which begins with http:// or https://"
            )
        if "@" in parts.netloc:
            raise ValueError("url must have no user and password: use bearer_env or bearer_file")
        check_host(parts.hostname or "")

    def _check_headers(self) -> None:
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not _is_plain(value):
                raise ValueError(f"header {name!r} must have a plain name and an ASCII value")
            if name.lower() == "authorization":
                raise ValueError("headers must hold no secret: use bearer_env or bearer_file")


class WebhookDestination(Destination[WebhookConfig]):
    """One address for all streams. Events arrive in order, and twice where an answer was lost."""

    def __init__(self, config: WebhookConfig) -> None:
        """Raises UsageError where urllib3, the token or the certificates are missing, or dead
        letters cannot be written."""
        self._config, self._dead_letters = config, _dead_letters(config)
        self._n_given_up = 0
        self._delivery = Delivery("webhook", config.plan(_poster(config)), self._bury)

    @staticmethod
    def check(config: WebhookConfig, labels: Sequence[str]) -> None:
        _poster(config)
        if config.dead_letter is not None:
            DeadLetters.check(config.dead_letter)
        parts = urlsplit(config.url)
        check_known(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def name(self) -> str:
        return f"webhook {urlsplit(self._config.url).hostname}"  # paths of webhooks are secrets

    @property
    def problem(self) -> str:
        return self._delivery.problem

    @property
    def n_lost(self) -> int:
        """Events that were neither delivered nor kept as dead letters."""
        return self._n_given_up + self._delivery.n_dropped

    def open(self, stream: Stream) -> Sink:
        return _WebhookSink(stream, self)

    def reconfigure(self, config: WebhookConfig, undo: ExitStack) -> Callable[[], None] | None:
        """Events that wait go to the address that is named from now on."""
        plan, dead_letters = config.plan(_poster(config)), _dead_letters(config)
        if dead_letters is not None:
            undo.callback(dead_letters.discard)

        def use() -> None:
            self._config, self._dead_letters = config, dead_letters
            self._delivery.use(plan)

        return use

    def put(self, record: dict[str, object]) -> None:
        """Never waits. Where the queue is full, its oldest event is dropped and counted."""
        self._delivery.put(json.dumps(record))

    def discard(self) -> None:
        self.close()
        if self._dead_letters is not None:
            self._dead_letters.discard()

    def close(self) -> None:
        """One more attempt for each event, for a few seconds; the rest become dead letters."""
        self._delivery.close()

    def _bury(self, body: str) -> None:
        try:
            if self._dead_letters is not None:
                self._dead_letters.append(body)
                return
        except OSError as error:
            self._delivery.problem = f"dead letters are lost: {error.strerror or error}"
        self._n_given_up += 1


class _WebhookSink(Sink):
    def __init__(self, stream: Stream, destination: WebhookDestination) -> None:
        self._stream, self._destination = stream, destination

    def on_event(self, event: Event) -> None:
        self._destination.put(event_record(self._stream, event))


def _poster(config: WebhookConfig) -> Poster:
    """Raises UsageError where urllib3, the token or the certificates are missing."""
    token = read_secret(config.bearer_env, config.bearer_file)
    if token is not None and not _is_plain(token.reveal()):
        raise UsageError("the token for the webhook must be ASCII, without control codes")
    return Poster(config.url, config.headers, token, config.ca_file, config.timeout_s)


def _dead_letters(config: WebhookConfig) -> DeadLetters | None:
    """Raises UsageError if the file cannot be written."""
    return None if config.dead_letter is None else DeadLetters(config.dead_letter)


def _is_plain(text: str) -> bool:
    """Whether the text may stand in a header."""
    return text.isascii() and text.isprintable()
