"""False alarms that witnesses confirm are none; the level is one that chance seldom reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from distill.calibration.adjudication import (
    HEARD_S,
    LEVELS,
    MAX_BY_CHANCE,
    count_confirmed,
    hear_moments,
    judge,
    judged_starts,
    moment_of,
    without,
    write_moments,
)
from distill.calibration.sweeps import Start, Sweep
from distill.mixing.soundscapes import SAMPLE_RATE_HZ, Scene

LABELS = ("Dog", "Siren")
POINTS = np.array([0.2, 0.5])
N_SCENES = 400


class Constant:
    """Hears what the loudness of the last half second says: 0.3 is Bark, 0.6 Siren."""

    def __init__(self, labels: tuple[str, ...], trust: float) -> None:
        self.labels, self._trust = labels, trust

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        level = float(np.abs(samples[-SAMPLE_RATE_HZ // 2 :]).max(initial=0.0))
        heard = {0.3: "Bark", 0.6: "Siren"}.get(round(level, 1))
        return np.array([self._trust * (x == heard) for x in self.labels], np.float32)


WITNESSES = (Constant(("Bark", "Dog", "Siren"), 0.9), Constant(("Siren", "Bark"), 0.35))


def scene(level: float) -> Scene:
    samples = np.zeros(6 * SAMPLE_RATE_HZ, np.float32)
    samples[4 * SAMPLE_RATE_HZ :] = level
    return Scene(samples, ())


def sweep_of(starts: list[Start], hours: float = 100.0) -> Sweep:
    alarms = np.zeros((2, 2), np.int64)
    for start in starts:
        alarms[start.row, start.column] += 1
    found = np.zeros_like(alarms)
    return Sweep(POINTS, found, np.array([5, 5]), alarms, np.array([hours, hours]), starts)


# A bark in the first scene; Dog is reported in all of them, and Siren in the first
SCENES = [scene(0.3), *[scene(0.0)] * (N_SCENES - 1)]
STARTS = [Start(index, 0, 1, 5.2) for index in range(N_SCENES)] + [Start(0, 1, 1, 5.3)]


def test_both_witnesses_confirm_a_label_or_what_is_a_kind_of_it() -> None:
    heard = hear_moments(WITNESSES, LABELS, SCENES[:2], [(0, 10), (1, 10)])
    np.testing.assert_allclose(heard[0, 10], [0.35, 0.0])  # the less convinced one decides
    np.testing.assert_array_equal(heard[1, 10], [0.0, 0.0])


def test_what_is_confirmed_is_no_false_alarm() -> None:
    one = sweep_of(STARTS)
    heard = hear_moments(WITNESSES, LABELS, SCENES, map(moment_of, STARTS))
    verdicts = judge([one], [heard])
    assert verdicts.level == LEVELS[0]
    assert 0.0 < verdicts.by_chance <= MAX_BY_CHANCE
    assert [i for i, is_right in enumerate(verdicts.confirmed[0]) if is_right] == [0]
    left = without(one, verdicts.confirmed[0])
    np.testing.assert_array_equal(left.alarms, one.alarms - [[0, 1], [0, 0]])
    assert len(left.starts) == len(one.starts) - 1
    on = {"Dog": 0.5, "Siren": 0.5}
    assert count_confirmed(LABELS, [one], verdicts, on) == {"Dog": (N_SCENES, 1), "Siren": (1, 0)}
    assert count_confirmed(LABELS, [one], verdicts, {"Dog": 0.2}) == {}


def test_where_witnesses_agree_by_chance_the_level_rises() -> None:
    """Barks in every scene: whatever Dog is reported for, they confirm it."""
    scenes = [scene(0.3)] * N_SCENES
    one = sweep_of(STARTS)
    verdicts = judge([one], [hear_moments(WITNESSES, LABELS, scenes, map(moment_of, STARTS))])
    assert verdicts.level > 0.35
    assert not any(verdicts.confirmed[0])


def test_thresholds_with_too_many_alarms_are_not_judged_nor_moments_that_nobody_heard() -> None:
    many = [Start(0, 0, 0, 5.2)] * 3000 + [Start(0, 0, 1, 5.2)]
    assert judged_starts(sweep_of(many)) == [3000]
    verdicts = judge([sweep_of(many)], [{}])
    assert not any(verdicts.confirmed[0])


def test_moments_are_written_to_listen_to(tmp_path: Path) -> None:
    assert write_moments(tmp_path, LABELS, SCENES, [STARTS[0], STARTS[-1]]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"Dog-0-5s.wav", "Siren-0-5s.wav"}
    samples, rate_hz = sf.read(tmp_path / "Dog-0-5s.wav")
    assert rate_hz == SAMPLE_RATE_HZ
    assert len(samples) == round(2 * HEARD_S * SAMPLE_RATE_HZ)
    assert np.abs(samples[-1000:]).max() > 0.25
