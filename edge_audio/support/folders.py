"""Folders of a user's own, outside of the repository and the installed package."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

PEERS_ENV = "EDGE_AUDIO_PEERS"


def named_dir(variable: str, name: str) -> Path:
    """The folder that an environment variable names, else `name` in the user's folder for data of
    edge-audio, ~/.local/share/edge-audio on Linux. It need not be there."""
    named = os.environ.get(variable)
    return Path(named) if named else user_data_path("edge-audio", appauthor=False) / name


def cache_dir() -> Path:
    """The user's folder for what edge-audio can make again: ~/.cache/edge-audio on Linux, or
    edge-audio in $XDG_CACHE_HOME. It need not be there."""
    return user_cache_path("edge-audio", appauthor=False)


def peers_dir() -> Path:
    """The folder with other people's models: $EDGE_AUDIO_PEERS, see `named_dir`."""
    return named_dir(PEERS_ENV, "peers")
