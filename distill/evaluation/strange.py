"""Clips of strange places, scored by models that never heard one of the place's sounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.labels import shared_labels
from distill.data.strange import ESC, strange_source, strange_sources
from distill.evaluation.clips import label_matrix, score_clips
from distill.evaluation.lineage import lineage_of
from distill.evaluation.metrics import (
    AveragePrecision,
    Estimate,
    average_precision,
    hit_at_of_groups,
    lwlrap,
)
from distill.evaluation.models import ScoredModel, open_models, open_peers
from distill.evaluation.results import HITS_AT
from distill.evaluation.strange_results import (
    BUT_ESC,
    MIN_POSITIVES,
    StrangeFigures,
    StrangeModel,
    StrangeResults,
    StrangeSet,
)
from distill.scoring.clips import Scorer
from edge_audio.errors import UsageError

SEED = 0  # of the intervals: the same for every model, whichever recipe made it

Places = Mapping[str, Sequence[Clip]]
"""Source -> its clips."""


@dataclass(frozen=True)
class _Candidate:
    """A model that is scored on all sources that it has not heard."""

    scorer: Scorer
    heard: tuple[str, ...] = ()
    untraced: tuple[str, ...] = ()


def evaluate_strange(
    paths: Sequence[str], peers: Collection[str] = (), with_bundles: bool = False
) -> StrangeResults:
    """Scores checkpoints and bundles on the strange sources that they have not heard; peers, which
    learned from elsewhere (see `open_peers`), on all of them. with_bundles: see `open_models`.

    What a model has heard is what its recipe, and those of its lineage, would train on by the clip
    list as it is now. Raises EdgeAudioError if that is some of every source, and UsageError if no
    clip of one is listed or a path is no model.
    """
    models = [model for path in paths for model in open_models(path, with_bundles)]
    others = open_peers(models[0].recipe, peers)
    clip_list = named_clip_list()
    clips, folder = read_clip_list(clip_list), clip_list.parent
    scorers = [*(model.scorer for model in models), *others]
    names = shared_labels([scorer.labels for scorer in scorers])
    places = strange_places(clips, names)
    candidates = [examine(model, clips, places) for model in models]
    candidates += [_Candidate(scorer) for scorer in others]
    scores = _score(candidates, folder, places, names)
    sets = _sets(places)
    return StrangeResults(
        targets=tuple(model.name for model in models),
        n_labels=len(names),
        sets={title: _describe(sources, places) for title, sources in sets.items()},
        models=tuple(
            _summarise(candidate, found, sets, places, names)
            for candidate, found in zip(candidates, scores, strict=True)
        ),
    )


def strange_places(clips: Sequence[Clip], names: Sequence[str]) -> Places:
    """The clips of every strange source that have one of the labels `names`, in the order of the
    list of strange sources. Raises UsageError if there are none."""
    known = set(names)
    chosen = [clip for clip in clips if known.intersection(clip.labels)]
    places = {
        source: [clip for clip in chosen if strange_source(clip) == source]
        for source in strange_sources()
    }
    found = {source: of_source for source, of_source in places.items() if of_source}
    if not found:
        wanted = ", ".join(strange_sources())
        raise UsageError(f"the clip list has no clips of strange sources: they are {wanted}")
    return found


def examine(model: ScoredModel, clips: Sequence[Clip], places: Places) -> _Candidate:
    """Raises EdgeAudioError if the model has heard some of every source."""
    lineage = lineage_of(model.name, model.recipe)
    groups = lineage.heard_groups(clips)
    heard = tuple(
        source
        for source, of_source in places.items()
        if any(clip.group in groups for clip in of_source)
    )
    if len(heard) == len(places):
        every = [clip for of_source in places.values() for clip in of_source]
        lineage.require_unheard(
            clips,
            every,
            what="clips of strange places, some of every source,",
            advice="score one that was trained with split.hold_out_strange = true",
        )
    return _Candidate(model.scorer, heard, lineage.untraced)


def _score(
    candidates: Sequence[_Candidate], folder: Path, places: Places, names: Sequence[str]
) -> list[dict[str, NDArray[np.float32]]]:
    """Of each candidate: source -> f32[n_clips, n_names], of the sources that it has not heard."""
    scores: list[dict[str, NDArray[np.float32]]] = [{} for _ in candidates]
    for source, clips in places.items():
        rows = [row for row, one in enumerate(candidates) if source not in one.heard]
        if not rows:
            continue
        results = score_clips([candidates[row].scorer for row in rows], folder, clips)
        for row, result in zip(rows, results, strict=True):
            scores[row][source] = result.of_labels(names)
    return scores


def _sets(places: Places) -> dict[str, tuple[str, ...]]:
    """What is scored together: each source, and all but ESC."""
    others = tuple(source for source in places if source != ESC)
    together = {BUT_ESC: others} if len(others) > 1 else {}
    return {**{source: (source,) for source in places}, **together}


def _describe(sources: tuple[str, ...], places: Places) -> StrangeSet:
    clips = [clip for source in sources for clip in places[source]]
    n_groups = len({clip.group for clip in clips})
    return StrangeSet(sources=sources, n_clips=len(clips), n_groups=n_groups)


def _summarise(
    candidate: _Candidate,
    scores: Mapping[str, NDArray[np.float32]],
    sets: Mapping[str, tuple[str, ...]],
    places: Places,
    names: Sequence[str],
) -> StrangeModel:
    def figures() -> Iterator[tuple[str, StrangeFigures]]:
        for title, sources in sets.items():
            if scores.keys() >= set(sources):
                clips = [clip for source in sources for clip in places[source]]
                rows = np.concatenate([scores[source] for source in sources])
                yield title, _figures_of(rows, clips, names)

    return StrangeModel(
        name=candidate.scorer.name,
        heard=candidate.heard,
        untraced=candidate.untraced,
        figures=dict(figures()),
    )


def _figures_of(
    scores: NDArray[np.float32], clips: Sequence[Clip], names: Sequence[str]
) -> StrangeFigures:
    listed, groups = label_matrix(clips, names), [clip.group for clip in clips]
    hits, precision = hits_and_precision(scores, listed, names, groups)
    in_order = lwlrap(scores, listed, groups, SEED)
    return StrangeFigures(hits=hits, average_precision=precision, lwlrap=in_order)


def hits_and_precision(
    scores: NDArray[np.float32],
    listed: NDArray[np.bool_],
    names: Sequence[str],
    groups: Sequence[str],
) -> tuple[tuple[Estimate, ...], AveragePrecision | None]:
    """At each of HITS_AT; None where no class has MIN_POSITIVES clips."""
    hits = tuple(hit_at_of_groups(k, scores, listed, groups, SEED) for k in HITS_AT)
    precision = average_precision(scores, listed, names, groups, SEED, MIN_POSITIVES)
    return hits, precision if precision.classes else None
