"""Inference runtimes behind one protocol. `open_backend` picks one and loads a bundle."""

from __future__ import annotations

from edge_audio.backends.base import Backend, State
from edge_audio.backends.registry import (
    BACKEND_NAMES,
    RUNTIMES,
    Runtime,
    backends_for,
    installed_backends,
    open_backend,
)

__all__ = [
    "BACKEND_NAMES",
    "RUNTIMES",
    "Backend",
    "Runtime",
    "State",
    "backends_for",
    "installed_backends",
    "open_backend",
]
