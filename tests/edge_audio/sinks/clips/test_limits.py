"""Nothing is recorded that nobody asked for, and no more is kept than that."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from edge_audio.sinks.clips import recorder
from edge_audio.sinks.clips.files import ClipFolder
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination
from tests.edge_audio.sinks.clips.clip_runs import (
    PCM,
    RATE_HZ,
    blocks,
    config,
    found,
    hear,
    part,
    record,
    sounds,
    stream,
)
from tests.support.peers import eventually


def test_nothing_is_recorded_unless_switched_on_and_that_is_said(tmp_path: Path) -> None:
    destination = ClipsDestination(ClipsConfig(folder=str(tmp_path / "clips")))
    sink = destination.open(stream())
    hear(sink, blocks(PCM), *sounds("Siren", 5.0, 6.0))
    sink.close()
    assert "set record = true" in destination.problem
    destination.close()
    assert list(tmp_path.iterdir()) == []


def test_while_paused_nothing_is_recorded_and_nothing_from_before_is_kept(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=2.0))
    sink = destination.open(stream())
    hear(sink, blocks(part(0.0, 8.0)), *sounds("Siren", 5.0, 99.0))
    (tmp_path / "PAUSE").touch()
    eventually(lambda: "PAUSE exists" in destination.problem)
    hear(sink, blocks(part(8.0, 12.0), start=8 * RATE_HZ), *sounds("Dog", 9.0, 10.0))
    (tmp_path / "PAUSE").unlink()
    eventually(lambda: destination.problem == "")
    told = [*sounds("Dog", 12.5, 13.0), *sounds("Siren", 99.0, 12.2)]
    hear(sink, blocks(part(12.0, 20.0), start=12 * RATE_HZ), *told)
    sink.close()
    destination.close()
    first, second = found(tmp_path)
    assert first[1]["start_s"] == 3.0
    assert 6.5 <= first[1]["end_s"] <= 7.0  # before the pause began
    np.testing.assert_array_equal(first[0], part(3.0, first[1]["end_s"]))
    np.testing.assert_array_equal(second[0], part(12.0, 15.0))


def test_a_pause_from_before_the_start_holds_from_the_first_block(tmp_path: Path) -> None:
    (tmp_path / "PAUSE").touch()
    destination = ClipsDestination(config(tmp_path))
    sink = destination.open(stream())
    hear(sink, blocks(PCM), *sounds("Siren", 5.0, 6.0))
    sink.close()
    destination.close()
    assert found(tmp_path) == []


def test_the_oldest_clips_make_room_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    day = tmp_path / "kitchen" / "undated"
    foreign = [
        tmp_path / "000000-Siren.flac",
        day / "holiday.flac",
        day / "000000-no-sidecar.flac",
        tmp_path / "kitchen" / "music" / "000000-Song.flac",
        tmp_path / "kitchen" / "music" / "000000-Song.json",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(300_000))
        os.utime(path, (0, 0))
    link = day / "000000-Link.flac"
    link.symlink_to(foreign[0])
    link.with_suffix(".json").symlink_to(foreign[0])
    for i in range(5):  # of about 300 kB each
        at_s = 2.0 + i
        record(config(tmp_path, quota_mb=1.0, post_s=8.0), *sounds("Siren", at_s, at_s + 0.5))
    own = list(tmp_path.rglob("t*-Siren.flac"))
    assert sorted(path.name for path in own) == ["t4-Siren.flac", "t5-Siren.flac", "t6-Siren.flac"]
    assert sum(p.stat().st_size + p.with_suffix(".json").stat().st_size for p in own) <= 1e6
    assert all(path.exists() for path in [*foreign, link])


def test_clips_are_deleted_when_their_days_are_over_even_if_none_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(config(tmp_path), *sounds("Siren", 3.0, 4.0), *sounds("Dog", 10.0, 11.0))
    dog, siren = sorted(tmp_path.rglob("*.flac"))
    monkeypatch.setattr(recorder, "_TIDY_EVERY_S", 0.1)
    destination = ClipsDestination(config(tmp_path, keep_days=2.0))
    os.utime(siren, (0, time.time() - 2.1 * 86_400))
    os.utime(dog, (0, time.time() - 1.9 * 86_400))
    eventually(lambda: not siren.exists())
    destination.close()
    assert dog.exists()
    assert not siren.with_suffix(".json").exists()


def test_a_folder_that_others_delete_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    destination = ClipsDestination(config(folder))
    sink = destination.open(stream())
    shutil.rmtree(folder)
    hear(sink, blocks(PCM), *sounds("Siren", 5.0, 6.0))
    sink.close()
    destination.close()
    assert len([*folder.rglob("*.flac")]) == 1
    assert folder.stat().st_mode & 0o077 == 0


def test_a_clock_that_leaps_a_year_ahead_deletes_no_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(config(tmp_path), *sounds("Siren", 3.0, 4.0))
    folder, now_s = ClipFolder(tmp_path, quota_bytes=1e9, keep_s=2.0 * 86_400), time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 366 * 86_400)
    folder.tidy()
    folder.close()
    assert len([*tmp_path.rglob("*.flac")]) == 1
