"""What an evaluation measured: figures of each model, on what, and the file that keeps them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from distill.evaluation.metrics import (
    Agreement,
    AveragePrecision,
    Estimate,
    FoldAccuracy,
    Reliability,
)
from distill.evaluation.streaming import StreamingResults
from edge_audio.bundle.spec import Spec
from edge_audio.support.files import write_atomically

HITS_AT = (1, 5)
"""Ranks up to which a listed label counts as hit."""


class ModelResults(Spec, frozen=True):
    """Figures of one model. esc50, esc10: by what the regression was fitted on; hits: by set
    of clips ("all", "ESC", "other"), for each of HITS_AT; agreement: with the recipe's teacher,
    where that was scored too; reliability: of the scores as probabilities; precision: at
    metrics.RECALLS, for the most frequent labels."""

    name: str
    esc50: dict[str, FoldAccuracy]
    esc10: dict[str, FoldAccuracy]
    hits: dict[str, tuple[Estimate, ...]]
    average_precision: AveragePrecision
    d_prime: Estimate
    lwlrap: Estimate
    agreement: Agreement | None = None
    precision: dict[str, tuple[float, ...]] = msgspec.field(default_factory=dict)
    reliability: Reliability | None = None


class ClipResults(Spec, frozen=True):
    """Everything that one evaluation measured, and on what.

    n_unlabelled: held-out clips without a label that all models know; their other labels are
    ignored, and they count for ESC-10 and ESC-50 only.
    """

    targets: tuple[str, ...]
    recipe: str
    n_training_clips: int
    n_clips: int
    n_groups: int
    n_esc_clips: int
    n_unlabelled: int
    n_labels: int
    regression_c: float
    models: tuple[ModelResults, ...]
    streaming: StreamingResults | None = None


def write_results(results: Spec, path: Path, arguments: Sequence[str] = ()) -> None:
    """Writes results as JSON, with the command that measured them: `arguments`, else this
    process's own. Raises EdgeAudioError if the disk refuses."""
    content = {"command": list(arguments or sys.argv), **msgspec.to_builtins(results)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content)))
