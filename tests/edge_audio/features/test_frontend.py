"""The streaming log-mel equals its offline reference, and that equals its formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio.bundle.spec import FrontendSpec
from edge_audio.features.frontend import (
    BLOCK_FRAMES,
    Frontend,
    hann_window,
    log_mel,
    mel_weights,
    n_frames,
)
from edge_audio.support.arrays import in_range

SPEC = FrontendSpec()
OTHER = FrontendSpec(
    sample_rate_hz=8_000, window_samples=201, hop_samples=67, fft_size=256, n_mels=20, max_hz=3_900
)


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.7, 0.7, n_samples).astype(np.float32)


def log_mel_ref(spec: FrontendSpec, samples: np.ndarray) -> np.ndarray:
    """The formula, frame by frame in float64 with a plain discrete Fourier transform."""
    k, n = np.arange(spec.fft_size // 2 + 1)[:, None], np.arange(spec.window_samples)
    basis = np.exp(-2j * np.pi * k * n / spec.fft_size)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / spec.window_samples)
    frames = []
    for start in range(0, len(samples) - spec.window_samples + 1, spec.hop_samples):
        frame = samples[start : start + spec.window_samples].astype(np.float64)
        power = np.abs(basis @ (frame * window)) ** 2
        mels = power @ mel_weights(spec).astype(np.float64)
        frames.append((np.log(mels + spec.log_floor) - spec.log_mean) / spec.log_scale)
    return np.array(frames)


def push_in_chunks(frontend: Frontend, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Chunk sizes are used in turn until the samples are gone."""
    frames, start, i = [], 0, 0
    while start < len(samples):
        size = sizes[i % len(sizes)]
        frames.append(frontend.push(samples[start : start + size]))
        start, i = start + size, i + 1
    return np.concatenate(frames)


@pytest.mark.parametrize("spec", [SPEC, OTHER])
@pytest.mark.parametrize("gain", [1.0, 1e-3, 0.0])
def test_log_mel_equals_its_formula(spec: FrontendSpec, gain: float) -> None:
    samples = noise(spec.window_samples + 90 * spec.hop_samples) * np.float32(gain)
    found = log_mel(spec, samples)
    assert found.dtype == np.float32
    assert len(found) == 91 > BLOCK_FRAMES
    np.testing.assert_allclose(found, log_mel_ref(spec, samples), atol=2e-5)


@pytest.mark.parametrize("spec", [SPEC, OTHER])
@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 7, 159, 160, 161, 401, 1280, 4999]), max_size=8))
def test_frontend_push_matches_offline_for_any_chunking(
    spec: FrontendSpec, sizes: list[int]
) -> None:
    samples = noise(9_001)
    found = push_in_chunks(Frontend(spec), samples, [*sizes, 997])
    np.testing.assert_allclose(found, log_mel(spec, samples), atol=1e-5)


def test_pushes_of_eight_frames_give_the_bits_of_one_push() -> None:
    samples = noise(240 + 1280 * 40)
    whole = Frontend(SPEC).push(samples)
    frontend = Frontend(SPEC)
    first, rest = samples[: 240 + 1280], samples[240 + 1280 :]
    parts = [frontend.push(first), *(frontend.push(part) for part in np.split(rest, 39))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n_samples", [0, 1, 399, 400, 401, 559, 560, 16_000])
def test_number_of_frames_is_that_of_whole_windows(n_samples: int) -> None:
    assert len(log_mel(SPEC, noise(n_samples))) == n_frames(SPEC, n_samples)
    assert n_frames(SPEC, n_samples) == len(range(0, n_samples - 399, 160))


@pytest.mark.parametrize("n_samples", [0, 100, 400, 1_000, 1_040, 1_041, 1_200])
def test_flush_covers_every_sample_and_starts_anew(n_samples: int) -> None:
    frontend, samples = Frontend(SPEC), noise(n_samples)
    n_pushed, n_flushed = len(frontend.push(samples)), len(frontend.flush())
    n_needed = 0 if n_samples == 0 else max(1, -(-(n_samples - 400) // 160) + 1)
    assert n_pushed + n_flushed == n_needed
    np.testing.assert_array_equal(frontend.push(noise(2_000)), log_mel(SPEC, noise(2_000)))


def test_reset_equals_fresh() -> None:
    frontend = Frontend(SPEC)
    frontend.push(noise(777))
    frontend.reset()
    np.testing.assert_array_equal(frontend.push(noise(5_000, 1)), log_mel(SPEC, noise(5_000, 1)))


def test_frames_do_not_change_when_later_samples_do() -> None:
    samples = noise(4_000)
    changed = samples.copy()
    changed[2_000:] = 0.9
    n_before = n_frames(SPEC, 2_000)
    before, after = log_mel(SPEC, samples), log_mel(SPEC, changed)
    np.testing.assert_allclose(after[:n_before], before[:n_before], atol=1e-5)
    assert np.abs(after[n_before:] - before[n_before:]).max() > 0.1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1e30])
def test_wild_samples_give_finite_frames_and_are_forgotten(value: float) -> None:
    frontend = Frontend(SPEC)
    wild = noise(1_600)
    wild[::7] = value
    assert np.isfinite(frontend.push(wild)).all()
    frontend.push(noise(400, 1))
    after = frontend.push(noise(8_000, 2))
    clean = Frontend(SPEC)
    clean.push(np.zeros(1_600, np.float32))
    clean.push(noise(400, 1))
    np.testing.assert_allclose(after[3:], clean.push(noise(8_000, 2))[3:], atol=1e-5)


def test_in_range_leaves_good_samples_alone_and_cleans_the_rest() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 2.0, -1.5, 1.0, -1.0, 0.25], np.float32)
    kept = wild.copy()
    np.testing.assert_array_equal(in_range(wild), [0, 1, -1, 1, -1, 1, -1, 0.25])
    np.testing.assert_array_equal(wild, kept)
    good = noise(100)
    assert in_range(good) is good
    assert len(in_range(np.zeros(0, np.float32))) == 0


def test_push_does_not_modify_nor_keep_the_callers_samples() -> None:
    samples, frontend = noise(1_000), Frontend(SPEC)
    kept = samples.copy()
    frontend.push(samples)
    np.testing.assert_array_equal(samples, kept)
    samples[:] = 0.0  # a caller may reuse its buffer
    found = frontend.push(noise(1_000, 1))
    expected = log_mel(SPEC, np.concatenate([kept, noise(1_000, 1)]))
    np.testing.assert_allclose(found, expected[-len(found) :], atol=1e-5)


def test_a_tone_lights_up_the_band_at_its_frequency() -> None:
    time_s = np.arange(4_000) / SPEC.sample_rate_hz
    bin_hz = np.arange(257) * SPEC.sample_rate_hz / SPEC.fft_size
    for tone_hz in (200.0, 1_000.0, 5_000.0):
        tone = (0.5 * np.sin(2 * np.pi * tone_hz * time_s)).astype(np.float32)
        band = int(log_mel(SPEC, tone).mean(axis=0).argmax())
        inside = bin_hz[mel_weights(SPEC)[:, band] > 0]
        assert inside.min() - 32 <= tone_hz <= inside.max() + 32


def test_window_and_filters_have_their_shapes() -> None:
    assert hann_window(400)[0] == 0.0
    assert hann_window(400)[200] == 1.0
    weights = mel_weights(SPEC)
    assert weights.shape == (257, 64)
    assert (weights >= 0).all()
    assert (weights.sum(axis=0) > 0).all(), "a band between two bins hears nothing"
