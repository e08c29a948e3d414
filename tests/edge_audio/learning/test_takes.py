"""Takes are found by their level above the recording's own background."""

from __future__ import annotations

import numpy as np

from edge_audio.learning.takes import MAX_TAKE_S, find_takes
from edge_audio.support.arrays import FloatArray
from tests.support.taught import RATE_HZ, beeps


def test_repeats_within_a_file_are_takes_and_beeps_of_one_tune_are_not() -> None:
    found = find_takes(beeps(n_times=4), RATE_HZ)
    starts_s = [span.start / RATE_HZ for span in found.spans]
    np.testing.assert_allclose(starts_s, [0.7, 2.7, 4.7, 6.7], atol=0.03)
    lengths_s = [(span.stop - span.start) / RATE_HZ for span in found.spans]
    np.testing.assert_allclose(lengths_s, 0.62, atol=0.05)
    assert found[1:] == (False, False, 0.0, False, found.spans)


def test_takes_are_found_over_a_louder_background() -> None:
    samples = beeps(n_times=3)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(samples))
    found = find_takes((samples + noise).astype(np.float32), RATE_HZ)
    assert len(found.spans) == 3


def test_silence_has_no_take() -> None:
    for samples in (np.zeros(RATE_HZ, np.float32), np.zeros(0, np.float32)):
        assert find_takes(samples, RATE_HZ) == ((), False, True, 0.0, False, ())


def rain(duration_s: float) -> FloatArray:
    noise = np.random.default_rng(0).standard_normal(round(duration_s * RATE_HZ))
    return (0.1 * noise).astype(np.float32)


def test_a_steady_sound_is_one_take_and_says_so() -> None:
    found = find_takes(rain(1.5), RATE_HZ)
    assert found.is_steady
    assert len(found.spans) == 1


def test_a_take_of_ten_minutes_is_cut() -> None:
    samples = rain(600.0)
    found = find_takes(samples, RATE_HZ)
    assert found.was_cut
    (span,) = found.spans
    assert span.stop - span.start == MAX_TAKE_S * RATE_HZ
    assert found.whole == ((0, len(samples)),)


def test_clipping_is_counted_within_takes() -> None:
    samples = np.clip(8.0 * beeps(), -1.0, 1.0)
    assert find_takes(samples, RATE_HZ).clipped_share > 0.3
    assert find_takes(beeps(), RATE_HZ).clipped_share == 0.0
