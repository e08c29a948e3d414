"""The PSDS against cases computed by hand, and against what psds_eval computed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from distill.evaluation.psds import PSDS1, PSDS2, PsdsConfig, Segments, psds

Rows = list[tuple[int, float, float]]
HOUR = [3600.0]
PLAIN = PsdsConfig(detection_tolerance=0.5, truth_tolerance=0.5, instability_weight=0.0)


def score(
    config: PsdsConfig,
    truth: dict[str, Rows],
    points: dict[str, list[Rows]],
    durations_s: list[float],
) -> float:
    return psds(
        config,
        {label: Segments.of(rows) for label, rows in truth.items()},
        {label: [Segments.of(rows) for rows in sets] for label, sets in points.items()},
        durations_s,
        seed=0,
    ).value


def test_perfect_detections_score_one_and_none_score_nothing() -> None:
    truth = {"a": [(0, 1.0, 2.0), (1, 5.0, 9.0)], "b": [(0, 4.0, 5.0)]}
    for config in (PSDS1, PSDS2, PLAIN):
        perfect = {label: [rows] for label, rows in truth.items()}
        assert score(config, truth, perfect, [60.0, 60.0]) == pytest.approx(1.0)
        assert score(config, truth, {"a": [[]], "b": [[]]}, [60.0, 60.0]) == 0.0


def test_false_detections_move_the_curve_to_the_right() -> None:
    # 25 false alarms in the hour, then both events: 0 up to 25 per hour, 1 up to 100
    truth: dict[str, Rows] = {"a": [(0, 10.0, 12.0), (0, 20.0, 22.0)]}
    false: Rows = [(0, 100.0 + 10 * i, 101.0 + 10 * i) for i in range(25)]
    assert score(PLAIN, truth, {"a": [truth["a"] + false]}, HOUR) == pytest.approx(0.75)
    both = {"a": [truth["a"][:1], truth["a"] + false]}  # one event at no cost
    assert score(PLAIN, truth, both, HOUR) == pytest.approx(0.25 * 0.5 + 0.75 * 1.0)
    assert score(PLAIN, truth, {"a": [truth["a"] + false * 5]}, HOUR) == 0.0  # beyond 100


def test_deviation_between_labels_is_subtracted() -> None:
    truth: dict[str, Rows] = {"a": [(0, 1.0, 2.0)], "b": [(0, 4.0, 5.0)]}
    points: dict[str, list[Rows]] = {"a": [truth["a"]], "b": [[]]}
    assert score(PLAIN, truth, points, HOUR) == pytest.approx(0.5)
    unstable = msgspec.structs.replace(PLAIN, instability_weight=0.5)
    assert score(unstable, truth, points, HOUR) == pytest.approx(0.5 - 0.5 * 0.5)


@pytest.mark.parametrize(
    ("detections", "expected"),
    [
        ([(0, 11.0, 13.1)], 0.0),  # less than half of it in the event: false
        ([(0, 11.0, 12.0)], 1.0),
        ([(0, 10.0, 10.9)], 0.0),  # right, but covers too little
        ([(0, 10.0, 10.6), (0, 11.0, 11.6)], 1.0),  # together they cover enough
        ([(1, 10.0, 12.0)], 0.0),  # another scene
    ],
)
def test_tolerances_decide_what_is_found(detections: Rows, expected: float) -> None:
    config = msgspec.structs.replace(PLAIN, max_false_per_hour=0.1)
    assert (
        score(config, {"a": [(0, 10.0, 12.0)]}, {"a": [detections]}, [1800.0, 1800.0]) == expected
    )


def test_cross_triggers_cost_in_proportion_to_the_other_labels_duration() -> None:
    # one false detection of "a" within the only event of "b", which lasts 36 s: 1 false alarm
    # per hour, and 100 cross-triggers per hour of "b"
    truth: dict[str, Rows] = {"a": [(0, 10.0, 12.0)], "b": [(0, 100.0, 136.0)]}
    points: dict[str, list[Rows]] = {
        "a": [[(0, 10.0, 12.0), (0, 110.0, 115.0)]],
        "b": [truth["b"]],
    }
    assert score(PLAIN, truth, points, HOUR) == pytest.approx((0.99 + 1.0) / 2)
    crossing = msgspec.structs.replace(PLAIN, cross_weight=0.5)
    assert score(crossing, truth, points, HOUR) == pytest.approx((0.49 + 1.0) / 2)


def test_interval_resamples_scenes() -> None:
    truth = {"a": Segments.of([(scene, 1.0, 2.0) for scene in range(20)])}
    points = {"a": [Segments.of([(scene, 1.0, 2.0) for scene in range(10)])]}
    found = psds(PLAIN, truth, points, [60.0] * 20, seed=0)
    assert found.value == 0.5
    assert 0.2 < found.low < 0.4
    assert 0.6 < found.high < 0.8
    assert found == psds(PLAIN, truth, points, [60.0] * 20, seed=0)


def test_events_without_length_are_left_out() -> None:
    assert len(Segments.of([(0, 1.0, 1.0), (0, 2.0, 1.5), (0, 1.0, 2.0)]).scene) == 1


def draw(seed: int) -> tuple[dict[str, Rows], dict[str, list[Rows]], list[float]]:
    """Truth, five operating points, durations: detections of growing number, right, late, of
    another label and of nothing. No two events of one label overlap."""
    rng = np.random.default_rng(seed)
    labels = "ABCD"
    durations_s = [float(seconds) for seconds in rng.integers(200, 400, 6)]
    truth: dict[str, Rows] = {label: [] for label in labels}
    for scene in range(len(durations_s)):
        for label in labels:
            end_s = 0.0
            for _ in range(int(rng.integers(1, 5))):
                start_s = end_s + rng.uniform(2.0, 30.0)
                end_s = start_s + rng.uniform(0.5, 8.0)
                truth[label].append((scene, round(start_s, 3), round(end_s, 3)))
    points: dict[str, list[Rows]] = {}
    for label in labels:
        points[label] = [
            [
                event
                for scene, duration_s in enumerate(durations_s)
                for event in find_segments(rng, truth, label, scene, duration_s, point)
            ]
            for point in range(5)
        ]
    return truth, points, durations_s


def find_segments(
    rng: np.random.Generator,
    truth: dict[str, Rows],
    label: str,
    scene: int,
    duration_s: float,
    point: int,
) -> Rows:
    drawn = []
    for other, rows in truth.items():
        odds = 0.3 + 0.1 * point if other == label else 0.03 * point
        drawn += [row[1:] for row in rows if row[0] == scene and rng.random() < odds]
    drawn = [(a + rng.normal(0.0, 0.3), b + rng.normal(0.0, 0.4)) for a, b in drawn]
    for _ in range(int(rng.integers(0, 1 + point))):
        start_s = rng.uniform(0.0, duration_s - 5.0)
        drawn.append((start_s, start_s + rng.uniform(0.3, 4.0)))
    kept: Rows = []
    for start_s, end_s in sorted(drawn):
        if end_s > start_s > (kept[-1][2] if kept else 0.0):
            kept.append((scene, round(start_s, 3), round(end_s, 3)))
    return kept


# Each: dtc, which gtc equals; alpha_ct; alpha_st; e_max. The cttc is 0.3.
SETTINGS = [(0.7, 0.0, 1.0, 100.0), (0.1, 0.5, 1.0, 100.0), (0.5, 1.0, 0.0, 30.0)]
GOLDEN = {
    0: (0.4785346525996374, 0.393216356666523, 0.28236397618883274),
    1: (0.46367246113077754, 0.3741396588359736, 0.2970574104407729),
    2: (0.46372508735187123, 0.5020054069520252, 0.351963316498392),
}


@pytest.mark.parametrize("seed", sorted(GOLDEN))
def test_psds_is_that_of_psds_eval(seed: int) -> None:
    """GOLDEN is from psds_eval 0.5.3 under numpy 2.3.5 and pandas 2.3.3."""
    for (tolerance, cross, instability, end), expected in zip(SETTINGS, GOLDEN[seed], strict=True):
        config = PsdsConfig(
            detection_tolerance=tolerance,
            truth_tolerance=tolerance,
            cross_weight=cross,
            instability_weight=instability,
            max_false_per_hour=end,
        )
        assert score(config, *draw(seed)) == pytest.approx(expected, abs=1e-12)
