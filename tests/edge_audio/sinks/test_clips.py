"""Recordings of events: exact to the sample, whole or absent, within their quota, and only where
somebody asked for them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.listener import Listener
from edge_audio.sinks.base import Sink
from edge_audio.sinks.clips import recorder as clips
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination, to_int16
from edge_audio.sinks.segments import SegmentSink
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.tagging.tagger import Tagger
from tests.support import toy
from tests.support.hearing import hearing_with
from tests.support.paths import REPOSITORY
from tests.support.peers import eventually, files_below

RATE_HZ = 16_000
BLOCK = 1_280
LABELS = ("Siren", "Dog", "Speech")
PCM = np.random.default_rng(0).integers(-20_000, 20_000, 20 * RATE_HZ).astype(np.int16)
Sidecar = dict[str, Any]
Told = tuple[float, Event]  # when the event is told, and the event


def stream(name: str = "kitchen", live: bool = False, labels: Sequence[str] = LABELS) -> Stream:
    return Stream(name=name, labels=labels, sample_rate_hz=RATE_HZ, live=live)


def config(folder: Path, **changes: Any) -> ClipsConfig:
    return ClipsConfig(**{"folder": str(folder), "record": True, **changes})


def sounds(label: str, start_s: float, end_s: float, late_s: float = 0.2) -> list[Told]:
    """An event that is told late_s after it began and after it ended."""
    start, end = Event("start", label, start_s, 0.5), Event("end", label, end_s, 0.75)
    return [(start_s + late_s, start), (end_s + late_s, end)]


def blocks(pcm: NDArray[np.int16], n_block: int = BLOCK, start: int = 0) -> Iterator[Block]:
    for i in range(0, len(pcm), n_block):
        samples = pcm[i : i + n_block].astype(np.float32) / np.float32(32_768)
        yield Block(samples, (start + i) / RATE_HZ)


def hear(sink: Sink, heard: Iterator[Block], *told: Told) -> None:
    """Blocks, each followed by the events that it completes, as from a listener."""
    waiting = sorted(told, key=lambda pair: pair[0])
    for block in heard:
        sink.on_audio(block)
        end_s = block.time_s + len(block.samples) / RATE_HZ
        while waiting and waiting[0][0] <= end_s:
            sink.on_event(waiting.pop(0)[1])


def record(settings: ClipsConfig, *told: Told, n_block: int = BLOCK, live: bool = False) -> None:
    """One run over PCM."""
    destination = ClipsDestination(settings)
    sink = destination.open(stream(live=live))
    hear(sink, blocks(PCM, n_block), *told)
    sink.close()
    destination.close()
    assert destination.problem == ""


def found(folder: Path) -> list[tuple[NDArray[np.int16], Sidecar]]:
    """Audio and sidecar of each clip, by start; nothing else may be visible."""
    clips = []
    for path in folder.rglob("*.flac"):
        pcm, rate_hz = soundfile.read(path, dtype="int16")
        assert rate_hz == RATE_HZ
        clips.append((pcm, json.loads(path.with_suffix(".json").read_text())))
    return sorted(clips, key=lambda clip: clip[1]["start_s"])


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


def part(start_s: float, end_s: float) -> NDArray[np.int16]:
    return PCM[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]


# What is in a clip


@pytest.mark.parametrize("n_block", [160, BLOCK, 16_000, 50_000, 7_919])
def test_a_clip_is_exact_to_the_sample_whatever_the_blocks(tmp_path: Path, n_block: int) -> None:
    record(config(tmp_path, pre_s=1.5, post_s=0.5), *sounds("Siren", 5.24, 8.1), n_block=n_block)
    ((pcm, sidecar),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, part(3.74, 8.6))
    event = {"label": "Siren", "start_s": 5.24, "end_s": 8.1, "score": 0.75}
    assert sidecar == {
        "time_s": 5.24,
        "stream": "kitchen",
        "label": "Siren",
        "score": 0.75,
        "start_s": 3.74,
        "end_s": 8.6,
        "events": [event],
    }


def test_a_slow_pipe_of_single_samples_gives_the_same_clip(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=0.05, post_s=0.05))
    sink = destination.open(stream())
    hear(sink, blocks(PCM[: 2 * RATE_HZ], 1), *sounds("Siren", 0.2, 0.3))
    sink.close()
    destination.close()
    ((pcm, _),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, part(0.15, 0.35))


def test_a_clip_reaches_no_further_than_the_audio(tmp_path: Path) -> None:
    record(config(tmp_path), *sounds("Siren", 1.0, 1.5), *sounds("Dog", 19.0, 19.5))
    first, last = found(tmp_path)
    np.testing.assert_array_equal(first[0], part(0.0, 3.5))
    np.testing.assert_array_equal(last[0], part(17.0, 20.0))
    assert (last[1]["start_s"], last[1]["end_s"]) == (17.0, 20.0)


def test_overlapping_events_share_a_clip_that_is_named_after_the_first(tmp_path: Path) -> None:
    told = [*sounds("Dog", 3.0, 6.0), *sounds("Siren", 4.0, 5.0), *sounds("Speech", 7.5, 9.0)]
    record(config(tmp_path, post_s=2.0), *told)
    ((pcm, sidecar),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, part(1.0, 11.0))
    assert sidecar["label"] == "Dog"
    assert [event["label"] for event in sidecar["events"]] == ["Dog", "Siren", "Speech"]
    assert [path.stem for path in tmp_path.rglob("*.flac")] == ["t3-Dog"]


def test_events_apart_have_clips_of_their_own_and_names_never_clash(tmp_path: Path) -> None:
    told = [sounds("Dog", at_s, at_s + 0.1, late_s=0.05) for at_s in (3.0, 3.3, 3.6)]
    record(config(tmp_path, pre_s=0.0, post_s=0.05), *(pair for pairs in told for pair in pairs))
    clips = found(tmp_path)
    assert [sidecar["start_s"] for _, sidecar in clips] == [3.0, 3.3, 3.6]
    assert all(len(pcm) == round(0.15 * RATE_HZ) for pcm, _ in clips)


def test_a_sound_that_does_not_end_fills_one_clip_of_the_longest_length(tmp_path: Path) -> None:
    told = [*sounds("Siren", 3.0, 15.0), *sounds("Dog", 12.0, 13.0)]
    record(config(tmp_path, pre_s=1.0, max_s=5.0, post_s=1.0), *told)
    first, second = found(tmp_path)
    np.testing.assert_array_equal(first[0], part(2.0, 7.0))
    assert first[1]["events"][0]["end_s"] is None
    np.testing.assert_array_equal(second[0], part(11.0, 14.0))


def test_only_wanted_labels_are_recorded(tmp_path: Path) -> None:
    told = [*sounds("Siren", 3.0, 4.0), *sounds("Dog", 10.0, 11.0)]
    record(config(tmp_path, labels=("dog",)), *told)
    ((_, sidecar),) = found(tmp_path)
    assert sidecar["label"] == "Dog"


def test_a_label_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, labels=("Sirene",)))
    with pytest.raises(UsageError, match="did you mean 'Siren'"):
        destination.open(stream())
    destination.close()


def test_lost_audio_is_silence_of_its_length_and_noted(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=2.0, post_s=1.0))
    sink = destination.open(stream())
    gap = slice(4 * RATE_HZ, 5 * RATE_HZ)
    hear(sink, blocks(PCM[: gap.start]))
    later = blocks(PCM[gap.stop :], start=gap.stop)
    hear(sink, later, *sounds("Siren", 5.5, 6.0))
    sink.close()
    destination.close()
    ((pcm, sidecar),) = found(tmp_path)
    expected = PCM.copy()
    expected[gap] = 0
    np.testing.assert_array_equal(pcm, expected[round(3.5 * RATE_HZ) : 7 * RATE_HZ])
    assert sidecar["gaps"] == [[4.0, 5.0]]


def test_clips_of_a_real_listener_hold_what_its_events_name(tmp_path: Path) -> None:
    pcm = toy.noise(10 * RATE_HZ, seed=1)
    lost = slice(48_000, 56_000)  # of the source, on whose clock everything is
    heard = [*blocks(pcm[: lost.start]), *blocks(pcm[lost.stop :], start=lost.stop)]
    i = lost.start // BLOCK + 1
    heard[i] = Block(heard[i].samples, heard[i].time_s, n_lost_samples=8_000)
    destination = ClipsDestination(config(tmp_path / "clips", pre_s=0.3, post_s=0.3))
    hearing = hearing_with(Tagger(toy.save_toy(tmp_path / "toy"), toy.NumpyBackend()))
    segments, sink = SegmentSink(), destination.open(hearing.stream)
    listener = Listener(hearing, FanOut([segments, sink]))
    for block in heard:
        listener.hear(block)
    listener.finish()
    sink.close()
    destination.close()
    pcm[lost] = 0
    clips = found(tmp_path / "clips")
    events = [event for _, sidecar in clips for event in sidecar["events"]]
    assert len(events) == len(segments.segments) > 5
    for samples, sidecar in clips:
        start = round(sidecar["start_s"] * RATE_HZ)
        np.testing.assert_array_equal(samples, pcm[start : start + len(samples)])
        ends_s = [event["end_s"] for event in sidecar["events"]]
        assert sidecar["start_s"] == pytest.approx(max(0, sidecar["time_s"] - 0.3), abs=1e-3)
        assert sidecar["end_s"] == pytest.approx(min(10.0, max(ends_s) + 0.3), abs=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_wild_samples_are_clipped(value: float) -> None:
    expected = 0 if np.isnan(value) else np.copysign(32_767.5, value) - 0.5
    assert to_int16(np.full(3, value, np.float32)).tolist() == [expected] * 3


# Where it goes


def test_live_clips_are_named_by_the_time_of_day_and_private(tmp_path: Path) -> None:
    record(config(tmp_path / "clips"), *sounds("Siren", 3.0, 4.0), live=True)
    (path,) = tmp_path.rglob("*.flac")
    sidecar = json.loads(path.with_suffix(".json").read_text())
    day, clock = sidecar["at"][:19].split("T")
    name = f"kitchen/{day}/{clock.replace(':', '')}-Siren.flac"
    assert path.relative_to(tmp_path / "clips") == Path(name)
    for entry in (tmp_path / "clips", *(tmp_path / "clips").rglob("*")):
        mode = stat.S_IMODE(entry.stat().st_mode)
        assert mode == (0o700 if entry.is_dir() else 0o600), entry


HOSTILE = ["../../up", "..", "/etc/passwd", "a\0b", "x" * 5_000, "\udcff", "", "é\n\u2028" * 99]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "clips"
    destination = ClipsDestination(config(folder))
    label = name.replace("\udcff", "?")  # labels are checked by the bundle
    for live in (False, True):
        sink = destination.open(stream(name, live, labels=(label,)))
        hear(sink, blocks(PCM[: 3 * RATE_HZ]), *sounds(label, 1.0, 1.5))
        sink.close()
    destination.close()
    assert destination.problem == ""
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == 4
    assert all(path.parents[2] == folder for path in files)
    assert not folder.is_symlink()


def test_streams_with_similar_names_never_share_a_folder(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path))
    sinks = [destination.open(stream(name)) for name in ("a b", "a/b", "a-b")]
    for sink in sinks:
        hear(sink, blocks(PCM[: 6 * RATE_HZ]), *sounds("Siren", 3.0, 3.5))
    for sink in sinks:
        sink.close()
    destination.close()
    assert sorted(sidecar["stream"] for _, sidecar in found(tmp_path)) == ["a b", "a-b", "a/b"]


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = ClipsDestination(config(tmp_path))
    with pytest.raises(UsageError, match="already: name another folder"):
        ClipsDestination(config(tmp_path))
    first.close()
    ClipsDestination(config(tmp_path)).close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot record clips in"):
        ClipsDestination(config(tmp_path / "file" / "clips"))


# Who is not recorded


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


# How much is kept


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
    monkeypatch.setattr(clips, "_TIDY_EVERY_S", 0.1)
    destination = ClipsDestination(config(tmp_path, keep_days=2.0))
    os.utime(siren, (0, time.time() - 2.1 * 86_400))
    os.utime(dog, (0, time.time() - 1.9 * 86_400))
    eventually(lambda: not siren.exists())
    destination.close()
    assert dog.exists()
    assert not siren.with_suffix(".json").exists()


# What the disk and the machine do to it


@contextmanager
def limited_files(folder: Path) -> Iterator[None]:
    """Files of more than 100 kB are refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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


def record_one(folder: str) -> None:
    """What a process does that is to be killed: record a sound that does not end."""
    sink = ClipsDestination(config(Path(folder))).open(stream())
    print("ready", flush=True)
    hear(sink, blocks(PCM), *sounds("Siren", 0.5, 99.0))
    time.sleep(600)


def record_many(folder: str) -> None:
    """The same with short clips, one after the other."""
    sink = ClipsDestination(config(Path(folder), pre_s=0.5, post_s=0.1)).open(stream())
    print("ready", flush=True)
    for i in range(1_000):
        heard = blocks(PCM[:RATE_HZ], start=i * RATE_HZ)
        hear(sink, heard, *sounds("Siren", i + 0.5, i + 0.7))
        time.sleep(0.005)  # else more would wait than is kept


@contextmanager
def recording(what: Callable[[str], None], folder: Path) -> Iterator[None]:
    """Such a process, killed with -9 when the block ends."""
    code = f"from {__name__} import {what.__name__} as run; run({str(folder)!r})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def settled(path: Path) -> bool:
    """Whether the file is there and grows no more."""
    n_bytes = path.stat().st_size if path.exists() else 0
    time.sleep(0.5)
    return 0 < n_bytes == path.stat().st_size


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process leaves that was killed while it recorded."""
    folder = tmp_path_factory.mktemp("killed")
    with recording(record_one, folder):
        eventually(lambda: settled(folder / "kitchen" / ".audio.part"))
    return folder


def test_kill_9_shows_no_broken_clip_and_the_next_start_saves_what_was_recorded(
    tmp_path: Path, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    assert found(tmp_path) == []
    assert hidden(tmp_path) != []
    ClipsDestination(config(tmp_path)).close()
    ((pcm, sidecar),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, PCM[: len(pcm)])
    assert len(pcm) > 18 * RATE_HZ  # less the second that waits and an unfinished FLAC frame
    assert sidecar["end_s"] == pytest.approx(len(pcm) / RATE_HZ, abs=1e-3)
    assert sidecar["label"] == "Siren"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("delay_s", [0.1, 0.23, 0.31, 0.47])
def test_kill_9_at_any_moment_leaves_whole_clips_alone(tmp_path: Path, delay_s: float) -> None:
    with recording(record_many, tmp_path):
        time.sleep(delay_s)
    for pcm, sidecar in found(tmp_path):
        start = round(sidecar["start_s"] * RATE_HZ) % RATE_HZ
        assert len(pcm) == round((sidecar["end_s"] - sidecar["start_s"]) * RATE_HZ)
        np.testing.assert_array_equal(pcm, np.tile(PCM[:RATE_HZ], 2)[start : start + len(pcm)])
    n_whole = len(found(tmp_path))
    destination = ClipsDestination(config(tmp_path))
    assert destination.problem == ""
    destination.close()
    assert hidden(tmp_path) == []
    assert n_whole <= len(found(tmp_path)) <= n_whole + 1


@pytest.mark.parametrize("name", [".audio.part", ".draft.part"])
@pytest.mark.parametrize("content", [b"", b"rubbish", b"fLaC" + bytes(500)])
def test_leftovers_that_nobody_can_read_are_removed(
    tmp_path: Path, killed: Path, name: str, content: bytes
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    (tmp_path / "kitchen" / name).write_bytes(content)
    destination = ClipsDestination(config(tmp_path))
    assert destination.problem == ""
    destination.close()
    assert (found(tmp_path), hidden(tmp_path)) == ([], [])


def test_a_start_that_was_killed_while_it_saved_a_clip_is_made_up_for(
    tmp_path: Path, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    audio = tmp_path / "kitchen" / ".audio.part"
    audio.rename(audio.with_name(".broken.part"))
    audio.write_bytes(b"fLaC")
    ClipsDestination(config(tmp_path)).close()
    ((pcm, _),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, PCM[: len(pcm)])
    assert len(pcm) > 18 * RATE_HZ


def test_settings_out_of_range_are_refused() -> None:
    cases: tuple[dict[str, Any], ...] = (
        {"folder": ""},
        {"folder": "a\0b"},
        {"pre_s": -1.0},
        {"post_s": float("nan")},
        {"pre_s": 5.0, "max_s": 5.0},
        {"max_s": float("inf")},
        {"quota_mb": 0.0},
        {"keep_days": -1.0},
    )
    for wrong in cases:
        with pytest.raises(ValueError, match=r"must|need"):
            ClipsConfig(**{"folder": "x", **wrong})


# Settings that change while clips are recorded


def change(destination: ClipsDestination, settings: ClipsConfig) -> None:
    go_on = destination.reconfigure(settings, ExitStack())
    assert go_on is not None
    go_on()


def test_a_clip_goes_on_to_the_sample_while_settings_change(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=1.0, post_s=1.0))
    sink = destination.open(stream())
    told = [*sounds("Siren", 3.0, 8.0), *sounds("Dog", 4.0, 7.0)]
    hear(sink, blocks(PCM[: 5 * RATE_HZ]), *[x for x in told if x[0] < 5.0])
    change(destination, config(tmp_path, pre_s=0.5, post_s=0.25, labels=("Dog",), quota_mb=100))
    later = (
        [x for x in told if x[0] > 5.0] + sounds("Dog", 12.0, 13.0) + sounds("Siren", 15.0, 16.0)
    )
    hear(sink, blocks(PCM[5 * RATE_HZ :], start=5 * RATE_HZ), *later)
    sink.close()
    destination.close()
    first, second = found(tmp_path)
    np.testing.assert_array_equal(first[0], part(2.0, 8.25))  # Siren is followed to its end
    np.testing.assert_array_equal(second[0], part(11.5, 13.25))
    assert [event["end_s"] for event in first[1]["events"]] == [8.0, 7.0]


def test_labels_that_the_model_does_not_know_change_nothing(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, labels=("Dog",)))
    sink = destination.open(stream())
    with pytest.raises(UsageError, match="Unicorn"):
        destination.reconfigure(config(tmp_path, labels=("Unicorn",), quota_mb=1), ExitStack())
    hear(sink, blocks(PCM), *sounds("Dog", 5.0, 6.0), *sounds("Siren", 12.0, 13.0))
    sink.close()
    destination.close()
    assert [sidecar["label"] for _, sidecar in found(tmp_path)] == ["Dog"]


def test_another_folder_or_switch_needs_another_destination(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path / "one"))
    (tmp_path / "link").symlink_to(tmp_path / "one")
    for settings, is_same in (
        (config(tmp_path / "two"), False),
        (config(tmp_path / "one", record=False), False),
        (config(tmp_path / "link"), True),
        (config(tmp_path / "two" / ".." / "one"), True),
    ):
        assert (destination.reconfigure(settings, ExitStack()) is not None) == is_same
    destination.close()


def test_limits_of_what_is_kept_hold_at_once(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=0.0, post_s=0.1, max_s=100.0))
    sink = destination.open(stream())
    hear(sink, blocks(PCM), *sounds("Dog", 1.0, 9.0), *sounds("Siren", 10.0, 19.0))
    sink.close()
    eventually(lambda: len(found(tmp_path)) == 2)
    change(destination, config(tmp_path, keep_days=1e-9))
    eventually(lambda: not files_below(tmp_path, ".flac"))
    destination.close()
