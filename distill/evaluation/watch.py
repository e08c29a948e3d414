"""A student on strange places while it trains: a curve to stop by, never to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.labels import audioset_labels
from distill.data.strange import ESC, strange_source
from distill.evaluation.clips import label_matrix
from distill.evaluation.lineage import lineage_of
from distill.evaluation.metrics import average_precision, hit_at_of_groups
from distill.evaluation.results import HITS_AT
from distill.evaluation.strange import SEED, strange_places
from distill.evaluation.strange_results import BUT_ESC, MIN_POSITIVES
from distill.progress import tracked
from distill.scoring.clips import SAMPLE_RATE_HZ, frames_of
from distill.students.student import Student
from distill.training.recipe import Recipe
from edge_audio.errors import UsageError
from edge_audio.support.arrays import FloatArray

_BATCH_SIZE = 32


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
        self._n_quiet, self._n_step_frames = spec.quiet_steps, spec.frames_per_step
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
        """f32[n_clips, n_labels]: the highest probability over a clip's steps. Clips of about one
        length are scored together: a student is causal, so that what is padded changes nothing."""
        lengths = [len(frames) for frames in self._frames]
        scores = np.empty((len(lengths), len(self._names)), np.float32)
        order, device = np.argsort(lengths, kind="stable"), next(student.parameters()).device
        for start in range(0, len(order), _BATCH_SIZE):
            rows = order[start : start + _BATCH_SIZE]
            batch = [torch.from_numpy(self._frames[row]).float() for row in rows]
            with torch.inference_mode():
                logits = student(pad_sequence(batch, batch_first=True).to(device)).logits.cpu()
            for row, of_clip in zip(rows, logits, strict=True):
                steps = of_clip[self._n_quiet : lengths[row] // self._n_step_frames]
                scores[row] = torch.sigmoid(steps.amax(0)).numpy()
        return scores

    def _figures(self, title: str, scores: FloatArray, clips: Sequence[Clip]) -> dict[str, float]:
        listed, groups = label_matrix(clips, self._names), [clip.group for clip in clips]
        hits = {
            f"{title} hit@{k}": hit_at_of_groups(k, scores, listed, groups, SEED).value
            for k in HITS_AT
        }
        precision = average_precision(scores, listed, self._names, groups, SEED, MIN_POSITIVES)
        return {**hits, f"{title} mAP": precision.mean.value} if precision.classes else hits
