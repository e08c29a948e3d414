"""What a broker keeps of a stream or of the run: what is said now, nothing of before."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from edge_audio.sinks.mqtt.link import Followed, Link


class Told:
    """Retained messages of a stream or of the run. Those that an earlier run left are heard from
    the broker, and taken back, so that nothing has to be said of topics that were never used."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()  # between the thread of the link and that which listens
        self._said: set[str] = set()
        self._left: set[str] = set()  # heard before it is known what is to stay
        self._is_known = False

    def follow(self, topics: tuple[str, ...]) -> None:
        """All topics that may hold something of this stream, with + for any part."""
        self._link.follow(Followed(topics, self._hear))

    def only(self, messages: Mapping[str, str], kept: Collection[str] = ()) -> None:
        """Says all of these, and takes back everything else but the topics that are kept."""
        with self._lock:
            gone = (self._said | self._left) - {*messages, *kept}
            self._said, self._left = {*messages, *kept}, set()
            self._is_known = True
        for topic in sorted(gone):
            self._link.retain(topic, "")
        for topic, payload in messages.items():
            self._link.retain(topic, payload)

    def change(self, topic: str, payload: str) -> None:
        """Says something else on one topic."""
        with self._lock:
            self._said.add(topic)
        self._link.retain(topic, payload)

    def _hear(self, topic: str, payload: bytes, was_kept: bool) -> None:
        with self._lock:
            if topic in self._said:
                return
            if not self._is_known:
                self._left.add(topic)
                return
        self._link.retain(topic, "")
