"""Models that hear the same scenes are compared on what they report."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from distill.calibration.scenes import Fold
from distill.calibration.thresholds import CalibrationConfig
from distill.data.clip_list import read_clip_list
from distill.data.companions import find_companions
from distill.data.labels import shared_labels
from distill.evaluation.psds import Segments
from distill.evaluation.streaming import (
    N_PSDS_POINTS,
    StreamingModel,
    StreamingResults,
    compare,
    evaluate_streaming,
    operating_points,
)
from distill.mixing.soundscapes import Sound, SoundscapeConfig
from distill.scoring.clips import BundleScorer
from distill.scoring.streams import StreamScorer, WindowStreamScorer
from edge_audio.errors import UsageError
from tests.distill.workshop import RATE_HZ, save_rain_detector

TONES_HZ = {"Low": 500.0, "High": 3000.0}
CONFIG = CalibrationConfig(
    smoothing_s=0.0,
    min_on_s=0.0,
    min_off_s=0.3,
    n_folds=3,
    seed=3,
    scenes=SoundscapeConfig(
        n_scenes=4,
        scene_s=20.0,
        n_events=5,
        n_negatives=2,
        negative_s=20.0,
        n_negative_sounds=4,
        snr_db=(25.0, 35.0),
    ),
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


def scorer(name: str, classify: object, labels: tuple[str, ...] = tuple(TONES_HZ)) -> StreamScorer:
    return WindowStreamScorer(name, labels, 0.1, 0.05, RATE_HZ, classify)  # type: ignore[arg-type]


N_CLIPS = dict.fromkeys(TONES_HZ, 6)
COMPANIONS = find_companions([], tuple(TONES_HZ))


def compared(*scorers: StreamScorer, config: CalibrationConfig = CONFIG) -> StreamingResults:
    return compare(config, scorers, N_CLIPS, [Fold(SOUNDS, SOUNDS)] * 3, COMPANIONS)


def confuse(windows: np.ndarray) -> np.ndarray:
    swapped: np.ndarray = hear_tones(windows)[:, ::-1].copy()
    return swapped


@pytest.fixture(scope="module")
def models() -> dict[str, StreamingModel]:
    report = compared(
        scorer("sharp", hear_tones),
        scorer("deaf", lambda windows: np.zeros((len(windows), 2), np.float32)),
        scorer("confused", confuse),
    )
    assert report.n_events >= 15
    return {model.name: model for model in report.models}


def test_model_that_hears_everything_scores_full_marks(models: dict[str, StreamingModel]) -> None:
    sharp = models["sharp"]
    assert sharp.n_on == 2.0
    assert [score.micro.value for score in sharp.event_f1] == [1.0, 1.0]
    assert sharp.psds1.value > 0.99
    assert sharp.latency.found.value == 1.0
    assert sharp.latency.median_s is not None
    assert 0.0 < sharp.latency.median_s <= 0.1
    assert (sharp.false_alarms.total.n, sharp.false_alarms.n_over) == (0, 0)
    assert all((one.n_on, one.found.value, one.alarms_each.n) == (2, 1, 0) for one in sharp.others)


def test_model_that_hears_nothing_scores_nothing(models: dict[str, StreamingModel]) -> None:
    deaf = models["deaf"]
    assert deaf.n_on == 0.0
    assert [score.micro.value for score in deaf.event_f1] == [0.0, 0.0]
    assert (deaf.psds1.value, deaf.latency.found.value, deaf.false_alarms.total.n) == (0.0, 0.0, 0)


def test_model_that_confuses_labels_is_switched_off(models: dict[str, StreamingModel]) -> None:
    confused = models["confused"]
    assert (confused.n_on, confused.latency.found.value) == (0.0, 0.0)
    assert confused.psds2.value < 0.1


def test_alarms_of_a_model_that_is_left_on_are_counted_over_its_hours() -> None:
    config = msgspec.structs.replace(CONFIG, max_alarms_per_hour=1e6, min_recall=0.0)
    (model,) = compared(scorer("confused", confuse), config=config).models
    alarms = model.false_alarms
    assert model.n_on == 2.0
    assert alarms.hours == pytest.approx(120.0 / 3600.0)
    assert alarms.total.value == pytest.approx(alarms.total.n / alarms.hours)
    assert 6 <= alarms.total.n <= 24, "one for each tone in the negatives"
    assert alarms.each.value > alarms.total.value / 2, (
        "while its own tone sounds it cannot be wrong"
    )
    assert alarms.labels["Low"] > 0.0
    assert alarms.labels["High"] > 0.0
    assert alarms.n_over == 0


def test_each_sensitivity_reports_more_than_the_one_before() -> None:
    rng = np.random.default_rng(5)

    def doubt(windows: np.ndarray) -> np.ndarray:
        """Tones from 0.4 to 1, and anything up to 0.9 where there is none, seldom."""
        noise = rng.random((len(windows), 2)).astype(np.float32)
        return np.where(hear_tones(windows) > 0, 0.4 + 0.6 * noise, 0.9 * noise**40)

    config = msgspec.structs.replace(CONFIG, max_alarms_per_hour=150.0, min_recall=0.0)
    (model,) = compared(scorer("doubtful", doubt), config=config).models
    quiet, eager = model.others
    assert (quiet.sensitivity, eager.sensitivity) == ("quiet", "eager")
    assert quiet.found.value < eager.found.value
    assert quiet.alarms_each.n < model.false_alarms.each.n < eager.alarms_each.n


def test_thresholds_come_from_the_other_folds() -> None:
    """A scorer that takes a hum, which only the last fold has, for the low tone."""

    def mislead(windows: np.ndarray) -> np.ndarray:
        heard = hear_tones(windows)
        heard[:, 0] *= 0.9
        power = np.square(np.abs(np.fft.rfft(windows * np.hanning(windows.shape[1]))))
        hz = np.fft.rfftfreq(windows.shape[1], 1.0 / RATE_HZ)
        hum = power[:, np.abs(hz - 6000.0) < 15.0].max(1) > 0.5 * power.sum(1)
        heard[:, 0] = np.maximum(heard[:, 0], 0.5 * hum)
        return heard.astype(np.float32)

    hum = Sound(tone(6000.0, 1.0), ("Hum",))
    folds = [Fold(SOUNDS, SOUNDS)] * 2 + [Fold([*SOUNDS, hum], SOUNDS)]
    report = compare(CONFIG, [scorer("misled", mislead)], N_CLIPS, folds, COMPANIONS)
    (model,) = report.models
    assert model.latency.found.value == 1.0
    assert model.false_alarms.labels["Low"] > 0.0, "the other folds have no hum to choose by"
    assert model.false_alarms.labels["High"] == 0.0


def test_operating_points_report_ever_more_of_the_time() -> None:
    rng = np.random.default_rng(0)
    noise = scorer("noise", lambda windows: rng.random((len(windows), 2)).astype(np.float32))
    streams = [noise.track(np.zeros(20 * RATE_HZ, np.float32)) for _ in range(3)]
    points = operating_points(streams, tuple(TONES_HZ), CONFIG, 0.05, lag_s=0.25)
    assert set(points) == set(TONES_HZ)
    for sets in points.values():
        assert len(sets) == N_PSDS_POINTS
        covered_s = [float(one.length_s.sum()) for one in sets]
        assert covered_s[0] < 5.0
        assert covered_s[-1] > 20.0
        assert {scene for one in sets for scene in one.scene.tolist()} == {0, 1, 2}


def test_operating_points_move_times_back_by_the_lag() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    samples = np.concatenate([silence, 0.5 * tone(TONES_HZ["Low"], 1.0), silence])
    stream = scorer("sharp", hear_tones).track(samples)

    def first(lag_s: float) -> Segments:
        return operating_points([stream], tuple(TONES_HZ), CONFIG, 0.05, lag_s)["Low"][-1]

    np.testing.assert_allclose(first(0.5).start_s, first(0.0).start_s - 0.5)
    assert first(0.0).start_s == pytest.approx([1.05], abs=0.051)


def test_labels_are_those_that_all_models_know() -> None:
    assert shared_labels([("A", "B", "C"), ("C", "A", "D")]) == ["A", "C"]
    with pytest.raises(UsageError, match="no label is known to all models"):
        shared_labels([("A",), ("B",)])


def test_bundle_is_evaluated_on_held_out_clips(in_workshop: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    folder = in_workshop / "data"
    clips = read_clip_list(folder)
    scorer = BundleScorer(save_rain_detector(tmp_path))
    config = msgspec.structs.replace(CONFIG, min_positives=4)
    report = evaluate_streaming([scorer], folder, clips, clips, config)
    assert report.labels == ("Rain", "Siren")  # clocks tick too briefly for a bout
    assert report.n_sounds == 40
    assert report.models[0].latency.found.n == report.n_events > 0
    assert report == evaluate_streaming([scorer], folder, clips, clips, config)
