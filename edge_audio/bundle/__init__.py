"""The folder that a model comes in: what is in it, how it is read, checked and written."""

from edge_audio.bundle.golden import Golden
from edge_audio.bundle.manifest import FileEntry, Manifest, Tolerance
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle, shipped_bundles

__all__ = [
    "Bundle",
    "FileEntry",
    "Golden",
    "Manifest",
    "Tolerance",
    "load_bundle",
    "save_bundle",
    "shipped_bundles",
]
