"""What `edge-audio evaluate` can score: checkpoints, bundles, and other people's models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from distill.runs.checkpoints import CHECKPOINT_NAME, load_state
from distill.scoring.clips import BundleScorer, Scorer, StudentScorer, TeacherScorer, YamnetScorer
from distill.teachers.opening import open_teacher
from distill.training.recipe import Recipe
from distill.training.trainer import load_student
from edge_audio.bundle.manifest import MANIFEST_NAME
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import EdgeAudioError
from edge_audio.support.folders import peers_dir


@dataclass(frozen=True)
class ScoredModel:
    """A model to be scored, and the recipe that says what it has heard in training."""

    name: str
    scorer: Scorer
    recipe: Recipe


def open_models(path: str, with_bundles: bool = False) -> list[ScoredModel]:
    """A bundle (folder or shipped name), or a checkpoint (or its folder), with_bundles: together
    with the bundles in folders beside it. UsageError if it is neither."""
    if Path(path).is_dir() and (Path(path) / CHECKPOINT_NAME).is_file():
        path = str(Path(path) / CHECKPOINT_NAME)
    if not Path(path).is_file():
        return [_open_bundle(path)]
    student, recipe = load_student(Path(path))
    step = int(load_state(Path(path))["step"])
    models = [ScoredModel(path, StudentScorer(f"{recipe.name} (step {step})", student), recipe)]
    if with_bundles:
        manifests = sorted(Path(path).parent.glob(f"*/{MANIFEST_NAME}"))
        models += [_open_bundle(str(manifest.parent)) for manifest in manifests]
    return models


def _open_bundle(path: str) -> ScoredModel:
    bundle = load_bundle(path)
    return ScoredModel(path, BundleScorer(bundle), bundle_recipe(bundle))


def bundle_recipe(bundle: Bundle) -> Recipe:
    """The training recipe in the bundle's provenance; EdgeAudioError if there is none."""
    try:
        return msgspec.convert(bundle.manifest.provenance["recipe"], Recipe)
    except (KeyError, msgspec.ValidationError) as error:
        raise EdgeAudioError(
            f"{bundle.path} does not say what it was trained on (provenance.recipe): "
            "export it again with edge-audio quantize"
        ) from error


def open_peers(recipe: Recipe, names: Collection[str]) -> list[Scorer]:
    """Opens the peers that are named: teacher, all teachers of the recipe that have labels; yamnet,
    by its windows even if it is a teacher."""
    chosen: list[Scorer] = []
    if "teacher" in names:
        opened = (open_teacher(config, peers_dir()) for config in recipe.teachers)
        chosen += [TeacherScorer(teacher) for teacher in opened if teacher.labels]
    if "yamnet" in names:
        others = [scorer for scorer in chosen if scorer.name.casefold() != "yamnet"]
        chosen = [*others, YamnetScorer(peers_dir())]
    return chosen
