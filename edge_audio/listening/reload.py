"""Settings that are read again while listening, and what is told of destinations meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from edge_audio.listening.config import Config

FIXED_FIELDS = ("model", "backend", "source", "reconnect", "format", "top")  # while listening


def waiting_for_restart(running: Config, wanted: Config) -> list[str]:
    """Fields of `wanted` that only a restart can bring."""
    return [name for name in FIXED_FIELDS if getattr(wanted, name) != getattr(running, name)]


def without_restart(running: Config, wanted: Config) -> Config:
    """The settings that hold once `wanted` has been taken over as far as that is possible without a
    restart."""
    return msgspec.structs.replace(wanted, **{x: getattr(running, x) for x in FIXED_FIELDS})


class ProblemTeller:
    """Says once that a destination has a problem, and once that it has none any more."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: Mapping[str, str] = {}

    def tell(self, problems: Mapping[str, str]) -> None:
        """problems: name of a destination -> what is wrong at the moment. Where nothing but
        numbers changed, as of lost records, it is not said again."""
        for name, text in problems.items():
            if _without_numbers(text) != _without_numbers(self._told.get(name, "")):
                self._say(f"{name}: {text}")
        for name in self._told.keys() - problems.keys():
            self._say(f"{name}: all is well again")
        self._told = dict(problems)


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "", text)
