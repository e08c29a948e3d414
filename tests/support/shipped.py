"""What shipped models make of the demo scene. Tests take their labels and thresholds from here, so
that they hold for whatever weights and thresholds ship."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from edge_audio.sources.demo import DemoScene
from edge_audio.tagging.tagger import Tagger

MODEL = "tiny-int8"
_RATE_HZ = 16_000


class Heard(NamedTuple):
    """on: a threshold that the label surely crosses."""

    label: str
    on: float

    @property
    def settings(self) -> str:
        """As TOML."""
        return f"[events]\nthresholds = {{{self.label} = {self.on}}}\n"


@cache
def scene_range(duration_s: float) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """All labels, and the lowest and highest score of each f32[n_labels] in the first seconds of
    the scene."""
    tagger = Tagger.open(MODEL)
    samples = DemoScene(_RATE_HZ).first(duration_s)
    scores = np.stack([step.scores for step in tagger.steps(samples)])
    return tuple(tagger.labels), scores.min(0), scores.max(0)


def clearest(duration_s: float) -> Heard:
    """The label that comes out clearest in the first seconds of the scene, of those whose names are
    a word, with a third of its highest score."""
    labels, lowest, highest = scene_range(duration_s)
    words = np.array([label.isalpha() and label != "Silence" for label in labels])
    index = int(np.argmax((highest - lowest) * words))
    return Heard(labels[index], round(float(highest[index]) / 3.0, 2))


def unheard(duration_s: float) -> str:
    """The label with the lowest scores there, of those whose names are a word."""
    labels, _, highest = scene_range(duration_s)
    words = np.array([label.isalpha() for label in labels])
    return labels[int(np.argmin(np.where(words, highest, np.inf)))]
