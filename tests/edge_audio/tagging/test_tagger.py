"""A tagger hears the same in any chunks, forgets on reset, and is never poisoned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio import Event, Tagger, UsageError
from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.store import Bundle, load_bundle, shipped_bundles
from edge_audio.features.frontend import log_mel
from tests.support import toy
from tests.support.runtimes import require_any_runtime

SHIPPED = shipped_bundles()
PCM = toy.noise(100_003, seed=1)
Heard = tuple[list[float], np.ndarray, list[Event]]


@pytest.fixture(scope="module")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy")


def open_toy(bundle: Bundle) -> Tagger:
    return Tagger(bundle, toy.NumpyBackend())


def open_shipped(name: str) -> Tagger:
    require_any_runtime(load_bundle(name))
    return Tagger.open(name)


def hear(tagger: Tagger, chunks: list[np.ndarray]) -> Heard:
    """(step times, scores [n_steps, n_labels], events) of a whole stream."""
    steps = [step for chunk in chunks for step in tagger.steps(chunk)]
    events = [event for *_, found in steps for event in found] + tagger.flush()
    rows = np.array([scores for _, scores, _ in steps]).reshape(-1, len(tagger.labels))
    return [time_s for time_s, *_ in steps], rows, events


def assert_same(found: Heard, expected: Heard) -> None:
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[2] == expected[2]


def split(pcm: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Chunks whose sizes repeat until the samples are gone."""
    chunks, start, i = [], 0, 0
    while start < len(pcm):
        size = sizes[i % len(sizes)]
        chunks.append(pcm[start : start + size])
        start, i = start + size, i + 1
    return chunks


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 13, 1_279, 1_280, 1_281, 1_519, 1_520, 1_521, 9_973, 40_000]),
        max_size=6,
    )
)
def test_any_chunking_gives_the_same_bits(toy_bundle: Bundle, sizes: list[int]) -> None:
    tagger = open_toy(toy_bundle)
    expected = hear(open_toy(toy_bundle), [PCM])
    assert_same(hear(tagger, split(PCM, [*sizes, 7_919])), expected)
    assert tagger.time_s == len(PCM) / 16_000


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("sizes", [[0, 1, 797], [1_280], [160], [4_999, 3]])
def test_any_chunking_gives_the_same_bits_on_shipped_models(name: str, sizes: list[int]) -> None:
    pcm = PCM[:40_001]
    assert_same(hear(open_shipped(name), split(pcm, sizes)), hear(open_shipped(name), [pcm]))


def test_tagger_composes_front_end_and_model_without_maths_of_its_own(toy_bundle: Bundle) -> None:
    frames = log_mel(toy.FRONTEND, PCM.astype(np.float32) / np.float32(32768))
    expected = toy.run_steps(toy.NumpyBackend(), frames)
    times_s, scores, _ = hear(open_toy(toy_bundle), [PCM])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(times_s, (np.arange(len(expected)) * 1_280 + 1_520) / 16_000)


def test_bursts_of_noise_become_events_at_their_times(toy_bundle: Bundle) -> None:
    pcm = np.zeros(96_000, np.int16)
    pcm[32_000:64_000] = np.random.default_rng(0).normal(0, 8_000, 32_000).clip(-32_768, 32_767)
    _, _, events = hear(open_toy(toy_bundle), [pcm])
    band = [event for event in events if event.label == "Band 6"]
    assert [event.kind for event in band] == ["start", "end"]
    assert 2.0 < band[0].time_s < 2.6
    assert 4.0 < band[1].time_s < 5.0


def test_int16_float32_and_float64_sound_the_same(toy_bundle: Bundle) -> None:
    scaled = PCM.astype(np.float64) / 32768
    expected = hear(open_toy(toy_bundle), [PCM])
    for pcm in (scaled, scaled.astype(np.float32), list(scaled), PCM[::-1][::-1]):
        assert_same(hear(open_toy(toy_bundle), [np.asarray(pcm)]), expected)


def test_full_scale_int16_is_not_clipped(toy_bundle: Bundle) -> None:
    pcm = np.tile(np.array([-32_768, 32_767], np.int16), 8_000)
    frames = log_mel(toy.FRONTEND, pcm.astype(np.float32) / np.float32(32768))
    _, scores, _ = hear(open_toy(toy_bundle), [pcm])
    np.testing.assert_allclose(scores, toy.run_steps(toy.NumpyBackend(), frames), atol=1e-5)


def test_reset_and_flush_both_equal_fresh(toy_bundle: Bundle) -> None:
    expected = hear(open_toy(toy_bundle), [PCM])
    tagger = open_toy(toy_bundle)
    tagger.push(toy.noise(12_345, seed=9))
    tagger.reset()
    assert (tagger.time_s, tagger.n_steps, bool(tagger.scores.any())) == (0.0, 0, False)
    assert_same(hear(tagger, [PCM]), expected)
    assert_same(hear(tagger, [PCM]), expected)  # `hear` has flushed


def test_interleaved_streams_on_one_backend_never_mix(toy_bundle: Bundle) -> None:
    backend = toy.NumpyBackend()
    pair = [Tagger(toy_bundle, backend) for _ in range(2)]
    sounds = [PCM[:60_000], toy.noise(60_000, seed=7)]
    found: list[list[Event]] = [[], []]
    for start in range(0, 60_000, 997):
        for i, sound in enumerate(sounds):
            found[i] += pair[i].push(sound[start : start + 997])
    for i, sound in enumerate(sounds):
        alone = open_toy(toy_bundle)
        assert found[i] == alone.push(sound)
        np.testing.assert_array_equal(pair[i].scores, alone.scores)
    assert found[0] != found[1]


@pytest.mark.parametrize("name", SHIPPED)
def test_interleaved_streams_of_shipped_models_never_mix(name: str) -> None:
    first = open_shipped(name)
    second = Tagger(first.bundle, first.backend)
    for start in range(0, 40_000, 997):
        first.push(PCM[start : start + 997])
        second.push(toy.noise(997, seed=start))
    alone = open_shipped(name)
    alone.push(PCM[:40_877])
    np.testing.assert_array_equal(first.scores, alone.scores)
    assert not np.array_equal(first.scores, second.scores)


def test_what_was_heard_does_not_depend_on_what_comes_later(toy_bundle: Bundle) -> None:
    changed = PCM.copy()
    changed[50_000:] = 20_000
    times_s, scores, _ = hear(open_toy(toy_bundle), [PCM])
    _, other, _ = hear(open_toy(toy_bundle), [changed])
    n_before = sum(time_s * 16_000 <= 50_000 for time_s in times_s)
    np.testing.assert_array_equal(scores[:n_before], other[:n_before])
    assert not np.array_equal(scores[n_before:], other[n_before:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e300])
def test_wild_samples_never_poison_the_state(toy_bundle: Bundle, value: float) -> None:
    wild = PCM[:40_000].astype(np.float64) / 32768
    wild[5_000:9_000:3] = value
    tagger = open_toy(toy_bundle)
    tagger.push(wild)
    assert np.isfinite(tagger.scores).all()
    tagger.push(np.zeros(16_000 * 20, np.int16))
    quiet = open_toy(toy_bundle)
    quiet.push(np.zeros(40_000 + 16_000 * 20, np.int16))
    np.testing.assert_allclose(tagger.scores, quiet.scores, atol=1e-4)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_wild_samples_never_poison_shipped_models(name: str, value: float) -> None:
    tagger = open_shipped(name)
    wild = np.full(16_000, value, np.float32)
    tagger.push(wild)
    assert np.isfinite(tagger.scores).all()
    _, rows, _ = hear(tagger, [PCM])  # a state that is not finite shows in every later score
    assert np.isfinite(rows).all()
    assert np.ptp(rows, axis=0).max() > 0.0


@pytest.mark.parametrize(
    ("pcm", "hint"),
    [
        (np.zeros((10, 2), np.float32), r"samples\.mean\(axis=1\)"),
        (np.float32(0.0), "shape"),
        (np.zeros(10, np.int32), "pass int16, or float32"),
        (np.zeros(10, np.uint8), "pass int16, or float32"),
        (np.zeros(10, np.float16), "pass int16, or float32"),
        (np.zeros(10, complex), "pass int16, or float32"),
        (np.array(["a"]), "pass int16, or float32"),
    ],
)
def test_wrong_samples_are_refused_at_once_and_change_nothing(
    toy_bundle: Bundle, pcm: np.ndarray, hint: str
) -> None:
    tagger = open_toy(toy_bundle)
    for method in (tagger.push, tagger.steps):
        with pytest.raises(UsageError, match=hint):
            method(pcm)
    assert tagger.time_s == 0.0


@pytest.mark.parametrize("n_samples", [0, 1, 240, 400, 1_519, 1_520, 1_521, 2_799])
def test_flush_hears_the_last_sample_once_and_keeps_times_within_the_audio(
    toy_bundle: Bundle, n_samples: int
) -> None:
    tagger = open_toy(toy_bundle)
    events = tagger.push(toy.noise(16_000, seed=3)[:n_samples]) + tagger.flush()
    n_steps = -(-max(0, n_samples - 240) // 1_280)
    assert tagger.n_steps == (max(1, n_steps) if n_samples else 0)
    assert tagger.scores.any() == (n_samples > 0)
    assert all(event.time_s <= tagger.time_s for event in events)
    assert tagger.flush() == []


def test_every_start_has_its_end_after_flush(toy_bundle: Bundle) -> None:
    _, _, events = hear(open_toy(toy_bundle), [PCM])
    assert len(events) > 10
    for label in toy.LABELS:
        kinds = [event.kind for event in events if event.label == label]
        assert kinds == ["start", "end"] * (len(kinds) // 2)


def test_callers_arrays_are_neither_modified_nor_kept(toy_bundle: Bundle) -> None:
    pcm = PCM[:2_000].astype(np.float32) / 32768
    kept = pcm.copy()
    tagger = open_toy(toy_bundle)
    tagger.push(pcm)
    np.testing.assert_array_equal(pcm, kept)
    pcm[:] = 0.5
    tagger.push(kept)
    whole = open_toy(toy_bundle)
    whole.push(np.concatenate([kept, kept]))
    np.testing.assert_array_equal(tagger.scores, whole.scores)


def test_other_events_can_be_asked_for(toy_bundle: Bundle) -> None:
    manifest: Manifest = load_bundle(toy_bundle.path).manifest
    one = {"Band 6": manifest.events.thresholds["Band 6"]}
    spec = type(manifest.events)(thresholds=one)
    tagger = Tagger(toy_bundle, toy.NumpyBackend(), spec)
    assert {event.label for event in tagger.push(PCM) + tagger.flush()} == {"Band 6"}
