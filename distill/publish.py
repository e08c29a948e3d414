"""What of a training run others need: recipe and weights, without the optimiser's state.

python -m distill.publish runs/tiny-events/checkpoint.pt distill/checkpoints/tiny.pt
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from distill.runs.checkpoints import load_state, save_atomically
from distill.training.recipe import Recipe


def publish(checkpoint: Path, path: Path) -> None:
    """Writes to `path` what `edge-audio quantize`, `evaluate` and `start_from` read of a
    checkpoint, at a fifth of its size, with the weights of `start_from` blended in as its recipe
    says. EdgeAudioError if one of the two is no checkpoint."""
    save_atomically(published(checkpoint), path)


def published(checkpoint: Path) -> dict[str, Any]:
    """What `publish` writes of a checkpoint, published or not."""
    state = load_state(checkpoint)
    kept = {name: state[name] for name in ("recipe", "step", "student")}
    if "optimizer" in state:  # it has not been published before
        kept["student"] = blended(state)
    return kept


def blended(state: dict[str, Any]) -> dict[str, Tensor]:
    """The student's weights, recipe.blend of the way back to where they started: what was learned
    before survives in part, and both get better (Wortsman et al. 2022, Robust Fine-Tuning of
    Zero-Shot Models)."""
    recipe = msgspec.json.decode(state["recipe"], type=Recipe)
    student: dict[str, Tensor] = state["student"]
    if not recipe.blend:
        return student
    start = load_state(Path(recipe.start_from))["student"]
    return {
        name: value.lerp(start[name], recipe.blend) if value.is_floating_point() else value
        for name, value in student.items()
    }


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]))
