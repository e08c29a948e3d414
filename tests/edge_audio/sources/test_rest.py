"""While nothing sounds a microphone wakes its listener four times less; a sound ends that."""

from __future__ import annotations

import numpy as np
import pytest

from edge_audio.sources.rest import Rest
from edge_audio.support.arrays import FloatArray

BLOCK_S = 0.08
N_SAMPLES = 1280


class Recorder:
    """Puts blocks one after the other, as a microphone does, and notes which of them woke."""

    def __init__(self, latency_s: float) -> None:
        self.rest = Rest(latency_s)
        self._waiting_s = 0.0

    def hear(self, samples: FloatArray) -> bool:
        self._waiting_s += BLOCK_S
        wakes = self.rest.ends(samples, BLOCK_S, self._waiting_s)
        if wakes:
            self._waiting_s = 0.0
        return wakes


def noise(dbfs: float, seed: int = 0) -> FloatArray:
    amplitude = 10.0 ** (dbfs / 20.0)
    random = np.random.default_rng(seed)
    samples: FloatArray = (amplitude * random.standard_normal(N_SAMPLES)).astype(np.float32)
    return samples


@pytest.mark.parametrize("dbfs", [-120.0, -60.0, -20.0])
def test_steady_sound_that_is_no_event_wakes_once_for_the_latency(dbfs: float) -> None:
    recorder = Recorder(0.32)
    recorder.rest.is_allowed = True
    woke = [recorder.hear(noise(dbfs, seed)) for seed in range(100)]
    assert woke == [False, False, False, True] * 25


def test_nobody_waits_where_rest_is_not_allowed_or_has_no_time() -> None:
    recorder, without = Recorder(0.32), Recorder(0.0)
    without.rest.is_allowed = True
    for seed in range(8):
        assert recorder.hear(noise(-60.0, seed))
        assert without.hear(noise(-60.0, seed))


@pytest.mark.parametrize("rise_db", [8.0, 40.0])
def test_a_rise_wakes_at_once_and_for_a_second(rise_db: float) -> None:
    recorder = Recorder(0.32)
    recorder.rest.is_allowed = True
    for seed in range(41):
        recorder.hear(noise(-60.0, seed))
    assert recorder.hear(noise(-60.0 + rise_db))
    woke = [recorder.hear(noise(-60.0, seed)) for seed in range(40)]
    assert all(woke[:11])
    assert sum(woke[-24:]) == 6


def test_after_a_loud_sound_a_faint_one_wakes_again() -> None:
    recorder = Recorder(0.32)
    recorder.rest.is_allowed = True
    for _ in range(3):
        recorder.hear(noise(-60.0))
    recorder.hear(noise(0.0))
    for seed in range(41):
        recorder.hear(noise(-60.0, seed))
    assert recorder.hear(noise(-50.0))


def test_samples_that_are_no_numbers_change_nothing() -> None:
    recorder = Recorder(0.32)
    recorder.rest.is_allowed = True
    woke = [recorder.hear(np.full(N_SAMPLES, np.nan, np.float32)) for _ in range(8)]
    assert woke == [False, False, False, True] * 2
    recorder.hear(np.full(N_SAMPLES, np.inf, np.float32))
    for seed in range(61):
        recorder.hear(noise(-60.0, seed))
    assert recorder.hear(noise(-50.0))
