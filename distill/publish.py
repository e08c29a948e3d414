"""What of a training run others need: recipe and weights, without the optimiser's state.

python -m distill.publish runs/tiny-events/checkpoint.pt distill/checkpoints/tiny.pt
python -m distill.publish runs/nested/checkpoint.pt small.pt 2    # its first two blocks alone
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from distill.runs.checkpoints import load_state, save_atomically
from distill.training.recipe import Recipe
from edge_audio.errors import UsageError


def publish(checkpoint: Path, path: Path, depth: int = 0) -> None:
    """Writes to `path` what `edge-audio quantize`, `evaluate` and `start_from` read of a
    checkpoint, at a fifth of its size, with the weights of `start_from` blended in as its recipe
    says. depth: of its first so many blocks, if the run trained that nested student; 0: of all.
    EdgeAudioError if a file is no checkpoint; UsageError if no such student was trained."""
    save_atomically(published(checkpoint, depth), path)


def published(checkpoint: Path, depth: int = 0) -> dict[str, Any]:
    """What `publish` writes of a checkpoint, published or not."""
    state = load_state(checkpoint)
    kept = {name: state[name] for name in ("recipe", "step", "student")}
    if "optimizer" in state:  # it has not been published before
        kept["student"] = blended(state)
    return {**kept, **nested(state, kept["student"], depth)} if depth else kept


def nested(state: dict[str, Any], student: dict[str, Tensor], depth: int) -> dict[str, Any]:
    """Recipe and weights of the nested student of the first `depth` blocks."""
    exits = f"exits.{depth}."
    norm = {key: value for key, value in state.get("heads", {}).items() if key.startswith(exits)}
    if not norm:
        raise UsageError(
            f"no student of {depth} blocks was trained: set loss.nested, and {depth} in "
            "loss.depths, and give the checkpoint in the run's folder"
        )
    recipe = msgspec.json.decode(state["recipe"], type=Recipe)
    shape = msgspec.structs.replace(recipe.student, n_blocks=depth)
    loss = msgspec.structs.replace(recipe.loss, nested=0.0)
    recipe = msgspec.structs.replace(recipe, student=shape, loss=loss)
    weights = {key: value for key, value in student.items() if _is_within(key, depth)}
    weights |= {f"norm.{key.removeprefix(exits)}": value for key, value in norm.items()}
    return {"recipe": msgspec.json.encode(recipe).decode(), "student": weights}


def _is_within(key: str, depth: int) -> bool:
    """Whether a student of `depth` blocks has this weight."""
    part, _, place = key.partition(".")
    return part != "blocks" or int(place.partition(".")[0]) < depth


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
    publish(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0)
