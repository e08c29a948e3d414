"""Where the clips of training lie."""

from __future__ import annotations

from pathlib import Path

from distill.data.clip_list import CLIP_LIST_NAME
from edge_audio.errors import UsageError
from edge_audio.support.folders import named_dir

DATA_ENV = "EDGE_AUDIO_DATA"


def data_dir() -> Path:
    """The folder with `manifest.csv`: $EDGE_AUDIO_DATA, else `data` in the user's folder for data
    of edge-audio. Raises UsageError if it holds none."""
    folder = named_dir(DATA_ENV, "data")
    if not (folder / CLIP_LIST_NAME).is_file():
        raise UsageError(f"no {CLIP_LIST_NAME} in {folder}: set {DATA_ENV} to the data folder")
    return folder
