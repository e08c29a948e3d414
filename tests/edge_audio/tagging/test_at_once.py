"""What a tagger finds in many steps at once is what it finds in them one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_audio import Event, PolicySpec, Tagger
from edge_audio.backends import Backend
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle
from tests.support.scene import SCENE

PIECES = (0, 1, 97, 1_279, 1_281, 5_003, 40_000)
MAX_S = 0.5


@pytest.fixture
def opened(loaded: tuple[Bundle, Backend], eventful: EventSpec) -> Callable[..., Tagger]:
    """A tagger with many events, none of them in silence."""
    return lambda **settings: Tagger(*loaded, eventful, **settings)


def pieces() -> list[np.ndarray]:
    found: list[np.ndarray] = []
    start = 0
    while start < len(SCENE):
        size = PIECES[len(found) % len(PIECES)]
        found.append(SCENE[start : start + size])
        start += size
    return found


def one_by_one(tagger: Tagger) -> list[Event]:
    events = [e for piece in pieces() for step in tagger.steps(piece) for e in step.events]
    return events + tagger.flush()


SETTINGS: list[dict[str, Any]] = [
    {},
    {"gate_dbfs": -50.0},
    {"policy": PolicySpec(max_s=MAX_S)},
    {"policy": PolicySpec(cooldown_s=1.0), "gate_dbfs": -50.0},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_push_has_the_events_of_steps(
    opened: Callable[..., Tagger], settings: dict[str, Any]
) -> None:
    tagger, slow = opened(**settings), opened(**settings)
    expected = one_by_one(slow)
    found = [event for piece in pieces() for event in tagger.push(piece)] + tagger.flush()
    assert found == expected
    assert len(found) > 20
    assert (tagger.n_steps, tagger.time_s) == (slow.n_steps, slow.time_s)
    assert tagger.n_skipped_steps == slow.n_skipped_steps
    assert (tagger.n_skipped_steps > 0) == ("gate_dbfs" in settings)
    np.testing.assert_array_equal(tagger.scores, slow.scores)


@pytest.mark.parametrize("settings", SETTINGS)
def test_steps_at_once_are_the_steps(
    opened: Callable[..., Tagger], settings: dict[str, Any]
) -> None:
    tagger, slow = opened(**settings), opened(**settings)
    expected = [step for piece in pieces() for step in slow.steps(piece)]
    expected += list(slow.last_steps())
    parts = [part for piece in pieces() for part in tagger.push_steps(piece)]
    parts += tagger.push_last_steps()
    assert [time_s for part in parts for time_s in part.times_s] == [x.time_s for x in expected]
    scores = np.concatenate([part.scores for part in parts])
    np.testing.assert_array_equal(scores, np.array([step.scores for step in expected]))
    assert [(p.times_s[0], p.events) for p in parts if p.events] == [
        (step.time_s, step.events) for step in expected if step.events
    ]


def test_steps_at_once_know_what_is_held_back_in_each(opened: Callable[..., Tagger]) -> None:
    tagger, slow = (opened(policy=PolicySpec(max_s=MAX_S)) for _ in range(2))
    policy = slow._reporter.policy  # noqa: SLF001
    assert policy is not None
    expected = [policy.held_back for piece in pieces() for _ in slow.steps(piece)]
    parts = [part for piece in pieces() for part in tagger.push_steps(piece)]
    assert [part.held_back for part in parts for _ in part.times_s] == expected
    assert len({*expected}) >= 3


def test_embeddings_come_with_steps_at_once(loaded: tuple[Bundle, Backend]) -> None:
    bundle, backend = loaded
    if backend.name != "native":
        pytest.skip("the toy has no embedding")
    tagger, slow = (Tagger(bundle, backend, embedding=True, gate_dbfs=-50.0) for _ in range(2))
    expected = [slow.embedding for piece in pieces() for _ in slow.steps(piece)]
    parts = [part.embeddings for piece in pieces() for part in tagger.push_steps(piece)]
    found = np.concatenate([part for part in parts if part is not None])
    np.testing.assert_array_equal(found, np.array(expected))
    np.testing.assert_array_equal(tagger.embedding, slow.embedding)


@pytest.mark.parametrize("n_before", [0, 100, 1_520, 30_001])
def test_a_gate_that_comes_and_goes_loses_no_step(
    opened: Callable[..., Tagger], n_before: int
) -> None:
    """A step that has begun, in the stream or in front of the gate, is not lost."""
    whole, switched = opened(), opened()
    expected = whole.push(SCENE) + whole.flush()
    found = switched.push(SCENE[:n_before])
    switched.gate_dbfs = -50.0
    found += switched.push(SCENE[n_before : n_before + 70_001])
    switched.gate_dbfs = None
    found += switched.push(SCENE[n_before + 70_001 :]) + switched.flush()
    assert found == expected
    np.testing.assert_array_equal(switched.scores, whole.scores)
    assert (switched.n_steps, switched.n_skipped_steps) == (whole.n_steps, 0)


def test_the_latest_scores_do_not_keep_those_of_their_block(
    loaded: tuple[Bundle, Backend],
) -> None:
    tagger = Tagger(*loaded)
    tagger.push(SCENE[:40_000])
    assert tagger.scores.base is None


@pytest.mark.parametrize("end", [Tagger.reset, Tagger.flush])
def test_a_stream_may_be_ended_in_a_loop_that_a_gate_came_into(
    opened: Callable[..., Tagger], end: Callable[[Tagger], object]
) -> None:
    tagger, fresh = opened(), opened(gate_dbfs=-45.0)
    tagger.push(SCENE[:2_000])
    tagger.gate_dbfs = -45.0
    for _ in tagger.steps(SCENE[2_000:9_000]):
        end(tagger)
    assert tagger.push(SCENE) == fresh.push(SCENE)
    assert tagger.n_steps == fresh.n_steps


def test_steps_that_are_written_to_leave_those_behind_a_gate_alone(
    opened: Callable[..., Tagger],
) -> None:
    tagger = opened(gate_dbfs=-45.0)
    for steps in tagger.push_steps(SCENE[:40_000]):
        steps.scores[:] = 7.0
    silence = np.zeros(40 * 16_000, np.int16)
    found = np.concatenate([steps.scores for steps in tagger.push_steps(silence)])
    assert tagger.n_skipped_steps > 0
    assert found.max() <= 1.0
