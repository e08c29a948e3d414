"""A store holds the clips as they are now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.clip_store import ClipStore
from edge_audio.errors import SourceError
from tests.distill import workshop
from tests.distill.workshop import clip_at, damage


def test_store_returns_every_clip_and_decodes_once(tmp_path: Path) -> None:
    workshop.make_data(tmp_path / "data", n_per_fold=1)
    clips = read_clip_list(tmp_path / "data")[:7]
    store = ClipStore.open(tmp_path / "data", clips, 16_000, tmp_path)
    assert len(store) == 7
    for index, clip in enumerate(clips):
        expected = read_clip(tmp_path / "data" / clip.path, 16_000)
        np.testing.assert_allclose(store[index], expected, atol=1e-4)
    again = ClipStore.open(Path("no such folder"), clips, 16_000, tmp_path)
    np.testing.assert_array_equal(again[6], store[6])


def test_store_names_all_clips_that_cannot_be_decoded_and_keeps_nothing(tmp_path: Path) -> None:
    bad = damage(tmp_path)
    sf.write(tmp_path / "good.wav", np.zeros(100), 16_000)
    clips = [clip_at(name) for name in ("good.wav", *bad)]
    with pytest.raises(SourceError, match="5 of 6 clips") as caught:
        ClipStore.open(tmp_path, clips, 16_000, tmp_path / "cache")
    assert all(name in str(caught.value) for name in bad)
    assert list((tmp_path / "cache").iterdir()) == []
    store = ClipStore.open(tmp_path, clips[:1], 16_000, tmp_path / "cache")
    assert len(store[0]) == 100
