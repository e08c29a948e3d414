"""Settings that are read again while listening, and what is told of destinations meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from edge_audio.listening.config import Config

FIXED_FIELDS = ("model", "sounds", "backend", "source", "reconnect", "latency_s", "format", "top")
"""While listening."""

CALM_S = 5.0  # without a problem, after which all is well again


def waiting_for_restart(running: Config, wanted: Config) -> list[str]:
    """Fields of `wanted` that only a restart can bring."""
    return [name for name in FIXED_FIELDS if getattr(wanted, name) != getattr(running, name)]


def without_restart(running: Config, wanted: Config) -> Config:
    """The settings that hold once `wanted` has been taken over as far as that is possible without a
    restart."""
    return msgspec.structs.replace(wanted, **{x: getattr(running, x) for x in FIXED_FIELDS})


@dataclass
class _Trouble:
    """From the first problem of a destination to its recovery. told: without numbers, what was said
    of it. calm_since_s: when it had no problem any more; None while it has one."""

    told: set[str] = field(default_factory=set)
    calm_since_s: float | None = None


class ProblemTeller:
    """Says once that a destination has a problem, and once that it has none any more: on its
    recovery, and not whenever one record of several gets through."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: seconds, which only grow."""
        self._say, self._clock = say, clock
        self._troubles: dict[str, _Trouble] = {}

    def tell(self, problems: Mapping[str, str], names: Collection[str]) -> None:
        """problems: name of a destination -> what is wrong at the moment. Where nothing but
        numbers changed, as of lost records, or a problem comes again before all was well, it is not
        said again. names: of all destinations; of one that is gone nothing is said."""
        for name, text in problems.items():
            trouble = self._troubles.setdefault(name, _Trouble())
            trouble.calm_since_s = None
            if (kind := _without_numbers(text)) not in trouble.told:
                trouble.told.add(kind)
                self._say(f"{name}: {text}")
        for name in [name for name in self._troubles if name not in problems]:
            self._calm(name, name in names)

    def _calm(self, name: str, is_there: bool) -> None:
        """Of one that has no problem at the moment."""
        trouble, now_s = self._troubles[name], self._clock()
        if trouble.calm_since_s is None:
            trouble.calm_since_s = now_s
        has_recovered = now_s - trouble.calm_since_s >= CALM_S
        if has_recovered and is_there:
            self._say(f"{name}: all is well again")
        if has_recovered or not is_there:
            del self._troubles[name]


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "", text)
