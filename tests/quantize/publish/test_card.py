"""What a bundle's card says of the teachers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from distill.evaluation.lineage import lineage_of
from distill.teachers.published.config import AudioMAE, Beats
from distill.training.recipe import Recipe
from edge_audio.bundle.store import load_bundle
from quantize.publish.card import model_card
from tests.distill.workshop import TINY_RECIPE


def card_of(recipe: Recipe, **facts: object) -> str:
    manifest = load_bundle("tiny-int8").manifest
    provenance = {**manifest.provenance, "recipe": msgspec.to_builtins(recipe), **facts}
    return model_card(msgspec.structs.replace(manifest, provenance=provenance), {})


def test_weights_that_forbid_commercial_use_are_told() -> None:
    mae, beats = AudioMAE(checkpoint="pretrained.pth"), Beats(checkpoint="BEATs_iter3.pt")
    card = card_of(msgspec.structs.replace(TINY_RECIPE, teachers=(mae, beats)))
    assert "Audio-MAE pretrained.pth (CC BY-NC 4.0, NON-COMMERCIAL)" in card
    assert "BEATs BEATs_iter3.pt (MIT)" in card
    assert "the weights of its teacher Audio-MAE are for NON-COMMERCIAL use" in card


def test_free_weights_are_not_warned_of() -> None:
    assert "NON-COMMERCIAL" not in card_of(TINY_RECIPE)


def test_a_teacher_of_the_student_that_it_went_on_from_is_told_of(tmp_path: Path) -> None:
    """However many runs ago, and not where it teaches again."""
    mae, beats = AudioMAE(checkpoint="pretrained.pth"), Beats(checkpoint="BEATs_iter3.pt")
    recipe = msgspec.structs.replace(TINY_RECIPE, teachers=(mae,))
    for index, teachers in enumerate(((mae, beats), (beats,))):
        path = tmp_path / f"{index}.pt"
        torch.save({"recipe": msgspec.json.encode(recipe).decode(), "student": {}}, path)
        recipe = msgspec.structs.replace(recipe, teachers=teachers, start_from=str(path))
    earlier = lineage_of("new", recipe).earlier_teachers
    assert earlier == (mae,)
    card = card_of(recipe, earlier_teachers=msgspec.to_builtins(earlier))
    assert "before, Audio-MAE pretrained.pth (CC BY-NC 4.0, NON-COMMERCIAL)" in card
    assert "the weights of its teacher Audio-MAE are for NON-COMMERCIAL use" in card


def test_clips_of_unknown_licences_are_not_called_free() -> None:
    split = msgspec.structs.replace(TINY_RECIPE.split, tiers=("A", "B", "C"))
    card = card_of(msgspec.structs.replace(TINY_RECIPE, split=split))
    assert "Licences of tier C are" in card
    assert "CC0" not in card
    assert "CC0" in card_of(TINY_RECIPE)
