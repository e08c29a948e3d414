"""Where the time goes from the onset of a sudden sound to its report, and what other rules for a
start would bring at the same number of false alarms.

    python benchmarks/sudden_sounds.py --model tiny-int8

Sudden sounds that the model holds out lie over noise, and all kinds of sounds in long negatives,
of two halves of the recordings. Rules are compared by the scenes of one seed for choosing, and of
another for the figures. All thresholds are those of the model at `normal`, moved together, in
log-odds, to where a rule has as many false alarms as what is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from distill.calibration.scenes import fold_of_groups, is_in_time
from distill.data.clip_list import Clip, read_clip_list
from distill.data.companions import Companions, find_companions
from distill.data.folders import named_clip_list
from distill.data.split import Split
from distill.evaluation.streaming_metrics import SUDDEN
from distill.mixing.soundscapes import (
    Scene,
    Sound,
    SoundscapeConfig,
    TrueEvent,
    cut_bouts,
    negatives,
    read_sounds,
    soundscapes,
)
from distill.scoring.clips import BundleScorer, log_odds
from distill.scoring.streams import StepStreamScorer
from edge_audio import Bundle, load_bundle
from edge_audio.events.detector import Watched, smoothing_factor, watch_in_numpy
from edge_audio.events.suggestion import HYSTERESIS
from edge_audio.support.arrays import FloatArray

Bools = NDArray[np.bool_]
CHOOSE, SCORE = 7, 0
CONFIG = SoundscapeConfig(n_scenes=20, n_negatives=2, n_negative_sounds=40)
N_CLIPS, N_OTHERS = 40, 240
"""Of each sudden label, and of all others together."""
SOUNDS_PER_H = 60
SHIFTS = np.arange(-1.5, 1.75, 0.5)
FALL_S, MIN_OFF_STEPS = 0.24, 6


class Heard(NamedTuple):
    """A scene as the model hears it. logits f32[n_steps, n_labels]: of its scores. before f32: the
    lowest logits of the one, two and three steps before. smoothed: by time constants of attack."""

    is_negative: bool
    events: Sequence[TrueEvent]
    times_s: NDArray[np.float64]
    logits: FloatArray
    before: Sequence[FloatArray]
    smoothed: Mapping[float, FloatArray]


Rule = Callable[[Heard, NDArray[np.float64]], Bools]
"""Where a label may start, bool[n_steps, n_labels], by thresholds f64[n_labels] in log-odds."""


def plain(heard: Heard, ons: NDArray[np.float64], attack_s: float = 0.0, n_steps: int = 1) -> Bools:
    """The smoothed score is at `on` for so many steps."""
    return _lasting(heard.smoothed[attack_s] >= ons, n_steps)


def two_thresholds(heard: Heard, ons: NDArray[np.float64], below: float, n_steps: int) -> Bools:
    """At once from `on`, or after n_steps from a threshold below it."""
    return plain(heard, ons) | _lasting(heard.smoothed[0.0] >= ons - below, n_steps)


def rising(
    heard: Heard, ons: NDArray[np.float64], below: float, rise: float, n_steps: int
) -> Bools:
    """From `on`, or from a threshold below it where the log-odds have risen by so much within
    n_steps."""
    rose = heard.logits - heard.before[n_steps - 1] >= rise
    return plain(heard, ons) | ((heard.logits >= ons - below) & rose)


def ahead(heard: Heard, ons: NDArray[np.float64], n_steps: float) -> Bools:
    """From where the log-odds will be in n_steps, if they go on rising."""
    rise = np.maximum(heard.logits - heard.before[0], 0.0)
    return np.asarray(heard.logits + n_steps * rise >= ons)


RULES: dict[str, Rule] = {
    "attack 0 (as shipped)": plain,
    "attack 0.08 s, min_on 0.08 s": partial(plain, attack_s=0.08, n_steps=2),
    "min_on 0.08 s": partial(plain, n_steps=2),
    **{
        f"{below:g} below `on` for {n} steps": partial(two_thresholds, below=below, n_steps=n)
        for below, n in ((1.0, 2), (2.0, 5))
    },
    **{
        f"{below:g} below `on` after a rise of {rise:g} in {n} steps": partial(
            rising, below=below, rise=rise, n_steps=n
        )
        for below in (0.5, 1.0, 1.5)
        for rise, n in ((2.0, 2), (3.0, 3))
    },
    "where it will be in half a step": partial(ahead, n_steps=0.5),
}


class Report(NamedTuple):
    """An event that was found, and how many seconds after its onset."""

    heard: Heard
    event: TrueEvent
    late_s: float


class Found(NamedTuple):
    """Of one rule at one shift: what was found of n_events, and false starts by label."""

    reports: Sequence[Report]
    n_events: int
    alarms: NDArray[np.int64]

    @property
    def share(self) -> float:
        return len(self.reports) / max(self.n_events, 1)

    @property
    def median_s(self) -> float:
        return float(np.median([x.late_s for x in self.reports])) if self.reports else np.nan


class Listening(NamedTuple):
    """labels: those that are on. ons f64[n_labels]: their thresholds at `normal`, in log-odds."""

    labels: tuple[str, ...]
    ons: NDArray[np.float64]
    companions: Companions

    def found(self, rule: Rule, scenes: Sequence[Heard], shifts: NDArray[np.float64]) -> Found:
        """shifts f64[n_labels]: added to the thresholds."""
        reports: list[Report] = []
        n_events, alarms = 0, np.zeros(len(self.labels), np.int64)
        ons = self.ons + shifts
        for heard in scenes:
            starts = _starts(rule(heard, ons), _released(heard, ons), heard.times_s)
            alarms += [self._n_false(row, times_s, heard) for row, times_s in enumerate(starts)]
            events = () if heard.is_negative else heard.events
            n_events += len(events)
            late = [(event, self._late_s(event, starts)) for event in events]
            reports += [Report(heard, event, x) for event, x in late if x is not None]
        return Found(reports, n_events, alarms)

    def _late_s(self, event: TrueEvent, starts: Sequence[Sequence[float]]) -> float | None:
        times_s = starts[self.labels.index(event.label)]
        return next((x - event.onset_s for x in times_s if is_in_time(event, x)), None)

    def _n_false(self, row: int, times_s: Sequence[float], heard: Heard) -> int:
        companions = self.companions[self.labels[row]]
        expected = [event for event in heard.events if event.label in companions]
        return sum(not any(is_in_time(event, x) for event in expected) for x in times_s)


def _lasting(is_on: Bools, n_steps: int) -> Bools:
    lasting: Bools = is_on.copy()
    for delay in range(1, n_steps):
        lasting[delay:] &= is_on[:-delay]
        lasting[:delay] = False
    return lasting


def _released(heard: Heard, ons: NDArray[np.float64]) -> Bools:
    """Where an event ends: the smoothed score has been below `off` for so long."""
    offs = logit(np.clip(HYSTERESIS / (1.0 + np.exp(-ons)), 1e-5, 1.0 - 1e-5))
    return _lasting(heard.smoothed[0.0] < offs, MIN_OFF_STEPS)


def _starts(may_start: Bools, ends: Bools, times_s: NDArray[np.float64]) -> list[list[float]]:
    """Times of the starts of each label: none between a start and its end."""
    found: list[list[float]] = []
    for on, end in zip(may_start.T, ends.T, strict=True):
        steps, end_steps, mine, place = np.flatnonzero(on), np.flatnonzero(end), list[float](), 0
        while place < len(steps):
            mine.append(float(times_s[steps[place]]))
            after = int(np.searchsorted(end_steps, steps[place] + MIN_OFF_STEPS))
            if after == len(end_steps):
                break
            place = int(np.searchsorted(steps, end_steps[after]))
        found.append(mine)
    return found


class Ear:
    """Hears scenes by a model, of some of its labels."""

    def __init__(self, bundle: Bundle, labels: Sequence[str]) -> None:
        self._scorer = StepStreamScorer(BundleScorer(bundle))
        self._columns = [self._scorer.labels.index(label) for label in labels]

    def hear(self, scene: Scene, is_negative: bool) -> Heard:
        times_s, all_scores = self._scorer.track(scene.samples)
        scores = all_scores[:, self._columns]
        logits, step_s = log_odds(scores), self._scorer.step_s
        before = [_lowest_before(logits, n) for n in (1, 2, 3)]
        smoothed = {x: log_odds(_smoothed(scores, x, step_s)) for x in (0.0, 0.08)}
        return Heard(is_negative, scene.events, times_s, logits, before, smoothed)


def _lowest_before(logits: FloatArray, n_steps: int) -> FloatArray:
    """Infinite where nothing was before: a rise needs something to rise from."""
    padded = np.pad(logits, ((n_steps, 0), (0, 0)), constant_values=np.inf)
    before = [padded[n_steps - d : len(padded) - d] for d in range(1, n_steps + 1)]
    return np.asarray(np.min(before, axis=0))


def _smoothed(scores: FloatArray, attack_s: float, step_s: float) -> FloatArray:
    """As the event detector does."""
    n = scores.shape[1]
    watched = Watched(
        index=np.arange(n),
        smoothed=np.zeros(n, np.float32),
        peak=np.zeros(n, np.float32),
        limit=np.full(n, np.inf, np.float32),
        is_active=np.zeros(n, np.bool_),
        rise=np.float32(smoothing_factor(attack_s, step_s)),
        fall=np.float32(smoothing_factor(FALL_S, step_s)),
    )
    watch, rows = watch_in_numpy(watched), []
    for row in scores:
        watch(row[None])
        rows.append(watched.smoothed.copy())
    return np.array(rows)


def chosen_clips(clips: Sequence[Clip], labels: Sequence[str]) -> list[Clip]:
    """N_CLIPS of each label, of as many recordings as there are, and N_OTHERS without them."""
    rng, counts, groups = np.random.default_rng(1), dict.fromkeys(labels, 0), set[str]()
    mixed = [clips[i] for i in rng.permutation(len(clips))]
    again = []
    for clip in mixed:
        again.append(clip.group in groups)
        groups.add(clip.group)
    by_novelty = [mixed[i] for i in np.argsort(again, kind="stable")]
    kept: list[Clip] = []
    for clip in by_novelty:
        mine = counts.keys() & set(clip.labels)
        if any(counts[label] < N_CLIPS for label in mine):
            kept.append(clip)
            for label in mine:
                counts[label] += 1
    others = [clip for clip in mixed if not counts.keys() & set(clip.labels)]
    return kept + others[:N_OTHERS]


def scenes_of(
    halves: Sequence[Sequence[Sound]], seed: int, labels: Sequence[str]
) -> Iterator[tuple[Scene, bool]]:
    """Soundscapes of the labels, then negatives, of each half of the recordings."""
    for half, sounds in enumerate(halves):
        bouts = [x._replace(labels=tuple(set(x.labels) & set(labels))) for x in cut_bouts(sounds)]
        sudden = [bout for bout in bouts if bout.labels]
        yield from ((scene, False) for scene in soundscapes(CONFIG, sudden, (seed, half)))
        yield from ((scene, True) for scene in negatives(CONFIG, sounds, (seed, half)))


def where_time_goes(labels: Sequence[str], reports: Sequence[Report]) -> NDArray[np.float64]:
    """Medians f64[4] of seconds from the onset: to the first step that hears it, to where the
    network moves (by 2 in log-odds), to the report, and to the highest score."""
    rows = []
    for heard, event, late_s in reports:
        first, moved, highest = _moments(heard, labels.index(event.label), event)
        rows.append([first, moved, late_s, highest])
    return np.asarray(np.nanmedian(np.array(rows), axis=0))


def _moments(heard: Heard, row: int, event: TrueEvent) -> list[float]:
    times_s, logits = heard.times_s, heard.logits[:, row]
    first = int(np.searchsorted(times_s, event.onset_s))
    last = int(np.searchsorted(times_s, event.offset_s + 1.0))
    level = float(np.median(logits[max(0, first - 5) : first])) if first else 0.0
    moved = np.flatnonzero(logits[first:last] >= level + 2.0)
    steps = [first, *(first + moved[:1]), first + int(np.argmax(logits[first:last]))]
    late_s = [float(times_s[i]) - event.onset_s for i in steps]
    return late_s if len(moved) else [late_s[0], np.nan, late_s[1]]


def curve_of(listening: Listening, rule: Rule, scenes: Sequence[Heard]) -> list[Found]:
    """At each of SHIFTS for all labels together."""
    return [listening.found(rule, scenes, np.full(len(listening.labels), x)) for x in SHIFTS]


def at_alarms(curve: Sequence[Found], n_alarms: float) -> tuple[float, float]:
    """Share of events found and median latency where a rule has so many false starts, between two
    shifts; no numbers where it has not."""
    counts = [int(found.alarms.sum()) for found in curve]
    for i, (more, fewer) in enumerate(pairwise(counts)):
        if more >= n_alarms >= fewer:
            w = (more - n_alarms) / max(more - fewer, 1)
            (a, b), (c, d) = ((x.share, x.median_s) for x in curve[i : i + 2])
            return (1.0 - w) * a + w * c, (1.0 - w) * b + w * d
    return float("nan"), float("nan")


def with_hindsight(listening: Listening, curve: Sequence[Found], scenes: Sequence[Heard]) -> Found:
    """Each label at the lowest threshold at which it has no more false starts in these scenes than
    at its own: what no choice beforehand can know."""
    own = curve[int(np.argmin(np.abs(SHIFTS)))].alarms
    counts = np.array([found.alarms for found in curve])
    shifts = np.array([SHIFTS[int(np.argmax(counts[:, row] <= n))] for row, n in enumerate(own)])
    return listening.found(plain, scenes, shifts)


def listen(model: str) -> tuple[Listening, dict[int, list[Heard]]]:
    """The scenes of both seeds as the model hears them."""
    bundle, clip_list = load_bundle(model), named_clip_list()
    clips = read_clip_list(clip_list)
    split = msgspec.convert(bundle.manifest.provenance["recipe"]["split"], Split)
    thresholds = bundle.manifest.events.thresholds
    labels = tuple(sorted(SUDDEN & thresholds.keys()))
    held_out = chosen_clips([clip for clip in split.divide(clips)[1] if clip.labels], labels)
    half_of = fold_of_groups(held_out, 2)
    halves = [
        read_sounds(clip_list.parent, [clip for clip in held_out if half_of[clip.group] == half])
        for half in (0, 1)
    ]
    ear = Ear(bundle, labels)
    heard = {
        seed: [ear.hear(*scene) for scene in scenes_of(halves, seed, labels)]
        for seed in (CHOOSE, SCORE)
    }
    ons = logit(np.array([thresholds[label].on for label in labels]))
    return Listening(labels, ons, find_companions(clips, labels)), heard


@click.command()
@click.option("--model", default="tiny-int8")
def main(model: str) -> None:
    """Prints medians, then each rule at as many false alarms as the first one, and three times as
    many."""
    listening, heard = listen(model)
    click.echo(f"{model}: {', '.join(listening.labels)}")
    references = {}
    for seed, scenes in heard.items():
        curve = curve_of(listening, plain, scenes)
        own = curve[int(np.argmin(np.abs(SHIFTS)))]
        references[seed] = float(own.alarms.sum())
        hours = sum(len({x[1:] for x in y.events}) for y in scenes if y.is_negative) / SOUNDS_PER_H
        medians_s = where_time_goes(listening.labels, own.reports)
        hindsight = with_hindsight(listening, curve, scenes)
        click.echo(
            f"seed {seed}: {own.n_events} events, {own.alarms.sum()} false starts in "
            f"{hours:.1f} h of sounds and in the scenes; {_told(own.share, own.median_s)}; first "
            f"step, network moves, report, highest score: {np.round(medians_s, 2).tolist()} s; by "
            f"hindsight {_told(hindsight.share, hindsight.median_s)}"
        )
    for name, rule in RULES.items():
        cells = []
        for seed, scenes in heard.items():
            curve = curve_of(listening, rule, scenes)
            for times in (1.0, 3.0):
                cells.append(_told(*at_alarms(curve, times * references[seed])))
        click.echo(f"{name}: {' | '.join(cells)}")


def _told(share: float, median_s: float) -> str:
    return f"{100 * share:.1f} % {median_s:.2f} s"


if __name__ == "__main__":
    main()
