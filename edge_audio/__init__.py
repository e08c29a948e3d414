"""edge-audio: on-device streaming audio tagging.

>>> from edge_audio import Tagger
>>> tagger = Tagger.open("tiny-int8")
>>> events = tagger.push(samples)  # int16 or float32 at 16 kHz, any length

The names in `__all__` are the public interface: they keep their meaning between minor versions,
and what changes is listed in CHANGELOG.md. Everything else may move from one version to the next.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_audio.backends import Backend, open_backend
    from edge_audio.bundle import Bundle, load_bundle, shipped_bundles
    from edge_audio.bundle.spec import EventSpec, Threshold
    from edge_audio.errors import (
        BackendError,
        BundleError,
        EdgeAudioError,
        SourceError,
        UsageError,
    )
    from edge_audio.events.choice import select_events
    from edge_audio.events.detector import Event
    from edge_audio.events.policy import PolicySpec
    from edge_audio.tagging.tagger import Step, Tagger
    from edge_audio.tagging.verify import verify_bundle

__all__ = [
    "Backend",
    "BackendError",
    "Bundle",
    "BundleError",
    "EdgeAudioError",
    "Event",
    "EventSpec",
    "PolicySpec",
    "SourceError",
    "Step",
    "Tagger",
    "Threshold",
    "UsageError",
    "__version__",
    "load_bundle",
    "open_backend",
    "select_events",
    "shipped_bundles",
    "verify_bundle",
]

try:
    __version__ = version("edge-audio")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

_MODULES = {
    "Backend": "backends",
    "open_backend": "backends",
    "Bundle": "bundle",
    "load_bundle": "bundle",
    "shipped_bundles": "bundle",
    "EventSpec": "bundle.spec",
    "Threshold": "bundle.spec",
    "Event": "events.detector",
    "PolicySpec": "events.policy",
    "select_events": "events.choice",
    "Step": "tagging.tagger",
    "Tagger": "tagging.tagger",
    "verify_bundle": "tagging.verify",
}


if not TYPE_CHECKING:  # to type checkers, a name that is not imported above is a mistake

    def __getattr__(name: str) -> Any:
        """Imports on first use, so that the command line can set up numpy's threads before and
        `edge-audio --help` does not wait for it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
