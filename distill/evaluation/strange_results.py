"""What models say of strange places: figures for each source."""

from __future__ import annotations

from distill.evaluation.metrics import AveragePrecision, Estimate
from edge_audio.bundle.spec import Spec

BUT_ESC = "all but ESC"
"""Stands for the strange sources besides ESC together."""

MIN_POSITIVES = 5
"""Clips that a class needs to count in the mean average precision of a source."""


class StrangeFigures(Spec, frozen=True):
    """Of one model over the clips of some sources; all intervals resample recordings. hits: for
    each of results.HITS_AT; average_precision: over the classes with MIN_POSITIVES clips, None if
    there are none."""

    hits: tuple[Estimate, ...]
    average_precision: AveragePrecision | None
    lwlrap: Estimate


class StrangeSet(Spec, frozen=True):
    """The scored clips of some sources, and of how many recordings they are."""

    sources: tuple[str, ...]
    n_clips: int
    n_groups: int


class StrangeModel(Spec, frozen=True):
    """Figures of one model by set, those with a source that it has heard left out.

    untraced: checkpoints in its lineage that are not here, and may have heard more.
    """

    name: str
    heard: tuple[str, ...]
    untraced: tuple[str, ...]
    figures: dict[str, StrangeFigures]


class StrangeResults(Spec, frozen=True):
    """n_labels: known to all models; clips without any of them are not scored. sets: each source
    by its name, and BUT_ESC."""

    targets: tuple[str, ...]
    n_labels: int
    sets: dict[str, StrangeSet]
    models: tuple[StrangeModel, ...]
