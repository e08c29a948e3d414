"""edge-audio: on-device streaming audio tagging.

>>> from edge_audio import Tagger
>>> tagger = Tagger.open("tiny-int8")
>>> events = tagger.push(samples)  # int16 or float32 at 16 kHz, any length
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_audio.errors import (
        BackendError,
        BundleError,
        EdgeAudioError,
        SourceError,
        UsageError,
    )
    from edge_audio.events.detector import Event, select_events
    from edge_audio.tagging.tagger import Tagger

__all__ = [
    "BackendError",
    "BundleError",
    "EdgeAudioError",
    "Event",
    "SourceError",
    "Tagger",
    "UsageError",
    "select_events",
]

_MODULES = {"Tagger": "tagger", "Event": "events", "select_events": "events"}


def __getattr__(name: str) -> Any:
    """Imports on first use, so that the command line can set up numpy's threads before and
    `edge-audio --help` does not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
