"""A source that breaks is opened again, and what was missed is counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources import reconnect
from edge_audio.sources.base import Block
from edge_audio.sources.reconnect import Reconnecting

RATE_HZ = 100


FlakyT = TypeVar("FlakyT", bound="Flaky")


class Flaky:
    """Delivers two blocks of a second and breaks; opening it may fail first."""

    live = True
    waits = False
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
        for second in range(2):
            yield Block(np.zeros(RATE_HZ, np.float32), float(second))
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
