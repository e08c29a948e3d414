"""What a batch of targets gets on its way into training: arrays that are cheap to make anew.

Each input names the `fields` of the targets that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.data.clip_list import Clip
from distill.data.companions import find_companions
from distill.students.student import Student
from distill.training.recipe import MaskingConfig
from distill.training.shards import Arrays


class HumanLabels:
    """`human` f32[N, C]: 1 for the labels that the clip list has for the clips in each mixture, 0
    for others; -1 for others where a clip without labels sounds, in which they may be."""

    fields = ("sources",)

    def __init__(self, clips: Sequence[Clip], labels: Sequence[str]) -> None:
        column = {name: index for index, name in enumerate(labels)}
        self._table = np.zeros((len(clips) + 1, len(labels)), bool)  # source -1: the last row
        for row, clip in enumerate(clips):
            self._table[row, [column[name] for name in clip.labels if name in column]] = True
        self._is_unknown = np.array([*(not clip.labels for clip in clips), False])

    def __call__(self, batch: Arrays, step: int) -> Arrays:
        human = np.any(self._table[batch["sources"]], axis=1).astype(np.float32)
        is_unknown = np.any(self._is_unknown[batch["sources"]], axis=1, keepdims=True)
        human[is_unknown & (human == 0.0)] = -1.0
        return {"human": human}


class StrongLabels:
    """`strong` f32[N, T, C]: of the labels of the clips in each mixture, 1 in the tokens in which
    such a clip sounds and 0 in the others; 0 for the clip list's labels that cannot be expected
    beside them; -1 for all others. Where a clip without labels sounds, which may have any, nothing
    is 0."""

    fields = ("mels", "sources", "bouts")

    def __init__(self, clips: Sequence[Clip], labels: Sequence[str], student: Student) -> None:
        column = {name: index for index, name in enumerate(labels)}
        self._is_unknown = np.array([not clip.labels for clip in clips])
        self._columns = [[column[x] for x in clip.labels if x in column] for clip in clips]
        known = sorted({x for clip in clips for x in clip.labels} & set(column))
        self._known = np.zeros(len(labels), bool)
        self._known[[column[x] for x in known]] = True
        self._expected = np.zeros((len(clips), len(labels)), bool)  # of each clip
        for name, others in find_companions(clips, known).items():
            self._expected[:, column[name]] = [not others.isdisjoint(x.labels) for x in clips]
        self._n_frames = student.frames_per_step
        rate_hz = student.config.frontend.sample_rate_hz
        self._token_samples = student.token_s * rate_hz
        self._delay_samples = student.config.delay_ms / 1e3 * rate_hz

    def __call__(self, batch: Arrays, step: int) -> Arrays:
        n, n_frames = batch["mels"].shape[:2]
        strong = np.full((n, n_frames // self._n_frames, len(self._known)), -1, np.float32)
        for row, sources, bouts in zip(strong, batch["sources"], batch["bouts"], strict=True):
            sounding = sources[sources >= 0]
            if not self._is_unknown[sounding].any():
                row[:, self._known & ~self._expected[sounding].any(axis=0)] = 0.0
                for source in sounding:
                    row[:, self._columns[source]] = 0.0
            for position, start, stop in bouts[bouts[:, 0] >= 0]:
                tokens = row[self._tokens(start, stop)]
                tokens[:, self._columns[sources[position]]] = 1.0
        return {"strong": strong}

    def _tokens(self, start: int, stop: int) -> slice:
        """The tokens that speak, at least in part, of samples start to stop."""
        first, last = (
            int((sample + self._delay_samples) // self._token_samples) for sample in (start, stop)
        )
        return slice(first, last + 1)


class Masks:
    """`heard` f32[N, T, n_mels]: the mels, blanked as a MaskingConfig says; the draw depends on
    the seed and the step only."""

    fields = ("mels",)

    def __init__(self, config: MaskingConfig, student: Student, seed: int) -> None:
        self._config, self._seed = config, seed
        self._max_frames = round(config.span_s * student.frames_per_step / student.token_s)

    def __call__(self, batch: Arrays, step: int) -> Arrays:
        config, rng = self._config, np.random.default_rng((self._seed, step))
        heard = batch["mels"].astype(np.float32)
        blank = heard.mean()
        for row in heard:
            if rng.random() >= config.share:
                continue
            for start, length in _spans(rng, len(row), self._max_frames, config.n_spans):
                row[start : start + length] = blank
            for start, length in _spans(rng, row.shape[1], config.band_mels, config.n_bands):
                row[:, start : start + length] = blank
        return {"heard": heard}


def _spans(
    rng: np.random.Generator, size: int, max_length: int, count: int
) -> list[tuple[int, int]]:
    """`count` spans (start, length <= max_length, but at least 1) within `size`."""
    lengths = rng.integers(1, max(1, min(size, max_length)) + 1, count)
    return [(int(rng.integers(0, size - length + 1)), int(length)) for length in lengths]


class FirstToken:
    """`first_token` f32[1]: which of `stride` tokens is the first that counts in the loss; the draw
    depends on the seed and the step only."""

    fields = ()

    def __init__(self, stride: int, seed: int) -> None:
        self._stride, self._seed = stride, seed

    def __call__(self, batch: Arrays, step: int) -> Arrays:
        rng = np.random.default_rng((self._seed, step, 1))  # not the draw of masks
        return {"first_token": rng.integers(0, self._stride, 1).astype(np.float32)}


Input = FirstToken | HumanLabels | StrongLabels | Masks
