"""Recipes: TOML files that say everything about one training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from distill.data.clip_feed import FeedConfig
from distill.data.split import Split
from distill.mixing.mixtures import MixtureConfig
from distill.runs.toml import convert, merge, read_table
from distill.students.sizes import student_config
from distill.students.student import StudentConfig
from distill.teachers.config import TeacherConfig, TransformersConfig
from edge_audio.bundle.spec import Spec


class LossConfig(Spec, frozen=True):
    """Weights of the loss terms (see `objective.Objective`); 0 leaves a term out.

    clip, frame: the teachers' label probabilities, of the whole mixture and at each token.
    frame_margin: how far a frame logit may exceed the same label's clip logit.
    layer: the teachers' hidden layers. n_layers: how many of each teacher's layers, counted
        from the deepest; 1 is feature distillation, more is layer to layer.
    human: the clip list's labels of what was mixed.
    strong: the same at each token, by when those clips sound, and the labels that cannot be
        expected beside them; a label counts the less, the less the teachers believe it.
    attack: how much more the first tokens of a sound count in `strong`.
    prediction: the log-mel frames `prediction_tokens` ahead (Chung et al. 2019, APC).
    """

    clip: float = 1.0
    frame: float = 1.0
    frame_margin: float = 4.0
    layer: float = 1.0
    n_layers: int = 4
    human: float = 0.0
    strong: float = 0.0
    attack: float = 0.0
    prediction: float = 0.0
    prediction_tokens: int = 2


class MaskingConfig(Spec, frozen=True):
    """Masking distillation: parts of the student's input are blanked, the targets stay whole.

    n_spans spans of up to span_s each, and n_bands bands of up to band_mels mel bands each, are
    replaced by the batch mean in a `share` of the mixtures.
    """

    share: float = 0.0
    n_spans: int = 2
    span_s: float = 0.4
    n_bands: int = 2
    band_mels: int = 10


class TrainingConfig(Spec, frozen=True):
    """n_mixtures: distinct mixtures; n_steps: optimiser steps of `batch_size` mixtures each, of
    which an epoch leaves out what fills no batch.
    Learning rate: linear warm-up, then half a cosine down to zero.

    cache: keep the teachers' outputs on disk; else they are computed anew for every batch.
    precision: "bf16" autocasts where the device does so.
    """

    n_mixtures: int
    n_steps: int
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    n_warmup_steps: int = 300
    max_gradient_norm: float = 1.0
    checkpoint_every_steps: int = 250
    cache: bool = True
    precision: Literal["no", "bf16"] = "no"


class Recipe(Spec, frozen=True):
    """One run: same recipe, data and seed, same student.

    stream: mix from a few clips at a time, for data that is too large to decode as a whole; each
        shard of the cache is then drawn from its own pool.
    labels: names of the head's outputs; () stands for the 527 AudioSet classes.
    start_from: checkpoint whose student this run goes on with; its shape must be the same.
    blend: share of that student's weights in what `distill.publish` makes of this one.
    """

    name: str
    seed: int
    split: Split
    teachers: tuple[TeacherConfig, ...]
    training: TrainingConfig
    mixture: MixtureConfig = MixtureConfig()
    masking: MaskingConfig = MaskingConfig()
    student: StudentConfig = StudentConfig()
    loss: LossConfig = LossConfig()
    stream: FeedConfig | None = None
    start_from: str = ""
    blend: float = 0.0
    labels: tuple[str, ...] = ()


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, changed by `settings` (see `read_table`). A `preset` in [student]
    stands for a shape of `distill.students.sizes`, which the other fields of it change.

    Raises UsageError, naming the field, if a file is missing, is no TOML, or does not fit.
    """
    table = read_table(path, settings)
    student = table.get("student", {})
    if isinstance(student, dict) and "preset" in student:
        shape: dict[str, Any] = msgspec.to_builtins(student_config(student.pop("preset")))
        table["student"] = merge(shape, student)
    return convert(path, table, Recipe)


def trust_teachers(recipe: Recipe) -> Recipe:
    """The recipe with trust_remote_code set for its transformers teachers."""
    trusted = (
        msgspec.structs.replace(teacher, trust_remote_code=True)
        if isinstance(teacher, TransformersConfig)
        else teacher
        for teacher in recipe.teachers
    )
    return msgspec.structs.replace(recipe, teachers=tuple(trusted))
