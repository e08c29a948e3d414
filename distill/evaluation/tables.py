"""An evaluation as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.table import Table

from distill.calibration.scenes import LATENESS_S
from distill.evaluation.metrics import MIN_POSITIVES, Estimate, FoldAccuracy
from distill.evaluation.results import HITS_AT, ClipResults, ModelResults
from distill.evaluation.streaming import AtSensitivity, StreamingModel, StreamingResults
from distill.evaluation.streaming_metrics import SUDDEN
from edge_audio.events.operating_points import ALARMS_PER_HOUR
from edge_audio.support.text import printable

Cell = Callable[[ModelResults], str]
StreamingCell = Callable[[StreamingModel], str]
_SETS = {"all": "all held-out clips", "ESC": "ESC clips", "other": "other clips"}


def describe(results: ClipResults) -> str:
    """What was scored, and why it may be: printed above the table."""
    return (
        f"{results.n_clips} held-out clips in {results.n_groups} groups, {results.n_esc_clips} of "
        f"them ESC; recipe {printable(results.recipe)} trains on {results.n_training_clips} "
        f"clips, none of them from these groups.\n"
        f"hit@k and mAP: {results.n_labels} labels known to all models; {results.n_unlabelled} "
        f"clips have none of them and are skipped; a clip's score is the maximum over its steps "
        f"(mn: clip logits; YAMNet: mean over its windows).\n"
        f"LR: logistic regression on standardised features, C = {results.regression_c:g}, "
        f"official folds; embedding and scores (log-odds) pooled by mean and maximum over steps."
    )


def to_table(results: ClipResults) -> Table:
    """One column per model, one row per figure: per cent, with 95 % confidence intervals."""
    table = Table(caption="per cent, but for d-prime (95 % interval)")
    table.add_column("")
    for model in results.models:
        table.add_column(printable(model.name), justify="right")
    for title, cell in _rows(results):
        table.add_row(title, *(cell(model) for model in results.models))
    return table


def _rows(results: ClipResults) -> Iterator[tuple[str, Cell]]:
    for title, field in (("ESC-50", "esc50"), ("ESC-10", "esc10")):
        for features in ("embedding", "scores"):
            if any(features in getattr(model, field) for model in results.models):
                yield f"{title}, LR on {features}", _mean_cell(field, features)
                yield "  folds 1-5", _folds_cell(field, features)
    for position, k in enumerate(HITS_AT):
        for name, clips in _SETS.items():
            if estimates := results.models[0].hits.get(name):
                yield f"hit@{k}, {clips} ({estimates[0].n})", _hit_cell(name, position)
    n_classes = results.models[0].average_precision.mean.n
    title = f"mAP, {n_classes} classes with >= {MIN_POSITIVES} clips"
    yield title, lambda model: format_estimate(model.average_precision.mean)
    yield "lwlrap, all labels", lambda model: format_estimate(model.lwlrap)
    yield f"d-prime, {n_classes} classes", lambda model: format_estimate(model.d_prime, "{:.2f}", 1)
    if all(model.reliability for model in results.models):
        yield "calibration error of scores >= 0.05", _calibration_cell
    taught = [model.agreement for model in results.models if model.agreement]
    if taught:
        yield f"top-1 agreement with {taught[0].teacher}", _agreement_cell("top1")
        yield f"rank correlation with {taught[0].teacher}", _agreement_cell("rank_correlation")


def _calibration_cell(model: ModelResults) -> str:
    return "-" if model.reliability is None else f"{100 * model.reliability.error:.1f}"


def _mean_cell(field: str, features: str) -> Cell:
    def cell(model: ModelResults) -> str:
        result: FoldAccuracy | None = getattr(model, field).get(features)
        return format_estimate(result.mean) if result else "-"

    return cell


def _folds_cell(field: str, features: str) -> Cell:
    def cell(model: ModelResults) -> str:
        result: FoldAccuracy | None = getattr(model, field).get(features)
        return " ".join(f"{100 * fold:.1f}" for fold in result.folds) if result else ""

    return cell


def _hit_cell(name: str, position: int) -> Cell:
    return lambda model: format_estimate(model.hits[name][position])


def _agreement_cell(field: str) -> Cell:
    return lambda model: (
        format_estimate(getattr(model.agreement, field)) if model.agreement else "-"
    )


def describe_streaming(results: StreamingResults) -> str:
    """What was composed, and how it was scored: printed above the streaming table."""
    config, scenes = results.config, results.config.scenes
    first = results.models[0]
    return (
        f"{config.n_folds} x {scenes.n_scenes} soundscapes of {scenes.scene_s:g} s with "
        f"{results.n_events} events of {len(results.labels)} labels, all that the models share and "
        f"that have {config.min_positives} held-out recordings; made of {results.n_sounds} clips, "
        f"{scenes.snr_db[0]:g} to {scenes.snr_db[1]:g} dB above noise, at most two at a time.\n"
        f"False alarms: {first.false_alarms.hours:.1f} h of noise and silence in which "
        f"{results.n_negative_sounds} sounds of any kind are heard; a start is false unless its "
        f"label, one that stands beside it in any clip, or a related label sounds, or did "
        f"{LATENESS_S:g} s ago. What else sounds in these clips nobody has checked.\n"
        f"Thresholds: of every model alike, for each fold of recordings on the others, for at most "
        f"{config.max_alarms_per_hour:g} false alarms per hour and label. Labels that find less "
        f"than {100 * config.min_recall:g} per cent within that are off and find nothing. Last "
        f"rows: for {ALARMS_PER_HOUR['quiet']:g} and {ALARMS_PER_HOUR['eager']:g} an hour.\n"
        f"F1: onset only, starts moved back by the model's lag (declared latency; half of a "
        f"window), as for the PSDS. Latency: audio from true onset to report, of the events "
        f"reported until {LATENESS_S:g} s after their end; sudden: {', '.join(sorted(SUDDEN))}."
    )


def to_streaming_table(results: StreamingResults) -> Table:
    """One column per model, one row per figure, with 95 % confidence intervals."""
    table = Table(caption="95 % interval in brackets")
    table.add_column("")
    for model in results.models:
        table.add_column(printable(model.name), justify="right")
    for title, cell in _streaming_rows(results):
        table.add_row(title, *(cell(model) for model in results.models))
    return table


def _streaming_rows(results: StreamingResults) -> Iterator[tuple[str, StreamingCell]]:
    yield "a score every, s", lambda model: f"{model.step_s:g}"
    yield "lag, s", lambda model: f"{model.lag_s:g}"
    for position, score in enumerate(results.models[0].event_f1):
        title = f"event F1, {1000 * score.collar_s:.0f} ms collar"
        yield f"{title}, per cent", _f1_cell(position, "micro")
        yield "  mean over labels", _f1_cell(position, "macro")
    yield "PSDS1, per cent", lambda model: format_estimate(model.psds1)
    yield "PSDS2, per cent", lambda model: format_estimate(model.psds2)
    yield "events found, per cent", lambda model: format_estimate(model.latency.found)
    yield "onset latency, median, s", lambda model: _seconds(model.latency.median_s)
    yield "onset latency, 95th percentile, s", lambda model: _seconds(model.latency.p95_s)
    if all(model.sudden for model in results.models):
        yield "  of sudden sounds, median, s", _sudden_cell
    yield "labels on", lambda model: f"{model.n_on:.0f}"
    yield "false alarms per hour, all labels", _alarm_cell("total")
    yield "  per hour and label", _alarm_cell("each")
    yield "  labels over the budget", lambda model: f"{model.false_alarms.n_over}"
    for position, first in enumerate(results.models[0].others):
        yield f"at {first.sensitivity}: labels on", _at_cell(position, _n_on)
        yield "  events found, per cent", _at_cell(position, _found)
        yield "  false alarms per hour and label", _at_cell(position, _alarms_each)


def _at_cell(position: int, cell: Callable[[AtSensitivity], str]) -> StreamingCell:
    return lambda model: cell(model.others[position])


def _n_on(at: AtSensitivity) -> str:
    return f"{at.n_on:.0f}"


def _found(at: AtSensitivity) -> str:
    return format_estimate(at.found)


def _alarms_each(at: AtSensitivity) -> str:
    return format_estimate(at.alarms_each, "{:.2f}", 1)


def _sudden_cell(model: StreamingModel) -> str:
    return _seconds(model.sudden.median_s if model.sudden else None)


def _alarm_cell(field: str) -> StreamingCell:
    return lambda model: format_estimate(getattr(model.false_alarms, field), "{:.2f}", 1)


def _seconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.2f}"


def _f1_cell(position: int, field: str) -> StreamingCell:
    return lambda model: format_estimate(getattr(model.event_f1[position], field))


def format_estimate(estimate: Estimate, style: str = "{:.1f}", scale: float = 100.0) -> str:
    """Value and 95 % interval, in per cent unless `style` and `scale` say otherwise."""
    value, low, high = (
        style.format(scale * x) for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low}-{high})"
