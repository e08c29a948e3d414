"""Strange places: sources that are held out whole, named in `strange.toml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from distill.data.clip_list import Clip
from edge_audio.bundle.spec import Spec

ESC = "ESC"
"""Stands for all ESC clips in the list of strange sources."""

_LIST = Path(__file__).with_name("strange.toml")


class _StrangeList(Spec, frozen=True):
    """sources: `source_repo` of a clip list, or ESC -> why it was chosen."""

    sources: dict[str, str]


@cache
def strange_sources() -> dict[str, str]:
    """The strange sources in the order of their list, and why each was chosen."""
    return msgspec.toml.decode(_LIST.read_bytes(), type=_StrangeList).sources


def strange_source(clip: Clip) -> str:
    """The strange source that the clip comes from, "" if from none."""
    source = ESC if clip.is_esc else clip.source
    return source if source in strange_sources() else ""
