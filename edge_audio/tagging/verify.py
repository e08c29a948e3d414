"""Golden replay: does this machine compute what the model's maker computed?"""

from __future__ import annotations

from edge_audio.backends import open_backend
from edge_audio.backends.golden import VerifyResults, replay
from edge_audio.bundle.store import Bundle


def verify_bundle(bundle: Bundle, backend_name: str) -> VerifyResults:
    """Checks every file of the bundle and replays its golden on one backend.

    A mismatch is told by `failure`. Raises BundleError if a part is missing or altered,
    BackendError if the backend cannot run the model at all.
    """
    for name in bundle.manifest.files:
        bundle.file(name)
    return replay(bundle, open_backend(bundle, backend_name))
