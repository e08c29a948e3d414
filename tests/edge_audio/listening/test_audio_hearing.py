"""Events of audio with gaps: each has the time at which its source heard it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio import Event, Tagger
from edge_audio.listening.audio_hearing import AudioHearing, SourceClock
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.hearing import HeardStep, Wanted
from edge_audio.listening.listener import Listener
from edge_audio.sinks.base import Sink
from edge_audio.sources.base import Block
from edge_audio.sources.rest import Rest
from edge_audio.support.arrays import FloatArray
from tests.support import toy
from tests.support.hearing import RATE_HZ, Silent, hearing_with

GAP_S = 30.0


class Record(Sink):
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.step_times_s: list[float] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self.step_times_s.append(time_s)


def sound(duration_s: float, level: float = 8_000.0) -> FloatArray:
    steady = np.random.default_rng(0).normal(0.0, level, round(duration_s * RATE_HZ))
    return (steady.clip(-32_768, 32_767) / 32_768).astype(np.float32)


def listener(folder: Path, **durations_s: float) -> tuple[Listener, Record]:
    events = msgspec.structs.replace(toy.EVENTS, **durations_s)
    tagger = Tagger(toy.save_toy(folder / "toy"), toy.NumpyBackend(), events)
    record = Record()
    return Listener(hearing_with(tagger), FanOut([record])), record


def starts(record: Record) -> dict[str, float]:
    return {event.label: event.time_s for event in record.events if event.kind == "start"}


def test_a_gap_does_not_move_events_that_began_before_it(tmp_path: Path) -> None:
    """They are reported after it, min_on_s later than they began."""
    without, expected = listener(tmp_path, min_on_s=0.4)
    without.hear(Block(np.concatenate([sound(1.0, 1.0), sound(1.0)]), 0.0))
    assert 1.0 < starts(expected)["Band 6"] < 1.4
    cut = round(1.3 * RATE_HZ)  # after the start, before it is certain
    samples = np.concatenate([sound(1.0, 1.0), sound(1.0)])
    with_gap, record = listener(tmp_path, min_on_s=0.4)
    with_gap.hear(Block(samples[:cut], 0.0))
    assert not starts(record)
    with_gap.hear(Block(samples[cut:], 1.3 + GAP_S, round(GAP_S * RATE_HZ)))
    assert starts(record)["Band 6"] == starts(expected)["Band 6"]


def test_an_end_before_a_gap_stays_there(tmp_path: Path) -> None:
    samples = np.concatenate([sound(1.0), sound(2.0, 1.0)])
    cut = round(1.7 * RATE_HZ)
    record = None
    ends_s = []
    for gap_s in (0.0, GAP_S):
        heard, record = listener(tmp_path, min_on_s=0.0, min_off_s=1.0)
        heard.hear(Block(samples[:cut], 0.0))
        heard.hear(Block(samples[cut:], 1.7 + gap_s, round(gap_s * RATE_HZ)))
        ends_s.append([event.time_s for event in record.events if event.kind == "end"])
    assert ends_s[0]
    assert ends_s[0] == ends_s[1]
    assert max(ends_s[1]) < 1.7


def test_what_comes_after_a_gap_has_the_time_of_the_source(tmp_path: Path) -> None:
    heard, record = listener(tmp_path)
    heard.hear(Block(sound(2.0, 1.0), 0.0))
    n_steps = len(record.step_times_s)
    heard.hear(Block(sound(2.0), 2.0 + GAP_S, round(GAP_S * RATE_HZ)))
    heard.finish()
    assert all(time_s <= 2.0 for time_s in record.step_times_s[:n_steps])
    assert all(time_s > 2.0 + GAP_S for time_s in record.step_times_s[n_steps:])
    assert all(event.time_s > 2.0 + GAP_S for event in record.events)
    assert heard.hearing.time_s == pytest.approx(4.0 + GAP_S)


def test_without_a_gap_times_are_the_taggers_to_the_bit(tmp_path: Path) -> None:
    tagger = Tagger(toy.save_toy(tmp_path / "toy"), toy.NumpyBackend())
    samples = sound(3.0)
    expected = [step.time_s for step in tagger.steps(samples)]
    tagger.reset()
    hearing = hearing_with(tagger)
    times_s, position = [], 0
    for size in (1, 997, 16_000, 7, len(samples)):
        block = Block(samples[position : position + size], position / RATE_HZ)
        found = hearing.hear(block)
        times_s += [item.time_s for item in found if isinstance(item, HeardStep)]
        position += len(block.samples)
    assert times_s == expected


def test_a_microphone_may_rest_while_nothing_sounds_and_nobody_looks(tmp_path: Path) -> None:
    bundle = toy.save_toy(tmp_path / "toy")
    rest = Rest(0.32)
    hearing = AudioHearing(
        "hall", Silent(), bundle, lambda *_: Tagger(bundle, toy.NumpyBackend()), rest=rest
    )
    hearing.begin(Wanted(hearing.default_events))

    def may_rest_after(samples: FloatArray) -> bool:
        list(hearing.hear(Block(samples, hearing.time_s)))
        return rest.is_allowed

    assert not rest.is_allowed  # before anything is known
    assert may_rest_after(sound(2.0, 1.0))
    assert not may_rest_after(sound(2.0))
    assert may_rest_after(sound(5.0, 1.0))
    hearing.change(Wanted(hearing.default_events, n_top=3))
    assert not may_rest_after(sound(1.0, 1.0))


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 3_000)), min_size=1, max_size=30))
def test_every_sample_has_the_time_of_its_own_block(blocks: list[tuple[int, int]]) -> None:
    """blocks: (samples, samples lost before them)."""
    clock = SourceClock(RATE_HZ)
    n_heard = n_lost = 0
    expected = {}
    for n_samples, n_gap in blocks:
        n_lost += n_gap
        clock.begin_block(n_heard / RATE_HZ, (n_heard + n_lost) / RATE_HZ)
        for n in (1, n_samples):  # ends after its first sample, and at the end of the block
            expected[(n_heard + n) / RATE_HZ] = (n_heard + n + n_lost) / RATE_HZ
        n_heard += n_samples
    for heard_s, source_s in expected.items():
        assert clock(heard_s) == pytest.approx(source_s, abs=1e-9)


def test_the_burst_of_a_live_source_is_kept_until_it_is_heard(tmp_path: Path) -> None:
    """Such as that of ffmpeg, which knows the format only after some seconds."""

    class Burst(Silent):
        live = True
        waits = False
        max_burst_s = 20.0

        def blocks(self) -> Iterator[Block]:
            for second in range(20):
                yield Block(sound(1.0), float(second))

    bundle = toy.save_toy(tmp_path / "toy")
    hearing = AudioHearing("street", Burst(), bundle, lambda *_: Tagger(bundle, toy.NumpyBackend()))
    feed = hearing.feed()
    feed.start(threading.Event())
    while not feed.has_ended:
        time.sleep(0.01)
    blocks = list(iter(feed.take, None))
    assert len(blocks) == 20
    assert not any(block.n_lost_samples for block in blocks)
