"""What an encoder has learned: ESC-50 by logistic regression on its frozen layers, beside the
same encoder before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.split import require_unheard
from distill.evaluation.metrics import FoldAccuracy, cross_validate
from distill.evaluation.tables import format_estimate
from distill.pretraining.encoder import PatchEncoder
from distill.pretraining.pretrain import load_encoder
from distill.progress import tracked
from distill.teachers.base import Teacher
from distill.teachers.pretrained import SelfSupervisedTeacher
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError

N_LAYERS = 3
"""Blocks that are probed, spread over the depth, the last among them."""


class LayerProbe(Spec, frozen=True):
    """ESC-50 accuracy over the official folds from one block's output, averaged over time."""

    layer: str
    pretrained: FoldAccuracy
    random: FoldAccuracy


def probe(checkpoint: Path) -> tuple[LayerProbe, ...]:
    """Every N_LAYERS-th block. EdgeAudioError if the encoder has heard ESC clips, UsageError if
    the data folder has none."""
    encoder, recipe = load_encoder(checkpoint)
    clip_list = named_clip_list()
    clips, folder = read_clip_list(clip_list), clip_list.parent
    esc = [clip for clip in clips if clip.is_esc]
    if not esc:
        raise UsageError(f"{clip_list} has no ESC clips to probe with")
    require_unheard(
        recipe.split,
        clips,
        esc,
        who=recipe.name,
        what="ESC clips",
        advice="pretrain with split.hold_out_esc = true to probe it",
    )
    torch.manual_seed(recipe.seed)
    encoders = (encoder, PatchEncoder(recipe.encoder).eval())
    numbers = probed_blocks(len(encoder.blocks))
    teachers = [SelfSupervisedTeacher(recipe.name, part, numbers) for part in encoders]
    pretrained, random = (_accuracies(teacher, folder, esc) for teacher in teachers)
    return tuple(
        LayerProbe(layer=layer.name, pretrained=after, random=before)
        for layer, after, before in zip(teachers[0].layers, pretrained, random, strict=True)
    )


def probed_blocks(n_blocks: int) -> tuple[int, ...]:
    """At most N_LAYERS block numbers, evenly spread, the last among them."""
    return tuple(sorted({-(-n_blocks * part // N_LAYERS) for part in range(1, N_LAYERS + 1)}))


def _accuracies(teacher: Teacher, folder: Path, clips: Sequence[Clip]) -> list[FoldAccuracy]:
    """One per layer of the teacher."""
    rows = [
        _features(teacher, read_clip(folder / clip.path, teacher.sample_rate_hz))
        for clip in tracked(clips, "encoding ESC-50")
    ]
    classes, folds = [clip.esc50_class for clip in clips], [clip.fold for clip in clips]
    layers = tracked(zip(*rows, strict=True), "fitting regressions", len(teacher.layers))
    return [cross_validate(np.stack(features), classes, folds) for features in layers]


def _features(teacher: Teacher, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The mean over time of each layer, f32[D]."""
    with torch.inference_mode():
        hidden = teacher(torch.from_numpy(samples)[None]).hidden
    return [layer[0].mean(0).numpy() for layer in hidden]


def to_table(probes: Sequence[LayerProbe]) -> Table:
    """Accuracies in per cent with their 95 % intervals."""
    table = Table(title="ESC-50, 5 folds, logistic regression on time means, % right")
    for heading in ("layer", "pretrained", "random init"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for row in probes:
        table.add_row(
            row.layer, *(format_estimate(one.mean) for one in (row.pretrained, row.random))
        )
    return table
