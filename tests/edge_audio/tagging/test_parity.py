"""One checkpoint, the same events on every runtime: shipped models on real sound.

Ten minutes of clips that no shipped model was trained on; see also tests/quantize/test_families.py
for every family and scheme, and tests/shipped/test_arm64.py for another processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_audio.backends import backends_for, open_backend
from edge_audio.bundle.store import load_bundle, shipped_bundles
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.tagging.compare import ScoreTrace, difference, trace
from edge_audio.tagging.tagger import Tagger
from tests.support.real_audio import soundscape

DURATION_S = 780.0
N_FRAMES = 10_000
MIN_EVENTS = 60
ON_LITERT = [
    name for name in shipped_bundles() if "model.tflite" in load_bundle(name).manifest.files
]
ALONE = [name for name in shipped_bundles() if name not in ON_LITERT]
SILENCE_S = 3_600


@pytest.fixture(scope="module")
def samples(data_dir: Path) -> np.ndarray:
    sounds: np.ndarray = soundscape(data_dir, DURATION_S) / np.float32(32_768.0)
    return sounds


def heard(name: str, backend: str, samples: np.ndarray) -> ScoreTrace:
    bundle = load_bundle(name)
    return trace(bundle, open_backend(bundle, backend), [samples])


@pytest.mark.parametrize("name", ON_LITERT)
def test_all_runtimes_report_equal_events_and_scores_within_the_tolerance(
    name: str, samples: np.ndarray
) -> None:
    bundle = load_bundle(name)
    first, *others = [backend for backend in backends_for(bundle) if backend != "native"]
    assert others, "one runtime alone agrees with itself"
    expected = heard(name, first, samples)
    assert len(expected.times_s) * bundle.manifest.model.frames_per_step > N_FRAMES
    assert len(expected.events) >= MIN_EVENTS
    for backend in others:
        found = difference(expected, heard(name, backend, samples))
        assert found.same_events, (found.only_first, found.only_second)
        assert found.max_error <= bundle.manifest.tolerance.scores


LARGEST = {"tiny-int8": 2.1e-3, "micro-int8": 2.8e-3}
"""At single ones of 9,749 steps, of heads whose gains were fitted; docs/engine.md says so."""


@pytest.mark.parametrize("name", [name for name in ON_LITERT if name.endswith("-int8")])
def test_the_engine_reports_the_same_events_but_for_a_step(name: str, samples: np.ndarray) -> None:
    """It rounds to 16 bits within: an event whose score touches its threshold may move by a step,
    or be none. (Gates that are exponential make more of single steps, see quantize/build.py.)"""
    if "native" not in backends_for(load_bundle(name)):
        pytest.skip("needs a C compiler: apt-get install gcc")
    expected, found = heard(name, "litert", samples), heard(name, "native", samples)
    by_step = np.abs(found.scores - expected.scores).max(1)
    assert np.quantile(by_step, 0.99 if "xlstm" in name else 0.999) <= 2e-3
    assert "xlstm" in name or by_step.max() <= LARGEST.get(name, 2e-3)
    step_s = load_bundle(name).manifest.model.step_s
    ours, theirs = by_label(found.events), by_label(expected.events)
    matched = [nearest(one, theirs, 1.5 * step_s) for one in ours]
    n_missing = matched.count(None) + len(theirs) - (len(ours) - matched.count(None))
    n_moved = sum(bool(apart_s) for apart_s in matched)
    assert n_missing + n_moved <= len(theirs) // 50


def nearest(
    one: tuple[str, str, float], others: Sequence[tuple[str, str, float]], within_s: float
) -> float | None:
    """How far the nearest event of its label and kind is, if it is that near."""
    apart_s = [abs(one[2] - time_s) for label, kind, time_s in others if (label, kind) == one[:2]]
    return min((x for x in apart_s if x < within_s), default=None)


def by_label(events: Sequence[Event]) -> list[tuple[str, str, float]]:
    """(label, kind, time), sorted by label, then time."""
    return sorted(((e.label, e.kind, e.time_s) for e in events), key=lambda x: (x[0], x[2]))


@pytest.mark.parametrize("name", ALONE)
def test_a_bundle_for_one_runtime_reports_the_events_of_its_twin(
    name: str, samples: np.ndarray
) -> None:
    twin, _, backend = name.rpartition("-")
    found = difference(heard(twin, "litert", samples), heard(name, backend, samples))
    assert found.same_events, (found.only_first, found.only_second)
    assert found.max_error <= load_bundle(name).manifest.tolerance.scores
    assert found.n_equal >= MIN_EVENTS


@pytest.mark.parametrize("name", [name for name in ON_LITERT if name.endswith("-int8")])
def test_after_an_hour_of_silence_a_sound_is_still_an_event(name: str, data_dir: Path) -> None:
    tagger = Tagger.open(name)
    silence = np.zeros(60 * tagger.sample_rate_hz, np.int16)
    for _ in range(SILENCE_S // 60):
        assert not [e for e in tagger.push(silence) if e.time_s > 60.0], "silence is no sound"
    rooster = soundscape_of(data_dir, "audio/esc10/5-200334-A.ogg")
    labels = {event.label for event in tagger.push(rooster) if event.kind == "start"}
    assert labels & {"Crowing, cock-a-doodle-doo", "Chicken, rooster"}


def soundscape_of(data_dir: Path, path: str) -> np.ndarray:
    import soundfile

    pcm: np.ndarray = soundfile.read(data_dir / path, dtype="int16")[0]
    return pcm


def made(
    name: str, scores: list[list[float]], events: list[Event], labels: str = "ab"
) -> ScoreTrace:
    times_s = np.float64(0.08) * np.arange(1, len(scores) + 1, dtype=np.float64)
    return ScoreTrace(name, tuple(labels), times_s, np.array(scores, np.float32), tuple(events))


START, LATER = Event("start", "a", 0.08, 0.5), Event("start", "a", 0.16, 0.5)


def test_difference_counts_an_event_at_another_time_on_both_sides() -> None:
    first = made("x", [[0.1, 0.2], [0.3, 0.4]], [START])
    second = made("y", [[0.1, 0.2], [0.3, 0.9]], [LATER])
    found = difference(first, second)
    assert (found.only_first, found.only_second, found.n_equal) == ((START,), (LATER,), 0)
    assert not found.same_events
    assert found.max_error == pytest.approx(0.5)
    assert found.mean_error == pytest.approx(0.125)


def test_difference_takes_events_for_equal_whose_scores_alone_differ() -> None:
    first = made("x", [[0.1, 0.2]], [START])
    second = made("y", [[0.1, 0.2]], [Event("start", "a", 0.08, 0.6)])
    assert difference(first, second).same_events


def test_difference_is_over_the_labels_that_both_have_wherever_they_stand() -> None:
    first = made("x", [[0.1, 0.2]], [START], labels="ab")
    second = made("y", [[0.2, 0.7]], [], labels="bc")
    found = difference(first, second)
    assert found.max_error == pytest.approx(0.0)
    assert found.same_events, "label a is not one of both"


def test_models_that_cannot_be_compared_are_refused() -> None:
    one = made("x", [[0.1, 0.2]], [])
    with pytest.raises(UsageError, match="no label in common"):
        difference(one, made("y", [[0.1, 0.2]], [], labels="cd"))
    with pytest.raises(UsageError, match="equal steps"):
        difference(one, made("y", [[0.1, 0.2]] * 2, []))
