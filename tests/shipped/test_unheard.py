"""What shipped models never heard in training, by either clip list."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from distill.data.clip_list import read_clip_list
from distill.data.split import Split
from edge_audio.bundle.store import load_bundle, shipped_bundles
from tests.support.real_audio import SOUNDSCAPE_CLIPS, first_clip_list


def split_of(name: str) -> Split:
    return msgspec.convert(load_bundle(name).manifest.provenance["recipe"]["split"], Split)


@pytest.mark.parametrize("name", shipped_bundles())
def test_no_clip_of_the_soundscape_was_heard(name: str, clip_list: Path) -> None:
    clips = read_clip_list(clip_list)
    heard = {clip.group for clip in split_of(name).divide(clips)[0]}
    groups = {clip.path: clip.group for clip in clips}
    assert not [path for path in SOUNDSCAPE_CLIPS if groups[path] in heard]


@pytest.mark.parametrize("name", shipped_bundles())
def test_what_the_whole_list_holds_out_was_not_heard_by_the_first(
    name: str, clip_list: Path
) -> None:
    """A new clip could join an old one's recording and draw it, though heard, to its fold."""
    first = read_clip_list(first_clip_list(clip_list.parent))
    heard = {clip.group for clip in split_of(name).divide(first)[0]}
    held_out = split_of(name).divide(read_clip_list(clip_list))[1]
    assert not [clip.path for clip in held_out if clip.group in heard]
