"""Everything that one run measured, as `--json` keeps it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge_audio.bench.candidates import Candidate, Facts
from edge_audio.bench.machine import Machine
from edge_audio.bench.quality import Quality
from edge_audio.bench.rounds import Round
from edge_audio.bench.scaling import Capacity, Point
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.support.files import write_atomically


class Spread(Spec, frozen=True):
    """One figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))


class Row(Spec, frozen=True):
    """What one candidate costs; figures as in `Round`, over all rounds.

    family: the model's name in evaluations, the same on every backend.
    first_score_s: wall time from starting the process to its first score, audio as fast as
        it is heard. n_steps: how many scores in real time the percentiles are of.
    """

    name: str
    family: str
    facts: Facts
    file_ms_per_s: Spread
    live_ms_per_s: Spread
    paced_ms_per_s: Spread
    parts_ms_per_s: dict[str, float]
    peak_rss_mb: float
    first_score_s: float
    n_steps: int
    step_p50_ms: float
    step_p99_ms: float


class Scaling(Spec, frozen=True):
    """How the cost of one candidate grows; the curves are those of `scaling.Crowd`. capacity:
    None where not even one stream was kept up with."""

    name: str
    streams: tuple[Point, ...]
    labels: tuple[Point, ...]
    push: tuple[Point, ...]
    hours: tuple[Point, ...]
    capacity: Capacity | None


class BenchResults(Spec, frozen=True):
    """waking_ms_per_s: see `Waking`; None in older results.

    missing: candidates that could not take part, and why. failed: those that were to take
    part and broke, name -> reason."""

    command: str
    machine: Machine
    seconds: float
    n_rounds: int
    rows: tuple[Row, ...]
    waking_ms_per_s: Spread | None = None
    scaling: tuple[Scaling, ...] = ()
    quality: tuple[Quality, ...] = ()
    missing: tuple[str, ...] = ()
    failed: dict[str, str] = msgspec.field(default_factory=dict)


def to_row(
    candidate: Candidate, facts: Facts, rounds: Sequence[Round], starts_s: Sequence[float]
) -> Row:
    """All rounds of one candidate, at least one."""
    steps_ms = [ms for one in rounds for ms in one.step_times_ms]
    p50_ms, p99_ms = np.percentile(steps_ms, (50, 99)).tolist()
    return Row(
        name=candidate.name,
        family=candidate.family,
        facts=facts,
        file_ms_per_s=Spread.of([one.file_ms_per_s for one in rounds]),
        live_ms_per_s=Spread.of([one.live_ms_per_s for one in rounds]),
        paced_ms_per_s=Spread.of([one.paced_ms_per_s for one in rounds]),
        parts_ms_per_s={
            name: statistics.median(one.parts_ms_per_s[name] for one in rounds)
            for name in rounds[0].parts_ms_per_s
        },
        peak_rss_mb=statistics.median(one.peak_rss_mb for one in rounds),
        first_score_s=statistics.median(starts_s),
        n_steps=len(steps_ms),
        step_p50_ms=p50_ms,
        step_p99_ms=p99_ms,
    )


def save_results(results: BenchResults, path: Path) -> None:
    """Writes FILE.json."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(results)) + b"\n")


def load_results(path: Path) -> BenchResults:
    """Raises UsageError for anything but what `save_results` wrote, or if nothing was measured."""
    try:
        results = msgspec.json.decode(path.read_bytes(), type=BenchResults)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} holds no results of edge-audio bench: {error}") from error
    if not results.rows:
        raise UsageError(f"{path} measured nothing: run edge-audio bench --json anew")
    return results
