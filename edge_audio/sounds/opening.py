"""A bundle together with the sounds that a user taught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import UsageError
from edge_audio.sounds.file import read_sounds


def load_with_sounds(model: str | Path, path: str | Path | None = None) -> Bundle:
    """`load_bundle`, with what is in the sounds file as labels beside the model's own; without a
    path the bundle alone. That they belong to the network is known once a backend runs it.

    Raises UsageError or EdgeAudioError for the file, and where the model has a label of that name.
    """
    bundle = load_bundle(model)
    return bundle if not path else with_sounds(bundle, path)


def with_sounds(bundle: Bundle, path: str | Path) -> Bundle:
    """As `load_with_sounds`."""
    sounds = read_sounds(path)
    if not sounds.sounds:
        return bundle
    known = {label.casefold() for label in bundle.manifest.labels}
    for sound in sounds.sounds:
        if sound.name.casefold() in known:
            raise UsageError(
                f"{path}: this model has a label {sound.name!r} of its own: give the sound another "
                "name with `edge-audio sounds rename`"
            )
    return bundle.with_rows(replace(sounds.rows(), path=str(path)))
