"""The demo scene: what is named is what is played, endlessly and reproducibly."""

from __future__ import annotations

from itertools import islice, takewhile

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_audio.sources.demo import SCENE, DemoScene, Segment

RATE_HZ = 16_000


def first_seconds(scene: DemoScene, seconds: float) -> NDArray[np.float32]:
    blocks = takewhile(lambda block: block.time_s < seconds, scene.blocks())
    return np.concatenate([block.samples for block in blocks])


def segment(name: str) -> NDArray[np.float32]:
    found: Segment = next(each for each in SCENE if each.name == name)
    rng = np.random.default_rng(0)
    return found.synthesise(rng, round(found.duration_s * RATE_HZ), RATE_HZ)


def peak_hz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE_HZ / len(samples))


def level_db(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(samples**2)))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_every_segment_is_finite_audible_and_unclipped(rate_hz: int) -> None:
    for each in SCENE:
        n_samples = round(each.duration_s * rate_hz)
        samples = each.synthesise(np.random.default_rng(0), n_samples, rate_hz)
        assert samples.shape == (n_samples,), each.name
        assert samples.dtype == np.float32, each.name
        assert np.abs(samples).max() < 1.0, each.name
        assert level_db(samples) > -65.0, each.name


@pytest.mark.parametrize("duration_s", [0.5, 3.0, 20.01, 61.0])  # within and beyond a round
def test_first_is_what_the_blocks_begin_with(duration_s: float) -> None:
    samples = DemoScene(seed=3).first(duration_s)
    assert samples.shape == (round(duration_s * RATE_HZ),)
    from_blocks = first_seconds(DemoScene(seed=3), duration_s)
    np.testing.assert_array_equal(samples, from_blocks[: len(samples)])


def test_blocks_follow_each_other_over_the_end_of_a_round() -> None:
    scene = DemoScene(block_ms=130.0)
    n_block = round(0.13 * RATE_HZ)
    for k, block in enumerate(islice(scene.blocks(), int(1.2 * scene.round_s / 0.13))):
        assert len(block.samples) == n_block
        assert block.time_s == pytest.approx(k * n_block / RATE_HZ)


def test_samples_depend_on_the_seed_and_not_on_the_block_length() -> None:
    short = first_seconds(DemoScene(seed=1, block_ms=7.3), 20.0)[: 19 * RATE_HZ]
    long = first_seconds(DemoScene(seed=1, block_ms=1000.0), 20.0)[: 19 * RATE_HZ]
    other = first_seconds(DemoScene(seed=2), 20.0)[: 19 * RATE_HZ]
    np.testing.assert_array_equal(short, long)
    assert not np.array_equal(short, other)


def test_rounds_repeat_the_order_with_fresh_noise() -> None:
    scene = DemoScene(block_ms=1000.0)
    heard = first_seconds(scene, 2 * scene.round_s)
    first, second = np.split(heard, 2)
    assert level_db(first) == pytest.approx(level_db(second), abs=1.0)
    assert not np.array_equal(first[:RATE_HZ], second[:RATE_HZ])


def test_segment_at_names_what_is_played() -> None:
    scene = DemoScene(block_ms=1000.0)
    heard = first_seconds(scene, scene.round_s)
    for second in range(round(scene.round_s)):
        is_quiet = level_db(heard[second * RATE_HZ : (second + 1) * RATE_HZ]) < -55.0
        if scene.segment_at(second) == "quiet room":
            assert is_quiet
        assert scene.segment_at(second) == scene.segment_at(second + 3 * scene.round_s)
    assert {scene.segment_at(t_s) for t_s in np.arange(0.0, scene.round_s, 0.5)} == {
        each.name for each in SCENE
    }


def test_smoke_alarm_sounds_the_temporal_three_pattern_of_iso_8201() -> None:
    alarm = segment("smoke alarm")
    halves = alarm.reshape(-1, RATE_HZ // 2)  # half a second each, eight to a cycle
    sounding = [level_db(half[RATE_HZ // 4 :]) > -30.0 for half in halves]  # past the echo
    assert sounding == [True, False, True, False, True, False, False, False] * 2
    assert peak_hz(halves[0]) == pytest.approx(3100.0, abs=5.0)


def test_siren_sweeps_up_and_down() -> None:
    tenths = segment("siren").reshape(-1, RATE_HZ // 10)
    pitch_hz = np.array([peak_hz(tenth) for tenth in tenths[:40]])
    assert pitch_hz.min() == pytest.approx(600.0, abs=30.0)
    assert pitch_hz.max() == pytest.approx(1350.0, abs=30.0)
    assert (np.diff(pitch_hz[:20]) >= 0).all()
    assert (np.diff(pitch_hz[20:]) <= 0).all()


def test_barks_have_the_pitch_and_the_length_of_a_dogs() -> None:
    barks = segment("dog")
    loud = np.abs(barks) > 0.2
    assert 600.0 < peak_hz(barks[: 2 * RATE_HZ]) < 900.0
    steps = np.asarray(loud.reshape(-1, RATE_HZ // 20).any(1))  # of 50 ms
    starts = np.flatnonzero(steps[1:] & ~steps[:-1])
    assert 6 <= len(starts) <= 12


def test_birds_whistle_far_above_voices() -> None:
    song = segment("birds")
    power = np.abs(np.fft.rfft(song)) ** 2
    hz = np.fft.rfftfreq(len(song), 1 / RATE_HZ)
    assert power[(hz > 2_000) & (hz < 6_000)].sum() > 0.9 * power.sum()


def test_a_brook_is_steady_and_bright_where_surf_swells_and_rumbles() -> None:
    def centroid_hz(samples: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float(np.sum(power * np.fft.rfftfreq(len(samples), 1 / RATE_HZ)) / power.sum())

    def swing_db(samples: NDArray[np.float32]) -> float:
        levels = [level_db(half) for half in samples.reshape(-1, RATE_HZ // 2)]
        return max(levels) - min(levels)

    brook, surf = segment("brook"), segment("surf")
    assert centroid_hz(brook) > 2 * centroid_hz(surf)
    assert swing_db(brook) < 3.0
    assert swing_db(surf) > 6.0


@pytest.mark.parametrize(("name", "per_second"), [("clock", 2.0), ("telephone", 40.0)])
def test_struck_sounds_repeat_at_their_rate(name: str, per_second: float) -> None:
    envelope = np.abs(segment(name)[: 2 * RATE_HZ])
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    around = slice(int(2 * per_second) - 1, int(2 * per_second) + 2)
    assert np.argmax(spectrum[around]) == 1  # a line at this rate, and none beside it
    assert spectrum[int(2 * per_second)] > 3 * np.median(spectrum[1:200])
