"""Figures of few-shot learning are counted as they are told."""

from __future__ import annotations

import numpy as np

from distill.evaluation.few_shot import FewShotResults, _limit, _n_alarms, table
from distill.evaluation.few_shot_methods import regress
from edge_audio.learning.fit import Told, Whitening, fit


def test_alarms_are_counted_apart_and_limits_keep_to_the_rate() -> None:
    track = np.zeros(200)
    track[[20, 22, 60, 150]] = [3.0, 2.5, 2.0, 1.0]
    assert _n_alarms(track, 0.9) == 3
    assert _n_alarms(track, 2.2) == 1
    limit = _limit([track], 1)
    assert _n_alarms(track, limit) == 1
    assert _limit([track], 0) > 3.0


def test_all_methods_tell_two_clouds_apart() -> None:
    rng = np.random.default_rng(0)
    others = rng.standard_normal((300, 5)).astype(np.float32)
    shift = np.array([4.0, 0.0, 0.0, 0.0, 0.0])
    takes = [(rng.standard_normal((6, 5)) + shift).astype(np.float32) for _ in range(3)]
    whitening = Whitening.of(others)
    told = Told.of(others, whitening)
    for row in (fit(takes, told, whitening), regress(takes, others, whitening)):
        assert np.median(row(np.concatenate(takes))) > np.quantile(row(others), 0.99)


def test_the_table_has_a_line_for_each_result() -> None:
    one = FewShotResults(
        method="prototype",
        n_takes=5,
        n_classes=50,
        found=(0.2, 0.31),
        latency_s=0.5,
        found_chosen=0.4,
        alarms_chosen=2.34,
    )
    assert table([one]).splitlines()[-1] == "| prototype | 5 | 20 | 31 | 0.50 s | 40 | 2.3 |"
