"""What is in a clip: exact to the sample, and only what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_audio.errors import UsageError
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.listener import Listener
from edge_audio.sinks.clips.recorder import ClipsDestination, to_int16
from edge_audio.sinks.segments import SegmentSink
from edge_audio.sources.base import Block
from edge_audio.tagging.tagger import Tagger
from tests.edge_audio.sinks.clips.clip_runs import (
    BLOCK,
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
from tests.support import toy
from tests.support.hearing import hearing_with


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
