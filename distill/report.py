"""An evaluation as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.table import Table

from distill.evaluate import HITS_AT, ModelReport, Report
from distill.metrics import MIN_POSITIVES, Estimate, FoldAccuracy
from distill.streaming import StreamingModel, StreamingReport
from distill.streaming_metrics import LATENESS_S

Cell = Callable[[ModelReport], str]
StreamingCell = Callable[[StreamingModel], str]
_SETS = {"all": "all held-out clips", "ESC": "ESC clips", "other": "other clips"}


def describe(report: Report) -> str:
    """What was scored, and why it may be: printed above the table."""
    return (
        f"{report.n_clips} held-out clips in {report.n_groups} groups, {report.n_esc_clips} of "
        f"them ESC; recipe {report.recipe} trains on {report.n_training_clips} clips, none of "
        f"them from these groups.\n"
        f"hit@k and mAP: {report.n_labels} labels known to all models; {report.n_unlabelled} "
        f"clips have none of them and are skipped; a clip's score is the maximum over its steps "
        f"(mn: clip logits; YAMNet: mean over its windows).\n"
        f"LR: logistic regression on standardised features, C = {report.regression_c:g}, "
        f"official folds; embedding and scores (log-odds) pooled by mean and maximum over steps."
    )


def to_table(report: Report) -> Table:
    """One column per model, one row per figure: per cent, with 95 % confidence intervals."""
    table = Table(caption="per cent, but for d-prime (95 % interval)")
    table.add_column("")
    for model in report.models:
        table.add_column(model.name, justify="right")
    for title, cell in _rows(report):
        table.add_row(title, *(cell(model) for model in report.models))
    return table


def _rows(report: Report) -> Iterator[tuple[str, Cell]]:
    for title, field in (("ESC-50", "esc50"), ("ESC-10", "esc10")):
        for features in ("embedding", "scores"):
            if any(features in getattr(model, field) for model in report.models):
                yield f"{title}, LR on {features}", _mean_cell(field, features)
                yield "  folds 1-5", _folds_cell(field, features)
    for position, k in enumerate(HITS_AT):
        for name, clips in _SETS.items():
            if estimates := report.models[0].hits.get(name):
                yield f"hit@{k}, {clips} ({estimates[0].n})", _hit_cell(name, position)
    n_classes = report.models[0].average_precision.mean.n
    title = f"mAP, {n_classes} classes with >= {MIN_POSITIVES} clips"
    yield title, lambda model: format_estimate(model.average_precision.mean)
    yield "lwlrap, all labels", lambda model: format_estimate(model.lwlrap)
    yield f"d-prime, {n_classes} classes", lambda model: format_estimate(model.d_prime, "{:.2f}", 1)
    if all(model.reliability for model in report.models):
        yield "calibration error of scores >= 0.05", _calibration_cell
    taught = [model.agreement for model in report.models if model.agreement]
    if taught:
        yield f"top-1 agreement with {taught[0].teacher}", _agreement_cell("top1")
        yield f"rank correlation with {taught[0].teacher}", _agreement_cell("rank_correlation")


def _calibration_cell(model: ModelReport) -> str:
    return "-" if model.reliability is None else f"{100 * model.reliability.error:.1f}"


def _mean_cell(field: str, features: str) -> Cell:
    def cell(model: ModelReport) -> str:
        result: FoldAccuracy | None = getattr(model, field).get(features)
        return format_estimate(result.mean) if result else "-"

    return cell


def _folds_cell(field: str, features: str) -> Cell:
    def cell(model: ModelReport) -> str:
        result: FoldAccuracy | None = getattr(model, field).get(features)
        return " ".join(f"{100 * fold:.1f}" for fold in result.folds) if result else ""

    return cell


def _hit_cell(name: str, position: int) -> Cell:
    return lambda model: format_estimate(model.hits[name][position])


def _agreement_cell(field: str) -> Cell:
    return lambda model: (
        format_estimate(getattr(model.agreement, field)) if model.agreement else "-"
    )


def describe_streaming(report: StreamingReport) -> str:
    """What was composed, and how it was scored: printed above the streaming table."""
    config = report.config
    first = report.models[0]
    return (
        f"{config.n_scenes} soundscapes of {config.scene_s:g} s with {report.n_events} events of "
        f"{len(report.labels)} labels, those for which all models have thresholds; made of "
        f"{report.n_sounds} held-out clips, {config.snr_db[0]:g} to {config.snr_db[1]:g} dB above "
        f"noise, at most two at a time.\n"
        f"False alarms: {first.false_alarms.hours:.1f} h of noise, silence and "
        f"{report.n_negative_clips} held-out clips without these labels or any that goes with "
        f"them; what else sounds in these clips nobody has checked.\n"
        f"Bundles use their own thresholds; other models' are chosen in the same way, on "
        f"{report.n_calibration_clips} held-out clips. The same clips make the soundscapes.\n"
        f"F1: onset only, starts moved back by the model's lag (declared latency; half of a "
        f"window), as for the PSDS. Latency: audio from true onset to report, of the events "
        f"reported until {LATENESS_S:g} s after their end."
    )


def to_streaming_table(report: StreamingReport) -> Table:
    """One column per model, one row per figure, with 95 % confidence intervals."""
    table = Table(caption="95 % interval in brackets")
    table.add_column("")
    for model in report.models:
        table.add_column(model.name, justify="right")
    for title, cell in _streaming_rows(report):
        table.add_row(title, *(cell(model) for model in report.models))
    return table


def _streaming_rows(report: StreamingReport) -> Iterator[tuple[str, StreamingCell]]:
    yield "a score every, s", lambda model: f"{model.step_s:g}"
    yield "lag, s", lambda model: f"{model.lag_s:g}"
    for position, score in enumerate(report.models[0].event_f1):
        title = f"event F1, {1000 * score.collar_s:.0f} ms collar"
        yield f"{title}, per cent", _f1_cell(position, "micro")
        yield "  mean over labels", _f1_cell(position, "macro")
    yield "PSDS1, per cent", lambda model: format_estimate(model.psds1)
    yield "PSDS2, per cent", lambda model: format_estimate(model.psds2)
    yield "events found, per cent", lambda model: format_estimate(model.latency.found)
    yield "onset latency, median, s", lambda model: _seconds(model.latency.median_s)
    yield "onset latency, 95th percentile, s", lambda model: _seconds(model.latency.p95_s)
    yield (
        "false alarms per hour",
        lambda model: format_estimate(model.false_alarms.total, "{:.0f}", 1),
    )


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
