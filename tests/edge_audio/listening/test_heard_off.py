"""What is told of labels that are off while others are quiet, or all are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.cli.live.heard import HeardTeller
from edge_audio.cli.live.state import StreamState, Watched
from edge_audio.events.detector import Event
from edge_audio.events.policy import PolicySpec
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.hearing import HeardStep
from edge_audio.listening.listener import Listener
from edge_audio.sinks.base import Sink
from edge_audio.sources.stream import Stream

LABELS = ("Dog", "Bow-wow", "Doorbell")
EVENTS = EventSpec(thresholds={"Dog": Threshold(on=0.5, off=0.3)}, min_on_s=0.0)
WATCHED = Watched(EVENTS, step_s=0.5)


class Shown(Sink):
    """Keeps the notices of the live view."""

    def __init__(self, stream: Stream) -> None:
        self._state, self.notices = StreamState(stream, WATCHED), list[str]()

    def on_event(self, event: Event) -> None:
        self._state.take_event(event)

    def on_scores(self, time_s: float, scores: np.ndarray) -> None:
        self._state.notice = ""
        self._state.take_scores(time_s, scores)
        self.notices += [self._state.notice.split()[1]] if self._state.notice else []


class House:
    """A stream by a policy, with both of those who tell of labels that are off."""

    def __init__(
        self,
        capsys: pytest.CaptureFixture[str],
        policy: PolicySpec,
        watched: Sequence[str] = ("Dog",),
    ) -> None:
        stream = Stream("hall", LABELS, 16_000, live=True)
        self._hearing = SimpleNamespace(
            stream=stream,
            default_events=EVENTS,
            is_folding=False,
            time_s=0.0,
            hear=lambda steps: steps,
        )
        self._teller, self._shown, self._capsys = (
            HeardTeller(stream, WATCHED),
            Shown(stream),
            capsys,
        )
        sinks = FanOut([self._teller, self._shown])
        self.listener = Listener(self._hearing, sinks, policy, watched)

    def hear(self, *kinds: str, **scores: float) -> None:
        """A step with events of Dog, and scores of labels that are off."""
        self._hearing.time_s += 0.5
        events = [Event(kind, "Dog", self._hearing.time_s, 0.9) for kind in kinds]  # type: ignore[arg-type]
        row = np.array([scores.get(label.replace("-", "_"), 0.0) for label in LABELS], np.float32)
        self.listener.hear([HeardStep(self._hearing.time_s, events, row)])

    def told(self) -> list[str]:
        """Labels that were told, by both alike."""
        self._teller.close()
        told = [line.split()[1] for line in self._capsys.readouterr().err.splitlines()]
        assert sorted(told) == sorted(self._shown.notices)
        return told


@pytest.mark.parametrize("policy", [PolicySpec(cooldown_s=60.0), PolicySpec(max_s=0.5)])
def test_a_label_that_is_quiet_is_not_told_by_way_of_one_that_is_off(
    capsys: pytest.CaptureFixture[str], policy: PolicySpec
) -> None:
    house = House(capsys, policy)
    house.hear("start")
    house.hear()
    house.hear(*(["end", "start"] if policy.cooldown_s else []))  # it sounds, and is quiet
    for _ in range(3):
        house.hear(Bow_wow=0.9, Doorbell=0.9)
    assert house.told() == ["Doorbell"]


def test_a_label_that_waits_for_its_kinds_covers_what_is_off_as_if_it_were_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    house = House(capsys, PolicySpec(), watched=("Dog", "Bark"))
    house.hear("start", Bow_wow=0.9)
    assert house.told() == []


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ([0.9, 0.9], []),  # it began meanwhile
        ([0.0, 0.0, 0.0, 0.9], ["Doorbell"]),
    ],
)
def test_what_sounds_while_listening_is_paused_is_not_told(
    capsys: pytest.CaptureFixture[str], after: Sequence[float], told: Sequence[str]
) -> None:
    house = House(capsys, PolicySpec())
    house.listener.pause(True)
    for _ in range(3):
        house.hear(Doorbell=0.9)
    house.listener.pause(False)
    for score in after:
        house.hear(Doorbell=score)
    assert house.told() == told
