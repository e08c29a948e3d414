"""What one sink does is nobody else's trouble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge_audio import Event
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.reload import CALM_S, ProblemTeller
from edge_audio.sinks.base import Sink
from edge_audio.sources.base import Block

Call = Callable[[Sink], None]
EVENT = Event("start", "Dog", 1.0, 0.5)
BLOCK = Block(np.zeros(80, np.float32), time_s=0.0)
CALLS: dict[str, Call] = {
    "on_watch": lambda sink: sink.on_watch(["Dog"]),
    "on_audio": lambda sink: sink.on_audio(BLOCK),
    "on_event": lambda sink: sink.on_event(EVENT),
    "on_scores": lambda sink: sink.on_scores(0.08, np.zeros(1, np.float32)),
    "on_notice": lambda sink: sink.on_notice("back"),
}


class Noting(Sink):
    """Notes what it is told; raises it where `fails` says so."""

    def __init__(self, fails: bool = False) -> None:
        self.calls: list[str] = []
        for name in CALLS:
            setattr(self, name, self._method(name, fails))

    def _method(self, name: str, fails: bool) -> Callable[..., None]:
        def method(*_: object) -> None:
            self.calls.append(name)
            if fails:
                raise RuntimeError(f"no {name}")

        return method


@pytest.mark.parametrize("name", CALLS)
def test_a_sink_that_raises_keeps_nothing_from_the_others(name: str) -> None:
    shown, before, wrong, after = Noting(), Noting(), Noting(fails=True), Noting()
    fan_out = FanOut([shown])
    fan_out.swap({"json": before, "mqtt": wrong, "webhook": after})
    for _ in range(2):
        CALLS[name](fan_out)
    for sink in (shown, before, wrong, after):
        assert sink.calls == [name] * 2
    assert list(fan_out.errors) == ["mqtt"]
    assert f"RuntimeError: no {name}" in fan_out.errors["mqtt"]


def test_what_the_screen_raises_ends_the_run_after_all_were_told() -> None:
    sink = Noting()
    fan_out = FanOut([Noting(fails=True)])
    fan_out.swap({"json": sink})
    with pytest.raises(RuntimeError):
        fan_out.on_event(EVENT)
    assert sink.calls == ["on_event"]


def test_only_sinks_that_are_new_are_told_what_is_watched() -> None:
    kept, gone, new = Noting(), Noting(), Noting()
    fan_out = FanOut()
    fan_out.on_watch(["Dog"])
    fan_out.swap({"json": kept, "mqtt": gone})
    fan_out.swap({"json": kept, "mqtt": new})
    fan_out.on_event(EVENT)
    assert kept.calls == ["on_watch", "on_event"]
    assert gone.calls == ["on_watch"]
    assert new.calls == ["on_watch", "on_event"]


def test_an_error_is_forgotten_with_the_sink_that_made_it() -> None:
    fan_out = FanOut()
    fan_out.swap({"json": Noting(fails=True), "mqtt": Noting(fails=True)})
    fan_out.on_event(EVENT)
    fan_out.swap({"json": Noting()})
    assert fan_out.errors == {}


def test_problems_are_told_when_they_change_and_when_they_end() -> None:
    said: list[str] = []
    clock = [0.0]
    teller = ProblemTeller(said.append, lambda: clock[0])
    names = ("metrics ::1:9400", "file a:b")
    for clock[0], problems in (
        (0.0, {"metrics ::1:9400": "port is gone", "file a:b": "No space left; 1 records lost"}),
        (1.0, {"metrics ::1:9400": "port is gone", "file a:b": "No space left; 93 records lost"}),
        (2.0, {"file a:b": "Read-only file system; 94 records lost"}),
        (2.0 + CALM_S, {}),
        (2.0 + 2 * CALM_S, {}),
        (9.0 + 2 * CALM_S, {}),
    ):
        teller.tell(problems, names)
    assert said == [
        "metrics ::1:9400: port is gone",
        "file a:b: No space left; 1 records lost",
        "file a:b: Read-only file system; 94 records lost",
        "metrics ::1:9400: all is well again",
        "file a:b: all is well again",
    ]


def test_all_is_well_again_on_recovery_and_not_after_each_lost_record() -> None:
    said: list[str] = []
    clock = [0.0]
    teller = ProblemTeller(said.append, lambda: clock[0])
    for second in range(20):  # one record of two gets through
        clock[0] = second
        problem = {"mqtt broker": "events wait" if second % 4 else "the oldest events are lost"}
        teller.tell(problem if second % 2 == 0 else {}, ("mqtt broker",))
    assert said == ["mqtt broker: the oldest events are lost", "mqtt broker: events wait"]
    for clock[0] in (20, 20 + CALM_S):
        teller.tell({}, ("mqtt broker",))
    assert said[2:] == ["mqtt broker: all is well again"]


def test_of_a_destination_that_is_gone_nothing_is_said() -> None:
    said: list[str] = []
    clock = [0.0]
    teller = ProblemTeller(said.append, lambda: clock[0])
    teller.tell({"clips a": "nothing is recorded"}, ("clips a",))
    for clock[0] in (1.0, 100.0, 200.0):
        teller.tell({}, ())
    assert said == ["clips a: nothing is recorded"]
