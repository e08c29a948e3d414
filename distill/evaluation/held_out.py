"""Which clips a model may be scored on: those that its recipe keeps out of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.data.clip_list import Clip
from distill.training.recipe import Recipe
from edge_audio.errors import UsageError

TWINS = (("3-151080-A", "5-151085-A"),)
"""Clips of different groups that are nearly the same recording."""


def held_out_clips(recipe: Recipe, clips: Sequence[Clip]) -> list[Clip]:
    """What the split keeps out, less the twins of training clips. UsageError if nothing is."""
    train, held_out = recipe.split.divide(clips)
    trained = {Path(clip.path).stem for clip in train}
    twins = {one for pair in TWINS for one in pair if trained & set(pair)}
    scored = [clip for clip in held_out if Path(clip.path).stem not in twins]
    if not scored:
        raise UsageError(f"recipe {recipe.name} holds no clips out: nothing can be scored")
    return scored


def calibration_clips(recipe: Recipe, clips: Sequence[Clip]) -> list[Clip]:
    """What thresholds are chosen on: of the held-out clips those of tiers that it may use."""
    return [clip for clip in held_out_clips(recipe, clips) if clip.tier in recipe.split.tiers]
