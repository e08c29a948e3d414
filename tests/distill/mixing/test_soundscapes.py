"""Scenes are what they say they are: every event sounds from its onset to its offset."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.clip_list import read_clip_list
from distill.mixing.bouts import longest_bout
from distill.mixing.soundscapes import (
    SAMPLE_RATE_HZ,
    Scene,
    Sound,
    SoundscapeConfig,
    cut_bouts,
    negatives,
    read_sounds,
    soundscapes,
)
from edge_audio.errors import UsageError
from tests.distill.workshop import row, write_clip_list

LABELS = ("Dog", "Cat", "Bell")
CONFIG = SoundscapeConfig(
    n_scenes=3,
    scene_s=12.0,
    n_events=8,
    n_negatives=2,
    negative_s=10.0,
    n_negative_sounds=4,
    stretch_s=1.0,
    silence=0.5,
)


def tone(duration_s: float, hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * hz * time_s).astype(np.float32)


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


SOUNDS = [
    Sound(tone(0.5 + 0.2 * index, 200.0 + 100.0 * index), labels)
    for index, labels in enumerate([("Dog",), ("Cat",), ("Dog", "Bell"), ("Bell",), ("Dog",)])
]


@pytest.mark.parametrize(("before_s", "length_s"), [(0.0, 0.5), (0.7, 0.3), (1.234, 2.0)])
def test_bout_begins_and_ends_with_the_sound(before_s: float, length_s: float) -> None:
    samples = np.concatenate([silence(before_s), 0.3 * tone(length_s), silence(1.0)])
    bout = longest_bout(samples, SAMPLE_RATE_HZ)
    assert bout is not None
    assert bout.start / SAMPLE_RATE_HZ == pytest.approx(before_s, abs=0.02)
    assert bout.stop / SAMPLE_RATE_HZ == pytest.approx(before_s + length_s, abs=0.03)


def test_longest_bout_is_taken_and_short_gaps_belong_to_it() -> None:
    knocks = np.concatenate([tone(0.2), silence(0.3)] * 3)
    samples = np.concatenate([tone(0.6), silence(1.0), knocks, silence(0.5)])
    bout = longest_bout(samples, SAMPLE_RATE_HZ)
    assert bout is not None
    assert bout.start / SAMPLE_RATE_HZ == pytest.approx(1.6, abs=0.02)
    assert bout.stop / SAMPLE_RATE_HZ == pytest.approx(1.6 + 1.2, abs=0.03)


def test_quiet_background_of_a_recording_is_not_part_of_the_bout() -> None:
    rng = np.random.default_rng(0)
    samples = 0.01 * rng.standard_normal(3 * SAMPLE_RATE_HZ).astype(np.float32)
    samples[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ] += 0.5 * tone(1.0)
    bout = longest_bout(samples, SAMPLE_RATE_HZ)
    assert bout is not None
    assert (bout.start, bout.stop) == pytest.approx((SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ), abs=480)


def test_steady_noise_is_one_bout() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE_HZ).astype(np.float32)
    assert longest_bout(noise, SAMPLE_RATE_HZ) == slice(0, 2 * SAMPLE_RATE_HZ)


@pytest.mark.parametrize(
    "samples", [silence(1.0), np.concatenate([tone(0.1), silence(1.0)]), tone(0.005), silence(0.0)]
)
def test_no_bout_in_silence_or_a_click(samples: np.ndarray) -> None:
    assert longest_bout(samples, SAMPLE_RATE_HZ) is None


def all_scenes(config: SoundscapeConfig, seed: int) -> list[Scene]:
    return list(soundscapes(config, SOUNDS, (seed,)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_at_most_two_sounds_overlap_and_none_of_one_label_come_close(seed: int) -> None:
    for scene in all_scenes(CONFIG, seed):
        assert scene.duration_s == CONFIG.scene_s
        sounds = {(event.onset_s, event.offset_s) for event in scene.events}
        for onset_s, _ in sounds:
            assert sum(start <= onset_s < end for start, end in sounds) <= 2
        for label in LABELS:
            mine = [event for event in scene.events if event.label == label]
            for first, second in pairwise(mine):
                assert second.onset_s - first.offset_s >= CONFIG.min_gap_s
        assert all(0.0 <= e.onset_s < e.offset_s <= CONFIG.scene_s for e in scene.events)


def test_events_sound_from_onset_to_offset_and_nowhere_else() -> None:
    config = SoundscapeConfig(
        n_scenes=5, scene_s=20.0, n_events=4, background_dbfs=(-70.0, -70.0), snr_db=(40.0, 40.0)
    )
    for scene in soundscapes(config, SOUNDS[:2], (1,)):
        assert scene.events
        is_event = np.zeros(len(scene.samples), bool)
        for event in scene.events:
            span = (round(t * SAMPLE_RATE_HZ) for t in (event.onset_s, event.offset_s))
            is_event[slice(*span)] = True
        loud = np.abs(scene.samples) > 10.0 ** (-50.0 / 20.0)
        assert not loud[~is_event].any()
        for event in scene.events:
            onset, offset = (round(t * SAMPLE_RATE_HZ) for t in (event.onset_s, event.offset_s))
            assert loud[onset : onset + 160].any()
            assert loud[offset - 160 : offset].any()


def test_events_rise_above_the_background_by_the_drawn_range() -> None:
    config = SoundscapeConfig(n_scenes=20, scene_s=5.0, n_events=1, snr_db=(10.0, 20.0))
    noise = Sound(np.random.default_rng(0).standard_normal(16_000).astype(np.float32), ("Dog",))
    levels_db = []
    for scene in soundscapes(config, [noise], (2,)):
        (event,) = scene.events
        onset, offset = (round(t * SAMPLE_RATE_HZ) for t in (event.onset_s, event.offset_s))
        rest = np.concatenate([scene.samples[:onset], scene.samples[offset:]])
        ratio = np.square(scene.samples[onset:offset]).mean() / np.square(rest).mean()
        levels_db.append(10.0 * np.log10(ratio))
    assert min(levels_db) > 9.0
    assert max(levels_db) < 21.0
    assert max(levels_db) - min(levels_db) > 4.0


def test_the_seed_decides_everything() -> None:
    once, again, other = all_scenes(CONFIG, 7), all_scenes(CONFIG, 7), all_scenes(CONFIG, 8)
    for first, second, third in zip(once, again, other, strict=True):
        np.testing.assert_array_equal(first.samples, second.samples)
        assert first.events == second.events != third.events


def test_a_sound_with_two_labels_is_two_events() -> None:
    events = [event for scene in all_scenes(CONFIG, 3) for event in scene.events]
    both = [event for event in events if event.label == "Bell"]
    assert both
    twins = {(e.onset_s, e.offset_s) for e in both} & {
        (e.onset_s, e.offset_s) for e in events if e.label == "Dog"
    }
    assert twins


def test_soundscapes_need_a_labelled_sound() -> None:
    with pytest.raises(UsageError, match="cannot be composed"):
        next(soundscapes(CONFIG, [Sound(tone(1.0), ())], (0,)))


def test_negatives_say_what_sounds_and_have_stretches_of_silence() -> None:
    scenes = list(negatives(CONFIG, SOUNDS, (4,)))
    assert [scene.duration_s for scene in scenes] == [CONFIG.negative_s] * CONFIG.n_negatives
    assert {event.label for scene in scenes for event in scene.events} <= set(LABELS)
    assert all(scene.events for scene in scenes)
    power = np.concatenate([np.square(s.samples).reshape(-1, 1600).mean(1) for s in scenes])
    assert (power == 0.0).any()
    assert (power > 0.0).mean() > 0.3
    np.testing.assert_array_equal(scenes[0].samples, next(negatives(CONFIG, SOUNDS, (4,))).samples)


def test_negatives_may_be_noise_alone() -> None:
    scene = next(negatives(CONFIG, [], (5,)))
    assert len(scene.samples) == CONFIG.negative_s * SAMPLE_RATE_HZ


def test_sounds_are_cut_to_their_bouts_and_unlabelled_clips_are_left_out(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import soundfile as sf

    folder = tmp_path_factory.mktemp("clips")
    sf.write(folder / "a.wav", np.concatenate([silence(0.5), tone(1.0), silence(0.5)]), 16_000)
    sf.write(folder / "b.wav", silence(1.0), 16_000)
    rows = [row(f"{name}.wav", "rain", 1, name, labels="Dog;Howl") for name in "ab"]
    rows.append(row("a.wav", "rain", 1, "c", labels=""))
    write_clip_list(folder, rows)
    (a, b) = read_sounds(folder, read_clip_list(folder))
    assert len(a.samples) / SAMPLE_RATE_HZ == pytest.approx(2.0)
    assert not b.samples.any()
    (sound,) = cut_bouts([a, b])
    assert sound.labels == ("Dog", "Howl")
    assert len(sound.samples) / SAMPLE_RATE_HZ == pytest.approx(1.0, abs=0.04)
