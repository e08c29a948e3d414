"""Who has logged in, and how often somebody may try to."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SESSION_S = 30 * 86_400.0  # since it was used last
MAX_SESSIONS = 1000
_MAX_ADDRESSES = 1000


@dataclass
class Session:
    """csrf_token: what requests that change something have to say as well."""

    csrf_token: str
    used_s: float


class Sessions:
    """Of browsers that have logged in; gone with the process. The tokens themselves are kept
    nowhere, only their hashes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the latest used last

    def open(self) -> str:
        """The token of a new session."""
        token = secrets.token_urlsafe(32)
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        self._sessions[_digest(token)] = Session(secrets.token_urlsafe(32), self._clock())
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, which is in use again; None if there is none."""
        key = _digest(token)
        session = self._sessions.get(key)
        if session is None:
            return None
        if self._clock() - session.used_s > SESSION_S:
            del self._sessions[key]
            return None
        session.used_s = self._clock()
        self._sessions.move_to_end(key)
        return session

    def close(self, token: str) -> None:
        self._sessions.pop(_digest(token), None)

    def close_all(self) -> None:
        """As where another password holds from now on."""
        self._sessions.clear()


class AttemptLimit:
    """How often a password may be tried: n_at_once, then one every every_s."""

    def __init__(
        self, n_at_once: int, every_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._n_at_once, self._every_s, self._clock = n_at_once, every_s, clock
        self._due_s: OrderedDict[str, float] = OrderedDict()  # key -> when all are free again

    def wait_s(self, key: str) -> float:
        """How long somebody has to wait; 0 = this attempt is counted and may go on."""
        now_s = self._clock()
        due_s = max(now_s, self._due_s.get(key, 0.0)) + self._every_s
        if (wait_s := due_s - now_s - self._n_at_once * self._every_s) > 0.0:
            return wait_s
        self._due_s[key] = due_s
        self._due_s.move_to_end(key)
        while len(self._due_s) > _MAX_ADDRESSES:
            self._due_s.popitem(last=False)
        return 0.0

    def forgive(self, key: str) -> None:
        """Somebody knew the password."""
        self._due_s.pop(key, None)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
