"""A connection to an MQTT broker that is made again whenever it breaks, in a thread of its own."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.outbox import Message, Outbox
from edge_audio.support.backoff import Backoff

if TYPE_CHECKING:
    from paho.mqtt.client import Client

FIRST_WAIT_S, MAX_WAIT_S = 0.5, 30.0  # between two connections
STEADY_S = 10.0  # after which a connection counts as well again
MAX_IN_FLIGHT = 20  # messages sent and not yet confirmed
MAX_INCOMING_BYTES = 1 << 12
MAX_READS_PER_PACKET = 16  # what was subscribed to has a few bytes
_TICK_S = 1.0


_Settings = tuple[MqttConfig, "Callable[[], Client]"]


class MqttError(Exception):
    """The broker refuses the connection or breaks the protocol."""


@dataclass(frozen=True)
class Followed:
    """Topics, with + for any part, and who is told of each message there that is not empty, in the
    thread of the link: by topic, payload and whether the broker had kept it."""

    filters: tuple[str, ...]
    hear: Callable[[str, bytes, bool], None]

    def take(self, topic: str, payload: bytes, was_kept: bool) -> None:
        """A message that has come, on whatever topic."""
        if any(_matches(one, topic) for one in self.filters):
            self.hear(topic, payload, was_kept)


def _matches(topic_filter: str, topic: str) -> bool:
    wanted, parts = topic_filter.split("/"), topic.split("/")
    pairs = zip(wanted, parts, strict=False)
    return len(wanted) == len(parts) and all(a in ("+", b) for a, b in pairs)


@dataclass
class _Presence:
    """Of a link, through all its connections. name: among those that send under a topic. is_shared:
    there are others. followed: what is heard."""

    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    is_shared: bool = False
    followed: list[Followed] = field(default_factory=list)


class Link:
    """Delivers messages at least once (QoS 1) and in order, however long the broker is away.

    problem: why there is no connection at the moment; "" if there is one, or none was tried.
    """

    def __init__(self, config: MqttConfig, make_client: Callable[[], Client]) -> None:
        """make_client: one for each connection. Connects to nothing before `start`."""
        self.problem = ""
        self._presence = _Presence()
        self.outbox = Outbox(config.buffer)
        self._settings: _Settings = (config, make_client)
        self._wake_end, self._waker = socket.socketpair()
        self._wake_end.setblocking(False)
        self._waker.setblocking(False)
        self._is_closing = False
        self._hurry = threading.Event()  # there is a reason not to wait for the next attempt
        self._leave_by_s = math.inf
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def is_shared(self) -> bool:
        """Whether somebody else sends under the same topic, as heard over this connection."""
        return self._presence.is_shared

    def start(self) -> None:
        """Begins to connect."""
        self._thread.start()

    def use(self, config: MqttConfig, make_client: Callable[[], Client]) -> None:
        """Goes on by other settings, over a new connection; what waits is sent there."""
        self._settings = (config, make_client)
        self.outbox.resize(config.buffer)
        self._hurry.set()
        self._wake()

    def put(self, topic: str, payload: str) -> None:
        """An event; never waits."""
        self.outbox.put(topic, payload)
        self._wake()

    def retain(self, topic: str, payload: str) -> None:
        """A state that the broker keeps; never waits. An empty payload takes the topic back."""
        self.outbox.retain(topic, payload)
        self._wake()

    def follow(self, topics: Followed) -> None:
        """Hears what is retained there, and what is said there later, over every connection."""
        self._presence.followed.append(topics)
        self._wake()

    def close(self, timeout_s: float = 3.0) -> None:
        """Sends what waits, for timeout_s at most; drops and counts the rest."""
        self._leave_by_s = time.monotonic() + timeout_s
        self._is_closing = True
        self._hurry.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s + 0.5)
        else:
            self._wake_end.close()
            self._waker.close()
        self.outbox.give_up()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody sleeps
            self._waker.send(b"\0")

    def _run(self) -> None:
        backoff = Backoff(FIRST_WAIT_S, MAX_WAIT_S, STEADY_S, jitter=0.2)
        with self._wake_end, self._waker:
            while True:
                start_s, settings = time.monotonic(), self._settings
                try:
                    self._connection(settings).serve()
                except Exception as error:  # whatever a broker does must not end this thread
                    self.problem = _reason(error)
                if self._is_closing and self._settings is settings:
                    return
                backoff.worked_for(time.monotonic() - start_s)
                self._hurry.wait(backoff.next_s())
                self._hurry.clear()

    def _connection(self, settings: _Settings) -> _Connection:
        config, make_client = settings
        return _Connection(
            config,
            make_client(),
            self.outbox,
            self._wake_end,
            self._presence,
            is_up=self._is_up,
            is_outdated=lambda: self._settings is not settings,
            leave_by_s=lambda: self._leave_by_s,
        )

    def _is_up(self) -> None:
        self.problem, self._presence.is_shared = "", False


class _Connection:
    """One connection from CONNECT to its end. All of it happens in the thread of the link."""

    def __init__(
        self,
        config: MqttConfig,
        client: Client,
        outbox: Outbox,
        wake_end: socket.socket,
        presence: _Presence,
        is_up: Callable[[], None],
        is_outdated: Callable[[], bool],
        leave_by_s: Callable[[], float],
    ) -> None:
        """is_up: is told when the broker has accepted the connection. is_outdated: whether
        another one is wanted. leave_by_s: the time by which it must have ended, on the monotonic
        clock; inf = stay."""
        self._config, self._client, self._outbox = config, client, outbox
        self._wake_end, self._tell_up = wake_end, is_up
        self._presence, self._has_replied = presence, False
        self._n_followed = 0
        self._is_outdated, self._leave_by_s = is_outdated, leave_by_s
        self._is_accepted = False
        self._refusal = ""
        self._in_flight: dict[int, Message] = {}
        self._answer_s = time.monotonic()  # when the broker last did what it should
        self._packet_s = self._answer_s  # when a packet, but for pings, was last complete
        self._n_reads = 0  # since then
        client.on_connect = self._answered
        client.on_publish = self._confirmed
        client.on_message = self._heard
        client.on_subscribe = lambda *_: self._note_packet()

    def serve(self) -> None:
        """Until other settings hold, or it is time to leave and all is delivered. Raises OSError,
        MqttError or whatever paho makes of a broker's answers when it breaks off."""
        host, port = self._config.address
        try:
            self._client.connect(host, port, self._config.keepalive_s)
            self._limit_incoming()
            while not (self._is_outdated() or self._has_delivered):
                self._follow_new()
                self._send_waiting()
                self._turn()
        finally:
            self._outbox.put_back(self._in_flight.values())
            peer = self._client.socket()
            if peer is not None:
                peer.close()  # without a farewell, so that the broker publishes the will

    def _limit_incoming(self) -> None:
        """Lets the system hold back what paho would take into memory at one go."""
        peer: Any = self._client.socket()
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MAX_INCOMING_BYTES)

    @property
    def _has_delivered(self) -> bool:
        """All that is to be delivered before it leaves."""
        is_leaving = self._leave_by_s() < math.inf
        is_idle = not self._in_flight and len(self._outbox) == 0
        return self._is_accepted and is_leaving and is_idle

    def _follow_new(self) -> None:
        if self._is_accepted:
            for one in self._presence.followed[self._n_followed :]:
                self._client.subscribe([(topic, 0) for topic in one.filters])
                self._n_followed += 1

    def _send_waiting(self) -> None:
        while self._is_accepted and len(self._in_flight) < MAX_IN_FLIGHT:
            message = self._outbox.take()
            if message is None:
                return
            self._send(message)

    def _send(self, message: Message) -> None:
        if not self._in_flight:
            self._answer_s = time.monotonic()  # nothing was due before
        sent = self._client.publish(
            message.topic, message.payload, qos=1, retain=message.is_retained
        )
        self._in_flight[sent.mid] = message
        self._check(sent.rc)

    def _turn(self) -> None:
        """Waits for something to do, and does it."""
        client = self._client
        peer: Any = client.socket()
        if peer is None:
            raise MqttError(self._refusal or "the broker has ended the connection")
        has_more = isinstance(peer, ssl.SSLSocket) and peer.pending() > 0
        writers = [peer] if client.want_write() else []
        left_s = self._leave_by_s() - time.monotonic()
        wait_s = 0.0 if has_more else min(_TICK_S, max(0.0, left_s))
        readable, writable, _ = select.select([peer, self._wake_end], writers, [], wait_s)
        if self._wake_end in readable:
            self._wake_end.recv(4096)
        if has_more or peer in readable:
            self._n_reads += 1
            self._check(client.loop_read())
            self._check_incoming()
        if writable:
            self._check(client.loop_write())
        self._check(client.loop_misc())
        self._check_times()

    def _check_incoming(self) -> None:
        """Paho takes packets of up to 256 MiB into memory, and only says when one is complete.
        Answers to pings are complete unsaid: one in keepalive_s, sometimes in two reads."""
        n_pings = (time.monotonic() - self._packet_s) / self._config.keepalive_s
        if self._n_reads > MAX_READS_PER_PACKET + 2.0 * n_pings:
            raise MqttError("the broker sends more than was asked for")

    def _note_packet(self) -> None:
        self._packet_s, self._n_reads = time.monotonic(), 0

    def _check(self, code: int) -> None:
        if code:
            from paho.mqtt.client import error_string

            raise MqttError(self._refusal or error_string(code).rstrip(".").lower())

    def _check_times(self) -> None:
        now_s = time.monotonic()
        if now_s > self._leave_by_s():
            raise MqttError("there was no time to deliver all")
        is_due = bool(self._in_flight) or not self._is_accepted
        if is_due and now_s - self._answer_s > self._config.keepalive_s:
            raise MqttError(f"no answer for {self._config.keepalive_s} s")

    # Called by paho, within _turn

    def _answered(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._note_packet()
        if reason.is_failure:
            self._refusal = f"the broker says: {reason}"
            return
        self._is_accepted = True
        topics = filter(None, (self._config.birth_topic, self._config.presence_topic))
        client.subscribe([(topic, 0) for topic in topics])
        client.publish(self._config.presence_topic, self._presence.name)
        self._outbox.repeat()
        self._tell_up()

    def _confirmed(self, client: Client, _: Any, mid: int, reason: Any, properties: Any) -> None:
        self._answer_s = time.monotonic()
        self._note_packet()
        message = self._in_flight.pop(mid, None)
        if message is not None:
            self._outbox.delivered(message)

    def _heard(self, client: Client, _: Any, message: Any) -> None:
        self._note_packet()
        if message.topic == self._config.birth_topic and message.payload == b"online":
            self._outbox.repeat()
        is_presence = message.topic == self._config.presence_topic
        if is_presence and message.payload != self._presence.name.encode():
            self._meet_other(client)
        for one in self._presence.followed if message.payload else ():
            one.take(message.topic, message.payload, message.retain)

    def _meet_other(self, client: Client) -> None:
        """Says once more who sends here, for who has come later to hear."""
        self._presence.is_shared = True
        if not self._has_replied:
            self._has_replied = True
            client.publish(self._config.presence_topic, self._presence.name)


def _reason(error: Exception) -> str:
    """One line for people; nothing that the broker sent is quoted."""
    if isinstance(error, MqttError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason}"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).rstrip(".").lower()
    return f"its answers are no MQTT ({type(error).__name__})"
