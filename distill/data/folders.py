"""Where data and other people's models lie."""

from __future__ import annotations

import os
from pathlib import Path

from distill.data.manifest import MANIFEST_NAME
from edge_audio.errors import UsageError

PEERS_ENV = "EDGE_AUDIO_PEERS"


_DEFAULT_PEERS_DIR = Path(__file__).resolve().parents[3] / "shared" / "peers"


def peers_dir() -> Path:
    """The folder with teacher checkpoints: $EDGE_AUDIO_PEERS, else `../shared/peers`."""
    return Path(os.environ.get(PEERS_ENV, _DEFAULT_PEERS_DIR))


DATA_ENV = "EDGE_AUDIO_DATA"


_DEFAULT_DATA_DIR = Path(__file__).resolve().parents[3] / "shared" / "data"


def data_dir() -> Path:
    """The folder with `manifest.csv`: $EDGE_AUDIO_DATA, else `../shared/data` beside the repo."""
    folder = Path(os.environ.get(DATA_ENV, _DEFAULT_DATA_DIR))
    if not (folder / MANIFEST_NAME).is_file():
        raise UsageError(f"no {MANIFEST_NAME} in {folder}: set {DATA_ENV} to the data folder")
    return folder
