"""A history as a destination of events, like a log or a broker."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.history.recorder import HistoryRecorder
from edge_audio.history.schema import errors_for_people, is_history, opened_to_read
from edge_audio.history.store import History
from edge_audio.sinks.base import Destination, Sink
from edge_audio.sinks.level import check_level_every_s
from edge_audio.sources.stream import Stream
from edge_audio.support.locks import Lock, LockedError
from edge_audio.support.paths import expand_fields
from edge_audio.support.plain_files import check_for_lines


class HistoryConfig(Spec, frozen=True):
    """A file of SQLite that remembers events and loudness.

    level_every_s: seconds between two levels, 0 = none. keep_days: what is older is deleted, 0 =
        only for want of room. max_mb: size at which the oldest is deleted.
    """

    path: str
    level_every_s: float = 60.0
    keep_days: float = 365.0
    max_mb: float = 200.0

    def __post_init__(self) -> None:
        expand_fields(self, "path")
        check_level_every_s(self.level_every_s)
        if not (0.0 <= self.keep_days < float("inf") and 0.1 <= self.max_mb <= 1e6):
            raise ValueError("need 0 <= keep_days and 0.1 <= max_mb <= 1e6, both finite")

    @property
    def limits(self) -> tuple[float, float]:
        """Seconds that something is kept, 0 = for ever, and bytes of all."""
        return self.keep_days * 86_400.0, self.max_mb * 1e6


class HistoryDestination(Destination[HistoryConfig]):
    """One file for all streams.

    history: to read from, in any thread.
    """

    def __init__(self, config: HistoryConfig) -> None:
        """Raises UsageError if the file cannot be had, or another process writes it."""
        self._config = config
        self._lock = _locked(Path(config.path))
        try:
            self.history = History(Path(config.path))
        except BaseException:
            self._lock.release()
            raise
        self._recorder = HistoryRecorder(self.history, *config.limits, config.level_every_s)

    @staticmethod
    def check(config: HistoryConfig, labels: Sequence[str]) -> None:
        path = Path(config.path)
        with errors_for_people(path):
            check_for_lines(path)
        if path.exists() and path.stat().st_size:
            if not is_history(path):
                raise UsageError(f"{path} is no history: move it away, or name another file")
            with opened_to_read(path):
                pass

    @property
    def name(self) -> str:
        return f"history {self._config.path}"

    @property
    def n_lost(self) -> int:
        """Starts, ends and levels that were not written."""
        return self._recorder.n_lost

    @property
    def problem(self) -> str:
        return self._recorder.problem

    def open(self, stream: Stream) -> Sink:
        return self._recorder.open(stream)

    def reconfigure(self, config: HistoryConfig, undo: ExitStack) -> Callable[[], None] | None:
        """The same file stays open."""
        if os.path.realpath(config.path) != os.path.realpath(self._config.path):
            return None
        return partial(self._use, config)

    def _use(self, config: HistoryConfig) -> None:
        self._config = config
        self._recorder.use(*config.limits, config.level_every_s)

    def close(self) -> None:
        if self._recorder.close():  # else it is still being written
            self._lock.release()


def _locked(path: Path) -> Lock:
    """Raises UsageError if another process writes that history."""
    try:
        with errors_for_people(path):
            return Lock(path.with_name(f"{path.name}.lock"))
    except LockedError as error:
        hint = "name another file under [history]"
        raise UsageError(f"the history {path} is being written already: {hint}") from error
