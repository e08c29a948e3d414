"""edge-audio: on-device streaming audio tagging.

>>> import edge_audio
>>> edge_audio.tag("street.m4a")  # what is in a recording
>>> for event in edge_audio.listen():  # the microphone, live
...     print(event.time_s, event.kind, event.label)
>>> tagger = edge_audio.Tagger.open("tiny-int8", rate_hz=44_100)
>>> events = tagger.push(samples)  # a stream of your own, in pieces of any length

The names in `__all__` are the public interface: they keep their meaning between minor versions,
and what changes is listed in CHANGELOG.md. Everything else may move from one version to the next.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_audio.archive.tag_files import tag_files
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
    from edge_audio.learning.learn import Learned, learn
    from edge_audio.listening.listen import Listening, listen
    from edge_audio.sinks.segments import Segment
    from edge_audio.tagging.batch_tagger import BatchTagger
    from edge_audio.tagging.step_reporter import Step
    from edge_audio.tagging.tag import tag
    from edge_audio.tagging.tagger import Tagger
    from edge_audio.tagging.tags import Tags
    from edge_audio.tagging.verify import verify_bundle

    __version__: str

__all__ = [
    "Backend",
    "BackendError",
    "BatchTagger",
    "Bundle",
    "BundleError",
    "EdgeAudioError",
    "Event",
    "EventSpec",
    "Learned",
    "Listening",
    "PolicySpec",
    "Segment",
    "SourceError",
    "Step",
    "Tagger",
    "Tags",
    "Threshold",
    "UsageError",
    "__version__",
    "learn",
    "listen",
    "load_bundle",
    "open_backend",
    "select_events",
    "shipped_bundles",
    "tag",
    "tag_files",
    "verify_bundle",
]

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
    "Learned": "learning.learn",
    "learn": "learning.learn",
    "Listening": "listening.listen",
    "Segment": "sinks.segments",
    "Tags": "tagging.tags",
    "listen": "listening.listen",
    "tag": "tagging.tag",
    "tag_files": "archive.tag_files",
    "BatchTagger": "tagging.batch_tagger",
    "Step": "tagging.step_reporter",
    "Tagger": "tagging.tagger",
    "verify_bundle": "tagging.verify",
}


if not TYPE_CHECKING:  # to type checkers, a name that is not imported above is a mistake

    def __getattr__(name: str) -> Any:
        """Imports on first use, so that the command line can set up numpy's threads before and
        `edge-audio --help` does not wait for it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            value: Any = _version()
        else:
            value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value

    def _version() -> str:
        from importlib.metadata import PackageNotFoundError, version  # a tenth of all imports

        try:
            return version("edge-audio")
        except PackageNotFoundError:  # run from a source tree that is not installed
            return "0+unknown"


def __dir__() -> list[str]:
    """The public names, which is what people look for."""
    return sorted({name for name in globals() if name.startswith("__")}.union(__all__))
