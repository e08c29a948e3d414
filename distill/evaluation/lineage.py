"""What a model has heard in training, as far as recipes tell: its own, those of the students that
it went on from, and those of encoders that taught it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from distill.data.clip_list import Clip
from distill.data.split import Split, heard_groups, require_unheard
from distill.pretraining.recipe import PretrainRecipe
from distill.runs.checkpoints import load_state
from distill.teachers.config import SelfSupervisedConfig, TeacherConfig
from distill.training.recipe import Recipe
from edge_audio.errors import EdgeAudioError

AnyRecipe = Recipe | PretrainRecipe


class Lineage(NamedTuple):
    """splits: who was trained -> on which clips, the model itself first. untraced: checkpoints that
    were part of it and are not here, so that nobody can ask what they have heard.
    earlier_teachers: of the students that it went on from, and none of its own."""

    splits: dict[str, Split]
    untraced: tuple[str, ...]
    earlier_teachers: tuple[TeacherConfig, ...] = ()

    def heard_groups(self, clips: Sequence[Clip]) -> frozenset[str]:
        """Groups of `clips` that any of them hears, if it is trained on these clips."""
        return frozenset[str]().union(*(heard_groups(one, clips) for one in self.splits.values()))

    def require_unheard(
        self,
        clips: Sequence[Clip],
        scored: Sequence[Clip],
        *,
        advice: str,
        what: str = "clips",
        error: type[EdgeAudioError] = EdgeAudioError,
    ) -> None:
        """Raises `error` if any of them has heard one of `scored`, see `split.require_unheard`."""
        for who, split in self.splits.items():
            require_unheard(split, clips, scored, who=who, advice=advice, what=what, error=error)


def lineage_of(name: str, recipe: Recipe) -> Lineage:
    """Of the model `name` that `recipe` made. Raises EdgeAudioError if a checkpoint of its lineage
    is something else."""
    splits, untraced = {name: recipe.split}, set()
    earlier: list[TeacherConfig] = []
    waiting = _parents(recipe)
    while waiting:
        path, kind = waiting.popitem()
        if path in splits:
            continue
        if not Path(path).is_file():
            untraced.add(path)
            continue
        parent = _recipe_in(path, kind)
        splits[path] = parent.split
        waiting |= _parents(parent)
        if isinstance(parent, Recipe):
            earlier += [teacher for teacher in parent.teachers if teacher not in recipe.teachers]
    return Lineage(splits, tuple(sorted(untraced)), _unique(earlier))


def _unique(teachers: Sequence[TeacherConfig]) -> tuple[TeacherConfig, ...]:
    return tuple(one for index, one in enumerate(teachers) if one not in teachers[:index])


def _parents(recipe: AnyRecipe) -> dict[str, type[AnyRecipe]]:
    """Checkpoints that a run of the recipe reads, and the kind of recipe in each."""
    return dict(_checkpoints(recipe)) if isinstance(recipe, Recipe) else {}


def _checkpoints(recipe: Recipe) -> Iterator[tuple[str, type[AnyRecipe]]]:
    if recipe.start_from:
        yield recipe.start_from, Recipe
    for teacher in recipe.teachers:
        if isinstance(teacher, SelfSupervisedConfig):
            yield teacher.checkpoint, PretrainRecipe


def _recipe_in(path: str, kind: type[AnyRecipe]) -> AnyRecipe:
    try:
        return msgspec.json.decode(load_state(Path(path))["recipe"], type=kind)
    except msgspec.DecodeError as error:
        raise EdgeAudioError(f"{path} does not say what it was trained on: {error}") from error
