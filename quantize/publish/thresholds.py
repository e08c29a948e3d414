"""Event thresholds of a bundle, from the clips that its recipe held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from distill.calibration.adjudication import Witness
from distill.calibration.calibrate import Calibration, calibrate
from distill.calibration.thresholds import CalibrationConfig
from distill.calibration.witnesses import open_witnesses
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.held_out import calibration_clips
from distill.evaluation.models import bundle_recipe
from distill.scoring.clips import BundleScorer
from distill.scoring.streams import open_stream_scorer
from distill.training.recipe import Recipe
from edge_audio.backends import open_backend
from edge_audio.backends.fingerprint import fingerprint, is_same_network
from edge_audio.bundle.store import Bundle, save_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.arrays import FloatArray
from quantize.publish.card import CARD_NAME, with_card


def choose_thresholds(
    config: CalibrationConfig,
    bundle: Bundle,
    recipe: Recipe,
    report: Callable[[str], None],
    moments_dir: Path | None = None,
) -> Calibration:
    """What the bundle should report, by its own scores. report: is told where nobody can judge
    its false alarms. moments_dir: see `calibrate`."""
    clip_list = named_clip_list()
    clips = read_clip_list(clip_list)
    chosen = calibration_clips(recipe, clips)
    scorer = open_stream_scorer(BundleScorer(bundle))
    witnesses = find_witnesses(report)
    return calibrate(config, scorer, clip_list.parent, chosen, clips, witnesses, moments_dir)


def facts_of(config: CalibrationConfig, found: Calibration) -> dict[str, Any]:
    """What a manifest's provenance says of its thresholds."""
    return {
        "calibration": msgspec.to_builtins(config),
        "adjudication": found.facts,
        "single_clips": found.clips,
    }


def find_witnesses(report: Callable[[str], None]) -> list[Witness]:
    """mn04 and YAMNet, or nobody, and a word on that."""
    try:
        return open_witnesses()
    except EdgeAudioError as error:
        report(f"nobody judges what sounds beside the lists, so that all of it is false: {error}")
        return []


def recalibrate(
    bundles: list[Bundle],
    config: CalibrationConfig,
    metrics: list[dict[str, str]],
    out_dir: Path | None = None,
    report: Callable[[str], None] = print,
    moments_dir: Path | None = None,
) -> list[Bundle]:
    """Gives all bundles the thresholds that the first one's scores bring, with new manifests and
    cards, which quote `metrics` in place of what was measured on the same clips before. The
    bundles are of one student: where their labels differ, each gets what it knows.

    out_dir: folder that gets the folders of the new bundles; None replaces the old ones. report,
    moments_dir: see `choose_thresholds`. Raises UsageError for bundles of other students, and for
    two that would get one folder.
    """
    _require_one_student(bundles)
    names = [bundle.path.name for bundle in bundles]
    if out_dir is not None and len(set(names)) < len(names):
        raise UsageError("two of the bundles have folders of one name: calibrate each by itself")
    first = bundles[0]
    found = choose_thresholds(config, first, bundle_recipe(first), report, moments_dir)
    return [
        _rewrite(bundle, found, config, metrics, out_dir / bundle.path.name if out_dir else None)
        for bundle in bundles
    ]


def _require_one_student(bundles: list[Bundle]) -> None:
    """Raises UsageError: what one student's scores bring says nothing of another's."""
    first, *others = ((bundle.manifest.name, _fingerprint(bundle)) for bundle in bundles)
    for name, found in others:
        if first[1] is not None and found is not None and not is_same_network(first[1], found):
            raise UsageError(
                f"{name} is not of the student that {first[0]} is of: calibrate it by itself"
            )


def _fingerprint(bundle: Bundle) -> FloatArray | None:
    """None where nobody can tell: without an embedding, or without its runtime."""
    try:
        return fingerprint(open_backend(bundle))
    except EdgeAudioError:
        return None


def _rewrite(
    bundle: Bundle,
    found: Calibration,
    config: CalibrationConfig,
    metrics: list[dict[str, str]],
    out_path: Path | None,
) -> Bundle:
    before = bundle.manifest
    files = bundle.contents()
    facts = {
        **before.provenance,
        **facts_of(config, found),
        "metrics": _with_quotes(before.provenance.get("metrics"), metrics),
    }
    manifest = msgspec.structs.replace(
        before, events=found.events.of_labels(before.labels), provenance=facts
    )
    if CARD_NAME in files:
        files = with_card(manifest, files)
    return save_bundle(out_path or bundle.path, manifest, files)


def _with_quotes(
    before: list[dict[str, str]] | None, quotes: list[dict[str, str]]
) -> list[dict[str, str]]:
    """The quotes, and those before that were measured on other clips. before: None where the
    bundle's maker gave none."""
    measured_on = {quote["measured on"] for quote in quotes}
    return [*quotes, *(x for x in before or [] if x.get("measured on") not in measured_on)]
