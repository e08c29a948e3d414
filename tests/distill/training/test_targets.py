"""Cached targets can be interrupted and are remade to the bit."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distill.data.clip_list import read_clip_list
from distill.data.clip_store import ClipStore
from distill.mixing.mixtures import Mixer, MixtureConfig
from distill.teachers.base import Teacher
from distill.teachers.opening import open_teacher
from distill.training.targets import (
    SHARD_SIZE,
    TargetArrays,
    TargetCache,
    TargetMaker,
    Targets,
    cache_key,
)
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.features.frontend import log_mel
from tests.distill import workshop

FRONTEND = FrontendSpec()
N_SAMPLES = 240 + 64 * 160  # 64 frames


@pytest.fixture
def teacher(in_workshop: Path) -> Teacher:
    return open_teacher(workshop.TINY_TEACHER, in_workshop / "peers")


@pytest.fixture
def maker(in_workshop: Path, tmp_path: Path, teacher: Teacher) -> TargetMaker:
    clips = read_clip_list(in_workshop / "data")
    store = ClipStore.open(in_workshop / "data", clips, 16_000, tmp_path)
    mixer = Mixer(store, range(len(clips)), MixtureConfig(duration_s=0.64), 16_000, N_SAMPLES)
    return TargetMaker(mixer, [teacher], FRONTEND, seed=0, n_mixtures=1_000)


def assert_equal(found: Targets, expected: Targets) -> None:
    assert found.teachers == expected.teachers
    assert len(found) == len(expected)
    everything = np.arange(len(expected))
    arrays = found.batch(everything)
    assert arrays.keys() == expected.batch(everything).keys()
    for field, values in expected.batch(everything).items():
        np.testing.assert_array_equal(arrays[field], values)


def test_shards_are_resumed_identically_and_partial_files_ignored(
    maker: TargetMaker, tmp_path: Path
) -> None:
    cache = TargetCache(tmp_path / "targets", 2 * SHARD_SIZE)
    cache.build(lambda: maker, 1)
    loaded = cache.load()
    before = TargetArrays(loaded.teachers, loaded.batch(np.arange(2 * SHARD_SIZE)))
    first, second = sorted(cache.folder.glob("shard-*.npy"))
    first_bytes = first.read_bytes()
    second.unlink()
    draft = cache.folder / ".shard-00001.npy.0123abcd.unfinished"
    draft.write_bytes(b"cut off")
    cache.build(lambda: maker, 1)
    draft.unlink()
    assert first.read_bytes() == first_bytes
    after = cache.load()
    assert len(after) == 2 * SHARD_SIZE
    assert_equal(after, before)
    names = [path.name for path in cache.folder.iterdir()]
    assert sorted(names) == [first.name, second.name, "teachers.json"]


@pytest.mark.parametrize("n_mixtures", [1, 63, 65, 100])
def test_a_cache_has_as_many_mixtures_as_were_asked_for(
    maker: TargetMaker, tmp_path: Path, n_mixtures: int
) -> None:
    cache = TargetCache(tmp_path / "targets", n_mixtures)
    cache.build(lambda: maker, 1)
    targets = cache.load()
    assert len(targets) == n_mixtures
    indices = np.arange(n_mixtures)[-3:]
    for field, values in maker.batch(indices).items():
        np.testing.assert_allclose(targets.batch(indices)[field], values, rtol=2e-3, atol=2e-3)
    longer = TargetCache(tmp_path / "targets", 2 * SHARD_SIZE)
    longer.build(lambda: maker, 1)
    everything = np.arange(n_mixtures)
    for field, values in targets.batch(everything).items():
        np.testing.assert_array_equal(longer.load().batch(everything)[field], values)


def test_a_batch_reads_its_own_mixtures_and_the_named_fields_alone(
    maker: TargetMaker, tmp_path: Path
) -> None:
    cache = TargetCache(tmp_path / "targets", 2 * SHARD_SIZE)
    cache.build(lambda: maker, 1)
    whole, indices = cache.load(), np.array([100, 3, 63, 64, 3])
    everything = whole.batch(np.arange(2 * SHARD_SIZE))
    assert {"mels", "sources", "bouts", "small.frame_logits"} <= everything.keys()
    for fields in (set(everything), {"mels", "small.hidden.1"}, {"bouts"}):
        batch = whole.only(fields).batch(indices)
        assert batch.keys() == fields
        for field, values in batch.items():
            assert values.dtype == everything[field].dtype
            np.testing.assert_array_equal(values, everything[field][indices])
    with pytest.raises(IndexError):
        whole.batch(np.array([2 * SHARD_SIZE]))
    code = """if True:
        import os, pathlib, resource, sys
        import numpy as np
        from distill.training.targets import TargetCache
        targets = TargetCache(pathlib.Path(sys.argv[1]), 128).load().only({"mels"})
        targets.batch(np.arange(4))
        read = lambda: int(open("/proc/self/io").read().split()[1])
        before, n_bytes = read(), targets.batch(np.arange(60, 68))["mels"].nbytes
        assert n_bytes <= read() - before <= n_bytes + 1000, read() - before"""
    subprocess.run([sys.executable, "-c", code, cache.folder], check=True)


@pytest.mark.parametrize("left_bytes", [0, 100, -100])
def test_a_shard_that_was_cut_off_is_named(
    maker: TargetMaker, tmp_path: Path, left_bytes: int
) -> None:
    cache = TargetCache(tmp_path / "targets", 2 * SHARD_SIZE)
    cache.build(lambda: maker, 1)
    for shard in sorted(cache.folder.glob("shard-*.npy")):
        content = shard.read_bytes()
        shard.write_bytes(content[:left_bytes])
        with pytest.raises(EdgeAudioError, match=rf"{shard.name} is not a whole shard: remove it"):
            cache.load()
        shard.write_bytes(content)


def test_no_mixtures_at_all_are_refused_by_name(maker: TargetMaker, teacher: Teacher) -> None:
    with pytest.raises(UsageError, match=r"training\.n_mixtures is 0"):
        TargetMaker(maker.mixer, [teacher], FRONTEND, seed=0, n_mixtures=0)


def test_two_processes_make_the_same_shards_as_one(maker: TargetMaker, tmp_path: Path) -> None:
    """In a fresh interpreter, as `edge-audio distill` runs it: forking is safe there."""
    one, two = (TargetCache(tmp_path / name, 2 * SHARD_SIZE) for name in ("one", "two"))
    one.build(lambda: maker, 1)
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((two, maker)))
    code = """if True:
        import pickle, sys
        cache, maker = pickle.load(open(sys.argv[1], "rb"))
        cache.build(lambda: maker, 2)"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "job.pickle"], check=True)
    assert_equal(two.load(), one.load())


def test_a_complete_cache_opens_no_teacher(maker: TargetMaker, tmp_path: Path) -> None:
    cache = TargetCache(tmp_path / "targets", SHARD_SIZE)
    cache.build(lambda: maker, 1)

    def refuse() -> TargetMaker:
        raise AssertionError("nothing is missing")

    cache.build(refuse, 1)
    assert cache.load().teachers == maker.teachers


def test_targets_are_those_of_the_mixture_itself(maker: TargetMaker) -> None:
    indices = np.array([200, 3, 77, 201, 4, 5, 6, 7, 8, 9])
    batch = maker.batch(indices)
    dims = [layer.dim for layer in maker.teachers[0].layers]
    assert batch["small.clip_logits"].shape == (10, 527)
    assert batch["small.frame_logits"].shape == (10, 3, 527)
    assert [batch[f"small.hidden.{i}"].shape[2] for i in range(2)] == dims
    for row, index in enumerate(indices):
        mixture = maker.mixer.draw((maker.seed, int(index)))
        expected = log_mel(FRONTEND, mixture.samples).astype(np.float16)
        np.testing.assert_array_equal(batch["mels"][row], expected)
        named = [source for source in batch["sources"][row] if source >= 0]
        assert tuple(named) == mixture.sources


def test_teachers_of_one_name_are_refused(maker: TargetMaker, teacher: Teacher) -> None:
    with pytest.raises(UsageError, match="small, small"):
        TargetMaker(maker.mixer, [teacher, teacher], FRONTEND, seed=0, n_mixtures=8)


def test_a_full_disk_leaves_no_broken_shard(maker: TargetMaker, tmp_path: Path) -> None:
    """A file-size limit stands for the disk: it fails the same write."""
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((tmp_path / "targets", maker)))
    code = """if True:
        import pickle, resource, signal, sys
        from distill.training.targets import SHARD_SIZE, TargetCache
        from edge_audio.errors import EdgeAudioError
        folder, maker = pickle.load(open(sys.argv[1], "rb"))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            TargetCache(folder, SHARD_SIZE).build(lambda: maker, 1)
        except EdgeAudioError as error:
            assert "free some space" in str(error)
        else:
            raise SystemExit("the disk was not full")"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "job.pickle"], check=True)
    assert [path.name for path in (tmp_path / "targets").iterdir()] == ["teachers.json"]


def test_key_changes_with_every_part() -> None:
    keys = {
        cache_key(FRONTEND, MixtureConfig(), 0),
        cache_key(FRONTEND, MixtureConfig(), 1),
        cache_key(FRONTEND, MixtureConfig(reverb=0.25), 0),
        cache_key(FrontendSpec(n_mels=40), MixtureConfig(), 0),
    }
    assert len(keys) == 4
    assert cache_key(FrontendSpec(), MixtureConfig(), 0) in keys
