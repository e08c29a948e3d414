"""Events of single clips: right, wrong, and by label, through the command."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from distill.cli.evaluate import evaluate
from distill.evaluation.events import ClipEvents, LabelEvents, evaluate_events
from edge_audio.bundle.spec import Threshold
from edge_audio.bundle.store import Bundle, save_bundle
from tests.distill.workshop import make_data, save_rain_detector

N_CLIPS = 12
"""Of the held-out fold: two of ESC and two others of each of three kinds."""


@pytest.fixture
def rain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle that reports Rain at everything when eager, and nothing when quiet."""
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    make_data(tmp_path / "data")
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    bundle = save_rain_detector(tmp_path)
    tables = {
        "quiet": {"Rain": Threshold(on=1.0, off=1.0)},
        "eager": {"Rain": Threshold(on=1e-6, off=1e-6)},
    }
    events = msgspec.structs.replace(bundle.manifest.events, sensitivities=tables)
    manifest = msgspec.structs.replace(bundle.manifest, events=events)
    return save_bundle(bundle.path, manifest, bundle.contents())


def test_clips_with_any_a_right_and_a_wrong_event_are_counted(rain: Bundle, tmp_path: Path) -> None:
    def figures(sensitivity: str) -> ClipEvents:
        (model,) = evaluate_events([str(rain.path)], sensitivity).models  # type: ignore[arg-type]
        return model

    eager, quiet = figures("eager"), figures("quiet")
    assert eager.n_clips == quiet.n_clips == N_CLIPS
    assert [x.value for x in (eager.any_event, eager.right, eager.wrong)] == pytest.approx(
        [1.0, 1 / 3, 2 / 3]
    )
    assert [x.value for x in (quiet.any_event, quiet.right, quiet.wrong)] == [0.0, 0.0, 0.0]
    assert eager.labels["Rain"] == LabelEvents(4, 4)
    assert eager.labels["Siren"] == LabelEvents(4, 0)
    arguments = [str(rain.path), "--events", "--sensitivity", "eager", "--out", str(tmp_path)]
    done = CliRunner().invoke(evaluate, arguments)
    assert done.exit_code == 0, done.output
    assert "66.7" in done.output
    written = json.loads((tmp_path / "events.json").read_text())
    assert written["models"][0]["wrong"]["value"] == pytest.approx(2 / 3)
