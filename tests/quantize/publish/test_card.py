"""What a bundle's card says of the teachers."""

from __future__ import annotations

import msgspec

from distill.teachers.published.config import AudioMAE, Beats
from distill.training.recipe import Recipe
from edge_audio.bundle.store import load_bundle
from quantize.publish.card import model_card
from tests.distill.workshop import TINY_RECIPE


def card_of(recipe: Recipe) -> str:
    manifest = load_bundle("tiny-int8").manifest
    provenance = {**manifest.provenance, "recipe": msgspec.to_builtins(recipe)}
    return model_card(msgspec.structs.replace(manifest, provenance=provenance), {})


def test_weights_that_forbid_commercial_use_are_told() -> None:
    mae, beats = AudioMAE(checkpoint="pretrained.pth"), Beats(checkpoint="BEATs_iter3.pt")
    card = card_of(msgspec.structs.replace(TINY_RECIPE, teachers=(mae, beats)))
    assert "Audio-MAE pretrained.pth (CC BY-NC 4.0, NON-COMMERCIAL)" in card
    assert "BEATs BEATs_iter3.pt (MIT)" in card
    assert "the weights of its teacher Audio-MAE are for NON-COMMERCIAL use" in card


def test_free_weights_are_not_warned_of() -> None:
    assert "NON-COMMERCIAL" not in card_of(TINY_RECIPE)
