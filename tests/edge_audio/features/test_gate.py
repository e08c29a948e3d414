"""With a level gate silence costs nothing, and what is heard after it is the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio import Event, Tagger, UsageError
from edge_audio.backends import State, installed_backends
from edge_audio.bundle.store import Bundle
from edge_audio.features.gate import HOLD_S, REPLAY_S
from tests.support import toy
from tests.support.real_audio import soundscape

RATE_HZ = 16_000
STEP_S = 0.08
GATE_DBFS = -60.0
Heard = tuple[list[float], np.ndarray, list[Event]]


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * RATE_HZ), np.int16)


# Odd lengths: neither sound nor silence begins at the border of a step.
SCENE = np.concatenate(
    [
        toy.noise(40_003, seed=1),
        silence(HOLD_S + 17.77),
        toy.noise(20_001, seed=2),
        silence(HOLD_S + 3.33),
        toy.noise(30_007, seed=3),
        silence(5.0),
    ]
)


class Spy(toy.NumpyBackend):
    """Remembers the frames of all steps."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def step(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        self.frames.append(frames.copy())
        return super().step(frames, state)


@pytest.fixture(scope="module")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy")


def open_toy(bundle: Bundle, gate_dbfs: float | None = GATE_DBFS) -> Tagger:
    return Tagger(bundle, Spy(), gate_dbfs=gate_dbfs)


def frames_of(tagger: Tagger) -> list[np.ndarray]:
    assert isinstance(tagger.backend, Spy)
    return tagger.backend.frames


def hear(tagger: Tagger, pcm: np.ndarray, sizes: tuple[int, ...] = ()) -> Heard:
    """(step times, scores [n_steps, n_labels], events) of a whole stream, in chunks whose sizes
    repeat."""
    starts = np.cumsum([0, *(sizes or (len(pcm),)) * (len(pcm) // sum(sizes or (len(pcm),)) + 1)])
    chunks = np.split(pcm, [start for start in starts[1:] if start < len(pcm)])
    steps = [step for chunk in chunks for step in tagger.steps(chunk)]
    events = [event for *_, found in steps for event in found] + tagger.flush()
    return [time_s for time_s, *_ in steps], np.array([scores for _, scores, _ in steps]), events


def rows(events: list[Event]) -> list[tuple[str, str, float]]:
    return [(event.kind, event.label, event.time_s) for event in events]


def test_steps_times_and_events_are_those_of_a_run_without_a_gate(toy_bundle: Bundle) -> None:
    gated, always = open_toy(toy_bundle), open_toy(toy_bundle, None)
    (times_s, scores, events), expected = hear(gated, SCENE), hear(always, SCENE)
    assert times_s == expected[0]
    assert rows(events) == rows(expected[2])
    assert len({event.time_s for event in events if event.kind == "start"}) >= 3
    assert (gated.n_steps, gated.time_s) == (always.n_steps, always.time_s)
    np.testing.assert_allclose(scores, expected[1], atol=1e-3)


def test_silent_steps_are_not_computed(toy_bundle: Bundle) -> None:
    tagger = open_toy(toy_bundle)
    hear(tagger, SCENE)
    n_skippable = round((17.77 - REPLAY_S) / STEP_S)  # the second silence is replayed as a whole
    assert abs(tagger.n_skipped_steps - n_skippable) <= 2
    assert len(frames_of(tagger)) == tagger.n_steps - tagger.n_skipped_steps


@pytest.mark.parametrize("n_between", [0, 1, 100, 1_000])
def test_frames_after_the_gate_opened_are_those_of_a_run_without_it(
    toy_bundle: Bundle, n_between: int
) -> None:
    quiet = (silence(HOLD_S + n_between * STEP_S) + toy.noise(1, seed=0)[0] % 7).astype(np.int16)
    pcm = np.concatenate([toy.noise(40_003, seed=1), quiet, toy.noise(40_001, seed=2)])
    gated, always = open_toy(toy_bundle), open_toy(toy_bundle, None)
    hear(gated, pcm)
    hear(always, pcm)
    found, expected = frames_of(gated), frames_of(always)
    n_skipped = len(expected) - len(found)
    assert n_skipped == gated.n_skipped_steps
    n_before = round((40_003 / RATE_HZ + HOLD_S) / STEP_S) - 5
    np.testing.assert_array_equal(found[:n_before], expected[:n_before])
    n_after = round((REPLAY_S + 2.5) / STEP_S) if n_skipped else len(found)
    np.testing.assert_array_equal(found[-n_after:], expected[-n_after:])


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(
        st.sampled_from([0, 1_279, 1_280, 1_281, 1_520, 9_973, 40_000]), min_size=1, max_size=5
    )
)
def test_any_chunking_gives_the_same_bits_with_a_gate(toy_bundle: Bundle, sizes: list[int]) -> None:
    tagger = open_toy(toy_bundle)
    expected = hear(open_toy(toy_bundle), SCENE)
    found = hear(tagger, SCENE, (*sizes, 7_919))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[2] == expected[2]


def test_while_it_is_closed_the_scores_stand_still_and_nothing_happens(toy_bundle: Bundle) -> None:
    tagger = open_toy(toy_bundle)
    tagger.push(toy.noise(RATE_HZ, seed=1))
    tagger.push(silence(HOLD_S + 1.0))
    steps = list(tagger.steps(silence(2.0)))
    assert len(steps) == 25
    assert all(events == [] for *_, events in steps)
    np.testing.assert_array_equal(np.ptp([scores for _, scores, _ in steps], axis=0), 0.0)


def test_it_stays_open_while_an_event_is_open(toy_bundle: Bundle) -> None:
    always_on = msgspec.structs.replace(toy.EVENTS.thresholds["Band 6"], on=1e-9, off=1e-9)
    spec = msgspec.structs.replace(toy.EVENTS, thresholds={"Band 6": always_on})
    tagger = Tagger(toy_bundle, Spy(), spec, GATE_DBFS)
    tagger.push(silence(HOLD_S + 10.0))
    assert tagger.n_skipped_steps == 0
    assert [event.kind for event in tagger.flush()] == ["end"]


@pytest.mark.parametrize(("dbfs", "is_skipped"), [(-62.0, True), (-58.0, False)])
def test_what_reaches_the_level_is_heard(toy_bundle: Bundle, dbfs: float, is_skipped: bool) -> None:
    samples = np.random.default_rng(0).normal(0.0, 10 ** (dbfs / 20), 40 * RATE_HZ)
    nothing = msgspec.structs.replace(toy.EVENTS, thresholds={})
    tagger = Tagger(toy_bundle, Spy(), nothing, GATE_DBFS)
    tagger.push(samples)
    assert (tagger.n_skipped_steps > 0) == is_skipped


def test_broken_samples_count_as_silence(toy_bundle: Bundle) -> None:
    tagger = open_toy(toy_bundle)
    tagger.push(np.full(round((HOLD_S + 5.0) * RATE_HZ), np.nan))
    assert tagger.n_skipped_steps > 0
    assert tagger.push(toy.noise(RATE_HZ, seed=1))


def test_a_new_stream_begins_with_an_open_gate(toy_bundle: Bundle) -> None:
    tagger = open_toy(toy_bundle)
    tagger.push(silence(HOLD_S + 5.0))
    assert tagger.n_skipped_steps > 0
    tagger.reset()
    assert tagger.n_skipped_steps == 0
    expected = hear(open_toy(toy_bundle), SCENE)
    found = hear(tagger, SCENE)
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[2] == expected[2]


def test_the_level_may_change_at_any_time_without_losing_a_step(toy_bundle: Bundle) -> None:
    tagger = open_toy(toy_bundle)
    found = tagger.push(SCENE[: 40_003 + round((HOLD_S + 10.0) * RATE_HZ)])
    assert tagger.n_skipped_steps > 0
    tagger.gate_dbfs = None
    found += tagger.push(SCENE[40_003 + round((HOLD_S + 10.0) * RATE_HZ) :]) + tagger.flush()
    assert rows(found) == rows(hear(open_toy(toy_bundle, None), SCENE)[2])
    assert tagger.n_skipped_steps == 0  # ten seconds: all of them were heard in the end
    tagger.gate_dbfs = GATE_DBFS
    assert rows(hear(tagger, SCENE)[2]) == rows(found)
    assert tagger.n_skipped_steps > 0


@pytest.mark.parametrize("level", [1.0, -121.0, float("nan")])
def test_a_level_that_no_gate_can_have_is_refused(toy_bundle: Bundle, level: float) -> None:
    with pytest.raises(UsageError, match="-120 to 0 dBFS"):
        open_toy(toy_bundle, level)


# Not tiny-xlstm-int8, which remembers for minutes.
@pytest.mark.parametrize("model", ["micro-int8", "tiny-int8", "small-int8"])
@pytest.mark.parametrize("floor_dbfs", [None, -75.0])
def test_real_sounds_between_silences_are_heard_as_without_a_gate(
    data_dir: Path, model: str, floor_dbfs: float | None
) -> None:
    if not installed_backends():
        pytest.skip("no inference runtime is installed")
    sound = soundscape(data_dir, 50.0).astype(np.float32) / 32768
    floor = 0.0 if floor_dbfs is None else 10 ** (floor_dbfs / 20)
    rng = np.random.default_rng(0)
    pieces: list[np.ndarray] = []
    for clip in np.array_split(sound, 5):
        quiet = rng.normal(0.0, 1.0, round(45.7 * RATE_HZ)) * floor
        pieces += [clip, quiet.astype(np.float32)]
    gated, always = Tagger.open(model, gate_dbfs=GATE_DBFS), Tagger.open(model)
    found, expected = hear(gated, np.concatenate(pieces)), hear(always, np.concatenate(pieces))
    assert gated.n_skipped_steps > 0.2 * gated.n_steps
    assert_alike(found[2], expected[2])
    is_loud = step_levels_dbfs(np.concatenate(pieces), len(found[0])) >= GATE_DBFS
    np.testing.assert_allclose(found[1][is_loud], expected[1][is_loud], atol=0.01)


def assert_alike(found: list[Event], expected: list[Event]) -> None:
    """The same events per label, at times that differ by a step at most."""
    pairs = [sorted(rows(events), key=lambda row: row[1]) for events in (found, expected)]
    labels, times_s = zip(*[([r[:2] for r in p], [r[2] for r in p]) for p in pairs], strict=True)
    assert labels[0] == labels[1]
    np.testing.assert_allclose(times_s[0], times_s[1], atol=STEP_S + 1e-6)


def step_levels_dbfs(samples: np.ndarray, n_steps: int) -> np.ndarray:
    steps = samples[240 : 240 + n_steps * 1_280].reshape(n_steps, 1_280)
    levels_dbfs: np.ndarray = 10 * np.log10(np.square(steps).mean(axis=1) + 1e-12)
    return levels_dbfs
