"""The folder that a model comes in: what is in it, how it is read, checked and written."""

from edge_audio.bundle.store import (
    Bundle,
    FileEntry,
    Golden,
    Manifest,
    Tolerance,
    load_bundle,
    save_bundle,
    shipped_bundles,
)

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
