"""The head, fitted to the teacher: a gain and an offset for each label.

Training compares frames and a soft average of a clip with the teacher. What users see of a sound
is its highest score, and labels differ in how far that lies from what the teacher says: rare ones
stay too shy and rank behind frequent ones. The fit costs nothing at run time.

python -m distill.calibration.head runs/tiny-base/checkpoint.pt distill/checkpoints/tiny-base.pt
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.data.clip_list import read_clip_list
from distill.data.clip_store import ClipStore
from distill.data.folders import named_clip_list
from distill.data.labels import audioset_labels, label_columns
from distill.progress import tracked
from distill.publish import published
from distill.runs.checkpoints import save_atomically
from distill.scoring.clips import SAMPLE_RATE_HZ, frames_of, highest_logits
from distill.students.student import Student
from distill.training.draws import LONGEST_S, hear_clips
from distill.training.recipe import Recipe
from distill.training.trainer import load_student
from edge_audio.errors import UsageError

_GAIN_RIDGE, _OFFSET_RIDGE = 1e-2, 1e-3  # pull of gains to 1 and of offsets to 0
_MAX_ITERATIONS = 200


def fit_head(student: Student, recipe: Recipe, cache_dir: Path) -> None:
    """Fits the head to what the recipe's first teacher with labels hears in the training clips.

    Raises UsageError if no teacher of the recipe has labels.
    """
    clip_list = named_clip_list()
    clips = read_clip_list(clip_list)
    folder = clip_list.parent
    store = ClipStore.open(folder, clips, SAMPLE_RATE_HZ, cache_dir)
    heard = hear_clips(recipe.teachers, folder, clips, store, SAMPLE_RATE_HZ, cache_dir)
    if heard is None:
        raise UsageError(f"no teacher of {recipe.name} has labels: there is nothing to fit")
    positions, spec = recipe.split.training_positions(clips), student.model_spec()
    n_longest = round(LONGEST_S * SAMPLE_RATE_HZ)
    frames = [
        frames_of(store[index][:n_longest], spec) for index in tracked(positions, "hearing clips")
    ]
    theirs, ours = label_columns(heard.labels, recipe.labels or audioset_labels())
    logits = torch.from_numpy(highest_logits(student, frames)[:, ours])
    wanted = torch.from_numpy(heard.probabilities[positions][:, theirs])
    scale_head(student.head, torch.from_numpy(ours), *gains_and_offsets(logits, wanted))


def gains_and_offsets(logits: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Of each label the gain and the offset [C] of `logits` [n, C] under which their binary
    cross-entropy against `probabilities` [n, C] is least, with a ridge (Platt 1999)."""
    gain = torch.ones(logits.shape[1], requires_grad=True)
    offset = torch.zeros(logits.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [gain, offset], max_iter=_MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        entropy = functional.binary_cross_entropy_with_logits(
            gain * logits + offset, probabilities, reduction="none"
        )
        ridge = _GAIN_RIDGE * (gain - 1.0).square().sum() + _OFFSET_RIDGE * offset.square().sum()
        loss = entropy.mean(0).sum() + ridge
        loss.backward()
        return loss

    optimizer.step(closure)
    return gain.detach(), offset.detach()


def scale_head(head: nn.Linear, rows: Tensor, gain: Tensor, offset: Tensor) -> None:
    """Makes the head give gain * logit + offset for the labels `rows`."""
    with torch.no_grad():
        head.weight[rows] *= gain[:, None]
        head.bias[rows] = gain * head.bias[rows] + offset


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where what the teacher heard is kept.",
)
def main(checkpoint: Path, out: Path, runs_dir: Path) -> None:
    """Fit the head of the student in CHECKPOINT to its teacher; recipe and weights go to OUT.

    Reads the audio from $EDGE_AUDIO_DATA and the teacher from $EDGE_AUDIO_PEERS.
    """
    student, recipe = load_student(checkpoint)
    kept = published(checkpoint)
    student.load_state_dict(kept["student"])
    fit_head(student, recipe, runs_dir / "cache")
    fitted = msgspec.structs.replace(recipe, head_fitted=True)
    kept |= {"recipe": msgspec.json.encode(fitted).decode(), "student": student.state_dict()}
    save_atomically(kept, out)


if __name__ == "__main__":
    main()
