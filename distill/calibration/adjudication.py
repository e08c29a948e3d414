"""False alarms judged by strong listeners: what both hear there was right, whatever is listed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import soundfile

from distill.calibration.sweeps import Start, Sweep
from distill.mixing.soundscapes import SAMPLE_RATE_HZ, Scene
from edge_audio.events.sweep import Counts
from edge_audio.labels.ontology import descendant_labels
from edge_audio.support.arrays import FloatArray
from edge_audio.support.paths import for_soundfile
from edge_audio.support.slugs import file_slug

HEARD_S = 2.0
"""What a witness hears: the latest seconds up to the report."""

GRID_S = 0.5
"""Reports within the same half second are judged by the same seconds."""

LEVELS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
MAX_BY_CHANCE = 0.01
MAX_PER_HOUR = 20.0
"""Thresholds with more false alarms an hour than this are not judged: no choice falls on them."""


class Witness(Protocol):
    """Hears f32[n] mono at SAMPLE_RATE_HZ, a few seconds of it."""

    labels: tuple[str, ...]

    def probabilities(self, samples: FloatArray) -> FloatArray:
        """-> f32[n_labels]."""


Moment = tuple[int, int]
"""A scene, and which of its half seconds."""


class Verdicts(NamedTuple):
    """level: from which on a witness counts as hearing a label. by_chance: share of the starts
    that would be confirmed by what the witnesses hear at another start's moment. confirmed: starts
    of each sweep, in their order, that both witnesses confirm."""

    level: float
    by_chance: float
    confirmed: Sequence[Sequence[bool]]


def moment_of(start: Start) -> Moment:
    """The moment that a start is judged by."""
    return start.scene, int(start.seen_s / GRID_S)


def judged_starts(sweep: Sweep) -> list[int]:
    """Which of a sweep's starts a choice may rest on."""
    limits = MAX_PER_HOUR * sweep.hours
    return [
        index
        for index, start in enumerate(sweep.starts)
        if sweep.alarms[start.row, start.column] <= limits[start.row]
    ]


def hear_moments(
    witnesses: Sequence[Witness],
    labels: Sequence[str],
    scenes: Iterable[Scene],
    moments: Iterable[Moment],
) -> dict[Moment, FloatArray]:
    """What the least convinced of the witnesses makes of each label, or of what is a kind of it: of
    each moment f32[n_labels]. scenes: those of the moments, in their order."""
    columns = [[_columns(witness, label) for label in labels] for witness in witnesses]
    by_scene: dict[int, set[int]] = defaultdict(set)
    for scene, place in moments:
        by_scene[scene].add(place)
    heard = {}
    for index, scene_heard in enumerate(scenes):
        for place in sorted(by_scene.get(index, ())):
            samples = excerpt(scene_heard, place, HEARD_S)
            heard[index, place] = np.min(
                [
                    _by_label(witness.probabilities(samples), mine)
                    for witness, mine in zip(witnesses, columns, strict=True)
                ],
                axis=0,
            )
    return heard


def excerpt(scene: Scene, place: int, duration_s: float) -> FloatArray:
    """The latest seconds of a scene up to the end of one of its half seconds."""
    end = min(len(scene.samples), round((place + 1) * GRID_S * SAMPLE_RATE_HZ))
    return scene.samples[max(0, end - round(duration_s * SAMPLE_RATE_HZ)) : end]


def judge(sweeps: Sequence[Sweep], heard: Sequence[Mapping[Moment, FloatArray]]) -> Verdicts:
    """Confirms starts by what was heard at their moments, fold by fold. Starts at moments that
    nobody heard are not confirmed.

    The level is the lowest of LEVELS at which moments of other starts would confirm at most
    MAX_BY_CHANCE of the starts: as likely as that, two witnesses agree by chance.
    """
    others: list[float] = []
    for sweep, mine in zip(sweeps, heard, strict=True):
        judged = [sweep.starts[i] for i in judged_starts(sweep)]
        others += _at_other_moments([x for x in judged if moment_of(x) in mine], mine)
    chance = np.array(others or [0.0])
    shares = {level: float((chance >= level).mean()) for level in LEVELS}
    level = next((x for x in LEVELS if shares[x] <= MAX_BY_CHANCE), LEVELS[-1])
    confirmed = [_confirmed(sweep, mine, level) for sweep, mine in zip(sweeps, heard, strict=True)]
    return Verdicts(level, shares[level], confirmed)


def without(sweep: Sweep, confirmed: Sequence[bool]) -> Sweep:
    """The sweep less the starts that were confirmed."""
    kept = [x for x, is_right in zip(sweep.starts, confirmed, strict=True) if not is_right]
    alarms: Counts = np.zeros_like(sweep.alarms)
    for start in kept:
        alarms[start.row, start.column] += 1
    return sweep._replace(alarms=alarms, starts=kept)


def count_confirmed(
    labels: Sequence[str], sweeps: Sequence[Sweep], verdicts: Verdicts, on: Mapping[str, float]
) -> dict[str, tuple[int, int]]:
    """Label -> how many starts at its threshold were not expected, and how many of these were
    confirmed, for labels that had any. on: the thresholds, which are points of the sweeps."""
    n_starts: Counter[str] = Counter()
    n_confirmed: Counter[str] = Counter()
    for sweep, confirmed in zip(sweeps, verdicts.confirmed, strict=True):
        for start, is_right in zip(sweep.starts, confirmed, strict=True):
            label = labels[start.row]
            if label in on and abs(sweep.points[start.column] - on[label]) < 1e-4:
                n_starts[label] += 1
                n_confirmed[label] += is_right
    return {label: (n, n_confirmed[label]) for label, n in n_starts.most_common()}


def write_moments(
    folder: Path, labels: Sequence[str], scenes: Iterable[Scene], starts: Sequence[Start]
) -> int:
    """Writes what was heard at these starts as WAV, named by label, and returns how many files
    that made."""
    by_scene: dict[int, list[Start]] = defaultdict(list)
    for start in starts:
        by_scene[start.scene].append(start)
    folder.mkdir(parents=True, exist_ok=True)
    n_written = 0
    for index, scene in enumerate(scenes):
        for start in by_scene.get(index, ()):
            name = f"{file_slug(labels[start.row])}-{index}-{start.seen_s:.0f}s.wav"
            samples = excerpt(scene, moment_of(start)[1], 2.0 * HEARD_S)
            soundfile.write(for_soundfile(folder / name), samples, SAMPLE_RATE_HZ, "PCM_16")
            n_written += 1
    return n_written


def _columns(witness: Witness, label: str) -> list[int]:
    names = {label, *descendant_labels(label)}
    return [index for index, name in enumerate(witness.labels) if name in names]


def _by_label(scores: FloatArray, columns: Sequence[Sequence[int]]) -> FloatArray:
    return np.array([scores[mine].max() if mine else 0.0 for mine in columns], np.float32)


def _at_other_moments(starts: Sequence[Start], heard: Mapping[Moment, FloatArray]) -> list[float]:
    """What the witnesses make of each start's label at the moment of a start far from it."""
    half = len(starts) // 2
    return [
        float(heard[moment_of(starts[(i + half) % len(starts)])][start.row])
        for i, start in enumerate(starts)
        if moment_of(starts[(i + half) % len(starts)])[0] != start.scene
    ]


def _confirmed(sweep: Sweep, heard: Mapping[Moment, FloatArray], level: float) -> list[bool]:
    verdict = [False] * len(sweep.starts)
    for index in judged_starts(sweep):
        start = sweep.starts[index]
        scores = heard.get(moment_of(start))
        verdict[index] = scores is not None and bool(scores[start.row] >= level)
    return verdict
