"""Cached targets can be interrupted and are remade to the bit."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import workshop

from distill.cache import FIELDS, SHARD_SIZE, TargetCache, TargetMaker, cache_key
from distill.data import ClipStore, read_manifest
from distill.mixtures import Mixer, MixtureConfig
from distill.teachers.efficientat import EfficientATTeacher
from edge_audio.frontend import log_mel
from edge_audio.spec import FrontendSpec

FRONTEND = FrontendSpec()
N_SAMPLES = 240 + 64 * 160  # 64 frames


@pytest.fixture
def maker(in_workshop: Path, tmp_path: Path) -> TargetMaker:
    clips = read_manifest(in_workshop / "data")
    store = ClipStore.open(in_workshop / "data", clips, 16_000, tmp_path)
    mixer = Mixer(store, range(len(clips)), MixtureConfig(duration_s=0.64), 16_000, N_SAMPLES)
    width = workshop.TINY_RECIPE.teacher.width
    teacher = EfficientATTeacher.load(in_workshop / "peers" / workshop.TEACHER_NAME, width)
    return TargetMaker(mixer, teacher, FRONTEND, seed=0)


def test_shards_are_resumed_identically_and_partial_files_ignored(
    maker: TargetMaker, tmp_path: Path
) -> None:
    cache = TargetCache(tmp_path / "targets", 2 * SHARD_SIZE)
    cache.build(maker, 1)
    before = cache.load()
    first, second = sorted(cache.folder.glob("shard-*.npz"))
    first_bytes = first.read_bytes()
    second.unlink()
    (cache.folder / "shard-00001.partial.npz").write_bytes(b"cut off")
    cache.build(maker, 1)
    assert first.read_bytes() == first_bytes
    after = cache.load()
    assert len(cache) == len(after["mels"]) == 2 * SHARD_SIZE
    for field in FIELDS:
        np.testing.assert_array_equal(after[field], before[field])
    assert sorted(path.name for path in cache.folder.iterdir()) == [first.name, second.name]


def test_two_processes_make_the_same_shards_as_one(maker: TargetMaker, tmp_path: Path) -> None:
    """In a fresh interpreter, as `edge-audio distill` runs it: forking is safe there."""
    one, two = (TargetCache(tmp_path / name, 2 * SHARD_SIZE) for name in ("one", "two"))
    one.build(maker, 1)
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((two, maker)))
    code = """if True:
        import pickle, sys
        cache, maker = pickle.load(open(sys.argv[1], "rb"))
        cache.build(maker, 2)"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "job.pickle"], check=True)
    expected, found = one.load(), two.load()
    for field in FIELDS:
        np.testing.assert_array_equal(found[field], expected[field])


def test_a_complete_cache_is_left_alone(maker: TargetMaker, tmp_path: Path) -> None:
    cache = TargetCache(tmp_path / "targets", SHARD_SIZE)
    cache.folder.mkdir()
    (cache.folder / "shard-00000.npz").write_bytes(b"as it was")
    cache.build(maker, 1)
    assert (cache.folder / "shard-00000.npz").read_bytes() == b"as it was"


def test_targets_are_those_of_the_mixture_itself(maker: TargetMaker) -> None:
    shard = maker.shard(3)
    assert {field: len(shard[field]) for field in FIELDS} == dict.fromkeys(FIELDS, SHARD_SIZE)
    assert shard["clip_logits"].shape == (SHARD_SIZE, 527)
    assert shard["frame_logits"].shape[:2] == shard["features"].shape[:2]
    for position in (0, 9, SHARD_SIZE - 1):
        mixture = maker.mixer.draw((maker.seed, 3 * SHARD_SIZE + position))
        expected = log_mel(FRONTEND, mixture).astype(np.float16)
        np.testing.assert_array_equal(shard["mels"][position], expected)


def test_key_changes_with_every_part() -> None:
    keys = {
        cache_key(FRONTEND, MixtureConfig(), 0),
        cache_key(FRONTEND, MixtureConfig(), 1),
        cache_key(FRONTEND, MixtureConfig(reverb=0.2), 0),
        cache_key(FrontendSpec(n_mels=40), MixtureConfig(), 0),
    }
    assert len(keys) == 4
    assert cache_key(FrontendSpec(), MixtureConfig(), 0) in keys
