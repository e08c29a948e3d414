"""Whoever listens hears no more than has sounded, and reports events as the Tagger does."""

from __future__ import annotations

import numpy as np
import pytest

from distill.scoring.clips import BundleScorer
from distill.scoring.streams import (
    ScoreTrack,
    StepStreamScorer,
    WindowStreamScorer,
    find_segments,
    open_stream_scorer,
)
from edge_audio.backends import open_backend
from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import UsageError
from edge_audio.events.choice import select_events
from edge_audio.tagging.tagger import Tagger
from quantize.build import demo_samples
from tests.distill.workshop import sound

RATE_HZ = 16_000


def last_and_mean(windows: np.ndarray) -> np.ndarray:
    return np.stack([windows[:, -1], windows.mean(1)], axis=1)


def window_scorer(window_s: float, hop_s: float, rate_hz: int = RATE_HZ) -> WindowStreamScorer:
    return WindowStreamScorer("windows", ("last", "mean"), window_s, hop_s, rate_hz, last_and_mean)


@pytest.mark.parametrize(("window_s", "hop_s"), [(0.975, 0.4875), (0.5, 0.5), (2.0, 0.1)])
@pytest.mark.parametrize("n_samples", [1, 8_000, 8_001, 40_000])
def test_each_score_is_of_the_window_before_it(
    window_s: float, hop_s: float, n_samples: int
) -> None:
    samples = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    times_s, scores = window_scorer(window_s, hop_s).track(samples)
    hop, window = round(hop_s * RATE_HZ), round(window_s * RATE_HZ)
    assert len(times_s) == len(scores) == -(-n_samples // hop)
    heard = np.concatenate([np.zeros(window, np.float32), samples, np.zeros(hop, np.float32)])
    for row, time_s in zip(scores, times_s, strict=True):
        end = round(time_s * RATE_HZ)
        np.testing.assert_allclose(
            row, last_and_mean(heard[None, end : end + window])[0], atol=1e-6
        )


def test_window_is_cut_at_the_rate_of_its_model() -> None:
    lengths = []

    def classify(windows: np.ndarray) -> np.ndarray:
        lengths.append(windows.shape[1])
        return last_and_mean(windows)

    scorer = WindowStreamScorer("windows", ("last", "mean"), 0.5, 0.25, 32_000, classify)
    times_s, _ = scorer.track(np.ones(RATE_HZ, np.float32))
    assert set(lengths) == {16_000}
    assert times_s.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert (scorer.step_s, scorer.lag_s) == (0.25, 0.25)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    return load_bundle("tiny-int8")


def test_bundle_listens_as_the_tagger_does(bundle: Bundle) -> None:
    """Scores, times and events, with the time of their report."""
    samples = demo_samples(bundle.manifest.model.frontend, 0.0, 13.0)[: 240 + 150 * 1280]
    scorer = open_stream_scorer(BundleScorer(bundle))
    stream = scorer.track(samples)
    events = select_events(bundle.manifest.events, bundle.manifest.labels, threshold=0.05)
    found = find_segments(stream, scorer.labels, events, scorer.step_s)
    tagger = Tagger(bundle, open_backend(bundle), events=events)
    starts, ends, seen = [], [], []
    for index, (time_s, scores, new) in enumerate(tagger.steps(samples)):
        assert stream.times_s[index] == pytest.approx(time_s)
        np.testing.assert_array_equal(stream.scores[index], scores)
        starts += [(one.label, one.time_s) for one in new if one.kind == "start"]
        ends += [(one.label, one.time_s) for one in new if one.kind == "end"]
        seen += [(one.label, time_s) for one in new if one.kind == "start"]
    ends += [(one.label, one.time_s) for one in tagger.flush()]
    assert starts
    for field, expected in (("start_s", starts), ("end_s", ends), ("seen_s", seen)):
        mine = sorted((one.label, getattr(one, field)) for one in found)
        assert [label for label, _ in mine] == [label for label, _ in sorted(expected)]
        assert [time for _, time in mine] == pytest.approx([time for _, time in sorted(expected)])


def test_scorer_starts_every_stream_afresh(bundle: Bundle) -> None:
    scorer = open_stream_scorer(BundleScorer(bundle))
    samples = sound("siren", 16_000, np.random.default_rng(0))
    first = scorer.track(samples)
    scorer.track(sound("rain", 16_000, np.random.default_rng(1)))
    np.testing.assert_array_equal(first.scores, scorer.track(samples).scores)
    assert isinstance(scorer, StepStreamScorer)
    assert scorer.lag_s == bundle.manifest.model.latency_ms / 1e3


def test_what_cannot_listen_is_refused() -> None:
    class Other:
        name, labels = "other", ("Dog",)

    with pytest.raises(UsageError, match="other scores whole clips only"):
        open_stream_scorer(Other())  # type: ignore[arg-type]


def test_detection_knows_when_it_was_reported() -> None:
    threshold = Threshold(on=0.5, off=0.35)
    spec = EventSpec(min_on_s=0.2, min_off_s=0.1, thresholds={"Dog": threshold})
    scores = np.array([0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1], np.float32)[:, None]
    times_s = 0.1 * np.arange(1, len(scores) + 1, dtype=np.float64)
    first, second = find_segments(ScoreTrack(times_s, scores), ("Dog",), spec, step_s=0.1)
    assert (first.start_s, first.end_s, first.seen_s) == pytest.approx((0.3, 0.7, 0.5))
    assert (second.start_s, second.end_s, second.seen_s) == pytest.approx((1.0, 1.2, 1.2))
