"""Event thresholds of a bundle, from the clips that its recipe held out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from distill.calibration.thresholds import CalibrationConfig, calibrate
from distill.data.clip_list import read_clip_list
from distill.data.folders import data_dir
from distill.evaluation.held_out import calibration_clips
from distill.evaluation.models import bundle_recipe
from distill.scoring.clips import BundleScorer
from distill.scoring.streams import open_stream_scorer
from distill.training.recipe import Recipe
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle, save_bundle
from quantize.publish.card import CARD_NAME, model_card


def choose_thresholds(config: CalibrationConfig, bundle: Bundle, recipe: Recipe) -> EventSpec:
    """What the bundle should report, by its own scores."""
    clips = read_clip_list(data_dir())
    chosen = calibration_clips(recipe, clips)
    return calibrate(config, open_stream_scorer(BundleScorer(bundle)), data_dir(), chosen, clips)


def recalibrate(
    bundles: list[Bundle], config: CalibrationConfig, metrics: list[dict[str, str]]
) -> list[Bundle]:
    """Gives all bundles the thresholds that the first one's scores bring, and rewrites manifests
    and cards, which quote `metrics` in place of what was measured on the same clips before. The
    bundles are of one student: where their labels differ, each gets what it knows."""
    first = bundles[0]
    events = choose_thresholds(config, first, bundle_recipe(first))
    return [_rewrite(bundle, events, config, metrics) for bundle in bundles]


def _rewrite(
    bundle: Bundle, events: EventSpec, config: CalibrationConfig, metrics: list[dict[str, str]]
) -> Bundle:
    before = bundle.manifest
    files = {name: bundle.read(name) for name in before.files}
    measured_on = {one["measured on"] for one in metrics}
    others = [x for x in before.provenance["metrics"] if x["measured on"] not in measured_on]
    facts = {
        **before.provenance,
        "calibration": msgspec.to_builtins(config),
        "metrics": [*metrics, *others],
    }
    manifest = msgspec.structs.replace(
        before, events=events_of(before.labels, events), provenance=facts
    )
    if CARD_NAME in files:
        models = {name: content for name, content in files.items() if name != CARD_NAME}
        files[CARD_NAME] = model_card(manifest, models).encode()
    return save_bundle(bundle.path, manifest, files)


def events_of(labels: Sequence[str], events: EventSpec) -> EventSpec:
    """The event settings of these labels alone."""
    kept = {label: t for label, t in events.thresholds.items() if label in labels}
    return msgspec.structs.replace(events, thresholds=kept)
