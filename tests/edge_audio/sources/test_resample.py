"""The streaming resampler against soxr's one-shot, and against what it must preserve."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from edge_audio.errors import UsageError
from edge_audio.sources.resample import Downmix, StreamResampler, check_channel, downmix

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)


def noise(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return np.clip(0.2 * rng.standard_normal(n_samples), -1, 1).astype(np.float32)


def in_chunks(
    resampler: StreamResampler, samples: NDArray[np.float32], lengths: list[int]
) -> NDArray[np.float32]:
    """Pushes the samples in chunks of these lengths, over and over, and flushes."""
    pieces, start = [], 0
    while start < len(samples):
        for length in lengths:
            pieces.append(resampler.push(samples[start : start + length]))
            start += length
    return np.concatenate([*pieces, resampler.flush()])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("lengths", [[10**6], [0, 1, 7, 997], [1280], [1]])
def test_any_chunking_equals_the_one_shot_resampler(rate_hz: int, lengths: list[int]) -> None:
    samples = noise(20_011)
    streamed = in_chunks(StreamResampler(rate_hz, 16_000), samples, lengths)
    np.testing.assert_array_equal(streamed, soxr.resample(samples, rate_hz, 16_000))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("tone_hz", [50.0, 997.0, 3_500.0])
def test_level_pitch_and_time_are_preserved(rate_hz: int, tone_hz: float) -> None:
    t_s = np.arange(rate_hz) / rate_hz
    tone = (0.5 * np.sin(2 * np.pi * tone_hz * t_s)).astype(np.float32)
    heard = in_chunks(StreamResampler(rate_hz, 16_000), tone, [800])
    expected = 0.5 * np.sin(2 * np.pi * tone_hz * np.arange(16_000) / 16_000)
    middle = slice(2_000, 14_000)
    assert len(heard) == 16_000
    np.testing.assert_allclose(heard[middle], expected[middle], atol=2e-4)


def test_sound_beyond_the_new_rate_does_not_fold_back() -> None:
    t_s = np.arange(48_000) / 48_000
    beyond = np.sin(2 * np.pi * 9_000 * t_s).astype(np.float32)
    heard = in_chunks(StreamResampler(48_000, 16_000), beyond, [960])
    assert np.abs(heard[2_000:-2_000]).max() < 1e-5


def test_channels_are_averaged_before_resampling() -> None:
    left, right = noise(9_000, seed=1), noise(9_000, seed=2)
    stereo = in_chunks(StreamResampler(44_100, 16_000), np.stack([left, right], axis=1), [441])
    mono = in_chunks(StreamResampler(44_100, 16_000), (left + right) / np.float32(2), [441])
    np.testing.assert_allclose(stereo, mono, atol=1e-6)
    np.testing.assert_array_equal(downmix(left[:, None]), left)


GOOD = noise(32_000)
BAD = {
    "its opposite": -GOOD,
    "NaN": np.full(len(GOOD), np.nan, np.float32),
    "infinite": np.full(len(GOOD), np.inf, np.float32),
    "dead": np.zeros(len(GOOD), np.float32),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("n_bad", [1, 7])
def test_a_bad_channel_does_not_silence_a_good_one(bad: str, n_bad: int) -> None:
    if bad == "its opposite":
        channels = [GOOD, BAD[bad]] * ((n_bad + 1) // 2)
    else:
        channels = [GOOD] + [BAD[bad]] * n_bad
    frames = np.stack(channels, axis=1)
    heard = in_chunks(StreamResampler(16_000, 16_000), frames, [1_000])
    assert np.isfinite(heard).all()
    after = slice(8_000, None)  # two windows
    assert np.corrcoef(heard[after], GOOD[after])[0, 1] > 0.999
    assert heard[after].std() >= 0.45 * GOOD[after].std()
    for lengths in ([1], [37, 4_001], [32_000]):
        again = in_chunks(StreamResampler(16_000, 16_000), frames[:9_000], lengths)
        np.testing.assert_array_equal(again, heard[:9_000])


@pytest.mark.parametrize(
    ("channel", "heard"), [("left", 0), ("right", 1), ("3", 2), ("loudest", 2)]
)
def test_one_of_several_channels_is_heard(channel: str, heard: int) -> None:
    frames = np.stack([0.3 * GOOD, 0.6 * noise(32_000, 1), noise(32_000, 2)], axis=1)
    resampler = StreamResampler(16_000, 16_000, check_channel(channel))
    after = 8_000 if channel == "loudest" else 0
    found = in_chunks(resampler, frames, [999])
    np.testing.assert_allclose(found[after:], frames[after:, heard], atol=1e-6)


def test_channels_that_cannot_be_are_refused() -> None:
    for text in ("0", "-1", "middle", ""):
        with pytest.raises(ValueError, match="channel"):
            check_channel(text)
    with pytest.raises(UsageError, match="no channel 3, for it has 2"):
        StreamResampler(16_000, 16_000, "3").push(np.zeros((10, 2), np.float32))


def test_channels_that_differ_are_mixed_all_the_same() -> None:
    frames = np.stack([noise(32_000, seed) for seed in range(8)], axis=1)
    heard = in_chunks(StreamResampler(16_000, 16_000), frames, [999])
    np.testing.assert_array_equal(heard, downmix(frames))


@pytest.mark.parametrize("delay_ms", [0.1, 0.5, 2.5, 8.0])
@pytest.mark.parametrize("first", [0, 1])
def test_two_microphones_that_stand_apart_make_no_comb(delay_ms: float, first: int) -> None:
    rate_hz = 48_000
    n_late = round(delay_ms * rate_hz / 1000.0)
    sound = 0.3 * np.random.default_rng(0).normal(size=2 * rate_hz + n_late)
    own_noise = 0.01 * np.random.default_rng(1).normal(size=(2 * rate_hz, 2))
    pair = np.stack([sound[n_late:], sound[: 2 * rate_hz]], axis=1)[:, [first, 1 - first]]
    frames = (pair + own_noise).astype(np.float32)
    heard = Downmix(rate_hz).push(frames)[rate_hz // 2 :]
    apart = [np.abs(heard - one[rate_hz // 2 :]).max() for one in frames.T]
    assert min(apart) == pytest.approx(0.0, abs=1e-6)


def test_a_source_between_two_microphones_is_mixed() -> None:
    sound = 0.3 * np.random.default_rng(0).normal(size=64_000)
    own_noise = 0.1 * np.random.default_rng(1).normal(size=(64_000, 2))
    frames = (sound[:, None] * [1.0, 0.5] + own_noise).astype(np.float32)
    np.testing.assert_allclose(Downmix(16_000).push(frames), frames.mean(axis=1), atol=1e-6)


def test_flush_starts_a_new_stream() -> None:
    resampler = StreamResampler(48_000, 16_000)
    in_chunks(resampler, noise(5_000, seed=1), [999])
    again = in_chunks(resampler, noise(5_000, seed=2), [999])
    fresh = in_chunks(StreamResampler(48_000, 16_000), noise(5_000, seed=2), [999])
    np.testing.assert_array_equal(again, fresh)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_nan_and_infinity_stay_where_they_are(rate_hz: int) -> None:
    samples = noise(rate_hz)
    broken = samples.copy()
    broken[rate_hz // 2 : rate_hz // 2 + 3] = [np.nan, np.inf, -np.inf]
    heard = in_chunks(StreamResampler(rate_hz, 16_000), broken, [500])
    clean = in_chunks(StreamResampler(rate_hz, 16_000), samples, [500])
    assert np.isfinite(heard).all()
    np.testing.assert_allclose(heard[:7_000], clean[:7_000], atol=1e-5)
    np.testing.assert_allclose(heard[9_000:], clean[9_000:], atol=1e-5)


def test_equal_rates_pass_a_copy_through_at_once() -> None:
    resampler = StreamResampler(16_000, 16_000)
    samples = noise(100)
    heard = resampler.push(samples)
    np.testing.assert_array_equal(heard, samples)
    assert not np.shares_memory(heard, samples)
    assert len(resampler.flush()) == 0
