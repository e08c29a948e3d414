"""Recipes: TOML files that say everything about one training run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from distill.data import Split
from distill.mixtures import MixtureConfig
from distill.stream import StreamConfig
from distill.students.sizes import student_config
from distill.students.tagger import StudentConfig
from distill.teachers import TeacherConfig, TransformersConfig
from edge_audio.errors import UsageError
from edge_audio.spec import Spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PEERS_ENV = "EDGE_AUDIO_PEERS"
_DEFAULT_PEERS_DIR = Path(__file__).resolve().parents[2] / "shared" / "peers"


class LossConfig(Spec, frozen=True):
    """Weights of the loss terms (see `objective.Objective`); 0 leaves a term out.

    clip, frame: the teachers' label probabilities, of the whole mixture and at each token.
    frame_margin: how far a frame logit may exceed the same label's clip logit.
    layer: the teachers' hidden layers. n_layers: how many of each teacher's layers, counted
        from the deepest; 1 is feature distillation, more is layer to layer.
    human: the manifest's labels of what was mixed.
    prediction: the log-mel frames `prediction_tokens` ahead (Chung et al. 2019, APC).
    """

    clip: float = 1.0
    frame: float = 1.0
    frame_margin: float = 4.0
    layer: float = 1.0
    n_layers: int = 4
    human: float = 0.0
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
    """n_mixtures: distinct mixtures; n_steps: optimiser steps of `batch_size` mixtures each.
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
    stream: StreamConfig | None = None
    start_from: str = ""
    labels: tuple[str, ...] = ()


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, changed by `settings` such as "student.delay_ms=80".

    `extends = "other.toml"` takes over that file's fields, and `preset = "tiny-mlstm"` in
    [student] a shape of `students.sizes`. UsageError, naming the field, if a file is missing, is
    no TOML, or does not fit.
    """
    table = _read_table(path)
    for setting in settings:
        table = _merge(table, _parse_setting(setting))
    try:
        student = table.get("student", {})
        if isinstance(student, dict) and "preset" in student:
            shape: dict[str, Any] = msgspec.to_builtins(student_config(student.pop("preset")))
            table["student"] = _merge(shape, student)
        return msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        raise UsageError(f"recipe {path}: {error}") from error


def trust_teachers(recipe: Recipe) -> Recipe:
    """The recipe with trust_remote_code set for its transformers teachers."""
    trusted = (
        msgspec.structs.replace(teacher, trust_remote_code=True)
        if isinstance(teacher, TransformersConfig)
        else teacher
        for teacher in recipe.teachers
    )
    return msgspec.structs.replace(recipe, teachers=tuple(trusted))


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"recipe {path} does not exist: see distill/recipes") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path}: {error}") from error
    base: str | None = table.pop("extends", None)
    return table if base is None else _merge(_read_table(path.parent / str(base)), table)


def _parse_setting(setting: str) -> dict[str, Any]:
    try:
        return tomllib.loads(setting)
    except tomllib.TOMLDecodeError:
        pass
    name, separator, value = setting.partition("=")  # a bare word is a string
    if not separator:
        raise UsageError(f"setting {setting!r} is not of the form field.name=value")
    try:
        return tomllib.loads(f"{name} = {msgspec.json.encode(value.strip()).decode()}")
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"setting {setting!r} is not of the form field.name=value") from error


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, table by table; a table of another `kind` replaces the whole."""
    merged: dict[str, Any] = dict(base)
    for name, value in changes.items():
        old: Any = base.get(name)
        is_table = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(old, value) if is_table and _same_kind(old, value) else value
    return merged


def _same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "kind" not in new or new["kind"] == old.get("kind")


def peers_dir() -> Path:
    """The folder with teacher checkpoints: $EDGE_AUDIO_PEERS, else `../shared/peers`."""
    return Path(os.environ.get(PEERS_ENV, _DEFAULT_PEERS_DIR))
