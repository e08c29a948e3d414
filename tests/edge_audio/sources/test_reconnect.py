"""A source that breaks is opened again, and what was missed is counted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources import reconnect
from edge_audio.sources.base import Block
from edge_audio.sources.reconnect import Reconnecting

RATE_HZ = 100
BLOCK_S = 0.05


FlakyT = TypeVar("FlakyT", bound="Flaky")


class Flaky:
    """Delivers two blocks of BLOCK_S, in real time, and breaks; opening it may fail first."""

    live = True
    waits = False
    max_burst_s = 0.0
    n_restarts = 0
    sample_rate_hz = RATE_HZ
    name = "flaky"

    def __init__(self, opening: Exception | None = None) -> None:
        self._opening = opening
        self.is_open = False

    def __enter__(self) -> Any:
        if self._opening:
            raise self._opening
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def stop(self) -> None:
        """It waits for nobody."""

    def blocks(self) -> Iterator[Block]:
        for i in range(2):
            time.sleep(BLOCK_S)
            yield Block(np.zeros(round(BLOCK_S * RATE_HZ), np.float32), i * BLOCK_S)
        raise SourceError("unplugged")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(reconnect, "MAX_WAIT_S", 0.2)


def heard(source: Reconnecting, n_blocks: int) -> list[Block]:
    with source:
        return list(itertools.islice(source.blocks(), n_blocks))


def test_it_goes_on_after_each_loss_and_says_so() -> None:
    made: list[Flaky] = []
    notices: list[str] = []

    def make() -> Flaky:
        made.append(Flaky())
        return made[-1]

    source = Reconnecting(make, notices.append)
    blocks = heard(source, 6)
    assert len(made) == 3
    assert source.n_restarts == 2
    assert [text.split(";")[0] for text in notices if "unplugged" in text] == ["unplugged"] * 2
    assert sum("open again" in text for text in notices) == 2
    assert not any(one.is_open for one in made)
    position = 0
    for block in blocks:
        position += block.n_lost_samples
        assert block.time_s == position / RATE_HZ
        position += len(block.samples)


def test_the_time_that_it_was_away_is_stated() -> None:
    class Quick(Flaky):
        def blocks(self) -> Iterator[Block]:
            yield Block(np.zeros(1, np.float32), 0.0)
            raise SourceError("unplugged")

    blocks = heard(Reconnecting(Quick, lambda text: None), 3)
    assert blocks[0].n_lost_samples == 0
    assert blocks[1].n_lost_samples >= 0.05 * RATE_HZ - 1
    assert blocks[2].n_lost_samples >= 0.1 * RATE_HZ - 1  # the second pause is twice as long


def test_a_source_that_is_not_there_yet_is_awaited() -> None:
    openings = iter([SourceError("no microphone"), SourceError("no microphone"), None])
    notices: list[str] = []
    blocks = heard(Reconnecting(lambda: Flaky(next(openings)), notices.append), 2)
    assert len(blocks) == 2
    assert "no microphone; trying again" in notices


def test_a_source_that_cannot_be_meant_is_refused_at_once() -> None:
    source = Reconnecting(lambda: Flaky(UsageError("no such device")), lambda text: None)
    with pytest.raises(UsageError), source:
        pass


class Radio(Flaky):
    """Sends head_start_s of audio from before it was opened after hold_s, and then n_blocks in
    real time; each block's samples are the time since `began_s`, at which the program began."""

    def __init__(self, began_s: float, hold_s: float, head_start_s: float, n_blocks: int) -> None:
        super().__init__()
        self.began_s, self.hold_s, self.n_blocks = began_s, hold_s, n_blocks
        self.head_start_s = head_start_s

    def __enter__(self) -> Any:
        self.next_s = time.monotonic() - self.head_start_s
        return super().__enter__()

    def blocks(self) -> Iterator[Block]:
        time.sleep(self.hold_s)
        end_s = time.monotonic() + self.n_blocks * BLOCK_S
        while self.next_s < end_s:
            time.sleep(max(0.0, self.next_s + BLOCK_S - time.monotonic()))
            n = round(BLOCK_S * RATE_HZ)
            yield Block(np.full(n, self.next_s - self.began_s, np.float32), 0.0)
            self.next_s += BLOCK_S
        raise SourceError("broke off")


@pytest.mark.parametrize("head_start_s", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("hold_s", [0.0, 0.5])
def test_audio_time_keeps_to_the_clock_over_any_number_of_reconnects(
    hold_s: float, head_start_s: float
) -> None:
    began_s = time.monotonic()
    source = Reconnecting(lambda: Radio(began_s, hold_s, head_start_s, 4), lambda text: None)
    lags_s = []
    with source:
        for block in source.blocks():
            lags_s.append(block.samples[0] - block.time_s)
            if source.n_restarts == 5:
                break
    assert np.ptp(lags_s) < 0.15, "nothing is heard twice, nothing missed is left out"


def test_a_wrong_guess_is_made_up_for_at_the_next_gap() -> None:
    began_s = time.monotonic()
    head_starts_s = iter([0.0, 0.4, 0.0, 0.0, 0.0])  # the second one is not expected
    source = Reconnecting(lambda: Radio(began_s, 0.0, next(head_starts_s), 4), lambda text: None)
    last_lag_s: dict[int, float] = {}
    with source:
        for block in source.blocks():
            last_lag_s[source.n_restarts] = float(block.samples[0]) - block.time_s
            if source.n_restarts == 4:
                break
    assert last_lag_s[1] == pytest.approx(last_lag_s[0] - 0.4, abs=0.15)
    assert last_lag_s[4] == pytest.approx(last_lag_s[0], abs=0.15)


def test_what_comes_much_faster_than_it_sounds_is_heard_whole_each_time() -> None:
    class File(Flaky):
        def blocks(self) -> Iterator[Block]:
            yield Block(np.zeros(60 * RATE_HZ, np.float32), 0.0)

    blocks = heard(Reconnecting(File, lambda text: None), 3)
    assert [len(block.samples) for block in blocks] == [60 * RATE_HZ] * 3
