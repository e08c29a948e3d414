"""A store holds the clips as they are now."""

from __future__ import annotations

import os
import tarfile
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
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("pcm-*")}
    again = ClipStore.open(tmp_path / "data", clips, 16_000, tmp_path)
    np.testing.assert_array_equal(again[6], store[6])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("pcm-*")} == kept


def loud(path: Path, level: float, n_samples: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.full(n_samples, level), 16_000)


@pytest.mark.parametrize("n_samples", [100, 120])
def test_store_holds_what_the_files_hold_now(tmp_path: Path, n_samples: int) -> None:
    clips = [clip_at("a.wav"), clip_at("b.wav")]
    for clip in clips:
        loud(tmp_path / clip.path, 0.25)
    assert ClipStore.open(tmp_path, clips, 16_000, tmp_path / "cache")[1][0] == pytest.approx(
        0.25, abs=1e-3
    )
    loud(tmp_path / "b.wav", 0.5, n_samples)
    store = ClipStore.open(tmp_path, clips, 16_000, tmp_path / "cache")
    assert store[1][0] == pytest.approx(0.5, abs=1e-3)
    assert len(store[1]) == n_samples


def test_stores_of_two_folders_that_share_a_cache_are_two(tmp_path: Path) -> None:
    """Even where names, sizes and times of all files are the same, as after unpacking archives."""
    clips = [clip_at("a.wav")]
    for name, level in (("one", 0.25), ("two", 0.5)):
        loud(tmp_path / name / "a.wav", level)
        os.utime(tmp_path / name / "a.wav", ns=(0, 0))
    stores = [
        ClipStore.open(tmp_path / name, clips, 16_000, tmp_path / "cache")
        for name in ("one", "two")
    ]
    assert [round(float(store[0][0]), 2) for store in stores] == [0.25, 0.5]


def test_store_of_a_tar_that_was_written_anew_is_decoded_anew(tmp_path: Path) -> None:
    clips = [clip_at("shard.tar/a.wav")]
    for level in (0.25, 0.5):
        loud(tmp_path / "a.wav", level)
        with tarfile.open(tmp_path / "shard.tar", "w") as tar:
            tar.add(tmp_path / "a.wav", "a.wav")
        store = ClipStore.open(tmp_path, clips, 16_000, tmp_path / "cache")
        assert store[0][0] == pytest.approx(level, abs=1e-3)


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
