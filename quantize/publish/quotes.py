"""Figures that `edge-audio evaluate` measured, as manifest and card quote them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from distill.evaluation.fold_results import FoldResults
from distill.evaluation.metrics import Estimate
from distill.evaluation.results import HITS_AT, ClipResults, ModelResults
from distill.evaluation.streaming import StreamingModel
from edge_audio.errors import UsageError


def quote_metrics(path: Path) -> dict[str, str]:
    """metrics.json or folds.json of `edge-audio evaluate` -> figure by name, every scored model
    in one line, with the command and what it was measured on.

    Raises UsageError if the file is missing or holds something else.
    """
    try:
        content = _with_nan(msgspec.json.decode(path.read_bytes()))
        command = content.pop("command")
        quote = _quote_folds if "confusion" in content else _quote_clips
        figures = quote(content)
    except (OSError, AttributeError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is no metrics.json of edge-audio evaluate: {error}") from error
    return {"measured by": "`" + " ".join(["edge-audio", *command[1:]]) + "`", **figures}


def _with_nan(value: Any) -> Any:
    """JSON has no NaN: what could not be measured is null in it."""
    if isinstance(value, list):
        return [_with_nan(one) for one in value]
    if not isinstance(value, dict):
        return value
    is_estimate = {"value", "low", "high", "n"} <= value.keys()
    return {
        name: math.nan if is_estimate and one is None else _with_nan(one)
        for name, one in value.items()
    }


def _quote_clips(content: dict[str, Any]) -> dict[str, str]:
    results = msgspec.convert(content, ClipResults)
    rows: dict[str, list[str]] = {}
    for model in results.models:
        for name, estimate in _figures(model).items():
            rows.setdefault(name, []).append(f"{model.name} {_percent(estimate)}")
    for heard in results.streaming.models if results.streaming else ():
        for name, text in _streaming_figures(heard).items():
            rows.setdefault(name, []).append(f"{heard.name} {text}")
    return {
        "measured on": f"{results.n_clips} clips of {results.n_groups} recordings held out by the "
        f"recipe {results.recipe}, {results.n_esc_clips} of them ESC clips",
        **{name: "; ".join(values) for name, values in rows.items()},
    }


def _quote_folds(content: dict[str, Any]) -> dict[str, str]:
    results = msgspec.convert(content, FoldResults)
    bundle = results.bundle
    return {
        "measured on": f"the ESC folds: {results.checkpoint}, which heard none of them, fine-tuned "
        "on four and scored on the fifth, int8 and streaming; not this bundle's own weights",
        "ESC-50": _percent(bundle.esc50),
        "ESC-50 without recordings that several folds share": _percent(bundle.esc50_leak_aware),
        "ESC-10": _percent(bundle.esc10),
    }


def _figures(model: ModelResults) -> dict[str, Estimate]:
    accuracy = {
        f"{name}, 5-fold accuracy of a logistic regression on {features}": folds.mean
        for name, kinds in (("ESC-50", model.esc50), ("ESC-10", model.esc10))
        for features, folds in kinds.items()
    }
    hits = {
        f"hit@{k} on {subset} clips": estimate
        for subset, estimates in model.hits.items()
        for k, estimate in zip(HITS_AT, estimates, strict=True)
    }
    mean = model.average_precision.mean
    measured = {f"mAP over {mean.n} classes": mean} if mean.n else {}
    return {**accuracy, **hits, **measured}


def _streaming_figures(model: StreamingModel) -> dict[str, str]:
    """On composed soundscapes and negatives, at thresholds that were chosen on others."""
    latency, each = model.latency, model.false_alarms.each
    f1 = {
        f"event F1, onset within {1e3 * one.collar_s:.0f} ms": _percent(one.micro)
        for one in model.event_f1
    }
    seconds = (
        "none found"
        if latency.median_s is None
        else f"{latency.median_s:.2f} s median, {latency.p95_s:.2f} s at the 95th percentile"
    )
    hours = f"false alarms per hour and label, in {model.false_alarms.hours:.0f} h"
    return {
        **f1,
        "events found": _percent(latency.found),
        "onset latency": seconds,
        hours: f"{each.value:.2f} ({each.low:.2f} to {each.high:.2f})",
    }


def _percent(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"
