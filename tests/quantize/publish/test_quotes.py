"""What a card quotes is what was measured."""

import math
from pathlib import Path

import msgspec
import pytest

from distill.calibration.thresholds import CalibrationConfig
from distill.evaluation.fold_results import FoldAccuracies, FoldResults
from distill.evaluation.metrics import AveragePrecision, Estimate, FoldAccuracy, wilson
from distill.evaluation.results import ClipResults, ModelResults, write_results
from distill.evaluation.streaming import StreamingModel, StreamingResults
from distill.evaluation.streaming_metrics import EventF1, FalseAlarms, Latency
from edge_audio.errors import UsageError
from quantize.publish.quotes import quote_metrics


def _report() -> ClipResults:
    model = ModelResults(
        name="student",
        esc50={"embedding": FoldAccuracy(mean=wilson(70, 100), folds=(0.7,) * 5)},
        esc10={},
        hits={"all": (wilson(40, 80), wilson(60, 80))},
        average_precision=AveragePrecision(mean=wilson(3, 10), classes={}),
        d_prime=Estimate(value=1.5, low=1.2, high=1.8, n=10),
        lwlrap=wilson(50, 80),
    )
    return ClipResults(
        targets=("student",),
        recipe="miniature",
        n_training_clips=1,
        n_clips=80,
        n_groups=50,
        n_esc_clips=20,
        n_unlabelled=0,
        n_labels=527,
        regression_c=0.1,
        models=(model,),
    )


def test_figures_come_with_intervals_command_and_clips(tmp_path: Path) -> None:
    content = {"command": ["/bin/edge-audio", "evaluate", "x"], **msgspec.to_builtins(_report())}
    (tmp_path / "metrics.json").write_bytes(msgspec.json.encode(content))
    quoted = quote_metrics(tmp_path / "metrics.json")
    assert quoted["measured by"] == "`edge-audio evaluate x`"
    assert "80 clips of 50 recordings" in quoted["measured on"]
    assert quoted["hit@1 on all clips"] == "student 50.0 % (39.3 to 60.7)"
    assert quoted["mAP over 10 classes"].startswith("student 30.0 %")
    assert any(name.startswith("ESC-50") and "70.0 %" in value for name, value in quoted.items())


def test_what_could_not_be_measured_is_left_out(tmp_path: Path) -> None:
    report = _report()
    nothing = Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    precision = AveragePrecision(mean=nothing, classes={})
    model = msgspec.structs.replace(report.models[0], average_precision=precision, d_prime=nothing)
    write_results(msgspec.structs.replace(report, models=(model,)), tmp_path / "metrics.json")
    quoted = quote_metrics(tmp_path / "metrics.json")
    assert quoted["hit@1 on all clips"] == "student 50.0 % (39.3 to 60.7)"
    assert not any("mAP" in name or "nan" in value for name, value in quoted.items())


def test_streaming_figures_are_quoted_beside(tmp_path: Path) -> None:
    heard = StreamingModel(
        name="student",
        step_s=0.08,
        lag_s=0.135,
        n_on=1.0,
        event_f1=(EventF1(collar_s=0.5, micro=wilson(10, 100), macro=wilson(1, 10)),),
        psds1=wilson(1, 10),
        psds2=wilson(2, 10),
        latency=Latency(found=wilson(5, 10), median_s=0.4, p95_s=1.25, values_s=(0.4,)),
        sudden=None,
        false_alarms=FalseAlarms(
            hours=20.0,
            total=Estimate(value=12.0, low=6.0, high=20.0, n=240),
            each=Estimate(value=0.12, low=0.06, high=0.2, n=240),
            labels={},
            n_over=0,
        ),
    )
    streaming = StreamingResults(
        config=CalibrationConfig(),
        labels=("Dog",),
        n_events=10,
        n_sounds=5,
        n_negative_sounds=3,
        models=(heard,),
    )
    report = msgspec.structs.replace(_report(), streaming=streaming)
    content = {"command": ["/bin/edge-audio", "evaluate", "x"], **msgspec.to_builtins(report)}
    (tmp_path / "metrics.json").write_bytes(msgspec.json.encode(content))
    quoted = quote_metrics(tmp_path / "metrics.json")
    assert quoted["event F1, onset within 500 ms"].startswith("student 10.0 %")
    assert quoted["onset latency"] == "student 0.40 s median, 1.25 s at the 95th percentile"
    assert quoted["events found"].startswith("student 50.0 %")
    alarms = "false alarms per hour and label, in 20 h"
    assert quoted[alarms] == "student 0.12 (0.06 to 0.20)"


def test_fold_figures_say_that_other_weights_were_measured(tmp_path: Path) -> None:
    accuracies = FoldAccuracies(
        esc50=wilson(1_600, 2_000),
        esc50_folds=(0.8,) * 5,
        esc50_leak_aware=wilson(1_550, 1_950),
        esc10=wilson(380, 400),
        esc10_leak_aware=wilson(370, 390),
    )
    report = FoldResults(
        checkpoint="runs/x/checkpoint.pt",
        recipe="x",
        held_out_groups=(("a",),) * 5,
        n_leaky_clips=50,
        bundle=accuracies,
        student=accuracies,
        classes=("dog",),
        confusion=((1,),),
    )
    content = {"command": ["/bin/edge-audio", "evaluate", "x"], **msgspec.to_builtins(report)}
    (tmp_path / "folds.json").write_bytes(msgspec.json.encode(content))
    quoted = quote_metrics(tmp_path / "folds.json")
    assert "not this bundle's own weights" in quoted["measured on"]
    assert quoted["ESC-50"].startswith("80.0 %")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"command": ["x"], "models": 3}'])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(UsageError, match="no metrics"):
        quote_metrics(tmp_path / "metrics.json")
