"""Folders of a user's own, outside of the repository and the installed package."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_audio.errors import EdgeAudioError

PEERS_ENV = "EDGE_AUDIO_PEERS"


def named_dir(variable: str, name: str) -> Path:
    """The folder that an environment variable names, else `name` in the user's folder for data of
    edge-audio, ~/.local/share/edge-audio on Linux. It need not be there. Raises EdgeAudioError
    where nobody knows the user's home."""
    if named := os.environ.get(variable):
        return Path(named)
    found = _at_home(lambda dirs: dirs.user_data_path("edge-audio", appauthor=False), variable)
    return found / name


def cache_dir() -> Path:
    """The user's folder for what edge-audio can make again: ~/.cache/edge-audio on Linux, or
    edge-audio in $XDG_CACHE_HOME. It need not be there. Raises EdgeAudioError where nobody knows
    the user's home."""
    return _at_home(
        lambda dirs: dirs.user_cache_path("edge-audio", appauthor=False), "XDG_CACHE_HOME"
    )


def config_dir() -> Path:
    """Where programs keep their settings: ~/.config on Linux, or $XDG_CONFIG_HOME. Raises
    EdgeAudioError where nobody knows the user's home."""
    return _at_home(lambda dirs: dirs.user_config_path(), "XDG_CONFIG_HOME")


def _at_home(find: Callable[[Any], Path], variable: str) -> Path:
    """What platformdirs finds: some of its versions raise where a user who is in no list of users
    has no HOME, and some give a path with a ~, which would be a folder of that name here."""
    import platformdirs  # which an engine that came compiled does not wait for

    try:
        path = find(platformdirs)
    except RuntimeError:
        path = Path("~")
    if path.parts[0] == "~":
        raise EdgeAudioError(f"nobody knows your home folder: set HOME, or {variable}, to a folder")
    return path


def peers_dir() -> Path:
    """The folder with other people's models: $EDGE_AUDIO_PEERS, see `named_dir`."""
    return named_dir(PEERS_ENV, "peers")
