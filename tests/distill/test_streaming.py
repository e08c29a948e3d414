"""Models that hear the same scenes are compared on what they report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workshop import RATE_HZ, save_rain_detector

from distill.data import read_manifest
from distill.listeners import Listener, WindowListener
from distill.psds import Intervals
from distill.scorers import BundleScorer
from distill.soundscapes import Sound, SoundscapeConfig
from distill.streaming import (
    N_POINTS,
    Contender,
    StreamingModel,
    compare,
    evaluate_streaming,
    operating_points,
    shared_labels,
)
from edge_audio.errors import UsageError
from edge_audio.spec import EventSpec, Threshold

TONES_HZ = {"Low": 500.0, "High": 3000.0}
THRESHOLD = Threshold(on=0.5, off=0.35, precision=1.0, recall=1.0, n_positives=5)
SPEC = EventSpec(min_off_s=0.3, thresholds=dict.fromkeys(TONES_HZ, THRESHOLD))
CONFIG = SoundscapeConfig(
    n_scenes=4,
    scene_s=20.0,
    n_events=5,
    n_negatives=2,
    negative_s=20.0,
    n_negative_sounds=4,
    snr_db=(25.0, 35.0),
)


def tone(hz: float, duration_s: float) -> np.ndarray:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return np.sin(2 * np.pi * hz * time_s).astype(np.float32)


SOUNDS = [
    Sound(tone(hz, duration_s), (label,))
    for label, hz in TONES_HZ.items()
    for duration_s in (0.6, 1.3)
]


def hear_tones(windows: np.ndarray) -> np.ndarray:
    """1 for each tone that stands out of the spectrum around it."""
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(windows.shape[1]))))
    hz = np.fft.rfftfreq(windows.shape[1], 1.0 / RATE_HZ)
    is_heard = []
    for tone_hz in TONES_HZ.values():
        distance_hz = np.abs(hz - tone_hz)
        around = power[:, (distance_hz > 60.0) & (distance_hz < 400.0)].mean(1)
        is_heard.append(power[:, distance_hz < 15.0].max(1) > 20.0 * around + 1e-6)
    return np.stack(is_heard, 1).astype(np.float32)


def listener(name: str, classify: object, labels: tuple[str, ...] = tuple(TONES_HZ)) -> Listener:
    return WindowListener(name, labels, 0.1, 0.05, RATE_HZ, classify)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def models() -> dict[str, StreamingModel]:
    contenders = [
        Contender(listener("sharp", hear_tones), SPEC),
        Contender(listener("deaf", lambda windows: np.zeros((len(windows), 2), np.float32)), SPEC),
        Contender(listener("confused", lambda windows: hear_tones(windows)[:, ::-1].copy()), SPEC),
    ]
    negatives = [Sound(tone(TONES_HZ["High"], 0.5), ())]
    n_events, models = compare(contenders, SOUNDS, negatives, CONFIG, seed=3)
    assert n_events >= 15
    return {model.name: model for model in models}


def test_model_that_hears_everything_scores_full_marks(models: dict[str, StreamingModel]) -> None:
    sharp = models["sharp"]
    assert [score.micro.value for score in sharp.event_f1] == [1.0, 1.0]
    assert sharp.psds1.value > 0.99
    assert sharp.latency.found.value == 1.0
    assert 0.0 < sharp.latency.median_s <= 0.1


def test_model_that_hears_nothing_scores_nothing(models: dict[str, StreamingModel]) -> None:
    deaf = models["deaf"]
    assert [score.micro.value for score in deaf.event_f1] == [0.0, 0.0]
    assert (deaf.psds1.value, deaf.latency.found.value, deaf.false_alarms.total.n) == (0.0, 0.0, 0)


def test_model_that_confuses_labels_is_found_out(models: dict[str, StreamingModel]) -> None:
    confused = models["confused"]
    assert confused.event_f1[1].micro.value < 0.2
    assert confused.psds2.value < 0.1
    assert confused.false_alarms.labels["High"] == 0.0
    assert confused.false_alarms.labels["Low"] > 0.0


def test_alarms_in_negatives_are_counted_over_their_hours(
    models: dict[str, StreamingModel],
) -> None:
    alarms = models["sharp"].false_alarms
    assert alarms.hours == pytest.approx(40.0 / 3600.0)
    assert 1 <= alarms.total.n <= 8
    assert alarms.labels == {"Low": 0.0, "High": pytest.approx(alarms.total.n / alarms.hours)}


def test_contender_hears_the_compared_labels_only() -> None:
    everything = ("Other", *TONES_HZ)

    def classify(windows: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones((len(windows), 1), np.float32), hear_tones(windows)], 1)

    contender = Contender(listener("all", classify, everything), SPEC)
    _, (model,) = compare([contender], SOUNDS, [], CONFIG, seed=3)
    assert set(model.false_alarms.labels) == set(TONES_HZ)
    assert model.false_alarms.total.n == 0


def test_operating_points_report_ever_more_of_the_time() -> None:
    rng = np.random.default_rng(0)
    contender = Contender(
        listener("noise", lambda windows: rng.random((len(windows), 2)).astype(np.float32)), SPEC
    )
    streams = [contender.listener.stream(np.zeros(20 * RATE_HZ, np.float32)) for _ in range(3)]
    points = operating_points(streams, tuple(TONES_HZ), SPEC, 0.05, lag_s=0.25)
    assert set(points) == set(TONES_HZ)
    for sets in points.values():
        assert len(sets) == N_POINTS
        covered_s = [float(one.length_s.sum()) for one in sets]
        assert covered_s[0] < 5.0
        assert covered_s[-1] > 20.0
        assert {scene for one in sets for scene in one.scene.tolist()} == {0, 1, 2}


def test_operating_points_move_times_back_by_the_lag() -> None:
    contender = Contender(listener("sharp", hear_tones), SPEC)
    silence = np.zeros(RATE_HZ, np.float32)
    samples = np.concatenate([silence, 0.5 * tone(TONES_HZ["Low"], 1.0), silence])
    stream = contender.listener.stream(samples)

    def first(lag_s: float) -> Intervals:
        return operating_points([stream], tuple(TONES_HZ), SPEC, 0.05, lag_s)["Low"][-1]

    np.testing.assert_allclose(first(0.5).start_s, first(0.0).start_s - 0.5)
    assert first(0.0).start_s == pytest.approx([1.05], abs=0.051)


def test_labels_are_those_that_all_models_report_and_clips_have(in_workshop: Path) -> None:
    clips = read_manifest(in_workshop / "data")

    def spec(*labels: str) -> EventSpec:
        return EventSpec(thresholds=dict.fromkeys(labels, THRESHOLD))

    specs = [spec("Rain", "Dog", "Siren", "Clock"), spec("Siren", "Dog", "Rain")]
    assert shared_labels(specs, clips) == ("Rain", "Siren")
    with pytest.raises(UsageError, match="no label has a threshold in all models"):
        shared_labels([spec("Rain"), spec("Siren")], clips)


def test_bundle_is_evaluated_at_its_own_thresholds(in_workshop: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    folder = in_workshop / "data"
    clips = read_manifest(folder)
    scorer = BundleScorer(save_rain_detector(tmp_path))
    report = evaluate_streaming([scorer], folder, clips, clips[:12], (), seed=0, config=CONFIG)
    assert report.labels == ("Rain",)  # sirens are negatives, clocks tick too briefly for a bout
    assert (report.n_sounds, report.n_negative_clips, report.n_calibration_clips) == (4, 4, 0)
    assert report.models[0].latency.found.n == report.n_events > 0
    assert report == evaluate_streaming(
        [scorer], folder, clips, clips[:12], (), seed=0, config=CONFIG
    )
