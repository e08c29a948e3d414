"""What others may ask of a run over MQTT: another sensitivity, and to be quiet for a while."""

from __future__ import annotations

from collections import deque

from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity
from edge_audio.sinks.base import Wish
from edge_audio.sinks.mqtt.homeassistant import CONTROLS, Discovery
from edge_audio.sinks.mqtt.link import Followed, Link
from edge_audio.sinks.mqtt.told import Told

MAX_WISHES = 20  # that wait; who sends more is not listened to


class Controls:
    """Topics of a run: TOPIC/sensitivity and TOPIC/paused (ON, OFF) say how it listens, and with
    /set behind them change it."""

    def __init__(self, link: Link, topic: str) -> None:
        self._sensitivity, self._paused = f"{topic}/sensitivity", f"{topic}/paused"
        self._wishes: deque[Wish] = deque()
        self._told = Told(link)
        link.follow(Followed((f"{self._sensitivity}/set", f"{self._paused}/set"), self._hear))
        self._told.follow((self._sensitivity, self._paused))
        self._discovery: Discovery | None = None
        self._state: tuple[Sensitivity, bool] | None = None
        self._is_open = True

    def use(self, discovery: Discovery | None, is_open: bool) -> None:
        """discovery: how Home Assistant is told of them, from the first state on; None = it is not.
        is_open: whether they are there at all."""
        self._is_open = is_open
        if discovery is not None and discovery != self._discovery:
            self._told.follow(tuple(discovery.topic(component, "+") for component in CONTROLS))
        self._discovery = discovery
        self._tell()

    def tell(self, sensitivity: Sensitivity, is_paused: bool) -> None:
        """Says how the run listens."""
        self._state = sensitivity, is_paused
        self._tell()

    def take(self) -> list[Wish]:
        """What came since the last call."""
        return [self._wishes.popleft() for _ in range(len(self._wishes))]

    def _tell(self) -> None:
        if not self._is_open:
            self._told.only({})
        if self._state is None or not self._is_open:
            return
        sensitivity, is_paused = self._state
        messages = {self._sensitivity: sensitivity, self._paused: "ON" if is_paused else "OFF"}
        if self._discovery is not None:
            select, switch = (self._discovery.topic(component, "run") for component in CONTROLS)
            topic, options = self._sensitivity, SENSITIVITIES
            messages[select] = self._discovery.choice("Sensitivity", "sensitivity", topic, options)
            messages[switch] = self._discovery.switch("Paused", "paused", self._paused)
        self._told.only(messages)

    def _hear(self, topic: str, payload: bytes, was_kept: bool) -> None:
        """A command that the broker keeps is one of before, and means nothing."""
        text = payload[:20].decode(errors="replace")
        if was_kept or not self._is_open or len(self._wishes) >= MAX_WISHES:
            return
        for sensitivity in SENSITIVITIES:
            if topic.startswith(self._sensitivity) and text == sensitivity:
                self._wishes.append(Wish(sensitivity=sensitivity))
        if topic.startswith(self._paused) and text in ("ON", "OFF"):
            self._wishes.append(Wish(is_paused=text == "ON"))
