"""What a tagger does for programs of other people: their rates, their labels, their mistakes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_audio.backends import State
from edge_audio.backends.base import zero_state
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BundleError, UsageError
from edge_audio.sources.resample import StreamResampler
from edge_audio.tagging.step_reporter import Step
from edge_audio.tagging.tagger import Tagger
from tests.support import toy

RATE_HZ = 44_100


@pytest.fixture
def opened(toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tagger]:
    """Tagger.open of the toy, computed by numpy."""

    def open_backend(bundle: Bundle, name: str) -> toy.NumpyBackend:
        return toy.EmbeddingBackend()

    monkeypatch.setattr("edge_audio.tagging.tagger.open_backend", open_backend)
    return lambda **settings: Tagger.open(toy_bundle.path, **settings)


def stereo(seconds: float = 4.0) -> np.ndarray:
    """f32[n, 2] at 44.1 kHz, of which the second channel is half as loud."""
    left = toy.noise(round(seconds * RATE_HZ)).astype(np.float32) / np.float32(32_768)
    return np.stack([left, 0.5 * left], axis=1)


def everything(tagger: Tagger, chunks: list[np.ndarray]) -> tuple[list[Step], list[Any]]:
    steps = [step for chunk in chunks for step in tagger.steps(chunk)]
    events = [event for step in steps for event in step.events]
    return steps, events + tagger.flush()


def test_samples_of_any_rate_are_heard_as_what_they_are(opened: Callable[..., Tagger]) -> None:
    """Mixed and resampled as the command line does, however they are cut."""
    samples = stereo()
    resampler = StreamResampler(RATE_HZ, 16_000)
    mono = np.concatenate([resampler.push(samples), resampler.flush()])
    expected, events = everything(opened(), [mono])
    assert events
    tagger = opened(rate_hz=RATE_HZ)
    assert tagger.sample_rate_hz == RATE_HZ
    for n in (len(samples), 1_000):
        chunks = [samples[i : i + n] for i in range(0, len(samples), n)]
        steps, found = everything(tagger, chunks)
        assert found == events
        np.testing.assert_array_equal(
            [step.scores for step in steps], [step.scores for step in expected[: len(steps)]]
        )
        assert tagger.time_s == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_mono_at_the_models_rate_is_the_same_with_and_without_a_rate(
    opened: Callable[..., Tagger], dtype: Any
) -> None:
    samples: Any = toy.noise(48_000)
    if dtype is not np.int16:
        samples = (samples / 32_768).astype(dtype)
    _, expected = everything(opened(), [samples])
    _, found = everything(opened(rate_hz=16_000), [samples[:, None]])
    assert found == expected
    assert found


@pytest.mark.parametrize(
    ("samples", "hint"),
    [
        (np.zeros((2, 16_000), np.float32), r"\(n, channels\).*samples\.T"),
        (np.zeros((4, 2, 2), np.float32), r"\(n,\) or \(n, channels\)"),
        (np.zeros((16_000, 0), np.float32), r"\(n, channels\)"),
        (np.zeros((16_000, 2), np.int64), "pass int16"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
        (["a", "b"], "pass int16"),
        (None, r"shape \(\)"),
        (b"\0\0", "np.frombuffer"),
    ],
)
def test_what_is_no_samples_is_one_clear_error(
    opened: Callable[..., Tagger], samples: Any, hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        opened(rate_hz=RATE_HZ).push(samples)


@pytest.mark.parametrize(
    "rate_hz", [0, -16_000, 999, 384_001, 44_100.5, float("nan"), float("inf"), "44100", True, [1]]
)
def test_what_is_no_rate_is_one_clear_error(opened: Callable[..., Tagger], rate_hz: Any) -> None:
    with pytest.raises(UsageError, match="rate_hz is"):
        opened(rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"only": 3}, "3 is no label"),
        ({"only": ["Band 1", 3]}, "3 is no label"),
        ({"exclude": [None]}, "None is no label"),
        ({"threshold": "0.4"}, "'0.4' is no number"),
        ({"threshold": [0.4]}, "is no number"),
        ({"threshold": True}, "True is no number"),
        ({"threshold": {"Band 1": "0.4"}}, "'0.4' of Band 1 is no number"),
        ({"threshold": {"Band 1": None}}, "None of Band 1 is no number"),
        ({"gate_dbfs": "-60"}, "gate_dbfs is '-60'"),
        ({"policy": "first"}, "policy is 'first': give a PolicySpec"),
        ({"events": "Band 1"}, "events are 'Band 1'"),
    ],
)
def test_a_setting_of_a_wrong_type_is_one_clear_error(
    opened: Callable[..., Tagger], settings: dict[str, Any], hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        opened(**settings)


def test_settings_may_be_numbers_of_numpy(opened: Callable[..., Tagger]) -> None:
    tagger = opened(threshold=np.float32(0.5), gate_dbfs=np.int64(-60))
    assert tagger.gate_dbfs == -60


def test_a_rate_may_be_a_number_of_numpy(opened: Callable[..., Tagger]) -> None:
    assert opened(rate_hz=np.float64(48_000.0)).sample_rate_hz == 48_000


def test_labels_and_thresholds_are_chosen_as_on_the_command_line(
    opened: Callable[..., Tagger],
) -> None:
    loud = toy.noise(80_000)

    def labels(**settings: Any) -> set[str]:
        return {event.label for event in opened(**settings).push(loud)}

    everywhere = labels()
    assert len(everywhere) > 4
    assert labels(only="band 1") == labels(only=["Band 1"]) == {"Band 1"}
    assert labels(exclude="Band 1") == everywhere - {"Band 1"}
    assert labels(threshold=1.0) == set()
    assert "Band 11" in labels(threshold={"Band 11": 0.5})  # off by default
    with pytest.raises(UsageError, match="'Bnad 1'"):
        opened(only="Bnad 1")
    with pytest.raises(UsageError, match="leave out only, exclude"):
        opened(events=EventSpec(), only="Band 1")


def test_scores_are_there_by_label_and_by_rank(opened: Callable[..., Tagger]) -> None:
    tagger = opened()
    assert set(tagger.by_label.values()) == {0.0}
    tagger.push(toy.noise(48_000))
    assert list(tagger.by_label) == list(tagger.labels)
    assert tagger.by_label["Band 3"] == pytest.approx(float(tagger.scores[3]))
    best = tagger.top(3)
    assert [label for label, _ in best] == [
        tagger.labels[i] for i in np.argsort(-tagger.scores, kind="stable")[:3]
    ]
    assert len(tagger.top(100)) == toy.N_LABELS


def test_the_embedding_of_every_step_is_there_where_it_was_asked_for(
    opened: Callable[..., Tagger],
) -> None:
    tagger, samples = opened(embedding=True), toy.noise(32_000)
    assert not tagger.embedding.any()
    expected = zero_state(toy.SPEC)
    for step, plain in zip(tagger.steps(samples), opened().steps(samples), strict=True):
        np.testing.assert_array_equal(step.scores, plain.scores)
        assert tagger.embedding.shape == (toy.N_LABELS,)
        assert not np.array_equal(tagger.embedding, expected[0][0])
        expected = (tagger.embedding[None].copy(),)
    tagger.reset()
    assert not tagger.embedding.any()
    with pytest.raises(UsageError, match="embedding=True"):
        _ = opened().embedding


def test_a_model_without_embedding_says_so_as_it_is_opened(toy_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no embedding: use --backend native"):
        Tagger(toy_bundle, toy.NumpyBackend(), embedding=True)


def test_nothing_is_done_with_a_closed_tagger(opened: Callable[..., Tagger]) -> None:
    samples = toy.noise(16_000)
    with opened() as tagger:
        late = tagger.steps(samples)
        tagger.push(samples)
    tagger.close()
    uses: list[Callable[[], Any]] = [
        lambda: tagger.push(samples),
        lambda: tagger.steps(samples),
        lambda: next(late),
        tagger.flush,
        tagger.reset,
        lambda: tagger.change_events(EventSpec()),
    ]
    for use in uses:
        with pytest.raises(UsageError, match=r"this tagger is closed: open another"):
            use()
    assert tagger.scores.any()  # what was heard can still be read


def test_an_error_within_with_is_not_hidden(opened: Callable[..., Tagger]) -> None:
    with pytest.raises(ZeroDivisionError), opened():
        raise ZeroDivisionError


class Waiting(toy.NumpyBackend):
    """Takes a step once it may."""

    def __init__(self) -> None:
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def step(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        self.entered.set()
        assert self.may_go_on.wait(20.0)
        return super().step(frames, state)


def test_a_second_thread_is_refused_and_the_first_hears_on(toy_bundle: Bundle) -> None:
    backend, samples = Waiting(), toy.noise(16_000)
    tagger = Tagger(toy_bundle, backend)
    found: list[Any] = []
    first = threading.Thread(target=lambda: found.extend(tagger.steps(samples)))
    first.start()
    assert backend.entered.wait(20.0)
    uses: list[Callable[[], Any]] = [
        lambda: tagger.push(samples),
        tagger.flush,
        tagger.reset,
        tagger.close,
    ]
    for use in uses:
        with pytest.raises(UsageError, match=r"in use by another thread: .*another\(\)"):
            use()
    backend.may_go_on.set()
    first.join()
    expected = list(Tagger(toy_bundle, toy.NumpyBackend()).steps(samples))
    np.testing.assert_array_equal(
        [step.scores for step in found], [step.scores for step in expected]
    )


def test_streams_of_one_model_in_threads_hear_what_each_would_alone(
    opened: Callable[..., Tagger],
) -> None:
    first = opened(only="Band 1", rate_hz=RATE_HZ, embedding=True)
    taggers = [first, *(first.another() for _ in range(3))]
    assert all(tagger.backend is first.backend for tagger in taggers)
    streams = [toy.noise(RATE_HZ * 3, seed=i) for i in range(4)]
    alone = [
        everything(opened(only="Band 1", rate_hz=RATE_HZ), [samples])[1] for samples in streams
    ]
    found: dict[int, Any] = {}

    def run(i: int) -> None:
        chunks = [streams[i][k : k + 5_000] for k in range(0, len(streams[i]), 5_000)]
        found[i] = everything(taggers[i], chunks)[1]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == alone
    assert any(alone)
    assert taggers[1].embedding.any()


@pytest.mark.parametrize("use", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_tagger_that_is_to_be_pickled_says_what_to_do(
    opened: Callable[..., Tagger], use: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError, match=r"open one in each process with Tagger\.open"):
        use(opened())


def test_a_tagger_shows_what_it_is(opened: Callable[..., Tagger]) -> None:
    tagger = opened(rate_hz=RATE_HZ)
    tagger.push(np.zeros(RATE_HZ, np.int16))
    assert repr(tagger).startswith("<Tagger toy on numpy, 44100 Hz, 0.9")


def test_a_model_may_be_a_path(toy_bundle: Bundle, opened: Callable[..., Tagger]) -> None:
    assert isinstance(toy_bundle.path, Path)
    assert opened().bundle.path == toy_bundle.path
