"""From takes to a label: the row, its thresholds, and how often it would be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import Sensitivity, Threshold
from edge_audio.events.operating_points import ALARMS_PER_HOUR
from edge_audio.events.suggestion import HYSTERESIS
from edge_audio.learning.bank import Bank
from edge_audio.learning.fit import Linear, Told, Whitening, fit
from edge_audio.learning.network import Embedder
from edge_audio.learning.rates import highest_apart, logits_at, n_alarms_in, peaks_of
from edge_audio.sounds.embeddings import from_bytes, to_bytes
from edge_audio.sounds.file import Evidence, Sound, Sounds, Take
from edge_audio.support.arrays import DoubleArray, FloatArray, evenly_spread

MAX_LEFT_OUT = 10
_MAX_PAIRS = 128  # of the user's own hours, enough for a day
_MAX_BACKGROUND = 400  # rows of the user's own audio that are kept
_MAX_WEIGHT, _MAX_BIAS = 0.4, 4.0  # what the engine's numbers hold for every published model
_GAIN = 1.5  # of logits that vary by 1 for other sounds
_MARGIN: Mapping[Sensitivity, float] = {"quiet": 0.5, "normal": 0.3, "eager": 0.1}
"""How far thresholds move from what keeps the rate towards the takes."""
_QUIET_TAKE = 0.2  # the share of takes whose peaks are lower
_LEAST_ON, _MOST_ON = 0.02, 0.98
_SAME_LEVELS = 2  # of 255, by which runtimes may differ
_NAMED_SHARE = 0.25  # of the weight of all negatives, what a user named as others


@dataclass(frozen=True)
class Lesson:
    """What a sound is told from.

    bank, whitening: of the model. others: rows of what it is not (`--not`, other sounds that were
    learned). background: rows of the user's own audio, as they are kept. stream: all of that
    audio, one row a step, which thresholds rest on; hours: of it. pairs: where an earlier lesson
    had a stream, in place of it, `nearest`.
    """

    bank: Bank
    whitening: Whitening
    others: FloatArray
    background: FloatArray
    stream: FloatArray
    hours: float = 0.0
    pairs: FloatArray | None = None

    @classmethod
    def of(
        cls,
        network: Embedder,
        others: Sequence[Take],
        background: FloatArray,
        stream: FloatArray,
    ) -> Lesson:
        """stream: f32[n_steps, D]."""
        dim = network.embedding_dim
        named = [from_bytes(take.steps + take.changed, dim) for take in others]
        return cls(
            network.bank,
            network.whitening,
            np.concatenate([np.zeros((0, dim), np.float32), *named]),
            background,
            stream,
            len(stream) * network.step_s / 3600.0,
        )

    def after(self, hours: float, pairs: FloatArray) -> Lesson:
        """With what is known of hours that were heard earlier, if this one hears none."""
        if len(self.stream) or not len(pairs):
            return self
        return replace(self, hours=hours, pairs=pairs)

    def alarms(self, row: Linear) -> DoubleArray:
        """The highest logits in the user's own hours, each an alarm of its own, falling."""
        if self.pairs is not None:
            each = row(self.pairs.reshape(-1, self.pairs.shape[-1])).reshape(-1, 2)
            return np.asarray(np.sort(each.min(1))[::-1], np.float64)
        logits = held(row(self.stream))
        return logits[highest_apart(logits, n_alarms_in(self.hours))]

    def nearest(self, row: Linear) -> FloatArray:
        """f32[n, 2, D]: what `alarms` is made of, to be kept for later lessons."""
        if self.pairs is not None:
            return self.pairs
        n_most = min(n_alarms_in(self.hours), _MAX_PAIRS)
        places = np.array(highest_apart(held(row(self.stream)), n_most), int)
        both = np.column_stack([np.maximum(places - 1, 0), places])
        return np.asarray(self.stream[both], np.float32)

    @cached_property
    def told(self) -> Told:
        """From what is stored, the user's own audio and what a user named, which has _NAMED_SHARE
        of the weight."""
        common = np.concatenate([self.bank.rows, self.background])
        share = _NAMED_SHARE if len(self.others) else 0.0
        weights = np.concatenate(
            [
                np.full(len(common), (1.0 - share) / len(common)),
                np.full(len(self.others), share / max(len(self.others), 1)),
            ]
        )
        return Told.of(np.concatenate([common, self.others]), self.whitening, weights)


class Fitted(NamedTuple):
    """logits: the thresholds at each sensitivity."""

    row: Linear
    logits: dict[Sensitivity, float]


def fit_row(takes: Sequence[FloatArray], lesson: Lesson) -> Fitted:
    """takes: f32[n_steps, D] each, changed ones among them."""
    row = fit(takes, lesson.told, lesson.whitening)
    peaks = peaks_of(row(lesson.bank.rows), lesson.bank.owners)
    found = logits_at(peaks, lesson.hours, lesson.alarms(row))
    floor = _floor(row, takes, lesson)
    quiet_take = float(np.quantile([peak(row, take) for take in takes], _QUIET_TAKE))
    logits: dict[Sensitivity, float] = {}
    for sensitivity, logit in found.items():
        spare = max(0.0, quiet_take - logit)  # none of what is known lies there
        logits[sensitivity] = max(logit + _MARGIN[sensitivity] * spare, floor)
    return Fitted(row, logits)


def _floor(row: Linear, takes: Sequence[FloatArray], lesson: Lesson) -> float:
    """What it is not should not be reported, as far as that leaves half of the takes."""
    if not len(lesson.others):
        return -np.inf
    half = float(np.median([peak(row, take) for take in takes]))
    return min(float(row(lesson.others).max()), half)


def held(logits: DoubleArray) -> DoubleArray:
    """What stays for two steps, as an event must: the lower of each logit and the one before."""
    before = np.concatenate([logits[:1], logits[:-1]])
    return np.asarray(np.minimum(logits, before), np.float64)


def peak(row: Linear, steps: FloatArray) -> float:
    """The highest logit that stays for two steps; of a single step its own."""
    return float(held(row(steps)).max())


def n_found_of(takes: Sequence[Take], lesson: Lesson) -> list[bool]:
    """Whether each of the first MAX_LEFT_OUT takes is found, at `normal`, by a row that all others
    taught."""
    dim = lesson.bank.rows.shape[1]
    found = []
    for index, left_out in enumerate(takes[:MAX_LEFT_OUT]):
        others = [take for place, take in enumerate(takes) if place != index]
        fitted = fit_row(rows_of(others, dim), lesson)
        steps = from_bytes(left_out.steps, dim)
        found.append(peak(fitted.row, steps) >= fitted.logits["normal"])
    return found


def rows_of(takes: Sequence[Take], dim: int) -> list[FloatArray]:
    """f32[n, D] of each take, and as many of it changed, each as takes of their own."""
    rows = []
    for take in takes:
        rows.append(from_bytes(take.steps, dim))
        if take.changed:
            rows.append(from_bytes(take.changed, dim))
    return rows


class Made(NamedTuple):
    """is_found: which of the takes are found where they did not teach; none where there is one
    take. alike_s: where in the stream of the lesson something is as like the sound as its own takes
    are, None for nowhere."""

    sound: Sound
    is_found: list[bool]
    alike_s: float | None


def make_sound(
    name: str, parent: str, takes: Sequence[Take], others: Sequence[Take], lesson: Lesson
) -> Made:
    """From its takes to the sound."""
    dim = lesson.bank.rows.shape[1]
    fitted = fit_row(rows_of(takes, dim), lesson)
    is_found = n_found_of(takes, lesson) if len(takes) > 1 else []
    weight, scale, bias, heat = _quantized(fitted)
    sound = Sound(
        name=name,
        parent=parent,
        weight=weight.tobytes(),
        scale=scale,
        bias=bias,
        thresholds=_thresholds(fitted, heat),
        takes=tuple(takes),
        others=tuple(others),
        background=to_bytes(lesson.background),
        nearest=to_bytes(lesson.nearest(fitted.row).reshape(-1, dim)),
        evidence=Evidence(
            n_tried=len(is_found),
            n_found=sum(is_found),
            alarms_per_hour=ALARMS_PER_HOUR["normal"],
            negative_h=round(lesson.hours, 4),
        ),
    )
    return Made(sound, is_found, _alike_s(takes, fitted.row, lesson))


def _alike_s(takes: Sequence[Take], row: Linear, lesson: Lesson) -> float | None:
    logits, dim = held(row(lesson.stream)), lesson.bank.rows.shape[1]
    half = float(np.median([peak(row, from_bytes(take.steps, dim)) for take in takes]))
    if logits.max(initial=-np.inf) < half:
        return None
    return int(np.argmax(logits)) / len(logits) * lesson.hours * 3600.0


def kept_background(rows: FloatArray) -> FloatArray:
    """At most _MAX_BACKGROUND, evenly spread."""
    return evenly_spread(rows, _MAX_BACKGROUND)


def _quantized(fitted: Fitted) -> tuple[NDArray[np.int8], float, float, float]:
    """int8 weights, their scale, the bias, and what logits were multiplied by, so that they fit
    the engine's numbers. The score at the threshold of `normal` is 0.5."""
    weight, bias = fitted.row.weight, fitted.row.bias - fitted.logits["normal"]
    largest = max(float(np.abs(weight).max()), 1e-9)
    heat = min(_GAIN, _MAX_WEIGHT / largest, _MAX_BIAS / max(abs(bias), 1e-9))
    integers = np.round(weight / largest * 127.0).astype(np.int8)
    return integers, heat * largest / 127.0, heat * bias, heat


def _thresholds(fitted: Fitted, heat: float) -> dict[Sensitivity, Threshold]:
    made: dict[Sensitivity, Threshold] = {}
    for sensitivity, logit in fitted.logits.items():
        odds = heat * (logit - fitted.logits["normal"])
        on = float(np.clip(1.0 / (1.0 + np.exp(-odds)), _LEAST_ON, _MOST_ON))
        made[sensitivity] = Threshold(on=round(on, 4), off=round(HYSTERESIS * on, 4))
    return made


def without_repeats(takes: Sequence[Take]) -> tuple[tuple[Take, ...], tuple[Take, ...]]:
    """Takes that differ, and those that are one of them once more: the same recording, given again
    or under another name. They would be found by themselves where they are left out."""
    kept: list[Take] = []
    again: list[Take] = []
    for take in takes:
        (again if any(_is_same(take, other) for other in kept) else kept).append(take)
    return tuple(kept), tuple(again)


def _is_same(take: Take, other: Take) -> bool:
    """Within what runtimes differ by."""
    if len(take.steps) != len(other.steps):
        return False
    ours, theirs = (np.frombuffer(x.steps, np.uint8).astype(np.int16) for x in (take, other))
    return int(np.abs(ours - theirs).max(initial=0)) <= _SAME_LEVELS


def earlier_takes(sounds: Sounds, name: str) -> list[Take]:
    """Of all sounds that were learned, but this one."""
    others = (sound for sound in sounds.sounds if sound.name.casefold() != name.casefold())
    return [take for sound in others for take in sound.takes]
