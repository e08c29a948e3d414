"""Runs the measuring processes, one after the other, and gathers what they say."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import soundfile

from edge_audio.bench.candidates import BundleCandidate, Candidate, Facts, PeerPlugin
from edge_audio.bench.result import Row, Scaling, to_row
from edge_audio.bench.rounds import PACED_S, OpenJob, Round, RoundJob, Waking, WakingJob
from edge_audio.bench.scaling import KINDS, Capacity, CapacityJob, Curve, CurveJob, Kind
from edge_audio.bench.worker import Answer, Failure, Job, Result, Scored
from edge_audio.errors import EdgeAudioError
from edge_audio.sources.demo import DemoScene

LIMIT_S = 300.0
"""No job takes so long, but one that hangs."""

RATE_HZ = 16_000
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Installed packages have their bytecode: a first score is not to wait for compiling sources.
_WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}

Tell = Callable[[str], None]
"""Told what is measured next."""


class BenchError(EdgeAudioError):
    """A candidate could not be measured."""


class Measured(NamedTuple):
    """missing, failed: as in `BenchResults`. waking_ms_per_s: of each round, see `Waking`."""

    rows: list[Row]
    missing: list[str]
    failed: dict[str, str]
    waking_ms_per_s: list[float]


def measure(candidates: Sequence[Candidate], seconds: float, n_rounds: int, tell: Tell) -> Measured:
    """Rounds of all candidates in turn, so that a busy minute hits all alike.

    seconds: audio of every pass. A plugin that cannot even be opened is missing, anything else
    that breaks has failed; the others go on.
    """
    facts, missing, failed = _open_all(candidates, tell)
    rounds: dict[str, list[tuple[Round, float]]] = {name: [] for name in facts}
    waking = WakingJob(seconds=min(PACED_S, seconds))
    waking_ms_per_s = []
    with tempfile.TemporaryDirectory() as folder:
        recording = str(_record(Path(folder), seconds))
        for number in range(1, n_rounds + 1):
            tell(f"round {number} of {n_rounds}: waking alone")
            waking_ms_per_s.append(_run(waking, Waking)[0].ms_per_s)
            for one in candidates:
                if one.name not in facts or one.name in failed:
                    continue
                tell(f"round {number} of {n_rounds}: {one.name}")
                job = RoundJob(candidate=one, recording=recording, seconds=seconds)
                try:
                    rounds[one.name].append(_run(job, Round))
                except BenchError as error:
                    failed[one.name] = str(error)
    rows = [
        to_row(one, facts[one.name], *zip(*rounds[one.name], strict=True))
        for one in candidates
        if one.name in facts and one.name not in failed
    ]
    return Measured(rows, missing, failed, waking_ms_per_s)


def _open_all(
    candidates: Sequence[Candidate], tell: Tell
) -> tuple[dict[str, Facts], list[str], dict[str, str]]:
    facts: dict[str, Facts] = {}
    missing: list[str] = []
    failed: dict[str, str] = {}
    for one in candidates:
        tell(f"opening {one.name}")
        try:
            facts[one.name], _ = _run(OpenJob(candidate=one), Facts)
        except BenchError as error:
            if isinstance(one, PeerPlugin):
                missing.append(f"{one.name}: {error}")
            else:
                failed[one.name] = str(error)
    return facts, missing, failed


def scale(candidate: BundleCandidate, seconds: float, paced_s: float, tell: Tell) -> Scaling:
    """How the cost of a candidate grows. seconds: audio of every point; paced_s: how long the
    streams of a core must be kept up with. Raises BenchError."""

    def curve(kind: Kind) -> Curve:
        tell(f"{candidate.name}: cost by {kind}")
        return _run(CurveJob(candidate=candidate, kind=kind, seconds=seconds), Curve)[0]

    def trial(n_streams: int) -> Capacity:
        tell(f"{candidate.name}: {n_streams} streams in real time")
        job = CapacityJob(candidate=candidate, n_streams=n_streams, seconds=paced_s)
        return _run(job, Capacity)[0]

    curves = {kind: curve(kind).points for kind in KINDS}
    full_load = 1e3 / curves["streams"][-1].ms_per_s
    return Scaling(name=candidate.name, capacity=find_capacity(trial, round(full_load)), **curves)


def find_capacity(trial: Callable[[int], Capacity], n_streams: int) -> Capacity | None:
    """The first trial that is kept up with, of n_streams and ever a tenth less; None if even one
    stream is too many."""
    while n_streams:
        capacity = trial(n_streams)
        if capacity.is_kept_up:
            return capacity
        n_streams = int(0.9 * n_streams)
    return None


T = TypeVar("T")


def _run(job: Job, kind: type[T]) -> tuple[T, float]:
    """The answer to a job from a process of its own, and the seconds from its start to its
    first score, or to its answer where it hears nothing. Raises BenchError."""
    command = [sys.executable, "-m", "edge_audio.bench.worker", msgspec.json.encode(job).decode()]
    with tempfile.TemporaryFile() as stderr:
        start_s = time.monotonic()
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **_ONE_THREAD, **_WITH_BYTECODE},
        ) as process:
            watch = threading.Timer(LIMIT_S, process.kill)
            watch.start()
            try:
                answers = [(answer, time.monotonic() - start_s) for answer in _answers(process)]
                process.wait()
            finally:
                watch.cancel()
                process.kill()
        if not answers or isinstance(answers[-1][0], Scored):
            stderr.seek(0)
            raise BenchError(_how_it_died(process.returncode, stderr.read()))
    last = answers[-1][0]
    if isinstance(last, Failure):
        raise BenchError(last.message)
    assert isinstance(last, Result)
    assert isinstance(last.value, kind)
    return last.value, answers[0][1]


def _answers(process: subprocess.Popen[bytes]) -> Iterator[Answer]:
    assert process.stdout is not None
    for line in process.stdout:
        yield msgspec.json.decode(line, type=Answer)


def _how_it_died(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"its process was ended by signal {-code}"
    lines = stderr.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"its process ended with code {code}: {last}"


def _record(folder: Path, seconds: float) -> Path:
    """The synthesised demo scene as a WAV file."""
    path = folder / "demo.wav"
    soundfile.write(path, DemoScene(RATE_HZ).first(seconds), RATE_HZ)
    return path
