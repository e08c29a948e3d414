"""What a bundle reports of single held-out clips, each as a stream of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.companions import Companions, find_companions
from distill.data.folders import named_clip_list
from distill.evaluation.held_out import held_out_clips
from distill.evaluation.lineage import lineage_of
from distill.evaluation.metrics import Estimate, wilson
from distill.evaluation.models import bundle_recipe
from distill.progress import tracked
from edge_audio.backends import open_backend
from edge_audio.bundle.spec import Sensitivity, Spec
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import UsageError
from edge_audio.labels.ontology import related_labels
from edge_audio.tagging.tagger import Tagger


class LabelEvents(Spec, frozen=True):
    """n_clips with the label; n_found: of these, in which it or a related label is reported."""

    n_clips: int
    n_found: int


class ClipEvents(Spec, frozen=True):
    """Shares of the clips in which anything is reported; something right, a label of the clip or a
    related one; something wrong, any other label; and something unexpected, a wrong label none of
    whose companions is listed. labels: of those that are listed, most frequent first."""

    name: str
    sensitivity: Sensitivity
    n_clips: int
    any_event: Estimate
    right: Estimate
    wrong: Estimate
    unexpected: Estimate
    labels: dict[str, LabelEvents]


class EventResults(Spec, frozen=True):
    """Of each model."""

    models: tuple[ClipEvents, ...]


def evaluate_events(names: Sequence[str], sensitivity: Sensitivity) -> EventResults:
    """Lets each bundle, a folder or shipped name, listen to the clips that the recipe of the first
    held out. Raises EdgeAudioError if another has heard one of them."""
    bundles = [load_bundle(name) for name in names]
    clip_list = named_clip_list()
    clips, folder = read_clip_list(clip_list), clip_list.parent
    scored = [clip for clip in held_out_clips(bundle_recipe(bundles[0]), clips) if clip.labels]
    for bundle in bundles:
        lineage = lineage_of(bundle.manifest.name, bundle_recipe(bundle))
        lineage.require_unheard(clips, scored, advice="score it by itself")
    if not scored:
        raise UsageError("none of the held-out clips has a label: list their labels")
    companions = find_companions(clips, bundles[0].manifest.labels)
    found = (events_of_clips(x, sensitivity, folder, scored, companions) for x in bundles)
    return EventResults(models=tuple(found))


def events_of_clips(
    bundle: Bundle,
    sensitivity: Sensitivity,
    folder: Path,
    clips: Sequence[Clip],
    companions: Companions,
) -> ClipEvents:
    """What is reported at a sensitivity in each of the clips, all of which have labels."""
    tagger = Tagger(bundle, open_backend(bundle), sensitivity=sensitivity)
    reported = []
    for clip in tracked(clips, f"{bundle.manifest.name}: clips"):
        tagger.reset()
        events = tagger.push(read_clip(folder / clip.path, tagger.sample_rate_hz)) + tagger.flush()
        reported.append({event.label for event in events})
    return summarise_events(bundle.manifest.name, sensitivity, clips, reported, companions)


def summarise_events(
    name: str,
    sensitivity: Sensitivity,
    clips: Sequence[Clip],
    reported: Sequence[set[str]],
    companions: Companions,
) -> ClipEvents:
    """The shares of clips, of each of which these labels are reported."""
    pairs = list(zip(clips, reported, strict=True))
    n = len(clips)
    return ClipEvents(
        name=name,
        sensitivity=sensitivity,
        n_clips=n,
        any_event=wilson(sum(map(bool, reported)), n),
        right=wilson(sum(any(_fits(x, mine) for x in clip.labels) for clip, mine in pairs), n),
        wrong=wilson(sum(_has_wrong(clip, mine) for clip, mine in pairs), n),
        unexpected=wilson(sum(_has_unexpected(x, mine, companions) for x, mine in pairs), n),
        labels=_by_label(pairs),
    )


def _fits(label: str, reported: set[str]) -> bool:
    return bool(reported & {label, *related_labels(label)})


def _has_wrong(clip: Clip, reported: set[str]) -> bool:
    """Whether a label is reported that is none of the clip's nor related to one."""
    return any(not set(clip.labels) & {x, *related_labels(x)} for x in reported)


def _has_unexpected(clip: Clip, reported: set[str], companions: Companions) -> bool:
    """Whether a label is reported that cannot be expected where the clip's labels sound."""
    return any(not set(clip.labels) & companions.get(x, {x}) for x in reported)


def _by_label(pairs: Sequence[tuple[Clip, set[str]]]) -> dict[str, LabelEvents]:
    listed: dict[str, list[set[str]]] = {}
    for clip, reported in pairs:
        for label in clip.labels:
            listed.setdefault(label, []).append(reported)
    ordered = sorted(listed.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        label: LabelEvents(len(mine), sum(_fits(label, x) for x in mine)) for label, mine in ordered
    }
