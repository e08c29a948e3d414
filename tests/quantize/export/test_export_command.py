"""`edge-audio export` as app developers run it: few labels, one runtime, the front end inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_audio.backends import open_backend
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.sources.demo import DemoScene
from edge_audio.tagging.compare import ScoreTrace, difference, trace
from quantize.publish.related import RELATED_NAME, related_labels
from tests.support.command_line import error_line, run, run_here
from tests.support.paths import REPOSITORY

CHECKPOINT = REPOSITORY / "distill" / "checkpoints" / "micro.pt"
KEPT = ("Rain", "Dog", "Siren")


def export(folder: Path, *options: object) -> Bundle:
    run_here("export", CHECKPOINT, "--like", "micro-int8", *options, "--out", folder)
    return load_bundle(str(folder))


@pytest.fixture(scope="module")
def few_labels(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("export")
    (folder / "labels.txt").write_text("# three of 527\n" + "\n".join(KEPT) + "\n\n")
    return export(folder / "few", "--to", "onnx", "--labels", folder / "labels.txt")


def heard(bundle: Bundle, lead_in: int = 0) -> ScoreTrace:
    """40 s of the demo scene through ONNX Runtime, after as much silence as lead_in samples."""
    samples = np.concatenate([np.zeros(lead_in, np.float32), DemoScene(16_000).first(40.0)])
    return trace(bundle, open_backend(bundle, "onnx"), [samples])


def test_only_the_wanted_labels_and_runtime_are_kept_with_their_thresholds(
    few_labels: Bundle,
) -> None:
    manifest = few_labels.manifest
    shipped = load_bundle("micro-int8").manifest
    assert set(manifest.labels) == set(KEPT)
    assert {name for name in manifest.files if name.startswith("model.")} == {"model.onnx"}
    assert RELATED_NAME not in manifest.files
    wanted = {label: t for label, t in shipped.events.thresholds.items() if label in KEPT}
    assert manifest.events.thresholds == wanted != {}
    assert manifest.files["model.onnx"].n_bytes < 0.75 * shipped.files["model.onnx"].n_bytes


def test_kept_labels_score_and_fire_as_in_the_whole_model(few_labels: Bundle) -> None:
    found = difference(heard(few_labels), heard(load_bundle("micro-int8")))
    assert found.max_error < 1e-5
    assert found.same_events


def test_the_same_options_give_the_same_bytes(few_labels: Bundle, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(reversed(KEPT)))
    again = export(tmp_path / "few", "--to", "onnx", "--labels", tmp_path / "labels.txt")
    assert again.manifest.files == few_labels.manifest.files


def test_the_graph_that_is_fed_samples_says_what_the_other_says(tmp_path: Path) -> None:
    """Its first step hears 240 samples of silence before the stream."""
    bundle = export(tmp_path / "samples", "--to", "onnx", "--input", "samples")
    assert bundle.manifest.model.input == "samples"
    assert bundle.read(RELATED_NAME) == related_labels(bundle.manifest.labels).to_bytes()
    overlap = bundle.manifest.model.frontend.overlap_samples
    fed_frames = heard(load_bundle("micro-int8"), lead_in=overlap)
    fed_samples = heard(bundle)
    n_steps = min(len(fed_frames.scores), len(fed_samples.scores))
    error = np.abs(fed_frames.scores[:n_steps] - fed_samples.scores[:n_steps])
    assert fed_frames.scores.max() > 0.5
    assert error.max() < 1e-3


def test_wrong_requests_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("Dog\nUnicorn\n")
    unknown = ("--to", "onnx", "--labels", tmp_path / "labels.txt", "--out", tmp_path / "x")
    done = run_here("export", CHECKPOINT, *unknown, ok=False)
    assert "Unicorn" in done.stderr.splitlines()[-1]
    assert done.returncode == 2
    (tmp_path / "none.txt").write_text("# nothing\n")
    empty = ("--labels", tmp_path / "none.txt", "--out", tmp_path / "x")
    assert "names no label" in error_line(run_here("export", CHECKPOINT, *empty, ok=False), 2)
    static = ("--scheme", "static", "--ranges", tmp_path, "--out", tmp_path / "x")
    assert "manifest.csv" in run_here("export", CHECKPOINT, *static, ok=False).stderr
    assert not (tmp_path / "x").exists(), "nothing may be written"


def test_the_former_name_of_ranges_is_understood_but_not_shown(tmp_path: Path) -> None:
    shown = run("export", "--help").stdout
    assert "--ranges" in shown
    assert "--calibrate" not in shown
    former = ("--scheme", "static", "--calibrate", tmp_path, "--out", tmp_path / "x")
    assert "manifest.csv" in error_line(run_here("export", CHECKPOINT, *former, ok=False), 2)
    both = run_here("export", CHECKPOINT, "--ranges", tmp_path, *former, ok=False)
    assert "give one of them" in error_line(both, 2)
