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
from distill.training.draws import DrawConfig
from edge_audio.bundle.spec import Spec


class LossConfig(Spec, frozen=True):
    """Weights of the loss terms (see `objective.Objective`); 0 leaves a term out.

    clip, frame: the teachers' label probabilities, of the whole mixture and at each token.
    frame_margin: how far a frame logit may exceed the same label's clip logit.
    tempered: as `frame`, of both sides' logits divided by `temperature`, under which labels that
        the teachers think unlikely teach as well (Hinton et al. 2015).
    layer: the teachers' hidden layers. n_layers: how many of each teacher's layers, counted
        from the deepest; 1 is feature distillation, more is layer to layer.
    human: the clip list's labels of what was mixed.
    strong: the same at each token, by when those clips sound, and the labels that cannot be
        expected beside them; a label counts the less, the less the teachers believe it.
    attack: how much more the first tokens of a sound count in `strong`.
    prediction: the log-mel frames `prediction_tokens` ahead (Chung et al. 2019, APC).
    nested: all that the student learns of labels and of the teachers' deepest layers, by students
        of its first `depths` blocks too, which share its weights, and have a norm of their own
        (once for all: Wang et al. 2022, LightHuBERT).
    token_stride: one token of so many counts, which one is drawn at each step: less to learn from,
        in less time.
    """

    clip: float = 1.0
    frame: float = 1.0
    frame_margin: float = 4.0
    tempered: float = 0.0
    temperature: float = 3.0
    layer: float = 1.0
    n_layers: int = 4
    human: float = 0.0
    strong: float = 0.0
    attack: float = 0.0
    prediction: float = 0.0
    prediction_tokens: int = 2
    nested: float = 0.0
    depths: tuple[int, ...] = (2,)
    token_stride: int = 1

    def __post_init__(self) -> None:
        if self.token_stride < 1 or (self.attack and self.token_stride > 1):
            raise ValueError("token_stride must be at least 1, and 1 with `attack`")
        if self.temperature <= 0.0:
            raise ValueError("temperature must be greater than 0")


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

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0 or min(self.n_spans, self.n_bands) < 0:
            raise ValueError("need 0 <= share <= 1, and n_spans and n_bands of at least 0")
        if self.span_s <= 0.0 or self.band_mels < 1:
            raise ValueError("need span_s > 0 and band_mels >= 1; n_spans or n_bands 0 is none")


class TrainingConfig(Spec, frozen=True):
    """n_mixtures: distinct mixtures; n_steps: optimiser steps of `batch_size` mixtures each, of
    which an epoch leaves out what fills no batch.

    optimizer: "muon" moves the student's matrices (Linear and pointwise convolutions, its head
        aside) by Muon, and everything else by AdamW at `adamw_rate_share` of the learning rate.
    schedule: of the learning rate, after a linear warm-up: "cosine" is half a cosine down to
        zero; "constant-decay" is constant, and linear down to zero over the last `decay_share`
        of the steps, so that a run may be made longer, or be ended soon, while it goes on.
    average_decay: of the moving average of all weights that becomes the trained student; 0: the
        weights of the last step.
    max_gradient_norm: to which gradients are clipped; 0: they are not.
    watch_every_steps: how often the student is scored on what it does not hear; 0: never.
    cache: keep the teachers' outputs on disk; else they are computed anew for every batch.
    precision: "bf16" autocasts, on a GPU alone.
    behind_silence: mixtures are heard behind the two seconds of silence that a stream begins
        behind, at a fifth more computing; otherwise from zeros.
    """

    n_mixtures: int
    n_steps: int
    batch_size: int = 32
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 3e-3
    adamw_rate_share: float = 0.5
    weight_decay: float = 0.02
    schedule: Literal["cosine", "constant-decay"] = "cosine"
    n_warmup_steps: int = 300
    decay_share: float = 0.2
    average_decay: float = 0.0
    max_gradient_norm: float = 1.0
    checkpoint_every_steps: int = 250
    watch_every_steps: int = 0
    cache: bool = True
    precision: Literal["no", "bf16"] = "no"
    behind_silence: bool = False

    def __post_init__(self) -> None:
        if min(self.n_mixtures, self.n_steps, self.batch_size, self.checkpoint_every_steps) < 1:
            raise ValueError(
                "n_mixtures, n_steps, batch_size and checkpoint_every_steps must be at least 1"
            )
        if min(self.n_warmup_steps, self.watch_every_steps) < 0:
            raise ValueError("n_warmup_steps and watch_every_steps must be at least 0")
        if not 0.0 < self.decay_share <= 1.0:
            raise ValueError("need 0 < decay_share <= 1")
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError("need 0 <= average_decay < 1")


class Recipe(Spec, frozen=True):
    """One run: same recipe, data and seed, same student.

    stream: mix from a few clips at a time, for data that is too large to decode as a whole; each
        shard of the cache is then drawn from its own pool.
    draw: how often each clip is drawn, unless they come in a stream.
    labels: names of the head's outputs, in recipes that checkpoints hold; () stands for the 527
        AudioSet classes, which all training runs have.
    start_from: checkpoint whose student this run goes on with; its shape must be the same.
    start_sha256: of that file, in recipes that checkpoints hold.
    new_mixers: the mixers of its blocks begin anew, and may be of another kind than start_from's.
    blend: share of that student's weights in what `distill.publish` makes of this one.
    head_fitted: `distill.calibration.head` has fitted the head to the teacher since; no run does.
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
    draw: DrawConfig = DrawConfig()
    start_from: str = ""
    start_sha256: str = ""
    new_mixers: bool = False
    blend: float = 0.0
    head_fitted: bool = False
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.new_mixers and not self.start_from:
            raise ValueError("new_mixers needs start_from, whose other weights are kept")
        if self.new_mixers and self.blend:
            raise ValueError("a blend with start_from needs its mixers: leave out new_mixers")


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


def may_resume(made_by: msgspec.Struct, recipe: msgspec.Struct) -> bool:
    """Whether a run of one recipe goes on with the other. They must be equal, but for what watches
    it, and for start_sha256 where an older checkpoint has none; with a constant learning rate, a
    copy of the run may have another name, length and decay."""
    if isinstance(recipe, Recipe) and isinstance(made_by, Recipe) and not made_by.start_sha256:
        recipe = msgspec.structs.replace(recipe, start_sha256="")
    return _decisive(made_by) == _decisive(recipe)


def _decisive(recipe: msgspec.Struct) -> msgspec.Struct:
    training = getattr(recipe, "training", None)
    if not isinstance(training, TrainingConfig):
        return recipe
    free: dict[str, Any] = {"watch_every_steps": 0}
    if training.schedule == "constant-decay":
        free |= {"n_steps": 1, "decay_share": 1.0, "checkpoint_every_steps": 1}
        recipe = msgspec.structs.replace(recipe, name="")
    return msgspec.structs.replace(recipe, training=msgspec.structs.replace(training, **free))
