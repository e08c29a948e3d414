"""A student on strange places while it trains: a curve to stop by, never to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.labels import audioset_labels
from distill.data.strange import ESC, strange_source
from distill.evaluation.clips import label_matrix
from distill.evaluation.lineage import lineage_of
from distill.evaluation.results import HITS_AT
from distill.evaluation.strange import hits_and_precision, strange_places
from distill.evaluation.strange_results import BUT_ESC
from distill.progress import tracked
from distill.scoring.clips import SAMPLE_RATE_HZ, frames_of, highest_logits
from distill.students.student import Student
from distill.training.recipe import Recipe
from edge_audio.errors import UsageError
from edge_audio.support.arrays import FloatArray


class StrangeWatch:
    """Hits and mean average precision, for ESC and for the other strange sources together. Clips
    are decoded once and stay in memory (64 kB each for five seconds).

    Raises UsageError if the recipe, or one of its lineage, hears some of every strange source.
    """

    def __init__(self, recipe: Recipe) -> None:
        clip_list = named_clip_list()
        clips, self._names = read_clip_list(clip_list), audioset_labels()
        heard = lineage_of(recipe.name, recipe).heard_groups(clips)
        places = strange_places(clips, self._names)
        unheard = {
            source: of_source
            for source, of_source in places.items()
            if not any(clip.group in heard for clip in of_source)
        }
        if not unheard:
            raise UsageError(
                f"{recipe.name} hears strange places: set split.hold_out_strange = true, "
                "or training.watch_every_steps = 0"
            )
        self.clips = [clip for of_source in unheard.values() for clip in of_source]
        spec = Student(recipe.student).model_spec()
        folder = clip_list.parent
        self._frames = [
            frames_of(read_clip(folder / clip.path, SAMPLE_RATE_HZ), spec).astype(np.float16)
            for clip in tracked(self.clips, "decoding strange places")
        ]

    def __call__(self, student: Student) -> dict[str, float]:
        """Figures by name; mAP is that of classes with MIN_POSITIVES clips, if there are any."""
        scores, is_esc = self.scores(student), [strange_source(c) == ESC for c in self.clips]
        figures: dict[str, float] = {}
        for title, wanted in ((ESC, True), (BUT_ESC, False)):
            rows = [row for row, of_esc in enumerate(is_esc) if of_esc == wanted]
            if rows:
                figures |= self._figures(title, scores[rows], [self.clips[row] for row in rows])
        return figures

    def scores(self, student: Student) -> FloatArray:
        """f32[n_clips, n_labels]: the highest probability over a clip's steps."""
        scores: FloatArray = expit(highest_logits(student, self._frames))
        return scores

    def _figures(self, title: str, scores: FloatArray, clips: Sequence[Clip]) -> dict[str, float]:
        listed, groups = label_matrix(clips, self._names), [clip.group for clip in clips]
        hits, precision = hits_and_precision(scores, listed, self._names, groups)
        figures = {f"{title} hit@{k}": hit.value for k, hit in zip(HITS_AT, hits, strict=True)}
        return figures | ({f"{title} mAP": precision.mean.value} if precision else {})
