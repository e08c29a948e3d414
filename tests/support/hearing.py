"""What the tests of listening hear: blocks that they make themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from edge_audio.listening.audio_hearing import AudioHearing
from edge_audio.listening.hearing import Wanted
from edge_audio.sources.base import Block
from edge_audio.tagging.tagger import Tagger

RATE_HZ = 16_000


SilentT = TypeVar("SilentT", bound="Silent")


class Silent:
    """A source that delivers nothing: a test pushes the blocks itself."""

    sample_rate_hz = RATE_HZ
    name = "hall"
    live = False
    waits = True
    max_burst_s = 0.0
    n_restarts = 0

    def __enter__(self: SilentT) -> SilentT:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    def stop(self) -> None:
        """It has ended."""

    def blocks(self) -> Iterator[Block]:
        yield from ()


def hearing_with(tagger: Tagger, name: str = "kitchen") -> AudioHearing:
    """One that has begun with this tagger, and its settings."""
    hearing = AudioHearing(name, Silent(), tagger.bundle, lambda events, gate_dbfs: tagger)
    hearing.begin(Wanted(hearing.default_events))
    return hearing
