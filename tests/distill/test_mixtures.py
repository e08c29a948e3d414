"""Mixtures are repeatable, bounded, and survive any clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from distill.data import ClipStore
from distill.mixtures import Mixer, MixtureConfig

RATE_HZ, N_SAMPLES = 16_000, 24_000
BUSY = MixtureConfig(n_sources_weights=(0, 1, 1, 1), low_pass=0.5, reverb=0.5)


def mixer(lengths: Sequence[int], amplitude: float = 0.3, config: MixtureConfig = BUSY) -> Mixer:
    rng = np.random.default_rng(0)
    pcm = (rng.uniform(-amplitude, amplitude, sum(lengths)) * 32767).astype(np.int16)
    store = ClipStore(pcm, np.cumsum([0, *lengths]))
    return Mixer(store, range(len(lengths)), config, RATE_HZ, N_SAMPLES)


CLIPS = {
    "mixed lengths": [100, 5_000, 24_000, 60_000],
    "all short": [1, 7, 50],
    "all as long as the mixture": [N_SAMPLES] * 3,
    "all longer": [100_000] * 3,
}


@pytest.mark.parametrize("lengths", CLIPS.values(), ids=CLIPS.keys())
@pytest.mark.parametrize("amplitude", [0.0, 0.3, 1.0])
def test_mixtures_are_finite_bounded_and_of_the_right_length(
    lengths: list[int], amplitude: float
) -> None:
    source = mixer(lengths, amplitude)
    for seed in range(15):
        mixture = source.draw((0, seed))
        assert (mixture.dtype, mixture.shape) == (np.float32, (N_SAMPLES,))
        assert np.isfinite(mixture).all()
        assert np.abs(mixture).max() <= 1.0


def test_a_seed_gives_the_same_mixture_in_any_order() -> None:
    forwards, backwards = mixer(CLIPS["mixed lengths"]), mixer(CLIPS["mixed lengths"])
    first = [forwards.draw((1, seed)) for seed in range(8)]
    last = [backwards.draw((1, seed)) for seed in reversed(range(8))]
    for a, b in zip(first, reversed(last), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_seeds_give_other_mixtures() -> None:
    source = mixer(CLIPS["mixed lengths"])
    drawn = [source.draw(seed) for seed in ((0, 0), (0, 1), (1, 0))]
    assert len({mixture.tobytes() for mixture in drawn}) == 3


def test_clips_outside_the_indices_are_never_drawn() -> None:
    quiet, loud = np.zeros(24_000, np.int16), np.full(24_000, 20_000, np.int16)
    store = ClipStore(np.concatenate([quiet, loud]), np.array([0, 24_000, 48_000]))
    config = MixtureConfig(
        n_sources_weights=(0, 0, 0, 1), level_dbfs=(-20.0, -10.0), noise_dbfs=(-90.0, -89.0)
    )
    only_quiet = Mixer(store, [0], config, RATE_HZ, N_SAMPLES)
    only_loud = Mixer(store, [1], config, RATE_HZ, N_SAMPLES)
    assert all(np.abs(only_quiet.draw((0, seed))).max() < 1e-3 for seed in range(20))
    assert all(np.abs(only_loud.draw((0, seed))).max() > 1e-2 for seed in range(20))


def test_odds_decide_which_clip_is_drawn() -> None:
    quiet, loud = np.zeros(24_000, np.int16), np.full(24_000, 20_000, np.int16)
    store = ClipStore(np.concatenate([quiet, loud]), np.array([0, 24_000, 48_000]))
    config = MixtureConfig(
        n_sources_weights=(0, 1), level_dbfs=(-20.0, -10.0), noise_dbfs=(-90.0, -89.0)
    )
    source = Mixer(store, [0, 1], config, RATE_HZ, N_SAMPLES, np.array([0.1, 0.9]))
    n_loud = sum(np.abs(source.draw((0, seed))).max() > 1e-2 for seed in range(100))
    assert 80 <= n_loud <= 98


def test_level_is_that_of_the_recipe() -> None:
    config = MixtureConfig(
        n_sources_weights=(0, 1), level_dbfs=(-20.0, -20.0), low_pass=0, reverb=0
    )
    mixture = mixer([N_SAMPLES], amplitude=0.05, config=config).draw((0, 0))
    power = np.square(mixture)
    loud_half_db = 10 * np.log10(power[power >= np.median(power)].mean())
    assert loud_half_db == pytest.approx(-20.0, abs=0.5)


def test_low_pass_removes_what_lies_above_it() -> None:
    config = MixtureConfig(
        n_sources_weights=(0, 1), low_pass=1.0, low_pass_hz=(3000, 3000), reverb=0
    )
    mixture = mixer([N_SAMPLES], config=config).draw((0, 0))
    power = np.square(np.abs(np.fft.rfft(mixture * np.hanning(N_SAMPLES))))
    hz = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    assert power[hz > 3500].mean() < 1e-2 * power[hz < 2500].mean()
