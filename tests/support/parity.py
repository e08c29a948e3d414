"""Folders with what the authors' own code computed: those of the repository, and all others
beside it."""

from __future__ import annotations

from pathlib import Path

from distill.teachers.published.registry import kinds
from tests.support.paths import REPOSITORY
from tests.support.shared_folders import SHARED

COMMITTED = REPOSITORY / "tests" / "data" / "parity"
"""Tiny networks with random weights: `golden.npz` and `config.json` of each, and small variants."""


def parity_folders() -> list[Path]:
    """One folder for each adapter; the shared one, which has more variants, where it is there."""
    found = [_folder(kind) for kind in kinds()]
    return [folder for folder in found if folder is not None]


def _folder(kind: str) -> Path | None:
    places = (SHARED / "parity" / kind, COMMITTED / kind)
    return next((place for place in places if place.is_dir()), None)
