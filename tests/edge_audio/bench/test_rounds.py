"""One round of `edge-audio bench`: what is counted, and what is not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from edge_audio.bench import rounds
from edge_audio.bench.candidates import BundleCandidate
from edge_audio.bench.machine import peak_resident_mb
from edge_audio.bench.rounds import RoundJob, warm_up_s
from tests.support import toy

MICRO = BundleCandidate(model="micro-int8", backend="litert")


def test_a_round_measures_what_the_tagger_does(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", toy.noise(48_000), 16_000)
    first: list[bool] = []
    job = RoundJob(candidate=MICRO, recording=str(tmp_path / "noise.wav"), seconds=3.0)
    done = job.run(lambda: first.append(True))
    assert first == [True]
    assert 0 < done.file_ms_per_s < done.live_ms_per_s < 1_000
    assert set(done.parts_ms_per_s) == {"front end", "model", "events"}
    assert all(ms > 0 for ms in done.parts_ms_per_s.values())
    assert len(done.step_times_ms) >= 3
    assert 0 < done.peak_rss_mb <= peak_resident_mb()


@pytest.mark.parametrize(
    ("seconds", "steps_s", "expected"),
    [(120.0, 0.32, 2.0), (10.0, 0.32, 2.0), (3.0, 1.0, 1.0), (6.0, 8.0, 0.0)],
)
def test_short_recordings_have_a_start_that_does_not_count_too(
    seconds: float, steps_s: float, expected: float
) -> None:
    assert warm_up_s(seconds, steps_s) == expected


def test_in_real_time_what_happens_at_the_start_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """Computes for 50 ms in each of its first blocks."""

        sample_rate_hz, n_steps, clock_s = 16_000, 0, 0.0

        def push(self, samples: np.ndarray) -> None:
            self.n_steps += 1
            self.clock_s += 0.05 if self.n_steps <= 5 else 0.001

    slow = Slow()
    soundfile.write(tmp_path / "noise.wav", toy.noise(32_000), 16_000)
    monkeypatch.setattr(rounds, "paced", lambda blocks, rate_hz: blocks)
    clock = SimpleNamespace(process_time=lambda: slow.clock_s, perf_counter=lambda: slow.clock_s)
    monkeypatch.setattr(rounds, "time", clock)
    pace = partial(rounds.pace, cast(Any, slow), tmp_path / "noise.wav")
    ms_per_s, step_times_ms = pace(warm_s=0.4, seconds=1.0)
    assert ms_per_s < 100.0
    assert len(step_times_ms) == 13
    assert max(step_times_ms) < 50.0
