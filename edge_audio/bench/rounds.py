"""One round of one candidate, measured from within its own process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge_audio.bench.candidates import Candidate, Facts, OpenCandidate
from edge_audio.bench.machine import peak_resident_mb
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.base import Block, paced
from edge_audio.support.arrays import FloatArray

FILE_BLOCK_MS, LIVE_BLOCK_MS = 1000.0, 80.0  # as `edge-audio listen` reads files and microphones
MAX_PASS_S = 4.0
"""Wall time after which a slow candidate has heard enough of the recording."""

MAX_PART_S = 40.0  # of audio, which is kept in memory
WARM_S, PACED_S = 2.0, 10.0
"""In real time: what is heard before counting, and what is counted, of recordings that are as long.
What is done for the first time, such as to touch memory, would be most of a shorter stretch."""
MIN_PACED_STEPS = 4


class OpenJob(Spec, frozen=True, tag="open"):
    """Opens a model and no more, so that what is compiled or cached at first use is no part of a
    round."""

    candidate: Candidate

    def run(self, heard_first: Callable[[], None]) -> Facts:
        return self.candidate.open().facts


class Round(Spec, frozen=True, tag="round"):
    """CPU times are of the whole process, in ms per second of audio: a file in blocks of
    1 s, live ones in blocks of 80 ms, as fast as possible; paced: the same in real time, once
    that has run for a while.

    parts_ms_per_s: each part alone, 80 ms at a time. peak_rss_mb: after file and live pass.
    step_times_ms: wall time of every block that completed a score, in real time.
    """

    file_ms_per_s: float
    live_ms_per_s: float
    paced_ms_per_s: float
    parts_ms_per_s: dict[str, float]
    peak_rss_mb: float
    step_times_ms: tuple[float, ...]


class Waking(Spec, frozen=True, tag="waking"):
    """CPU ms per second of a process that does nothing but wake once for each live block."""

    ms_per_s: float


class WakingJob(Spec, frozen=True, tag="waking"):
    """Measures the floor of all that listens in real time on this machine."""

    seconds: float

    def run(self, heard_first: Callable[[], None]) -> Waking:
        samples, block_s = np.zeros(1, np.float32), LIVE_BLOCK_MS / 1e3
        n_blocks = max(1, round(self.seconds / block_s))
        blocks = (Block(samples, i * block_s) for i in range(n_blocks))
        cpu_start_s = time.process_time()
        for _ in paced(blocks, round(1.0 / block_s)):
            pass
        return Waking(ms_per_s=1e3 * (time.process_time() - cpu_start_s) / (n_blocks * block_s))


class RoundJob(Spec, frozen=True, tag="round"):
    """Measures a model on one recording: as a file, live, and in real time."""

    candidate: Candidate
    recording: str
    seconds: float

    def run(self, heard_first: Callable[[], None]) -> Round:
        """heard_first: called once the first score is there. Raises UsageError if the recording
        is too short for one."""
        opened, path = self.candidate.open(), Path(self.recording)
        for samples in _blocks(path, opened, LIVE_BLOCK_MS):
            opened.push(samples)
            if opened.n_steps:
                break
        else:
            step_s = opened.facts.step_ms / 1e3
            raise UsageError(f"no score in {self.seconds:g} s: --seconds must exceed {step_s:g}")
        heard_first()
        file_ms_per_s = _pass_ms_per_s(opened, path, FILE_BLOCK_MS)
        live_ms_per_s = _pass_ms_per_s(opened, path, LIVE_BLOCK_MS)
        peak_rss_mb = peak_resident_mb()
        steps_s = MIN_PACED_STEPS * opened.facts.step_ms / 1e3
        warm_s, paced_s = warm_up_s(self.seconds, steps_s), max(PACED_S, steps_s)
        paced_ms_per_s, step_times_ms = pace(opened, path, warm_s, paced_s)
        return Round(
            file_ms_per_s=file_ms_per_s,
            live_ms_per_s=live_ms_per_s,
            paced_ms_per_s=paced_ms_per_s,
            parts_ms_per_s=_parts(opened, path),
            peak_rss_mb=peak_rss_mb,
            step_times_ms=step_times_ms,
        )


def warm_up_s(seconds: float, steps_s: float) -> float:
    """How much of a recording does not count in real time: WARM_S, of a short one less, so that as
    much is left, and the steps that are wanted."""
    return min(WARM_S, max(0.0, seconds - steps_s) / 2)


def _blocks(path: Path, opened: OpenCandidate, block_ms: float) -> Iterator[FloatArray]:
    with AudioFile(path, opened.sample_rate_hz, block_ms) as source:
        for block in source.blocks():
            yield block.samples


def _pass_ms_per_s(opened: OpenCandidate, path: Path, block_ms: float) -> float:
    """CPU ms per second of audio, of the recording or as much as MAX_PASS_S allows."""
    n_samples, start_s = 0, time.process_time()
    end_s = time.monotonic() + MAX_PASS_S
    for samples in _blocks(path, opened, block_ms):
        opened.push(samples)
        n_samples += len(samples)
        if time.monotonic() > end_s:
            break
    cpu_s = time.process_time() - start_s
    return 1e3 * cpu_s * opened.sample_rate_hz / n_samples


def pace(
    opened: OpenCandidate, path: Path, warm_s: float, seconds: float
) -> tuple[float, tuple[float, ...]]:
    """CPU ms per second in real time, and the wall times of the blocks that completed a score;
    neither of the first warm_s."""
    step_times_ms: list[float] = []
    cpu_start_s = begun_s = heard_s = 0.0
    with AudioFile(path, opened.sample_rate_hz, LIVE_BLOCK_MS) as source:
        for block in paced(source.blocks(), opened.sample_rate_hz):
            n_before, start_s = opened.n_steps, time.perf_counter()
            opened.push(block.samples)
            heard_s = block.time_s + len(block.samples) / opened.sample_rate_hz
            if heard_s <= warm_s:
                cpu_start_s, begun_s = time.process_time(), heard_s
                continue
            if opened.n_steps > n_before:
                step_times_ms.append(1e3 * (time.perf_counter() - start_s))
            if heard_s >= warm_s + seconds:
                break
    cpu_s = time.process_time() - cpu_start_s
    return 1e3 * cpu_s / (heard_s - begun_s), tuple(step_times_ms)


def _parts(opened: OpenCandidate, path: Path) -> dict[str, float]:
    """CPU ms per second of every part, over a short piece where the candidate is slow."""
    blocks, n_samples = [], 0
    step_samples = round(opened.facts.step_ms / 1e3 * opened.sample_rate_hz)
    start_s = time.monotonic()
    for samples in _blocks(path, opened, LIVE_BLOCK_MS):
        opened.push(samples)
        blocks.append(samples)
        n_samples += len(samples)
        is_enough = time.monotonic() - start_s > MAX_PASS_S / 4 and n_samples >= 4 * step_samples
        if is_enough or n_samples >= MAX_PART_S * opened.sample_rate_hz:
            break
    seconds = n_samples / opened.sample_rate_hz
    return {name: 1e3 * cpu_s / seconds for name, cpu_s in opened.parts(blocks).items()}
