"""What a disk that is full or hangs does to clips."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge_audio.sinks.clips.recorder import ClipsDestination
from tests.edge_audio.sinks.clips.clip_runs import (
    PCM,
    RATE_HZ,
    blocks,
    config,
    found,
    hear,
    hidden,
    part,
    sounds,
    stream,
)
from tests.support.limits import files_up_to
from tests.support.peers import eventually


def limited_files(folder: Path) -> AbstractContextManager[None]:
    return files_up_to(100_000)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """All but 100 kB of the disk are taken."""
    filler = folder / "filler"
    filler.write_bytes(bytes(1_900_000))
    yield
    filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2000k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def record_around_trouble(folder: Path, trouble: Callable[[Path], Any]) -> None:
    destination = ClipsDestination(config(folder, max_s=10.0))
    sink = destination.open(stream())
    with trouble(folder):
        hear(sink, blocks(part(0.0, 11.0)), *sounds("Siren", 3.0, 7.0))
        eventually(lambda: "1 clips lost" in destination.problem)
        assert found(folder) == []
        assert hidden(folder) == []
    hear(sink, blocks(part(11.0, 20.0), start=11 * RATE_HZ), *sounds("Dog", 14.0, 14.5))
    sink.close()
    destination.close()
    assert destination.problem == ""
    ((pcm, _),) = found(folder)
    np.testing.assert_array_equal(pcm, part(12.0, 16.5))


def test_a_clip_that_finds_no_room_is_dropped_and_the_next_one_is_recorded(tmp_path: Path) -> None:
    record_around_trouble(tmp_path, limited_files)


def test_a_full_disk_costs_only_the_clips_of_that_time(small_disk: Path) -> None:
    record_around_trouble(small_disk, full_disk)


@contextmanager
def hanging_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever writes a sound file waits for the end of this."""
    over, write = threading.Event(), soundfile.SoundFile.write

    def write_later(file: soundfile.SoundFile, samples: NDArray[np.int16]) -> None:
        assert over.wait(60)
        write(file, samples)

    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "write", write_later)
        try:
            yield
        finally:
            over.set()


def test_a_disk_that_hangs_never_holds_up_listening_and_leaves_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = ClipsDestination(config(tmp_path, max_s=200.0, pre_s=1.0, post_s=0.5))
    sink = destination.open(stream())
    pcm = np.tile(PCM, 6)  # 120 s: more blocks than may wait
    with hanging_disk(monkeypatch):
        hear(sink, blocks(pcm), *sounds("Siren", 2.0, 110.0))
    sink.close()
    eventually(lambda: bool(found(tmp_path)))
    destination.close()
    ((samples, sidecar),) = found(tmp_path)
    ((gap_start_s, gap_end_s),) = sidecar["gaps"]
    expected = pcm[RATE_HZ : round(110.5 * RATE_HZ)].copy()
    gap = slice(*(round((time_s - 1.0) * RATE_HZ) for time_s in (gap_start_s, gap_end_s)))
    assert 0 < gap.start < 5 * RATE_HZ  # what was being written when the disk hung
    assert expected[gap].any()
    expected[gap] = 0
    np.testing.assert_array_equal(samples, expected)


def test_a_clip_whose_end_was_dropped_is_saved_before_the_next_of_its_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = ClipsDestination(config(tmp_path, max_s=200.0, pre_s=1.0, post_s=0.5))
    quiet, busy = destination.open(stream("quiet")), destination.open(stream("busy"))
    hear(quiet, blocks(part(0.0, 5.0)), *sounds("Siren", 2.0, 99.0))
    eventually((tmp_path / "quiet" / ".audio.part").exists)
    with hanging_disk(monkeypatch):
        hear(quiet, blocks(part(5.0, 10.0), start=5 * RATE_HZ), *sounds("Siren", 2.0, 6.0)[1:])
        hear(busy, blocks(np.tile(PCM, 6)), *sounds("Dog", 2.0, 99.0))
    rest = blocks(part(10.0, 20.0), start=10 * RATE_HZ)
    hear(quiet, rest, *sounds("Siren", 15.0, 16.0))
    eventually(lambda: len(found(tmp_path / "quiet")) == 2)
    for sink in (quiet, busy):
        sink.close()
    destination.close()
    first, second = found(tmp_path / "quiet")
    assert len(first[0]) == round(5.5 * RATE_HZ)
    assert first[1]["gaps"][0][1] == 6.5
    np.testing.assert_array_equal(second[0], part(14.0, 16.5))
