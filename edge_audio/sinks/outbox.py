"""What waits for a broker: events in their order, and the latest of everything it retains."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple


class Message(NamedTuple):
    """payload: an empty one takes a retained topic back."""

    topic: str
    payload: str
    is_retained: bool = False


class Outbox:
    """Filled by the listening thread, emptied by another.

    n_lost: events that found no room, of which the oldest went, and those given up.
    """

    def __init__(self, capacity: int) -> None:
        """capacity: events that may wait."""
        self.n_lost = 0
        self._capacity = capacity
        self._lock = threading.Lock()
        self._events: deque[Message] = deque()
        self._updates: deque[Message] = deque()
        self._retained: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._updates) + len(self._events)

    @property
    def is_full(self) -> bool:
        """The next event costs the oldest one."""
        return len(self._events) >= self._capacity

    def resize(self, capacity: int) -> None:
        """More or fewer events may wait."""
        with self._lock:
            self._capacity = capacity
            self._drop_oldest()

    def put(self, topic: str, payload: str) -> None:
        """An event, to be sent once."""
        with self._lock:
            self._events.append(Message(topic, payload))
            self._drop_oldest()

    def retain(self, topic: str, payload: str) -> None:
        """A state, to be sent now and again after every `repeat`. Where too many changes wait,
        the latest of each topic remain."""
        with self._lock:
            self._retained[topic] = payload
            self._updates.append(Message(topic, payload, is_retained=True))
            if len(self._updates) > len(self._retained) + self._capacity:
                self._repeat()

    def repeat(self) -> None:
        """Sends the latest of all retained topics again, in place of changes that wait."""
        with self._lock:
            self._repeat()

    def take(self) -> Message | None:
        """The next to send: retained ones first."""
        with self._lock:
            queue = self._updates or self._events
            return queue.popleft() if queue else None

    def put_back(self, messages: Iterable[Message]) -> None:
        """Those that were taken, and may not have arrived, in their order. States are left out:
        `repeat` sends newer ones."""
        with self._lock:
            self._events.extendleft(reversed([x for x in messages if not x.is_retained]))
            self._drop_oldest()

    def delivered(self, message: Message) -> None:
        """A topic that was taken back need not be taken back again."""
        with self._lock:
            if message.is_retained and self._retained.get(message.topic) == message.payload == "":
                del self._retained[message.topic]

    def give_up(self) -> None:
        """Drops and counts what waits."""
        with self._lock:
            self.n_lost += len(self._events)
            self._events.clear()
            self._updates.clear()

    def _repeat(self) -> None:
        self._updates = deque(Message(*pair, is_retained=True) for pair in self._retained.items())

    def _drop_oldest(self) -> None:
        while len(self._events) > self._capacity:
            self._events.popleft()
            self.n_lost += 1
