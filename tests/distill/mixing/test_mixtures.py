"""Mixtures are repeatable, bounded, and survive any clip."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from distill.data.clip_store import ClipStore
from distill.mixing.codecs import CODECS, Codec, transcode
from distill.mixing.mixtures import Mixer, MixtureConfig

RATE_HZ, N_SAMPLES = 16_000, 24_000
BUSY = MixtureConfig(
    n_sources_weights=(0, 1, 1, 1),
    speed=0.5,
    low_pass=0.5,
    reverb=0.5,
    hum=0.3,
    overload=0.3,
    response=0.5,
    codec=0.5,
)
PLAIN = MixtureConfig(
    n_sources_weights=(0, 1),
    speed=0,
    low_pass=0,
    reverb=0,
    hum=0,
    overload=0,
    response=0,
    codec=0,
)


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
        mixture = source.draw((0, seed)).samples
        assert (mixture.dtype, mixture.shape) == (np.dtype(np.float32), (N_SAMPLES,))
        assert np.isfinite(mixture).all()
        assert np.abs(mixture).max() <= 1.0


def test_a_seed_gives_the_same_mixture_in_any_order() -> None:
    forwards, backwards = mixer(CLIPS["mixed lengths"]), mixer(CLIPS["mixed lengths"])
    first = [forwards.draw((1, seed)) for seed in range(8)]
    last = [backwards.draw((1, seed)) for seed in reversed(range(8))]
    for a, b in zip(first, reversed(last), strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert a.sources == b.sources


def test_other_seeds_give_other_mixtures() -> None:
    source = mixer(CLIPS["mixed lengths"])
    drawn = [source.draw(seed) for seed in ((0, 0), (0, 1), (1, 0))]
    assert len({mixture.samples.tobytes() for mixture in drawn}) == 3


def test_clips_outside_the_indices_are_never_drawn() -> None:
    quiet, loud = np.zeros(24_000, np.int16), np.full(24_000, 20_000, np.int16)
    store = ClipStore(np.concatenate([quiet, loud]), np.array([0, 24_000, 48_000]))
    config = msgspec.structs.replace(
        PLAIN, n_sources_weights=(0, 0, 0, 1), level_dbfs=(-20, -10), noise_dbfs=(-90, -89)
    )
    only_quiet = Mixer(store, [0], config, RATE_HZ, N_SAMPLES)
    only_loud = Mixer(store, [1], config, RATE_HZ, N_SAMPLES)
    assert all(np.abs(only_quiet.draw((0, seed)).samples).max() < 1e-3 for seed in range(20))
    assert all(np.abs(only_loud.draw((0, seed)).samples).max() > 1e-2 for seed in range(20))


def test_odds_decide_which_clip_is_drawn() -> None:
    quiet, loud = np.zeros(24_000, np.int16), np.full(24_000, 20_000, np.int16)
    store = ClipStore(np.concatenate([quiet, loud]), np.array([0, 24_000, 48_000]))
    config = msgspec.structs.replace(PLAIN, level_dbfs=(-20, -10), noise_dbfs=(-90, -89))
    source = Mixer(store, [0, 1], config, RATE_HZ, N_SAMPLES, np.array([0.1, 0.9]))
    n_loud = sum(np.abs(source.draw((0, seed)).samples).max() > 1e-2 for seed in range(100))
    assert 80 <= n_loud <= 98


def test_level_is_that_of_the_recipe() -> None:
    config = msgspec.structs.replace(PLAIN, level_dbfs=(-20, -20))
    mixture = mixer([N_SAMPLES], amplitude=0.05, config=config).draw((0, 0)).samples
    power = np.square(mixture)
    loud_half_db = 10 * np.log10(power[power >= np.median(power)].mean())
    assert loud_half_db == pytest.approx(-20.0, abs=0.5)


def test_low_pass_removes_what_lies_above_it() -> None:
    config = msgspec.structs.replace(PLAIN, low_pass=1.0, low_pass_hz=(3000, 3000))
    mixture = mixer([N_SAMPLES], config=config).draw((0, 0)).samples
    power = np.square(np.abs(np.fft.rfft(mixture * np.hanning(N_SAMPLES))))
    hz = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    assert power[hz > 3500].mean() < 1e-2 * power[hz < 2500].mean()


def test_sources_name_what_sounds() -> None:
    """Tones of one clip each: the mixture's loudest bins are those of the sources it names."""
    time_s = np.arange(N_SAMPLES) / RATE_HZ
    tones_hz = [500, 1_000, 2_000, 4_000]
    tones = [0.3 * np.sin(2 * np.pi * hz * time_s) for hz in tones_hz]
    pcm = (np.concatenate(tones) * 32767).astype(np.int16)
    store = ClipStore(pcm, np.arange(5) * N_SAMPLES)
    config = msgspec.structs.replace(
        PLAIN, n_sources_weights=(1, 1, 1), relative_db=(-3, 0), noise_dbfs=(-90, -89)
    )
    source = Mixer(store, range(4), config, RATE_HZ, N_SAMPLES)
    for seed in range(20):
        mixture = source.draw((0, seed))
        power = np.square(np.abs(np.fft.rfft(mixture.samples * np.hanning(N_SAMPLES))))
        heard = {i for i, hz in enumerate(tones_hz) if power[hz * N_SAMPLES // RATE_HZ] > 1.0}
        assert heard == set(mixture.sources)


def peak_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE_HZ / len(samples))


def test_speed_shifts_the_pitch_within_its_range() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * N_SAMPLES) / RATE_HZ)
    store = ClipStore((tone * 20_000).astype(np.int16), np.array([0, 2 * N_SAMPLES]))
    config = msgspec.structs.replace(PLAIN, speed=1.0, speed_factor=(0.8, 1.25))
    source = Mixer(store, [0], config, RATE_HZ, N_SAMPLES)
    found = [peak_hz(source.draw((0, seed)).samples) for seed in range(20)]
    assert min(found) >= 795
    assert max(found) <= 1255
    assert max(found) - min(found) > 200


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_keep_length_level_and_most_of_a_tone(codec: Codec) -> None:
    tone = (0.2 * np.sin(2 * np.pi * 700 * np.arange(16_123) / RATE_HZ)).astype(np.float32)
    heard = transcode(tone, RATE_HZ, codec)
    assert (heard.dtype, heard.shape) == (np.dtype(np.float32), tone.shape)
    assert heard[4_000:12_000].std() == pytest.approx(tone.std(), rel=0.1)
    assert peak_hz(heard) == pytest.approx(700, abs=2)
    assert not np.array_equal(heard, tone)


def test_overload_and_response_change_what_the_device_hears() -> None:
    clean = mixer([N_SAMPLES], config=PLAIN).draw((0, 1)).samples
    for field in ("hum", "overload", "response", "codec"):
        config = msgspec.structs.replace(PLAIN, **{field: 1.0})
        heard = mixer([N_SAMPLES], config=config).draw((0, 1)).samples
        assert np.abs(heard - clean).max() > 1e-4, field


def test_bouts_say_when_each_source_sounds() -> None:
    """A tone within silence, at known places of a mixture that adds nothing."""
    rng = np.random.default_rng(1)
    tone = np.sin(np.arange(4_000) * 0.3) * 20_000
    clip = np.concatenate([np.zeros(2_000), tone, np.zeros(3_000)]).astype(np.int16)
    store = ClipStore(np.concatenate([clip, clip]), np.array([0, len(clip), 2 * len(clip)]))
    config = msgspec.structs.replace(PLAIN, noise_dbfs=(-120, -119))
    mixer = Mixer(store, [0, 1], config, RATE_HZ, N_SAMPLES)
    for seed in rng.integers(0, 1_000, 20):
        mixture = mixer.draw((0, int(seed)))
        is_loud = np.abs(mixture.samples) > 1e-3
        claimed = np.zeros(N_SAMPLES, bool)
        for bout in mixture.bouts:
            assert bout.position == 0
            claimed[bout.start : bout.stop] = True
        assert is_loud[claimed].mean() > 0.8
        assert (is_loud & ~claimed).sum() < 0.08 * RATE_HZ  # what is cut shorter than a bout
