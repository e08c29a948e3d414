"""Recipes: TOML files that say everything about one training run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from distill.data import Split
from distill.mixtures import MixtureConfig
from distill.students.tagger import StudentConfig
from edge_audio.errors import UsageError
from edge_audio.spec import Spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PEERS_ENV = "EDGE_AUDIO_PEERS"
_DEFAULT_PEERS_DIR = Path(__file__).resolve().parents[2] / "shared" / "peers"


class TeacherConfig(Spec, frozen=True):
    """checkpoint: file name in the peers folder; width: channel factor of its graph."""

    checkpoint: str
    width: float


class LossConfig(Spec, frozen=True):
    """Weights of the loss terms (see `losses.distillation_loss`), and how far a frame logit may
    exceed the same label's clip logit (see `losses.plausible`)."""

    clip: float = 1.0
    frame: float = 1.0
    feature: float = 1.0
    frame_margin: float = 4.0


class TrainingConfig(Spec, frozen=True):
    """n_mixtures: cached mixtures; n_steps: optimiser steps of `batch_size` mixtures each.
    Learning rate: linear warm-up, then half a cosine down to zero."""

    n_mixtures: int
    n_steps: int
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    n_warmup_steps: int = 300
    max_gradient_norm: float = 1.0
    checkpoint_every_steps: int = 250


class Recipe(Spec, frozen=True):
    """One run: same recipe, data and seed, same student."""

    name: str
    seed: int
    split: Split
    teacher: TeacherConfig
    training: TrainingConfig
    mixture: MixtureConfig = MixtureConfig()
    student: StudentConfig = StudentConfig()
    loss: LossConfig = LossConfig()


def read_recipe(path: Path) -> Recipe:
    """UsageError, naming the field, if the file is missing, no TOML, or does not fit."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Recipe)
    except FileNotFoundError as error:
        raise UsageError(f"recipe {path} does not exist: see distill/recipes") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"recipe {path}: {error}") from error


def peers_dir() -> Path:
    """The folder with teacher checkpoints: $EDGE_AUDIO_PEERS, else `../shared/peers`."""
    return Path(os.environ.get(PEERS_ENV, _DEFAULT_PEERS_DIR))
