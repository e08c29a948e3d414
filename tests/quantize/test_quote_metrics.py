"""What a card quotes is what was measured."""

from pathlib import Path

import msgspec
import pytest

from distill.evaluate import ModelReport, Report
from distill.metrics import AveragePrecision, FoldAccuracy, wilson
from edge_audio.errors import UsageError
from quantize.metrics import quote_metrics


def _report() -> Report:
    model = ModelReport(
        name="student",
        esc50={"embedding": FoldAccuracy(mean=wilson(70, 100), folds=(0.7,) * 5)},
        esc10={},
        hits={"all": (wilson(40, 80), wilson(60, 80))},
        average_precision=AveragePrecision(mean=wilson(3, 10), classes={}),
    )
    return Report(
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


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"command": ["x"], "models": 3}'])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(UsageError, match="no metrics"):
        quote_metrics(tmp_path / "metrics.json")
