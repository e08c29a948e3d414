"""Samples as programs pass them by mistake, and models that give no number."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.tagging.batch_tagger import BatchTagger
from edge_audio.tagging.tagger import Tagger
from tests.support import toy


@pytest.fixture
def tagger(toy_bundle: Bundle) -> Tagger:
    return Tagger(toy_bundle, toy.NumpyBackend())


@pytest.mark.parametrize(
    ("samples", "hint"),
    [
        (np.zeros((2, 16_000), np.float32), r"mean\(axis=0\)"),
        (np.zeros((16_000, 2), np.float32), r"mean\(axis=1\)"),
        (np.zeros((1, 16_000), np.int16), r"mean\(axis=0\)"),
        (np.zeros((2, 3, 4), np.float32), r"shape \(n,\)"),
        (np.float32(0.0), r"shape \(n,\)"),
        (b"\0" * 3200, "np.frombuffer"),
        (bytearray(3200), "np.frombuffer"),
        (memoryview(bytes(3200)), "np.frombuffer"),
        (np.zeros(1600, np.int32), "pass int16"),
    ],
)
def test_what_is_no_channel_of_samples_is_told_what_to_do(
    tagger: Tagger, samples: Any, hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        tagger.push(samples)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_on_the_scale_of_int16_are_told_once(tagger: Tagger, dtype: type) -> None:
    samples: np.ndarray = toy.noise(16_000).astype(dtype)
    with pytest.warns(UserWarning, match="divide them by 32768"):
        tagger.push(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tagger.push(samples)


def test_the_scale_of_floats_is_told_after_any_silence_and_is_proved_by_ten_seconds(
    tagger: Tagger,
) -> None:
    loud = toy.noise(16_000).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            tagger.push(np.zeros(16_000, np.float32))
    with pytest.warns(UserWarning, match="divide them by 32768"):
        tagger.push(loud)
    proved = tagger.another()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(125):
            proved.push(loud[:1_280] / 65_536.0)
        proved.push(loud)
    proved.reset()
    with pytest.warns(UserWarning, match="divide them by 32768"):
        proved.push(loud)


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_a_faint_noise_on_the_scale_of_int16_proves_no_other(tagger: Tagger, spread: float) -> None:
    faint = np.round(np.random.default_rng(0).normal(0.0, spread, 1_600)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(110):
            tagger.push(faint)
    with pytest.warns(UserWarning, match="divide them by 32768"):
        tagger.push(toy.noise(16_000).astype(np.float32))


def test_each_stream_of_a_batch_is_told(toy_bundle: Bundle) -> None:
    batch = BatchTagger(toy_bundle, toy.NumpyBackend(), 2)
    loud = toy.noise(16_000).astype(np.float32)[None]
    for _ in range(110):
        batch.push(loud / 65_536.0, [0])
    with pytest.warns(UserWarning, match="divide them by 32768"):
        batch.push(loud, [1])


@pytest.mark.parametrize("scale", [1.0, 4.0, 1e12, 0.0])
def test_other_floats_are_not_told(tagger: Tagger, scale: float) -> None:
    loud = (toy.noise(16_000) / 32_768).astype(np.float32)
    loud /= np.abs(loud).max()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tagger.push(loud**3 * np.float32(scale))
        tagger.push(toy.noise(16_000))


class Broken(toy.NumpyBackend):
    """Gives NaN in one step, in its scores and in its state."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._left = step

    def step(self, frames: Any, state: Any) -> Any:
        scores, state = super().step(frames, state)
        self._left -= 1
        if self._left == 0:
            return scores * np.float32("nan"), tuple(x * np.float32("nan") for x in state)
        return scores, state


def test_a_nan_never_sticks(toy_bundle: Bundle) -> None:
    tagger, whole = Tagger(toy_bundle, Broken(10)), Tagger(toy_bundle, toy.NumpyBackend())
    steps, expected = list(tagger.steps(toy.noise(80_000))), list(whole.steps(toy.noise(80_000)))
    assert all(np.isfinite(step.scores).all() for step in steps)
    assert (steps[9].scores == 0.0).all()
    np.testing.assert_allclose(steps[-1].scores, expected[-1].scores, atol=0.05)
    assert all(np.isfinite(event.score) for event in tagger.flush())
