"""Which published systems there are."""

from __future__ import annotations

import importlib
from pathlib import Path

import distill.teachers.adapters
from distill.teachers.published.system import System
from edge_audio.errors import UsageError


def kinds() -> tuple[str, ...]:
    """Names of all adapters, which recipes give as `kind`."""
    (folder,) = distill.teachers.adapters.__path__
    return tuple(sorted(path.stem for path in Path(folder).glob("[a-z]*.py")))


def system_of(kind: str) -> System:
    """The system that an adapter describes; UsageError if there is none of this name."""
    if kind not in kinds():
        raise UsageError(f"no teacher is called {kind!r}: there are {', '.join(kinds())}")
    module = importlib.import_module(f"distill.teachers.adapters.{kind}")
    system: System = module.SYSTEM
    return system
