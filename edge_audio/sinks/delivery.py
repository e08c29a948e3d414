"""Items on their way to one place of the network: in order, tried again, given up in the end."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edge_audio.support.backoff import Backoff

MAX_WAIT_S = 60.0  # between two attempts
CLOSE_LIMIT_S = 3.0

Item = TypeVar("Item")


@dataclass(frozen=True)
class Outcome:
    """problem: "" if it was taken. can_improve: the same may be taken later. retry_after_s: the
    server wants nothing before."""

    problem: str = ""
    can_improve: bool = True
    retry_after_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Plan(Generic[Item]):
    """How items are delivered. post: waits for the answer, and raises nothing. retries: attempts
    after the first. backoff_s: before the second; doubles up to MAX_WAIT_S. capacity: items that
    may wait."""

    post: Callable[[Item], Outcome]
    retries: int
    backoff_s: float
    capacity: int

    def __post_init__(self) -> None:
        """Raises ValueError for what settings must not say."""
        if not 0 <= self.retries <= 100:
            raise ValueError("need 0 <= retries <= 100")
        if not (0.0 <= self.backoff_s <= MAX_WAIT_S and 1 <= self.capacity <= 1_000_000):
            raise ValueError(f"need 0 <= backoff_s <= {MAX_WAIT_S:g} and 1 <= queue <= 1000000")


class Delivery(Generic[Item]):
    """A thread that delivers. An item whose answer was lost arrives twice.

    problem: of the latest attempt, "" if it went well. n_dropped: items that found no room, of
        which the oldest went.
    """

    def __init__(self, name: str, plan: Plan[Item], bury: Callable[[Item], object]) -> None:
        """name: of the thread. bury: is handed what was given up; raises nothing."""
        self.problem = ""
        self.n_dropped = 0
        self._plan, self._bury = plan, bury
        self._items: deque[Item] = deque()
        self._current: Item | None = None  # what is being delivered
        self._has_work, self._hurry = threading.Event(), threading.Event()
        self._is_closing = False
        self._leave_by_s = math.inf
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def use(self, plan: Plan[Item]) -> None:
        """Goes on otherwise: what waits is tried at once, and attempts are counted anew."""
        self._plan = plan
        with self._lock:
            self._drop_oldest()
        self._hurry.set()

    def put(self, item: Item) -> None:
        """Never waits. Where too many wait, the oldest is dropped and counted."""
        with self._lock:
            self._items.append(item)
            self._drop_oldest()
        self._has_work.set()

    def close(self) -> None:
        """One more attempt for each item, for a few seconds; the rest is given up."""
        self._leave_by_s = time.monotonic() + CLOSE_LIMIT_S
        self._is_closing = True
        self._hurry.set()
        self._has_work.set()
        self._thread.join(CLOSE_LIMIT_S + 0.5)
        self._bury_current()  # the thread is stuck, as a server that dribbles can achieve
        while (item := self._take()) is not None:
            self._bury(item)

    def _take(self) -> Item | None:
        with self._lock:
            return self._items.popleft() if self._items else None

    def _drop_oldest(self) -> None:
        while len(self._items) > self._plan.capacity:
            self._items.popleft()
            self.n_dropped += 1

    def _run(self) -> None:
        while True:
            item = self._take()
            if item is not None:
                self._current = item
                self._deliver(item)
            elif self._is_closing:
                return
            else:
                self._has_work.wait()
                self._has_work.clear()

    def _deliver(self, item: Item) -> None:
        """Tries until it is taken, given up or time to leave."""
        plan = None
        while time.monotonic() <= self._leave_by_s:
            if plan is not self._plan:  # at first, and after a change: all is open again
                plan, n_attempts = self._plan, 0
                backoff = Backoff(plan.backoff_s, MAX_WAIT_S, jitter=0.2)
            outcome = plan.post(item)
            self.problem = outcome.problem
            if not outcome.problem:
                with self._lock:
                    self._current = None
                return
            n_attempts += 1
            is_over = n_attempts > plan.retries or not outcome.can_improve or self._is_closing
            if plan is not self._plan:
                continue
            if is_over:
                break
            if self._hurry.wait(max(backoff.next_s(), outcome.retry_after_s)):
                self._hurry.clear()
        self._bury_current()

    def _bury_current(self) -> None:
        with self._lock:
            item, self._current = self._current, None
        if item is not None:
            self._bury(item)
