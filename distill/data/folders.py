"""Where the clips of training lie."""

from __future__ import annotations

from pathlib import Path

from distill.data.clip_list import clip_list_at
from edge_audio.errors import UsageError
from edge_audio.support.folders import named_dir

DATA_ENV = "EDGE_AUDIO_DATA"


def named_clip_list() -> Path:
    """The clip list that $EDGE_AUDIO_DATA names, by its own path or its folder's (see
    `clip_list_at`), else that of `data` in the user's folder for data of edge-audio. Its clips lie
    in its folder. Raises UsageError if there is none."""
    try:
        return clip_list_at(named_dir(DATA_ENV, "data"))
    except UsageError as error:
        raise UsageError(f"{error}; set {DATA_ENV} to the one or the other") from error
