"""Figures of few-shot learning are counted as they are told."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from distill.data.clip_list import Clip
from distill.evaluation.few_shot import (
    FewShotResults,
    _limit,
    _n_alarms,
    developed,
    evaluate,
    evaluate_within,
    table,
)
from distill.evaluation.few_shot_data import FewShotData, Stream
from distill.evaluation.few_shot_methods import METHODS
from distill.evaluation.few_shot_within import within_class
from distill.mixing.soundscapes import TrueEvent
from edge_audio.learning.bank import Bank
from edge_audio.learning.fit import Whitening
from edge_audio.learning.network import Embedder
from edge_audio.sounds.embeddings import to_bytes
from edge_audio.sounds.file import Take
from edge_audio.support.arrays import FloatArray

RATE_HZ, STEP = 16_000, 1_280
DIM = 5


class Ears:
    """Rows that nobody trained: noise, and the level in the first value."""

    embedding_dim, sample_rate_hz = DIM, RATE_HZ
    step_samples, step_s = STEP, STEP / RATE_HZ

    @cached_property
    def bank(self) -> Bank:
        rng = np.random.default_rng(0)
        return Bank(rng.standard_normal((300, DIM)).astype(np.float32), np.arange(300))

    @cached_property
    def whitening(self) -> Whitening:
        return Whitening.of(self.bank.rows)

    def hear(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        n_steps = max(1, len(samples) // STEP)
        rows = np.random.default_rng(len(samples)).standard_normal((n_steps, DIM))
        levels = np.square(samples[: n_steps * STEP]).reshape(n_steps, -1).mean(1)
        rows[:, 0] = np.where(levels > 1e-3, 8.0, 0.0)
        return np.zeros((n_steps, 1), np.float32), rows.astype(np.float32)

    def step_ends_s(self, n_steps: int) -> NDArray[np.float64]:
        return np.asarray(self.step_s * np.arange(1, n_steps + 1), np.float64)


@pytest.fixture
def ears() -> Embedder:
    return Ears()


def take(seed: int) -> Take:
    rows = np.random.default_rng(seed).standard_normal((6, DIM))
    rows[:, 0] += 6.0
    steps = to_bytes(rows.astype(np.float32))
    return Take(source="a.wav", start_s=0.0, end_s=0.5, steps=steps, changed=steps)


def test_alarms_are_counted_apart_and_limits_keep_to_the_rate() -> None:
    track = np.zeros(200)
    track[[20, 22, 60, 150]] = [3.0, 2.5, 2.0, 1.0]
    assert _n_alarms(track, 0.9) == 3
    assert _n_alarms(track, 0.9, n_merged=1) == 4
    assert _n_alarms(track, 2.2) == 1
    limit = _limit([track], 1)
    assert _n_alarms(track, limit) == 1
    assert _limit([track], 0) > 3.0


@pytest.mark.parametrize("name", METHODS)
def test_all_methods_tell_two_clouds_apart(name: str, ears: Embedder) -> None:
    takes = [take(seed) for seed in range(3)]
    learned = METHODS[name](ears, takes)
    rows = np.random.default_rng(9).standard_normal((50, DIM)).astype(np.float32)
    rows[:, 0] += 6.0
    assert np.median(learned.row(rows)) > np.quantile(learned.row(ears.bank.rows), 0.99)
    assert learned.logits["quiet"] > learned.logits["eager"]


def test_the_found_of_all_classes_stand_beside_those_that_chose_nothing(ears: Embedder) -> None:
    rng = np.random.default_rng(1)
    sounding = rng.standard_normal((100, DIM)).astype(np.float32)
    sounding[20:40, 0] += 8.0
    events = tuple(TrueEvent(label, 1.6, 3.2) for label in ("bell", "horn", "dog"))
    quiet = Stream(rng.standard_normal((45_000, DIM)).astype(np.float32), ())
    takes = {label: [take(seed) for seed in range(5)] for label in ("bell", "horn", "dog")}
    takes["rain"] = [take(0)]
    data = FewShotData(takes, [Stream(sounding, events)], [quiet])
    assert developed(data) == {"bell", "horn"}
    methods = {"learn": METHODS["learn"]}
    ((one,), few) = (evaluate(ears, data, (n,), methods) for n in (5, 6))
    assert one.n_classes == 3
    assert one.found == one.found_new == (1.0, 1.0)
    assert few == []


def write_clip(folder: Path, name: str, group: str, label: str) -> Clip:
    samples = np.zeros(3 * RATE_HZ)
    samples[RATE_HZ : 2 * RATE_HZ] = 0.3 * np.sin(0.3 * np.arange(RATE_HZ))
    soundfile.write(folder / name, samples, RATE_HZ)
    return Clip(
        path=name,
        tier="A",
        labels=(label,),
        esc10_class="",
        esc50_class="",
        fold=5,
        group=group,
        duration_s=3.0,
        licence="CC0 1.0",
    )


def test_within_a_class_takes_and_events_are_of_one_group_and_alarms_of_its_label(
    ears: Embedder, tmp_path: Path
) -> None:
    clips = [write_clip(tmp_path, f"mine{k}.wav", "mine", "Bell") for k in range(7)]
    clips += [write_clip(tmp_path, f"few{k}.wav", "few", "Bell") for k in range(6)]
    clips += [write_clip(tmp_path, f"dog{k}.wav", "dog", "Dog") for k in range(9)]
    clips += [write_clip(tmp_path, f"bell{k}.wav", f"bell{k}", "Bell") for k in range(4)]
    (data,) = within_class(ears, tmp_path, clips, (1, 5, 10))
    assert {group: len(takes) for group, takes in data.takes.items()} == {"mine": 5}
    assert [one.source for one in data.takes["mine"]] == [f"mine{k}.wav" for k in range(5)]
    assert {x.label for stream in data.scenes for x in stream.events} == {"mine"}
    assert {x.label for stream in data.negatives for x in stream.events} == {""}
    assert data.negative_h == 1.0
    methods = {"learn": METHODS["learn"]}
    results = evaluate_within(ears, tmp_path, clips, (1, 5, 10), methods)
    assert [(one.n_takes, one.n_classes) for one in results] == [(1, 1), (5, 1)]


def test_the_table_has_a_line_for_each_result() -> None:
    one = FewShotResults(
        method="prototype",
        n_takes=5,
        n_classes=50,
        found=(0.2, 0.31),
        latency_s=0.5,
        found_chosen=0.4,
        alarms_chosen=2.34,
        found_new=(0.1, 0.28),
    )
    line = "| prototype | 5 | 50 | 20 | 31 | 28 | 0.50 s | 40 | 2.3 |"
    assert table([one]).splitlines()[-1] == line
